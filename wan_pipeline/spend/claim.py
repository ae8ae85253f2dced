"""The claim: may this request be bought, or is it bought, under way or standing already? One transaction decides.

What belongs here: the decision and what it writes. What does not: SQL that only reads (rows.py), the steps between states
(transitions.py), the books (entries.py), the sums (budget.py). The caller holds the claims' lock: claims come one by one.

Nothing is written unless it buys, finds a dead holder's job, adds a reused take, or finds that the shot's own files now
say the same request in other words.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from wan_pipeline.money import ZERO
from wan_pipeline.spend import budget, limits, owners, rows
from wan_pipeline.spend.entries import Account
from wan_pipeline.spend.orphans import HOLDER_GONE
from wan_pipeline.spend.records import (
    OPEN_STATES,
    Bought,
    Budgets,
    ClaimOptions,
    ClaimOutcome,
    Job,
    JobRequest,
    JobState,
    Joined,
    NotBought,
    Outdated,
    OverBudget,
    ProviderBusy,
    Reused,
    Standing,
    SubmitLimits,
    Take,
)
from wan_pipeline.spend.remedies import remedy
from wan_pipeline.spend.sending import counted_today, no_room_today
from wan_pipeline.spend.tables import attempts, jobs, takes
from wan_pipeline.spend.transitions import Step, account, change, doubt, give_up, move, open_attempt

S = JobState

_ENDED_WITHOUT_VIDEO = frozenset({S.FAILED, S.LOST, S.REJECTED, S.RELEASED, S.WRITTEN_OFF})
_NEVER_COST_WHEN_UNBILLED = frozenset({S.FAILED, S.REJECTED, S.RELEASED})  # the others are paid, whatever was said

# Made once: making a statement takes longer than running it.
_NEW_JOB = jobs.insert().returning(jobs)
_NEW_TAKE = takes.insert()
_COUNTS = sa.select(
    sa.select(sa.func.max(jobs.c.repeat)).where(jobs.c.request_hash == bindparam("of_request")).scalar_subquery(),
    sa.select(sa.func.max(takes.c.take)).where(takes.c.shot == bindparam("of_shot")).scalar_subquery(),
)
_TAKEN = (
    sa.select(takes.c.take)
    .join(jobs, jobs.c.id == takes.c.job_id)
    .where(takes.c.shot == bindparam("of_shot"), jobs.c.simulated == bindparam("of_kind"))
)
_BOUGHT = sa.select(jobs.c.id).where(
    jobs.c.request_hash == bindparam("of_request"), jobs.c.simulated == bindparam("of_kind")
)
_ANYTHING = sa.select(_TAKEN.exists() | _BOUGHT.exists())


def new_id(digits: int = 26) -> str:
    """The hour and so many random hexadecimal digits. What was bought in one hour lies together in every index, so that a
    purchase touches as few pages of a ledger of millions as of a small one."""
    return f"{int(time.time()) // 3600:06x}{uuid4().hex[-digits:]}"


@dataclass(slots=True)
class Memory:
    """What one claim remembers when its transaction is begun again because the answer to its commit was lost."""

    job_id: str = field(default_factory=lambda: f"j{new_id(10)}")
    attempt_id: str = field(default_factory=new_id)
    adopted: str | None = None
    tried: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim in its transaction. `decide` gives its outcome."""

    step: Step
    request: JobRequest
    budgets: Budgets
    options: ClaimOptions
    limits: SubmitLimits | None
    memory: Memory
    sent_with: str | None = None  # the fingerprint of the key that it would be sent with

    def decide(self) -> ClaimOutcome:
        done = self._done_before()
        if done is not None:
            return done
        take = rows.current_take(self.step.connection, self.request.shot, self.request.simulated)
        if take is not None and take.request_hash != self.request.request_hash:
            outcome = self._leave(take)
            if outcome is not None:
                return outcome
            take = None
        job = self._considered(take)
        if job is None:
            return self._buy()
        if take is not None:
            self._keep_own_digest(take)
        return self._by_state(job, take)

    # --- which job is it about ---

    def _done_before(self) -> Bought | None:
        """This very claim has bought already: the commit had happened, only its answer was lost."""
        if not self.memory.tried:
            self.memory.tried = True
            return None
        query = sa.select(attempts.c.job_id).where(attempts.c.id == self.memory.attempt_id)
        job_id = self.step.connection.execute(query).scalar()
        return None if job_id is None else Bought(rows.job(self.step.connection, job_id), self.memory.attempt_id)

    def _leave(self, take: Take) -> ClaimOutcome | None:
        """The shot's latest take was another request. None: the new one is to be looked at on its own.

        A change that came from a _defaults.yaml alone buys nothing where the take has cost, or may have.
        """
        job = rows.job(self.step.connection, take.job_id, lock=True)
        inherited = take.own_digest == self.request.own_digest and not (self.options.outdated or self.options.new_take)
        if job.state is S.STORED:
            return Outdated(job, take) if inherited else None
        if job.state in OPEN_STATES and not self._alive(job):
            if job.state is S.RESERVED:
                give_up(self.step, job, "never sent; the shot has changed since", retryable=True)
                return None
            if job.state is S.SUBMITTING:
                job = self._doubt(job)
        free = job.state in _NEVER_COST_WHEN_UNBILLED and not job.billed
        return self._by_state(job, take) if inherited and not free else None

    def _considered(self, take: Take | None) -> Job | None:
        """The latest take's own job where it is this request and not over without a video; else whoever bought this
        request last."""
        if take is not None:
            job = rows.job(self.step.connection, take.job_id, lock=True)
            if job.state not in _ENDED_WITHOUT_VIDEO:
                return job
        return rows.latest_job(
            self.step.connection, self.request.request_hash, simulated=self.request.simulated, lock=True
        )

    # --- what its state means ---

    def _by_state(self, job: Job, take: Take | None) -> ClaimOutcome:
        match job.state:
            case S.STORED:
                return self._buy() if self.options.new_take else Reused(job, self._take_of(job, take))
            case S.RESERVED | S.SUBMITTING | S.SUBMITTED | S.GENERATED:
                return self._under_way(job)
            case S.AMBIGUOUS:
                return Standing(job, remedy(job, self.request.shot))
            case S.REJECTED if job.retryable:
                return self._reopen(job)
            case S.RELEASED | S.WRITTEN_OFF if self._may_be_bought_anew(job):
                return self._buy()
            case S.FAILED | S.LOST | S.REJECTED | S.RELEASED | S.WRITTEN_OFF:
                free = job.state in _NEVER_COST_WHEN_UNBILLED and not job.billed
                if self._is_this(job) and (self.options.new_take or (self.options.retry_failed and free)):
                    return self._buy()
                return Standing(job, remedy(job, self.request.shot))

    def _may_be_bought_anew(self, job: Job) -> bool:
        """The search has ended with its being nowhere, or a person has accepted that it may be bought twice at this
        price. Either was said of this request and of no other; the job itself stays, for an answer that comes late."""
        allowed = job.duplicate_allowed is not None and self.request.quoted_high <= job.duplicate_allowed
        return self._is_this(job) and ((job.state is S.RELEASED and job.retryable) or allowed)

    def _under_way(self, job: Job) -> ClaimOutcome:
        if job.owner == self.step.holder.id:
            # Another shot of this batch, with the same request, is at it; or this very claim was, before its transaction
            # had to be begun again.
            return Joined(job, mine=self.memory.adopted == job.id)
        if self._alive(job):
            return Joined(job, mine=False)
        if job.state is S.SUBMITTING:
            return Standing(self._doubt(job), remedy(job, self.request.shot))
        if job.state is S.RESERVED:
            return not_bought() if self.options.collect_only else self._send_again(job)
        return Joined(adopt(self.step, job, self.memory), mine=True)

    # --- what it writes ---

    def _buy(self) -> ClaimOutcome:
        request = self.request
        if self.options.collect_only:
            return not_bought()
        no_room = self._no_room(request.shot, request.campaign)
        if no_room is not None:
            return no_room
        connection = self.step.connection
        now, job_id, attempt_id = self.step.now, self.memory.job_id, self.memory.attempt_id
        bought_before, taken_before = connection.execute(
            _COUNTS, {"of_request": request.request_hash, "of_shot": request.shot}
        ).one()
        repeat, take = int(bought_before or 0) + 1, int(taken_before or 0) + 1
        owner = self.step.holder.register(connection, now)
        row = connection.execute(
            _NEW_JOB,
            {
                "id": job_id,
                "shot": request.shot,
                "take": take,
                "provider": request.provider,
                "model": request.model,
                "request_hash": request.request_hash,
                "repeat": repeat,
                "fingerprint": fingerprint(request.request_hash, repeat),
                "own_digest": request.own_digest,
                "state": S.SUBMITTING.value,
                "arguments": request.arguments,
                "inputs": list(request.inputs),
                "duration_s": request.duration_s,
                "resolution": request.resolution,
                "has_audio": request.has_audio,
                "campaign": request.campaign,
                "quoted_low_nanos": request.quoted_low.nanos,
                "quoted_high_nanos": request.quoted_high.nanos,
                "held_nanos": request.quoted_high.nanos,  # as the entry below says
                "owner": owner,
                "retryable": False,
                "simulated": request.simulated,
                "run_id": request.run_id,
                "claimed_at": now,
                "updated_at": now,
                "attempt_id": attempt_id,
                "sent_at": now,
            },
        )
        job = rows.to_job(row.mappings().one())
        _add_take(self.step, request.shot, take, job, request.own_digest, reused=False)
        open_attempt(self.step, job_id, attempt_id, owner, self.sent_with)
        books = Account(connection, job_id, ZERO, None, None, now)
        books.hold(request.quoted_high, f"claimed by {request.shot}, take {take}")
        books.close()
        return Bought(job, attempt_id)

    def _no_room(self, shot: str, campaign: str | None) -> OverBudget | ProviderBusy | None:
        """For a new hold, and one submission. Whoever has no money need not wait for the provider."""
        request, step = self.request, self.step
        purchase = budget.Purchase(shot, campaign, request.provider, request.quoted_high, request.simulated)
        return budget.over(step.connection, self.budgets, purchase, step.now) or self._busy(request.provider)

    def _busy(self, provider: str) -> ProviderBusy | None:
        step = self.step
        return limits.busy(step.connection, self.limits, provider, step.now, simulated=self.request.simulated)

    def _send_again(self, job: Job) -> ClaimOutcome:
        """A job whose dead holder had not sent it, or only to a refusal: its hold stands."""
        over = no_room_today(self.step, job, self.budgets)
        if over is not None:
            return over
        busy = self._busy(job.provider)
        if busy is not None:
            return busy
        return self._post(job, **counted_today(self.step, job))

    def _reopen(self, job: Job) -> ClaimOutcome:
        """A rejection that had nothing to do with the request: the same job again, held anew, in today's budget."""
        request = self.request
        if self.options.collect_only:
            return not_bought()
        no_room = self._no_room(job.shot, job.campaign)
        if no_room is not None:
            return no_room
        books = account(self.step, job)
        books.hold(request.quoted_high, f"claimed again by {request.shot}")
        return self._post(
            job,
            books,
            claimed_at=self.step.now,
            quoted_low_nanos=request.quoted_low.nanos,
            quoted_high_nanos=request.quoted_high.nanos,
            run_id=request.run_id,
        )

    def _post(self, job: Job, books: Account | None = None, **values: Any) -> Bought:
        """Takes a job over that nobody holds and that is not out, with a new attempt."""
        owner = self.step.holder.register(self.step.connection, self.step.now)
        sent = open_attempt(self.step, job.id, self.memory.attempt_id, owner, self.sent_with)
        moved = move(self.step, job, S.SUBMITTING, books, owner=owner, error=None, **sent, **values)
        return Bought(moved, self.memory.attempt_id)

    def _take_of(self, job: Job, take: Take | None) -> Take:
        if take is not None and take.job_id == job.id:
            return rows.current_take(self.step.connection, self.request.shot, self.request.simulated) or take
        return add_reuse(self.step, self.request.shot, job, self.request.own_digest)

    def _keep_own_digest(self, take: Take) -> None:
        """The shot's own files say the same request in other words: the next change is measured from here."""
        if take.own_digest != self.request.own_digest:
            self.step.connection.execute(
                takes.update()
                .where(takes.c.shot == take.shot, takes.c.take == take.take)
                .values(own_digest=self.request.own_digest)
            )

    def _is_this(self, job: Job) -> bool:
        return job.request_hash == self.request.request_hash

    def _alive(self, job: Job) -> bool:
        return job.owner is not None and (
            job.owner == self.step.holder.id or owners.is_alive(self.step.connection, job.owner, self.step.now)
        )

    def _doubt(self, job: Job) -> Job:
        return doubt(self.step, job, HOLDER_GONE)


def adopt(step: Step, job: Job, memory: Memory) -> Job:
    """The claimer holds it from now on. For a job at the provider whose holder is gone."""
    memory.adopted = job.id
    return change(step, job.id, owner=step.holder.register(step.connection, step.now))


def take_over(step: Step, job_id: str, memory: Memory) -> Joined | Standing:
    """What a claim does about a job under way, for one that no shot's present request leads to any more."""
    job = rows.job(step.connection, job_id, lock=True)
    if job.state not in OPEN_STATES:
        return Standing(job, remedy(job, job.shot))
    if job.owner == step.holder.id:  # another part of this batch is at it, unless this very call has just begun
        return Joined(job, mine=memory.adopted == job.id)
    if job.owner is not None and owners.is_alive(step.connection, job.owner, step.now):
        return Joined(job, mine=False)
    if job.state is S.SUBMITTING:
        return Standing(doubt(step, job, HOLDER_GONE), remedy(job, job.shot))
    if job.state is S.RESERVED:
        given_up = give_up(step, job, "never sent", retryable=True)
        return Standing(given_up, remedy(given_up, job.shot))
    return Joined(adopt(step, job, memory), mine=True)


def add_reuse(step: Step, shot: str, job: Job, own_digest: str) -> Take:
    """The shot's next take, with another job's stored video. Said again: the take there is."""
    current = rows.current_take(step.connection, shot, job.simulated)
    if current is not None and current.job_id == job.id:
        return current
    number = _next_take(step, shot)
    _add_take(step, shot, number, job, own_digest, reused=True)
    return Take(shot, number, job.id, own_digest, job.request_hash, True, job.video_uri, step.now)


def fingerprint(request_hash: str, repeat: int) -> str:
    """What no two jobs share: the request, and how many times it was deliberately asked for."""
    return hashlib.sha256(f"{request_hash}:{repeat}".encode()).hexdigest()


def is_unknown(connection: Connection, request: JobRequest) -> bool:
    """Neither has its shot any take, nor was this very request ever bought: a claim that only collects finds nothing."""
    values = {"of_shot": request.shot, "of_request": request.request_hash, "of_kind": request.simulated}
    return not connection.execute(_ANYTHING, values).scalar()


def not_bought() -> NotBought:
    return NotBought("nothing of it is in flight or stored, and this run only collects")


def _next_take(step: Step, shot: str) -> int:
    last = step.connection.execute(sa.select(sa.func.max(takes.c.take)).where(takes.c.shot == shot)).scalar()
    return int(last or 0) + 1


def _add_take(step: Step, shot: str, number: int, job: Job, own_digest: str, *, reused: bool) -> None:
    step.connection.execute(
        _NEW_TAKE,
        {
            "shot": shot,
            "take": number,
            "job_id": job.id,
            "own_digest": own_digest,
            "request_hash": job.request_hash,
            "reused": reused,
            "video_uri": job.video_uri,
            "created_at": step.now,
        },
    )
