"""Which shots `run` has to make, and what is already known of the others, without reading a single input file.

A rerun with nothing to do must be quick, so what the ledger and the shot index can answer is not asked of the engine.
Where they cannot, the shot is made: the engine and the claim decide again, and buy nothing that is bought.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from wan_pipeline.defs.take_up import is_to_be_taken_up
from wan_pipeline.generation.events import Verdict
from wan_pipeline.generation.outlook import outlook
from wan_pipeline.media.info import ImageInfo
from wan_pipeline.problems import ProblemsError
from wan_pipeline.providers.base import MediaInput, Slot, request_hash
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import OPEN_STATES, ClaimOptions, Job, JobState, Take
from wan_pipeline.spend.shot_index import IndexedShot

# The fingerprint of a request holds an input's hash, not what it looks like.
_UNSEEN = ImageInfo(format="", width=0, height=0, has_alpha=False, size_bytes=0)


@dataclass(frozen=True)
class Known:
    """A shot that is not to be made in this run, and why."""

    shot: Shot
    verdict: Verdict
    reason: str
    job: Job | None
    take: Take | None


@dataclass(frozen=True)
class WorkList:
    """`known` and `to_make` together are all shots that were asked for."""

    to_make: tuple[Shot, ...]
    known: tuple[Known, ...]
    gone: tuple[Job, ...]  # in flight or to be looked for, of shots that are in the bucket no more


@dataclass(frozen=True)
class Facts:
    """What is known before anything is read."""

    rows: Mapping[str, IndexedShot]  # brought in line with the bucket just now
    takes: Mapping[str, Take]
    jobs: Mapping[str, Job]
    waiting: Sequence[Job]  # in flight, or ambiguous and due for a look
    waiting_shots: frozenset[str]
    next_steps: Mapping[str, str]  # by the id of an ambiguous job: what happens to it next
    videos: frozenset[str]  # the keys below videos/
    now: datetime

    @classmethod
    def read(
        cls,
        ledger: Ledger,
        rows: Mapping[str, IndexedShot],
        videos: Collection[str],
        *,
        simulated: bool,
        absent_after: timedelta,
        now: datetime,
    ) -> Facts:
        """From the ledger; demo mode's jobs and real ones know nothing of each other."""
        jobs = {job.id: job for job in ledger.jobs(simulated=simulated)}
        due = {job.id for job in ledger.ambiguous(simulated=simulated, due=True)}
        waiting = [job for job in jobs.values() if job.state in OPEN_STATES or job.id in due]
        ambiguous = [job for job in jobs.values() if job.state is JobState.AMBIGUOUS]
        return cls(
            rows=rows,
            takes=ledger.current_takes(simulated=simulated),
            jobs=jobs,
            waiting=waiting,
            waiting_shots=frozenset(job.shot for job in waiting),
            next_steps={job.id: outlook(ledger, job, absent_after, now).next for job in ambiguous},
            videos=frozenset(videos),
            now=now,
        )


def work_list(shots: Sequence[Shot], facts: Facts, options: ClaimOptions, *, by_name: bool, whole: bool) -> WorkList:
    """`by_name`: a person named these shots, so each is looked at. `whole`: they are all there are in the bucket."""
    to_make: list[Shot] = []
    known: list[Known] = []
    for shot in shots:
        answer = None if by_name or options.new_take else _known(shot, facts, options)
        if answer is None:
            to_make.append(shot)
        else:
            known.append(answer)
    present = {shot.key for shot in shots}
    gone = [job for job in facts.waiting if whole and job.shot not in present]
    return WorkList(tuple(to_make), tuple(known), tuple(gone))


def _known(shot: Shot, facts: Facts, options: ClaimOptions) -> Known | None:
    """What can be said of the shot at once; None: it has to be made, or looked at by the engine."""
    if shot.key in facts.waiting_shots:
        return None
    row = facts.rows[shot.key]
    take = facts.takes.get(shot.key)
    job = facts.jobs.get(take.job_id) if take is not None else None
    if not shot.ready:
        # Once, so that its partition shows the reason; after that the reason is known.
        reason = "; ".join(str(problem) for problem in shot.problems)
        return None if is_to_be_taken_up(row) else Known(shot, Verdict.NOT_READY, reason, job, take)
    due = shot.not_before is None or shot.not_before <= facts.now
    if take is None or job is None or not _is_of_present_version(row, take):
        return None if due else _not_due(shot, job, take)
    same = _is_same_request(shot, job)
    if same is None or job.state in OPEN_STATES:
        return None
    if job.state is JobState.STORED:
        if same:
            there = f"videos/{shot.key}/take-{take.take}.mp4" in facts.videos
            return Known(shot, Verdict.REUSED, "", job, take) if there else None
        reason = "a _defaults.yaml has changed since this video was made; run --outdated makes it anew"
        return None if options.outdated else Known(shot, Verdict.OUTDATED, reason, job, take)
    if not same or options.retry_failed or _may_be_bought_anew(job):
        return None if due else _not_due(shot, job, take)
    return _standing(shot, job, take, facts)


def _may_be_bought_anew(job: Job) -> bool:
    """Given up for no fault of the request, found to be nowhere, or a person has allowed a second purchase (whether its
    quote is within what was allowed is for the claim to say)."""
    return (job.state in (JobState.REJECTED, JobState.RELEASED) and job.retryable) or job.duplicate_allowed is not None


def _is_of_present_version(row: IndexedShot, take: Take) -> bool:
    """Has a run brought this version of the shot to an end, and the take come from it?"""
    return row.taken_up and row.version_seen_at <= take.created_at


def _is_same_request(shot: Shot, job: Job) -> bool | None:
    """Would the shot ask today for what the job has asked for? Computed with the inputs' hashes of then, which are those
    of today where the shot's version is. None: it cannot be computed, so it is for the engine to say."""
    if shot.order is None or shot.model_id is None:
        return None
    hashes = {str(item["slot"]): str(item["sha256"]) for item in job.inputs}
    slots: list[Slot] = list(shot.order.slots)
    if set(hashes) != {str(slot) for slot in slots}:
        return None
    inputs = [MediaInput(slot, shot.inputs.get(slot, ""), hashes[str(slot)], _UNSEEN) for slot in slots]
    try:
        return request_hash(find_model(shot.model_id), shot.order, inputs) == job.request_hash
    except ProblemsError:
        return None


def _not_due(shot: Shot, job: Job | None, take: Take | None) -> Known:
    moment = shot.not_before.isoformat().replace("+00:00", "Z") if shot.not_before else ""
    return Known(shot, Verdict.NOT_DUE, f"not before {moment}", job, take)


def _standing(shot: Shot, job: Job, take: Take, facts: Facts) -> Known:
    from wan_pipeline.spend.claim import remedy

    error = (job.error or "no reason given").rstrip(".")
    if job.state is JobState.AMBIGUOUS:
        reason = f"{error}; {job.held} USD are held for it. It {facts.next_steps[job.id]}."
        return Known(shot, Verdict.AMBIGUOUS, reason, job, take)
    return Known(shot, Verdict.FAILED, f"{job.state}: {error}. {remedy(job, shot.key)}", job, take)
