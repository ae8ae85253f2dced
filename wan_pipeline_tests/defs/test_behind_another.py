"""Two shots of one request, of which the one's job is ambiguous: the other waits for that job, and not in failed runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from wan_pipeline.defs.recovery import recover
from wan_pipeline.defs.resources import SimulatorResource
from wan_pipeline.spend.tables import jobs
from wan_pipeline_tests.defs.interrupted import interrupted_run, submitted
from wan_pipeline_tests.defs.lab import DEFAULTS, Lab, asked_for, jpeg

KEYS = ["a/one", "a/two"]
LATER = timedelta(minutes=20)


def _again(lab: Lab) -> int:
    with lab.installation.open() as opened:
        return recover(lab.instance, opened, datetime.now(UTC) + LATER)[1]


def _one_is_ambiguous(lab: Lab) -> str:
    lab.put("inbox/_defaults.yaml", DEFAULTS)
    for key in KEYS:
        lab.put(f"inbox/{key}.jpg", jpeg(1))
    slow = Lab(lab.home, lab.instance, lab.settings, {"simulator": SimulatorResource(latency_s="60", render="shared")})
    interrupted_run(slow, KEYS[:1], submitted(1))
    (job,) = lab.jobs()
    lost = {
        "state": "ambiguous",
        "provider_job_id": None,
        "owner": None,
        "next_look_at": datetime.now(UTC) + timedelta(hours=5),
    }
    with lab.ledger() as ledger, ledger.engine.begin() as connection:
        connection.execute(jobs.update().values(lost))
    return job.id


def test_it_is_made_once_that_job_has_ended_and_not_tried_before(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_pipeline.defs.runs_of_shots._FIRST_WAIT", timedelta(0))  # after the run that failed
    job_id = _one_is_ambiguous(lab)
    assert not lab.run(KEYS[1:], tags={"wan/asked_by": "sensor"}).success

    assert _again(lab) == 0
    assert lab.due() == []
    assert _again(lab) == 0

    with lab.ledger() as ledger:
        (waiting,) = ledger.deferrals.load(simulated=True)
        assert (waiting.shot, waiting.limit) == (KEYS[1], f"job {job_id}")
        ledger.resolve_absent(job_id, "nowhere to be seen")
    assert _again(lab) == 1  # the one whose job it was
    (request,) = lab.due()
    assert asked_for([request]) == [(KEYS[1], KEYS[1])]
    assert lab.launch(request).success
    assert lab.due() == []
    with lab.ledger() as ledger:
        assert ledger.deferrals.load(simulated=True) == []
