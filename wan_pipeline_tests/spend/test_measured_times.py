"""How long jobs take is learned from those that one process has sent and asked about until they were done."""

from __future__ import annotations

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.spend.samples import bought, finish, request_for

MODEL = ("wavespeed", "wavespeed/wan-2.6-i2v-flash")


def test_only_what_its_own_process_has_measured_counts_the_newest_first(ledger: Ledger) -> None:
    for shot, seconds in (("first", 5), ("second", 10)):
        purchase = bought(ledger, request_for(shot, shot, duration_s=seconds))
        job = ledger.mark_accepted(purchase.job.id, purchase.attempt_id, f"p-{shot}", None)
        finish(ledger, job, JobState.STORED)
    left = bought(ledger, request_for("left", "left", duration_s=7))
    ledger.mark_accepted(left.job.id, left.attempt_id, "p-left", None)
    lost = bought(ledger, request_for("lost", "lost", duration_s=8))
    ledger.mark_ambiguous(lost.job.id, lost.attempt_id, "no answer")
    found = ledger.resolve_found(lost.job.id, "p-lost", "found by looking")
    finish(ledger, found, JobState.STORED)
    ledger.release_owner()
    finish(ledger, ledger.take_over(left.job.id).job, JobState.STORED)
    times = ledger.measured_times(*MODEL, simulated=False)
    assert [each.duration_s for each in times] == [10, 5]
    assert all(0 <= each.seconds < 60 for each in times)
    assert [each.duration_s for each in ledger.measured_times(*MODEL, simulated=False, at_most=1)] == [10]
    assert ledger.measured_times(*MODEL, simulated=True) == []
    assert ledger.measured_times("wavespeed", "another model", simulated=False) == []
