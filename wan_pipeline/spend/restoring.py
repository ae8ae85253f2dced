"""Restoring: what manifests tell of paid videos, written into a ledger that has forgotten them.

What belongs here: adding the rows of one manifest, or saying why they cannot be added. What does not: reading the bucket.

What is there is never changed: the ledger knows better than a manifest, which is from one moment of the job's life. A
restored job has one charge, of the amount and basis in its manifest, and the holder "restored", who is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from wan_pipeline.money import Money
from wan_pipeline.spend import rows
from wan_pipeline.spend.claim import fingerprint
from wan_pipeline.spend.entries import Account
from wan_pipeline.spend.errors import UnknownJobError
from wan_pipeline.spend.records import Basis, Job, JobState, RestoredTake
from wan_pipeline.spend.tables import attempts, jobs, owners, takes
from wan_pipeline.spend.transitions import Step, change

OWNER = "restored"
_RESTORABLE = frozenset({JobState.STORED, JobState.LOST})  # of which there is something in the bucket
_LEADS_THERE = frozenset({JobState.SUBMITTED, JobState.GENERATED})  # the next run collects it, and finds it there
_LARGEST = 2**31 - 1


class _RefusedError(Exception):
    """Why a manifest cannot be restored."""


def restore(step: Step, wanted: Sequence[RestoredTake]) -> list[tuple[str, str | None]]:
    """Each manifest's key, with None (its rows are there now) or why they cannot be. Jobs' own takes go first, so that a
    job's row comes from the manifest beside its own video wherever there is one."""
    answers: dict[int, str | None] = {}
    own_first = sorted(range(len(wanted)), key=lambda n: _is_reuse(wanted[n]))
    for number in own_first:
        answers[number] = _restore(step, wanted[number])
    return [(item.key, answers[number]) for number, item in enumerate(wanted)]


def _restore(step: Step, item: RestoredTake) -> str | None:
    try:
        with step.connection.begin_nested():  # one that cannot be does not take the others with it
            _Manifest(step, item, _Row(item.job)).restore()
    except _RefusedError as error:
        return str(error)
    except DBAPIError as error:
        if error.connection_invalidated or not isinstance(error, IntegrityError | DataError):
            raise
        return f"the ledger cannot hold it: {' '.join(str(error.orig).split())}"
    return None


def _is_reuse(item: RestoredTake) -> bool:
    return (item.job.get("shot"), item.job.get("take")) != (item.shot, item.take)


@dataclass(frozen=True, slots=True)
class _Row:
    """A manifest's job row, read strictly."""

    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value or "\x00" in value:
            raise _RefusedError(f"job.{name} is {value!r}, not a text")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self.values.get(name) is None else self.text(name)

    def whole(self, name: str, least: int = 0, most: int = _LARGEST) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise _RefusedError(f"job.{name} is {value!r}, not a whole number from {least} up")
        return value

    def yes_or_no(self, name: str) -> bool:
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise _RefusedError(f"job.{name} is {value!r}, neither true nor false")
        return value

    def money(self, name: str) -> Money:
        value = self.values.get(name)
        try:
            amount = Money.usd(value) if isinstance(value, str) else None
        except ValueError:
            amount = None
        if amount is None or not 0 <= amount.nanos < 2**63:
            raise _RefusedError(f"job.{name} is {value!r}, not an amount of dollars like '0.125'")
        return amount

    def moment_or_none(self, name: str) -> datetime | None:
        value = self.values.get(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            pass
        raise _RefusedError(f"job.{name} is {value!r}, not a moment with its time zone")

    def moment(self, name: str) -> datetime:
        moment = self.moment_or_none(name)
        if moment is None:
            raise _RefusedError(f"job.{name} is missing")
        return moment

    def number_or_none(self, name: str) -> float | None:
        value = self.values.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise _RefusedError(f"job.{name} is {value!r}, not a number")
        return value

    def one_of(self, name: str, kind: type[JobState | Basis]) -> Any:
        try:
            return kind(self.values.get(name))
        except ValueError:
            raise _RefusedError(f"job.{name} is {self.values.get(name)!r}") from None

    def of_type(self, name: str, kind: type[Any]) -> Any:
        value = self.values.get(name)
        if not isinstance(value, kind):
            raise _RefusedError(f"job.{name} is missing, or nothing that a ledger writes")
        return value


@dataclass(frozen=True, slots=True)
class _Manifest:
    """One manifest in its transaction."""

    step: Step
    item: RestoredTake
    row: _Row

    def restore(self) -> None:
        job_id = self.row.text("id")
        if len(job_id) > 32:
            raise _RefusedError(f"job.id is {job_id!r}, nothing that a ledger writes")
        state = self.row.one_of("state", JobState)
        if state not in _RESTORABLE:
            raise _RefusedError(f"its job is {state}: only what was stored, or kept for inspection, can be restored")
        # What stands beside the job is read as strictly as what stands in it.
        take = _Row({"shot": self.item.shot, "take": self.item.take, "own_digest": self.item.own_digest})
        try:
            existing = rows.job(self.step.connection, job_id, lock=True)
        except UnknownJobError:
            existing = None
        if existing is None:
            self._add_job(job_id, state)
        else:
            self._must_agree_with(existing, state)
        self._add_take(self.row.text("shot"), self.row.whole("take", 1), job_id, self.row.text("own_digest"))
        self._add_take(take.text("shot"), take.whole("take", 1), job_id, take.text("own_digest"))

    def _must_agree_with(self, existing: Job, state: JobState) -> None:
        if existing.fingerprint != self.row.text("fingerprint"):
            raise _RefusedError(f"the ledger has another request as job {existing.id}")
        if existing.state is not state and existing.state not in _LEADS_THERE:
            raise _RefusedError(f"the ledger has job {existing.id} as {existing.state}, this manifest as {state}")

    def _add_job(self, job_id: str, state: JobState) -> None:
        row, connection = self.row, self.step.connection
        request, repeat = row.text("request_hash"), row.whole("repeat", 1)
        if row.text("fingerprint") != fingerprint(request, repeat):
            raise _RefusedError("job.fingerprint is not that of job.request_hash and job.repeat")
        query = sa.select(jobs.c.id).where(jobs.c.request_hash == request, jobs.c.repeat == repeat)
        other = connection.execute(query).scalar()
        if other is not None:
            raise _RefusedError(f"the ledger has purchase {repeat} of this very request as job {other}")
        low, high = row.money("quoted_low"), row.money("quoted_high")
        if low > high:
            raise _RefusedError(f"job.quoted_low {low} is above job.quoted_high {high}")
        stored = state is JobState.STORED
        duplicate = None if row.values.get("duplicate_allowed") is None else row.money("duplicate_allowed").nanos
        claimed_at, submitted_at = row.moment("claimed_at"), row.moment_or_none("submitted_at")
        began_at = row.moment_or_none("sent_at") or submitted_at or claimed_at
        attempt_id = row.text_or_none("attempt_id") or hashlib.sha256(f"restored {job_id}".encode()).hexdigest()[:32]
        billed, basis = row.money("billed"), row.one_of("basis", Basis)
        self._register_owner()
        connection.execute(
            jobs.insert().values(
                id=job_id,
                shot=row.text("shot"),
                take=row.whole("take", 1),
                provider=row.text("provider"),
                model=row.text("model"),
                request_hash=request,
                repeat=repeat,
                fingerprint=row.text("fingerprint"),
                own_digest=row.text("own_digest"),
                state=state.value,
                arguments=row.of_type("arguments", Mapping),
                inputs=list(row.of_type("inputs", Sequence)),
                duration_s=row.whole("duration_s"),
                resolution=row.text("resolution"),
                has_audio=None if row.values.get("has_audio") is None else row.yes_or_no("has_audio"),
                campaign=row.text_or_none("campaign"),
                quoted_low_nanos=low.nanos,
                quoted_high_nanos=high.nanos,
                held_nanos=0,
                provider_job_id=row.text_or_none("provider_job_id"),
                attempt_id=attempt_id,
                owner=OWNER,
                retryable=False,
                error=row.text_or_none("error") if not stored else None,
                result_url=row.text_or_none("result_url"),
                video_uri=row.text("video_uri") if stored else row.text_or_none("video_uri"),
                video_key=row.text("video_key") if stored else row.text_or_none("video_key"),
                video_sha256=row.text("video_sha256") if stored else row.text_or_none("video_sha256"),
                video_bytes=row.whole("video_bytes", 1, 2**62) if stored else None,
                video_duration_s=row.number_or_none("video_duration_s"),
                poster_uri=row.text_or_none("poster_uri"),
                simulated=row.yes_or_no("simulated"),
                run_id=row.text_or_none("run_id"),
                claimed_at=claimed_at,
                submitted_at=submitted_at,
                generated_at=row.moment_or_none("generated_at"),
                stored_at=row.moment("stored_at") if stored else None,
                updated_at=self.step.now,
                sent_at=began_at,
                doubted_at=row.moment_or_none("doubted_at"),
                looks=row.whole("looks") if row.values.get("looks") is not None else 0,
                result_expires_at=row.moment_or_none("result_expires_at"),
                fetches=row.whole("fetches") if row.values.get("fetches") is not None else 0,
                kept_key=None if stored else row.text_or_none("kept_key"),
                duplicate_allowed_nanos=duplicate,
            )
        )
        connection.execute(
            attempts.insert().values(
                id=attempt_id,
                job_id=job_id,
                n=1,
                owner=OWNER,
                began_at=began_at,
                ended_at=submitted_at or began_at,
                outcome="accepted",
                detail=self._note,
                account=None,  # no manifest says so, and nobody has to ask about a video that is stored
            )
        )
        books = Account(connection, job_id, Money(0), None, None, self.step.now)
        books.bill(billed, basis, self._note)
        change(self.step, job_id, **books.close())

    def _add_take(self, shot: str, number: int, job_id: str, own_digest: str) -> None:
        query = sa.select(takes.c.job_id).where(takes.c.shot == shot, takes.c.take == number)
        other = self.step.connection.execute(query).scalar()
        if other == job_id:
            return
        if other is not None:
            raise _RefusedError(f"the ledger has job {other} as take {number} of {shot}")
        self.step.connection.execute(
            takes.insert().values(
                shot=shot,
                take=number,
                job_id=job_id,
                own_digest=own_digest,
                request_hash=self.row.text("request_hash"),
                reused=(shot, number) != (self.row.text("shot"), self.row.whole("take", 1)),
                video_uri=self.row.text_or_none("video_uri"),
                created_at=self.row.moment_or_none("claimed_at") or self.step.now,
            )
        )

    def _register_owner(self) -> None:
        connection, now = self.step.connection, self.step.now
        if connection.execute(sa.select(owners.c.id).where(owners.c.id == OWNER)).first() is None:
            connection.execute(
                owners.insert().values(
                    id=OWNER,
                    host="none: restored from the manifests in the bucket",
                    host_id=OWNER,
                    pid=0,
                    process_started=OWNER,
                    registered_at=now,
                    heartbeat_at=now,
                    released_at=now,
                )
            )

    @property
    def _note(self) -> str:
        return f"restored from {self.item.key}"
