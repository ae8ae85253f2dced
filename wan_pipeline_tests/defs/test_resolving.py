"""A person's word from the UI is held to the command line's rules; a wrong one is refused in words and changes nothing."""

from __future__ import annotations

import dagster as dg
import pytest

from wan_pipeline.spend.records import Bought, Budgets, Job, JobState
from wan_pipeline_tests.defs.lab import Lab
from wan_pipeline_tests.spend.samples import request_for

WRONG_WORDS: list[tuple[dict[str, str], str]] = [
    ({"decision": "found"}, "under which id"),
    ({"decision": "found", "provider_job_id": "x", "allow_duplicate_up_to_usd": "1"}, "no duplicate is to be allowed"),
    ({"decision": "not_charged", "provider_job_id": "x"}, "it is `found`"),
    ({"decision": "write_off", "allow_duplicate_up_to_usd": "0"}, "allow nothing"),
    ({"decision": "write_off", "allow_duplicate_up_to_usd": "1e20"}, "dearer than any video"),
    ({"decision": "write_off", "allow_duplicate_up_to_usd": "much"}, "allow_duplicate_up_to_usd"),
]


def _ambiguous(lab: Lab) -> Job:
    with lab.ledger() as ledger:
        bought = ledger.claim(request_for("lost", simulated=True), Budgets(None, None, None))
        assert isinstance(bought, Bought)
        return ledger.mark_ambiguous(bought.job.id, bought.attempt_id, "no answer came")


def _resolve(lab: Lab, **word: str) -> dg.ExecuteInProcessResult:
    config = {"ops": {"decide": {"config": word}}}
    job = lab.defs.resolve_job_def("resolve_job")
    return job.execute_in_process(instance=lab.instance, run_config=config, raise_on_error=False)


@pytest.mark.parametrize(("word", "said"), WRONG_WORDS)
def test_a_wrong_word_is_refused_and_changes_nothing(lab: Lab, word: dict[str, str], said: str) -> None:
    job = _ambiguous(lab)
    result = _resolve(lab, job=job.id, **word)
    assert not result.success
    assert said in lab.failure(result)
    assert lab.jobs() == [job]


def test_a_decision_is_written_down_with_who_said_so(lab: Lab) -> None:
    job = _ambiguous(lab)
    assert _resolve(lab, job=job.id, decision="write_off", allow_duplicate_up_to_usd="0.50", note="gave up").success
    (decided,) = lab.jobs()
    assert decided.state is JobState.WRITTEN_OFF
    assert decided.billed == job.quoted_high
    assert "gave up" in (decided.error or "") and "UI" in (decided.error or "")
