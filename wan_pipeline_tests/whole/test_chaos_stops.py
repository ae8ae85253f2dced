"""With a batch in flight: a redeployment (SIGTERM), Terminate in the UI, and a provider that is away for a while."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from wan_pipeline.defs.partitions import SHOTS
from wan_pipeline.defs.runs_of_shots import shots_of
from wan_pipeline.spend.records import OPEN_STATES, JobState
from wan_pipeline_tests.whole.chaos import Chaos, chaos

IN_FLIGHT = 3  # of each provider: so that a run that is stopped has shots that it has not bought


@pytest.mark.timeout(600)
@pytest.mark.long
def test_after_redeployment_terminate_and_an_absent_provider_every_shot_is_made_save_those_a_person_stopped(
    tmp_path: Path,
) -> None:
    limits = {f"WAN_{name}_MAX_IN_FLIGHT": str(IN_FLIGHT) for name in ("SHORTAPI", "AIMLAPI", "WAVESPEED")}
    with chaos(tmp_path, variables=limits) as it:
        it.put("redeployed", 15)
        it.wait_until_sent("redeployed", 4)
        it.redeploy()

        it.put("terminated", 18)
        stopped = _terminate(it)
        assert stopped, "all was bought before it was terminated"
        it.shots -= stopped

        it.put("provider", 12)
        it.wait_until_sent("provider", 4)
        it.simulator.stop(signal.SIGKILL)  # with requests that it has charged and not answered
        it.say("the provider's server is stopped")
        time.sleep(5)
        it.simulator.start()
        it.say("and started again")

        it.wait_until_stored()
        it.assert_the_books_agree()
        it.assert_it_was_told_plainly()
        assert not stopped & _bought(it), "a shot that a person stopped was bought by itself"


def _terminate(it: Chaos) -> set[str]:
    """Terminates the run that is at work on the batch; gives those of its shots that it has not bought."""

    def at_work() -> str | None:
        jobs = [job for job in it.jobs() if job.shot.startswith("terminated/") and job.state is JobState.SUBMITTED]
        return jobs[0].run_id if len(jobs) >= 4 else None

    run = it.until(at_work, "a run is at work on `terminated`")
    mutation = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
    assert it.ask(mutation, id=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    it.until(lambda: it.ask(query, id=run)["runOrError"]["status"] == "CANCELED", "the run is canceled")
    jobs = [job for job in it.jobs() if job.shot.startswith("terminated/")]
    assert any(job.state in OPEN_STATES for job in jobs), "all was over before it was terminated"
    with it.instance() as instance:
        order = instance.get_dynamic_partitions(SHOTS)
        found = instance.get_run_by_id(run)
        assert found is not None
        return set(shots_of(found, order, {key: place for place, key in enumerate(order)})) - _bought(it)


def _bought(it: Chaos) -> set[str]:
    """The shots of which something was sent. A job that is rejected here was never sent: the batch was stopped."""
    return {job.shot for job in it.jobs() if job.state not in (JobState.REJECTED, JobState.RESERVED)}
