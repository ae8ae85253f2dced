"""The invariant of docs/architecture.md ("never pays twice, never loses a video that was paid for"), checked against the
simulator's own books after a history that was healed. What does not belong here: making the history happen.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.books import Job as Taken
from wan_pipeline.spend.records import OPEN_STATES, Job, JobState
from wan_pipeline_tests.generation.lying_network import own_video
from wan_pipeline_tests.generation.lying_world import RESULTS_LAST_S, World, tiny_videos

S = JobState
_ACCEPTED = frozenset({S.SUBMITTED, S.GENERATED, S.STORED, S.FAILED, S.LOST})
_BY_A_PERSON = frozenset({S.RELEASED, S.WRITTEN_OFF})
_DECIDABLE = frozenset({"aimlapi", "wavespeed"})  # ShortAPI has no witness: what is ambiguous there stands for a person


class Reckoning:
    """The ledger's jobs beside what the providers have really taken."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jobs = {job.id: job for job in world.direct.jobs()}
        self.attempts = {job_id: world.direct.attempts(job_id) for job_id in self.jobs}
        self.job_of_attempt = {each.id: job_id for job_id, found in self.attempts.items() for each in found}
        books = Books(world.simulator, world.clocks.simulator_s)
        self.taken: dict[str, Taken] = {job.id: job for job in books.jobs()}
        self.charges = Counter(entry.job_id for entry in books.charges())
        self.refunded = {entry.job_id for entry in books.refunds()}
        books.close()
        self.posts = Counter(post.attempt_id for post in world.wire.posts)
        self.true_job: dict[str, str | None] = {}  # the ledger's job that really bought it, by the provider's id
        for post in world.wire.posts:
            if post.job_id is not None:
                self.true_job[post.job_id] = self.job_of_attempt.get(post.attempt_id or "")
        self.known: dict[str, list[Job]] = defaultdict(list)
        for job in self.jobs.values():
            if job.provider_job_id is not None:
                self.known[job.provider_job_id].append(job)

    def violations(self) -> list[str]:
        found = [
            *self.world.violations,
            *self._posts(),
            *self._charges_are_known(),
            *self._nothing_is_paid_twice(),
            *self._nothing_is_forgotten(),
            *self._what_is_stored_is_there(),
            *self._what_ended_badly_did(),
        ]
        return list(dict.fromkeys(found))

    def _posts(self) -> Iterator[str]:
        for attempt_id, count in self.posts.items():
            if count > 1:
                yield f"attempt {attempt_id} was posted {count} times"
            if attempt_id not in self.job_of_attempt:
                yield f"attempt {attempt_id} was posted, and the ledger does not know it"

    def _charges_are_known(self) -> Iterator[str]:
        """Every charge is a job of the ledger, or an ambiguity of it, or a person's decision about one."""
        for provider_id, count in self.charges.items():
            if count != 1:
                yield f"the books charge {provider_id} {count} times"
            holders = self.known.get(provider_id, [])
            if len(holders) > 1:
                yield f"{provider_id} is held for {len(holders)} jobs: {[job.id for job in holders]}"
            if holders:
                continue
            job = self.jobs.get(self.true_job.get(provider_id) or "")
            if job is None:
                yield f"the charge for {provider_id} is no job of the ledger"
            elif job.state is S.AMBIGUOUS:
                continue
            elif not (job.state in _BY_A_PERSON and job.id in self.world.decisions):
                yield f"the charge for {provider_id} was job {job.id}'s, which is {job.state}: {job.error}"
        for provider_id, holders in self.known.items():
            for job in holders:
                yield from self._is_its_own(job, provider_id)

    def _is_its_own(self, job: Job, provider_id: str) -> Iterator[str]:
        """The id is that of a purchase of the very same request."""
        taken = self.taken.get(provider_id)
        bought_for = self.jobs.get(self.true_job.get(provider_id) or "")
        if taken is None:
            yield f"job {job.id} has the id {provider_id}, which {job.provider} never gave"
        elif bought_for is None or bought_for.request_hash != job.request_hash:
            yield f"job {job.id} has the id {provider_id}, which was bought for {bought_for and bought_for.id}"

    def ambiguities(self) -> Iterator[str]:
        """How each ambiguity ended, in words for the figures."""
        for job_id, job in self.jobs.items():
            if job.doubted_at is None:
                continue
            word = self.world.decisions.get(job_id)
            if word is not None:
                yield f"a person said: {word}"
            elif job.state is S.AMBIGUOUS:
                yield f"stands for a person ({job.provider})"
            elif job.state is S.RELEASED:
                yield "absent"
            else:
                yield "found"

    def paid(self, job: Job) -> bool:
        """Whether money is gone for it, by the books: for what the ledger has as its own, else for what was sent for it
        and is nobody else's."""
        own = [job.provider_job_id] if job.provider_job_id else []
        own = own or [item for item, job_id in self.true_job.items() if job_id == job.id and item not in self.known]
        return any(self.charges[item] and item not in self.refunded for item in own)

    def _nothing_is_paid_twice(self) -> Iterator[str]:
        """A request that was paid for is paid for again only where a person asked for that."""
        by_request: dict[str, list[Job]] = defaultdict(list)
        for job in sorted(self.jobs.values(), key=lambda each: each.repeat):
            by_request[job.request_hash].append(job)
        for request, bought in by_request.items():
            allowed = 1
            for number, job in enumerate(bought):
                # What was asked for and never taken is bought anew by the next run: the word for it still holds.
                before = bought[:number]
                allowed += any(map(self.paid, before)) and self._asked_for(job, before)
            paid = [job.id for job in bought if self.paid(job)]
            if len(paid) > allowed:
                yield f"request {request[:8]} was paid as {paid}, and {allowed} of it were asked for"

    def _asked_for(self, job: Job, before: list[Job]) -> bool:
        options = self.world.runs.get(self.world.bought_by.get(job.id, ""))
        if options is not None and options.new_take:
            return True
        words = {self.world.decisions.get(each.id, "") for each in before}
        if options is not None and options.retry_failed and any(word.startswith("not charged") for word in words):
            return True  # the person's word was wrong, and they asked for it by name then
        allowed = [each for each in before if self.world.decisions.get(each.id, "").endswith("with duplicate")]
        return any(job.quoted_high <= each.quoted_high for each in allowed)

    def _nothing_is_forgotten(self) -> Iterator[str]:
        for job in self.jobs.values():
            if job.state in OPEN_STATES:
                yield f"job {job.id} ({job.shot}, {job.provider}) is still {job.state}: {job.error}"

    def _what_is_stored_is_there(self) -> Iterator[str]:
        bucket = self.world.bucket
        shared = next(tiny_videos().iterdir()).read_bytes()
        for job in self.jobs.values():
            if job.state is not S.STORED:
                continue
            key = job.video_key or ""
            if not bucket.exists(key):
                yield f"job {job.id} is stored, and {key} is not there"
                continue
            content = bucket.read(key)
            if hashlib.sha256(content).hexdigest() != job.video_sha256:
                yield f"job {job.id}: {key} is not what was stored"
            if content != own_video(shared, job.provider_job_id or ""):
                yield f"job {job.id}: {key} is not the video that {job.provider_job_id} gave"
            manifest_key = key.removesuffix(".mp4") + ".json"
            if not bucket.exists(manifest_key) or not bucket.exists(key.removesuffix(".mp4") + ".webp"):
                yield f"job {job.id}: the poster or the manifest of {key} is missing"
                continue
            manifest = json.loads(bucket.read(manifest_key))
            if (manifest["job"]["id"], manifest["video"]["sha256"]) != (job.id, job.video_sha256):
                yield f"job {job.id}: {manifest_key} is another's"

    def _what_ended_badly_did(self) -> Iterator[str]:
        """Failed is what the provider says has failed; lost is what cannot be had."""
        now_s = self.world.clocks.simulator_s()
        for job in self.jobs.values():
            taken = self.taken.get(job.provider_job_id or "")
            if job.state is S.FAILED and (taken is None or not taken.fails):
                yield f"job {job.id} has failed, and {job.provider} made its video: {job.error}"
            if job.state is S.LOST and taken is not None:
                expired = now_s >= taken.ready_at.timestamp() + RESULTS_LAST_S[taken.provider]
                if not expired and not taken.mishap and not self.world.wire.file_lies[taken.id]:
                    yield f"job {job.id} is lost, and can be had: {job.error}"
