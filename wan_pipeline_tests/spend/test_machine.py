"""A random history of shots, holders, providers' answers, deaths and orders, checked after each step.

The world here is what the ledger cannot see: which POSTs a provider took. Whatever happens, and in whatever order:
nobody pays twice unless a person asked, no charge is unknown, the books add up and are never rewritten, and an answer
to a POST is never turned away. Whoever looks for a lost submission finds it where the provider took it (when is the
engine's matter); a person errs only on the side of paying.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.errors import LedgerError, NotHolderError
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import (
    Bought,
    Budgets,
    ClaimOptions,
    Job,
    JobState,
    Joined,
    Look,
    MoneyEntry,
    Outdated,
    OverBudget,
    ProviderBusy,
    Reused,
    Standing,
    SubmitLimits,
    Take,
)
from wan_pipeline_tests.spend.conftest import empty_postgres
from wan_pipeline_tests.spend.samples import NOON, PRICE, elsewhere, request_for, video

S = JobState
SHOTS = ("cat", "dog", "its twin")
PROMPTS = ("a", "b", "c", "d")
LIMIT = Budgets(PRICE * 3, PRICE * 5, PRICE * 4, {"spring": PRICE * 9}, {"wavespeed": PRICE * 5})
ROOM = SubmitLimits(max_in_flight=3, submits_per_minute=4)
PLAIN = ClaimOptions()
OPTIONS = st.one_of(st.just(PLAIN), st.builds(ClaimOptions, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
Wish = tuple[int, str, str, str]  # who wants which shot with which prompt, and the digest of its own files
WISHES = st.tuples(
    st.integers(0, 2), st.sampled_from(SHOTS), st.sampled_from(PROMPTS), st.sampled_from(["own-1", "own-2"])
)
# None: it is on its way for a while; "lost": the provider took it, and nobody hears of it; "never taken": it did not, and
# nobody hears of that either.
ANSWERS = st.sampled_from([None, *["accepted"] * 3, *["lost"] * 4, "refused", "rejected", "denied", "never taken"])
EVENTS = st.sampled_from(
    [
        *[None] * 3,
        *["late answer"] * 3,
        *["the provider goes on"] * 4,
        *["send again"] * 2,
        *["silence"] * 2,
        *["the search"] * 3,
        *["a person"] * 2,
        *["a callback"] * 2,
        "the sensor",
        "death",
        "orderly end",
    ]
)
KNOWN_TO_PROVIDER = frozenset({S.SUBMITTED, S.GENERATED, S.STORED, S.LOST, S.FAILED})


@dataclass(frozen=True)
class Post:
    """A request under way. `taken`: the provider took it, which nobody here knows until the answer comes."""

    holder: int
    job_id: str
    attempt_id: str
    taken: bool


class History(RuleBasedStateMachine):
    url: str  # set by the test: an empty ledger

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOON
        self.lives = 0
        self.holders = [self._born() for _ in range(3)]
        self.reader = Ledger.open(self.url)
        self.posts: list[Post] = []  # unanswered
        self.sent: Counter[str] = Counter()  # attempts
        self.taken: Counter[str] = Counter()  # in the provider's books, by job
        self.unasked: Counter[str] = Counter()  # taken though no person had asked for more than one, by request
        self.asked: set[str] = set()  # jobs bought because a person asked for more
        self.begun: list[datetime] = []
        self.named: set[str] = set()  # by callbacks
        self.books: list[MoneyEntry] = []
        self.answers = 0

    def _born(self) -> Ledger:
        self.lives += 1
        return Ledger.open(self.url, owner=elsewhere(f"host-{self.lives}"))

    def _post(self, holder: int, job: Job, attempt_id: str, taken: bool) -> None:
        self.sent[attempt_id] += 1
        self.begun.append(self.now)
        self.posts.append(Post(holder, job.id, attempt_id, taken))
        if taken:
            self.taken[job.id] += 1
            if job.id not in self.asked:
                self.unasked[job.request_hash] += 1

    # --- what happens ---

    @rule(wish=WISHES, options=OPTIONS, answer=ANSWERS, event=EVENTS, number=st.integers(0, 11))
    def somebody_claims_and_then(
        self, wish: Wish, options: ClaimOptions, answer: str | None, event: str | None, number: int
    ) -> None:
        """One rule, so that Hypothesis does not fill most histories with what comes to nothing."""
        self._claim(wish, options, answer)
        match event:
            case "late answer" if self.posts:
                post = self.posts.pop(number % len(self.posts))
                otherwise = ("refused", "not sent", "rejected", "denied", "lost")[number % 5]
                self._answer(post, "accepted" if post.taken else otherwise)
            case "the provider goes on":
                end = (S.STORED, S.STORED, S.STORED, S.GENERATED, S.FAILED, S.LOST)[number % 6]
                self.the_provider_goes_on(number % 3, end, (None, ZERO, Money.usd("0.13"))[number // 4])
            case "send again":
                self.send_again(number % 3, taken=number % 2 == 0)
            case "silence":
                beating = {0, 1, 2} - {number % 3, number // 4}
                self.time_passes(86_400 if number == 0 else 61, beating)
            case "the search":
                self.the_search_ends(number % 3)
            case "a person":
                self.a_person_decides(number % 3, (None, PRICE, ZERO)[number // 4])
            case "a callback":
                self.a_callback_comes(number)
            case "the sensor":
                self.the_sensor_settles(number % 3)
            case "death":
                self.die(number % 3)
            case "orderly end":
                self.end_in_order(number % 3)
            case _:
                pass

    def _claim(self, wish: Wish, options: ClaimOptions, come: str | None) -> None:
        holder, shot, prompt, own = wish
        request = request_for(shot, prompt, own=own, campaign="spring")
        before = {job.id: job for job in self.reader.jobs()}
        take = self.reader.current_take(shot)
        limits = ROOM if holder else None
        answer = self.holders[holder].claim(request, LIMIT, options, limits, now=self.now)
        after = {job.id: job for job in self.reader.jobs()}
        if isinstance(answer, Bought):
            assert not options.collect_only
            assert limits is None or self._is_room(before)
            old = before.get(answer.job.id)
            assert old is None or old.state is S.RESERVED or (old.state is S.REJECTED and old.retryable)
            same = [job for job in before.values() if job.request_hash == request.request_hash]
            if old is None and same:
                latest = max(same, key=lambda job: job.repeat)
                if not (latest.state is S.RELEASED and latest.retryable):  # found to be nowhere: that is no duplicate
                    self._may_be_bought_again(latest, take, before, options)
                    self.asked.add(answer.job.id)
                elif latest.id in self.asked:  # what a person asked for has come to nothing: it is still asked for
                    self.asked.add(answer.job.id)
            assert answer.job.state is S.SUBMITTING
            assert answer.job.held == PRICE
            self._post(holder, answer.job, answer.attempt_id, taken=come in ("accepted", "lost", None))
            if come is not None:
                self._answer(self.posts.pop(), "lost" if come == "never taken" else come)
        else:
            assert set(after) == set(before)
        if isinstance(answer, Reused | Outdated):
            assert answer.job.state is S.STORED
            assert answer.take.shot == shot
        if isinstance(answer, Reused):
            assert answer.job.request_hash == request.request_hash
            assert answer.take.job_id == answer.job.id
        if isinstance(answer, Joined):
            assert answer.job.state in (S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.GENERATED)
            mine = self.holders[holder].owner_id
            assert (after[answer.job.id].owner == mine) if answer.mine else True
        if isinstance(answer, OverBudget):
            assert answer.used + answer.needed > answer.allowed
        if isinstance(answer, ProviderBusy):
            assert before == after
            assert not self._is_room(before)
            assert 0.5 <= answer.wait_s <= 60
        for job_id, job in before.items():  # a claim changes nothing but what nobody holds
            if after[job_id].state is not job.state:
                assert (job.state, after[job_id].state) in {
                    (S.SUBMITTING, S.AMBIGUOUS),
                    (S.RESERVED, S.SUBMITTING),
                    (S.RESERVED, S.REJECTED),
                    (S.REJECTED, S.SUBMITTING),
                }

    def _may_be_bought_again(
        self, latest: Job, take: Take | None, before: dict[str, Job], options: ClaimOptions
    ) -> None:
        """A person asked for it, and what there is of this request allows it."""
        allowed = latest.duplicate_allowed
        if latest.state in (S.RELEASED, S.WRITTEN_OFF) and allowed is not None and allowed >= PRICE:
            return
        if options.new_take:
            own = before[take.job_id] if take is not None else latest
            has_one = own.request_hash == latest.request_hash and own.state is S.STORED
            ended = (S.STORED, S.FAILED, S.LOST, S.REJECTED, S.RELEASED, S.WRITTEN_OFF)
            assert has_one or latest.state in ended
        else:
            assert options.retry_failed
            assert latest.state in (S.FAILED, S.REJECTED, S.RELEASED)
            assert not latest.billed

    def _is_room(self, jobs: dict[str, Job]) -> bool:
        """As counted here, from the rows and from what was sent. What was fetched in vain may be at its end by now."""
        in_flight = sum(job.state in (S.SUBMITTING, S.SUBMITTED) and job.fetches == 0 for job in jobs.values())
        begun = sum(self.now - timedelta(seconds=60) < at <= self.now for at in self.begun)
        return in_flight < ROOM.max_in_flight and begun < ROOM.submits_per_minute

    def _answer(self, post: Post, come: str) -> None:
        """However late it is, it is never turned away."""
        ledger, job_id, attempt_id = self.holders[post.holder], post.job_id, post.attempt_id
        before = self.reader.job(job_id)
        match come:
            case "accepted":
                reported = self._reported()
                job = ledger.mark_accepted(job_id, attempt_id, f"p-{attempt_id}", reported, now=self.now)
                assert job.provider_job_id == f"p-{attempt_id}"
                expected = before.state if before.provider_job_id else S.SUBMITTED
            case "refused":
                job, expected = ledger.mark_refused(job_id, attempt_id, "429", now=self.now), S.RESERVED
            case "not sent":
                job, expected = ledger.mark_not_sent(job_id, attempt_id, "no route", now=self.now), S.RESERVED
            case "lost":
                found_out = before.state is not S.SUBMITTING
                job = ledger.mark_ambiguous(job_id, attempt_id, "timeout", now=self.now)
                expected = before.state if found_out else S.AMBIGUOUS
            case _:
                retryable = come == "denied"
                job = ledger.mark_rejected(job_id, attempt_id, "4xx", retryable, now=self.now)
                expected = S.REJECTED
        if before.state in (S.RELEASED, S.WRITTEN_OFF) and come != "accepted":
            expected = before.state
        assert job.state is expected

    def _reported(self) -> Money | None:
        """It goes round: nothing, zero, less than quoted, as quoted."""
        self.answers += 1
        return (None, ZERO, Money.usd("0.13"), PRICE)[self.answers % 4]

    def send_again(self, holder: int, *, taken: bool) -> None:
        for job in self.reader.jobs(S.RESERVED):
            if job.owner == self.holders[holder].owner_id:
                room = self._is_room({each.id: each for each in self.reader.jobs()})
                answer = self.holders[holder].begin_attempt(job.id, ROOM, LIMIT, now=self.now)
                match answer:
                    case str():
                        assert room
                        self._post(holder, job, answer, taken)
                    case ProviderBusy():
                        assert not room
                        assert self.reader.job(job.id) == job
                    case OverBudget():
                        given_up = self.reader.job(job.id)
                        assert (given_up.state, given_up.retryable, given_up.held) == (S.REJECTED, True, ZERO)
                        assert job.claimed_at.date() != self.now.date()

    def the_search_ends(self, holder: int) -> None:
        """For the oldest doubt: the truth is found, or not yet."""
        for job in self.reader.ambiguous(simulated=False)[:1]:
            look = Look("list", "found" if self.taken[job.id] else "absent", "", self.now)
            self.holders[holder].record_look(job.id, [look], self.now, now=self.now)
            self._conclude(self.holders[holder], job)

    def _conclude(self, ledger: Ledger, job: Job) -> None:
        if self.taken[job.id]:
            reported = None if job.billed is not None else self._reported()
            found = ledger.resolve_found(job.id, f"p-{job.attempt_id}", "in the list", reported, now=self.now)
            assert found.state is S.SUBMITTED
        else:
            released = ledger.resolve_absent(job.id, "in no list", now=self.now)
            assert (released.state, released.held, released.retryable) == (S.RELEASED, ZERO, True)

    def a_person_decides(self, holder: int, duplicate_up_to: Money | None) -> None:
        for job in self.reader.ambiguous(simulated=False)[:1]:
            ledger = self.holders[holder]
            resolve = ledger.resolve_write_off if self.taken[job.id] else ledger.resolve_not_charged
            assert resolve(job.id, "somebody", duplicate_up_to, now=self.now).duplicate_allowed == duplicate_up_to

    def a_callback_comes(self, number: int) -> None:
        """For something that the provider took, whatever the ledger thinks of it."""
        taken = sorted(job_id for job_id in self.taken)
        if taken:
            before = self.reader.job(taken[number % len(taken)])
            assert self.reader.add_callback(before.attempt_id or "", [f"p-{before.attempt_id}"], now=self.now)
            after = self.reader.job(before.id)
            lost = before.state is S.WRITTEN_OFF and f"p-{before.attempt_id}" not in self.named
            assert after.state is (S.AMBIGUOUS if lost else before.state)
            self.named.add(f"p-{before.attempt_id}")

    def the_sensor_settles(self, holder: int) -> None:
        before = {job.id: job for job in self.reader.jobs()}
        collected = {job.id for job in self.holders[holder].settle_orphans(simulated=False, now=self.now)}
        assert all(before[job_id].state in (S.SUBMITTED, S.GENERATED) for job_id in collected)
        for job in self.reader.jobs():
            if job.state is not before[job.id].state:
                assert (before[job.id].state, job.state) in {(S.SUBMITTING, S.AMBIGUOUS), (S.RESERVED, S.REJECTED)}

    def the_provider_goes_on(self, holder: int, end: JobState, said: Money | None) -> None:
        """The holder walks every arrow it can; what another one holds it is kept from.

        A provider that says more later than it said at first can pass a budget: its first word gave the room away.
        """
        ledger = self.holders[holder]
        for job in self.reader.jobs([S.SUBMITTED, S.GENERATED]):
            amount = said if said is None or job.billed is None else min(said, job.billed)
            try:
                if end is S.STORED:
                    ledger.mark_generated(job.id, "https://x/v", amount, now=self.now)
                    ledger.mark_stored(job.id, video(), now=self.now)
                elif end is S.GENERATED:
                    ledger.mark_generated(job.id, "https://x/v", amount, now=self.now)
                elif end is S.LOST and job.fetches == 0:
                    assert ledger.mark_fetch_failed(job.id, "cut", self.now, now=self.now).fetches == 1
                elif end is S.LOST:
                    ledger.mark_lost(job.id, "410", now=self.now)
                else:
                    ledger.mark_failed(job.id, "policy", amount, now=self.now)
            except NotHolderError:
                assert job.owner != ledger.owner_id
            except LedgerError:
                assert (job.state, end) == (S.GENERATED, S.FAILED)
            else:
                assert job.owner == ledger.owner_id

    def die(self, holder: int) -> None:
        """Its answers never come; another process takes its place. Nobody tells the ledger: its silence does."""
        self.posts = [post for post in self.posts if post.holder != holder]
        self.holders[holder]._database.close()
        self.holders[holder] = self._born()
        self.time_passes(61, {0, 1, 2} - {holder})

    def end_in_order(self, holder: int) -> None:
        if not any(post.holder == holder for post in self.posts):
            self.holders[holder].release_owner(now=self.now)

    def time_passes(self, seconds: int, beating: set[int]) -> None:
        """A holder that misses its beats seems dead, and may yet go on."""
        self.now += timedelta(seconds=seconds)
        for holder in beating:
            self.holders[holder].heartbeat(now=self.now)

    # --- what always holds ---

    @invariant()
    def all_is_well(self) -> None:
        jobs = self.reader.jobs()
        self.nothing_is_paid_twice_unless_a_person_asked()
        self.every_charge_of_the_provider_is_known(jobs)
        self.the_ledger_agrees_with_itself(jobs)
        self.the_books_are_only_added_to()
        self.no_budget_is_passed(jobs)

    def nothing_is_paid_twice_unless_a_person_asked(self) -> None:
        assert all(count == 1 for count in self.sent.values()), "an attempt was sent twice"
        assert all(count == 1 for count in self.taken.values()), "a job was charged twice"
        assert all(count == 1 for count in self.unasked.values()), "a request was bought twice by itself"

    def every_charge_of_the_provider_is_known(self, jobs: list[Job]) -> None:
        states = {job.id: job.state for job in jobs}
        assert {states[job_id] for job_id in self.taken} <= KNOWN_TO_PROVIDER | {
            S.SUBMITTING,
            S.AMBIGUOUS,
            S.WRITTEN_OFF,
        }

    def the_ledger_agrees_with_itself(self, jobs: list[Job]) -> None:
        assert self.reader.verify() == []
        assert len({(job.request_hash, job.repeat) for job in jobs}) == len(jobs)

    def the_books_are_only_added_to(self) -> None:
        books = self.reader.entries()
        assert books[: len(self.books)] == self.books
        self.books = books

    def no_budget_is_passed(self, jobs: list[Job]) -> None:
        use = self.reader.budget_use(self.now, simulated=False)
        assert use.day.used <= (LIMIT.daily or ZERO)
        assert use.month.used <= (LIMIT.monthly or ZERO)
        for shot in SHOTS:
            used = Money.total(job.held + (job.billed or ZERO) for job in jobs if job.shot == shot)
            assert used <= (LIMIT.shot or ZERO)

    def teardown(self) -> None:
        """At last everybody is gone: what is open then is taken up, stands or is finished, and nothing is forgotten."""
        self.now += timedelta(hours=1)
        heir = self._born()
        heir.settle_orphans(simulated=False, now=self.now)
        for job in self.reader.ambiguous(simulated=False):
            self._conclude(heir, job)
        for job in self.reader.open_jobs():
            outcome = heir.take_over(job.id, now=self.now)
            assert isinstance(outcome, Joined | Standing)
            if isinstance(outcome, Joined):
                assert outcome.mine or job.owner == heir.owner_id
                heir.mark_stored(heir.mark_generated(job.id, "https://x/v", now=self.now).id, video(), now=self.now)
        assert self.reader.open_jobs() == []
        assert self.reader.ambiguous(simulated=False) == []
        self.all_is_well()
        for ledger in (*self.holders, heir, self.reader):
            ledger._database.close()


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # a step takes milliseconds: a failing history is told as it was found
        database=None,
    )


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """In memory where there is such a place: durability is not what is tested here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def test_no_history_pays_twice_or_forgets_on_sqlite(sqlite_template: Path, quick_folder: Path) -> None:
    class OnSqlite(History):
        def __init__(self) -> None:
            for leftover in quick_folder.iterdir():
                leftover.unlink()
            path = quick_folder / "ledger.sqlite"
            shutil.copy(sqlite_template, path)
            self.url = f"sqlite:///{path}"
            super().__init__()

    run_state_machine_as_test(OnSqlite, settings=_settings(40))


def test_no_history_pays_twice_or_forgets_on_postgres(postgres_ledger: str) -> None:
    class OnPostgres(History):
        def __init__(self) -> None:
            self.url = postgres_ledger
            empty_postgres(postgres_ledger)
            super().__init__()

    run_state_machine_as_test(OnPostgres, settings=_settings(6))
