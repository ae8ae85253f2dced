"""A person terminates a run while most of its shots have not set out: what is known of each of them is not lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wan_pipeline.defs.partitions import add_shots
from wan_pipeline.defs.resources import SimulatorResource, WaveSpeedResource
from wan_pipeline.defs.take_up import is_unfinished, update_index
from wan_pipeline.generation.runway import AHEAD
from wan_pipeline_tests.defs.interrupted import interrupted_run, submitted
from wan_pipeline_tests.defs.lab import Lab, jpeg

KEYS = [f"s{number:02d}" for number in range(AHEAD + 10)]
LATER, TWIN = KEYS[-1], KEYS[-2]


def slow(lab: Lab) -> Lab:
    """One place at the provider, which takes its time."""
    resources = {
        "wavespeed": WaveSpeedResource(max_in_flight=1),
        "simulator": SimulatorResource(latency_s="20", render="shared"),
    }
    return Lab(lab.home, lab.instance, lab.settings, resources)


def test_one_that_is_not_due_is_made_when_it_is_and_one_with_anothers_paid_request_waits_for_that_job(lab: Lab) -> None:
    add_shots(lab.instance, KEYS)
    lab.put_shots(KEYS)
    lab.put(f"inbox/{TWIN}.jpg", jpeg(0))  # the request of the first
    due = datetime.now(UTC) + timedelta(days=1)
    lab.put(f"inbox/{LATER}.yaml", f"not_before: {due.isoformat()}\n")
    with lab.installation.open() as opened:
        update_index(opened.ledger.index, opened.discover(), datetime.now(UTC), simulated=True)
    lab = slow(lab)
    interrupted_run(lab, KEYS[:1], submitted(1), terminated=True)
    interrupted_run(lab, KEYS, submitted(1), terminated=True)
    with lab.ledger() as ledger:
        row = ledger.index.load()[LATER]
        waiting = [each.shot for each in ledger.deferrals.load(simulated=True)]
    assert row.finished_version != row.version
    assert row.taken_up_version != row.version or is_unfinished(row)
    assert waiting == [TWIN]
