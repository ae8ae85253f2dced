"""The product broken on purpose, one promise at a time: patches of the tests, never a switch in the product.

Each breaks what the histories are there to notice; test_mutations.py asks whether they do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import httpx

from wan_pipeline.generation.finding import Finder
from wan_pipeline.generation.publishing import Sink
from wan_pipeline.generation.submission import Submitter
from wan_pipeline.money import ZERO
from wan_pipeline.providers import http, meaning
from wan_pipeline.providers.base import Ambiguous, Failed, PollError
from wan_pipeline.providers.client import HttpProviderClient
from wan_pipeline.spend import budget, claim, owners, rows, transitions
from wan_pipeline.spend.records import Bought, JobState, NotBought
from wan_pipeline.spend.tables import jobs

S = JobState
Mutation = Callable[[], Any]


def _patched(*patches: tuple[object, str, Any]) -> Mutation:
    @contextmanager
    def mutated() -> Generator[None]:
        with ExitStack() as stack:
            for where, name, new in patches:
                stack.enter_context(mock.patch.object(where, name, new))
            yield

    return mutated


# --- the intent ---


def _undone(self: claim.Claim) -> Any:
    nested = self.step.connection.begin_nested()
    outcome = _decide(self)
    if isinstance(outcome, Bought):
        nested.rollback()
    else:
        nested.commit()
    return outcome


_decide = claim.Claim.decide


def _bought_before(self: claim.Claim, job: Any, take: Any) -> Any:
    return self._buy() if job.state is S.STORED else _by_state(self, job, take)  # pyright: ignore[reportPrivateUsage]


_by_state = claim.Claim._by_state  # pyright: ignore[reportPrivateUsage]


def _posted_again(self: claim.Claim, job: Any) -> Any:
    """A dead holder's job that was being sent is sent again."""
    if job.state is not S.SUBMITTING or job.owner == self.step.holder.id or self._alive(job):  # pyright: ignore[reportPrivateUsage]
        return _under_way(self, job)
    if self.options.collect_only:
        return NotBought("")
    transitions.close_attempt(self.step, job.attempt_id, "not_sent", "")
    self.step.connection.execute(jobs.update().where(jobs.c.id == job.id).values(state=S.RESERVED.value))
    return self._post(rows.job(self.step.connection, job.id))  # pyright: ignore[reportPrivateUsage]


_under_way = claim.Claim._under_way  # pyright: ignore[reportPrivateUsage]


# --- the POST and its answer ---


async def _retried(self: Submitter, model: Any, body: Any, job_id: str, attempt_id: str) -> Any:
    outcome = await _post_once(self, model, body, job_id, attempt_id)
    return await _post_once(self, model, body, job_id, attempt_id) if isinstance(outcome, Ambiguous) else outcome


_post_once = Submitter._post  # pyright: ignore[reportPrivateUsage]
_SILENCE_IS_NO = (*meaning.BEFORE_THE_FIRST_BYTE, httpx.ReadTimeout)


def _an_error_is_a_no(code: int, reason: str, wait_s: float | None = None) -> Any:
    return meaning.refusal(400 if code >= 500 and wait_s is None else code, reason, wait_s)


async def _unknown_is_failed(self: HttpProviderClient, model: Any, provider_job_id: str) -> Any:
    outcome = await _poll(self, model, provider_job_id)
    return Failed(outcome.reason, ZERO) if isinstance(outcome, PollError) and outcome.gone else outcome


_poll = HttpProviderClient.poll

# --- the money ---


def _without_holds(connection: Any, *where: Any) -> Any:
    return ZERO, _sums(connection, *where)[1]


_sums = budget._sums  # pyright: ignore[reportPrivateUsage]


# --- finding out, and the end ---


def _at_once(self: Finder, job: Any) -> Any:
    return job.sent_at or job.claimed_at


def _discarded(self: Sink) -> None:
    self.discard(RuntimeError("never published"))


MUTATIONS: Mapping[str, Mutation] = {
    "the durable intent is taken out": _patched((claim.Claim, "decide", _undone)),
    "the POST is retried on a lost answer": _patched((Submitter, "_post", _retried)),
    "silence counts as not sent": _patched((http, "BEFORE_THE_FIRST_BYTE", _SILENCE_IS_NO)),
    "a 5xx counts as a no": _patched((http, "refusal", _an_error_is_a_no)),
    "the hold is ignored by the budget": _patched((budget, "_sums", _without_holds)),
    "a dead holder's job is sent again": _patched((claim.Claim, "_under_way", _posted_again)),
    "what is stored is bought by the next run": _patched((claim.Claim, "_by_state", _bought_before)),
    "absent is believed at once": _patched((Finder, "absent_from", _at_once)),
    "another job's id is taken": _patched((rows, "known_provider_jobs", lambda *about, **more: frozenset())),
    "a job that a poll does not know has failed": _patched((HttpProviderClient, "poll", _unknown_is_failed)),
    "a video is recorded that was never published": _patched((Sink, "publish", _discarded)),
    "a dead holder counts as alive": _patched((owners, "is_alive", lambda connection, owner_id, now: True)),
}
