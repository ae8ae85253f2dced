"""A random history of shots, holders, providers' answers, deaths and orders, checked after each step.

The world here is what the ledger cannot see: which POSTs a provider took. Whatever happens, and in whatever order:
nobody pays twice unless a person asked, no charge is unknown, the books add up and are never rewritten, and an answer
to a POST is never turned away.
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
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

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
    MoneyEntry,
    Outdated,
    OverBudget,
    Reused,
    Standing,
)
from wan_pipeline_tests.spend.conftest import empty_postgres
from wan_pipeline_tests.spend.samples import NOON, PRICE, elsewhere, request_for, video

S = JobState
SHOTS = ("cat", "dog", "its twin")
PROMPTS = ("a", "b")
LIMIT = Budgets(PRICE * 6, PRICE * 8, PRICE * 4)
PLAIN = ClaimOptions()
OPTIONS = st.one_of(st.just(PLAIN), st.builds(ClaimOptions, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
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
        self.books: list[MoneyEntry] = []

    def _born(self) -> Ledger:
        self.lives += 1
        return Ledger.open(self.url, owner=elsewhere(f"host-{self.lives}"))

    def _post(self, holder: int, job: Job, attempt_id: str, taken: bool) -> None:
        self.sent[attempt_id] += 1
        self.posts.append(Post(holder, job.id, attempt_id, taken))
        if taken:
            self.taken[job.id] += 1
            if job.id not in self.asked:
                self.unasked[job.request_hash] += 1

    # --- what happens ---

    @rule(
        holder=st.integers(0, 2),
        shot=st.sampled_from(SHOTS),
        prompt=st.sampled_from(PROMPTS),
        own=st.sampled_from(["own-1", "own-2"]),
        options=OPTIONS,
        taken=st.booleans(),
    )
    def claim(self, holder: int, shot: str, prompt: str, own: str, options: ClaimOptions, taken: bool) -> None:
        request = request_for(shot, prompt, own=own)
        before = {job.id: job for job in self.reader.jobs()}
        answer = self.holders[holder].claim(request, LIMIT, options, now=self.now)
        after = {job.id: job for job in self.reader.jobs()}
        if isinstance(answer, Bought):
            assert not options.collect_only
            old = before.get(answer.job.id)
            assert old is None or old.state is S.RESERVED or (old.state is S.REJECTED and old.retryable)
            same = [job for job in before.values() if job.request_hash == request.request_hash]
            if old is None and same:
                assert options.new_take or options.retry_failed
                self.asked.add(answer.job.id)
            assert answer.job.state is S.SUBMITTING
            assert answer.job.held == PRICE
            self._post(holder, answer.job, answer.attempt_id, taken)
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
        for job_id, job in before.items():  # a claim changes nothing but what nobody holds
            if after[job_id].state is not job.state:
                assert (job.state, after[job_id].state) in {
                    (S.SUBMITTING, S.AMBIGUOUS),
                    (S.RESERVED, S.SUBMITTING),
                    (S.RESERVED, S.REJECTED),
                    (S.REJECTED, S.SUBMITTING),
                }

    @precondition(lambda self: self.posts)
    @rule(
        data=st.data(),
        reported=st.sampled_from([None, ZERO, Money.usd("0.13"), PRICE]),
        otherwise=st.sampled_from(["refused", "not sent", "rejected", "denied"]),
    )
    def the_answer_comes(self, data: st.DataObject, reported: Money | None, otherwise: str) -> None:
        """Perhaps late; it is never turned away."""
        post = self.posts.pop(data.draw(st.integers(0, len(self.posts) - 1)))
        ledger, job_id, attempt_id = self.holders[post.holder], post.job_id, post.attempt_id
        if post.taken:
            job = ledger.mark_accepted(job_id, attempt_id, f"p-{attempt_id}", reported, now=self.now)
            assert job.state is S.SUBMITTED
            assert job.provider_job_id == f"p-{attempt_id}"
        elif otherwise == "refused":
            assert ledger.mark_refused(job_id, attempt_id, "429", now=self.now).state is S.RESERVED
        elif otherwise == "not sent":
            assert ledger.mark_not_sent(job_id, attempt_id, "no route", now=self.now).state is S.RESERVED
        else:
            retryable = otherwise == "denied"
            assert ledger.mark_rejected(job_id, attempt_id, "4xx", retryable, now=self.now).state is S.REJECTED

    @precondition(lambda self: self.posts)
    @rule(data=st.data())
    def the_answer_is_lost(self, data: st.DataObject) -> None:
        post = self.posts.pop(data.draw(st.integers(0, len(self.posts) - 1)))
        job = self.holders[post.holder].mark_ambiguous(post.job_id, post.attempt_id, "timeout", now=self.now)
        assert job.state is S.AMBIGUOUS

    @rule(holder=st.integers(0, 2), taken=st.booleans())
    def send_again(self, holder: int, taken: bool) -> None:
        for job in self.reader.jobs(S.RESERVED):
            if job.owner == self.holders[holder].owner_id:
                attempt_id = self.holders[holder].begin_attempt(job.id, now=self.now)
                self._post(holder, job, attempt_id, taken)

    @rule(
        holder=st.integers(0, 2),
        end=st.sampled_from([S.GENERATED, S.STORED, S.FAILED, S.LOST]),
        amount=st.sampled_from([None, ZERO, Money.usd("0.13")]),
    )
    def the_provider_goes_on(self, holder: int, end: JobState, amount: Money | None) -> None:
        """The holder walks every arrow it can; what another one holds it is kept from."""
        ledger = self.holders[holder]
        for job in self.reader.jobs([S.SUBMITTED, S.GENERATED]):
            try:
                if end is S.STORED:
                    ledger.mark_stored(job.id, video(), now=self.now)
                elif end is S.GENERATED:
                    ledger.mark_generated(job.id, "https://x/v", amount, now=self.now)
                elif end is S.LOST:
                    ledger.mark_lost(job.id, "410", now=self.now)
                else:
                    ledger.mark_failed(job.id, "policy", amount, now=self.now)
            except NotHolderError:
                assert job.owner != ledger.owner_id
            except LedgerError:
                assert (job.state, end) in {(S.SUBMITTED, S.STORED), (S.GENERATED, S.FAILED)}
            else:
                assert job.owner == ledger.owner_id

    @rule(holder=st.integers(0, 2))
    def die(self, holder: int) -> None:
        """Its answers never come; another process takes its place, and nobody tells the ledger."""
        self.posts = [post for post in self.posts if post.holder != holder]
        self.holders[holder]._database.close()
        self.holders[holder] = self._born()

    @rule(holder=st.integers(0, 2))
    def end_in_order(self, holder: int) -> None:
        if not any(post.holder == holder for post in self.posts):
            self.holders[holder].release_owner(now=self.now)

    @rule(seconds=st.sampled_from([1, 30, 61, 86_400]), beating=st.sets(st.integers(0, 2)))
    def time_passes(self, seconds: int, beating: set[int]) -> None:
        """A holder that misses its beats seems dead, and may yet go on."""
        self.now += timedelta(seconds=seconds)
        for holder in beating:
            self.holders[holder].heartbeat(now=self.now)

    # --- what always holds ---

    @invariant()
    def each_attempt_is_sent_once(self) -> None:
        assert all(count == 1 for count in self.sent.values())

    @invariant()
    def the_provider_charges_each_job_once_and_each_request_once_unless_a_person_asked(self) -> None:
        assert all(count == 1 for count in self.taken.values())
        assert all(count == 1 for count in self.unasked.values())

    @invariant()
    def every_charge_of_the_provider_is_known(self) -> None:
        jobs = {job.id: job for job in self.reader.jobs()}
        for job_id in self.taken:
            assert jobs[job_id].state in KNOWN_TO_PROVIDER | {S.SUBMITTING, S.AMBIGUOUS}

    @invariant()
    def the_ledger_agrees_with_itself(self) -> None:
        assert self.reader.verify() == []
        jobs = self.reader.jobs()
        assert len({(job.request_hash, job.repeat) for job in jobs}) == len(jobs)

    @invariant()
    def the_books_are_only_added_to(self) -> None:
        books = self.reader.entries()
        assert books[: len(self.books)] == self.books
        self.books = books

    @invariant()
    def no_budget_is_passed(self) -> None:
        use = self.reader.budget_use(self.now, simulated=False)
        assert use.day.used <= (LIMIT.daily or ZERO)
        assert use.month.used <= (LIMIT.monthly or ZERO)
        for shot in SHOTS:
            used = Money.total(job.held + (job.billed or ZERO) for job in self.reader.jobs(shot=shot))
            assert used <= (LIMIT.shot or ZERO)

    def teardown(self) -> None:
        """At last everybody is gone: what is open then is taken up, stands or is finished, and nothing is forgotten."""
        self.now += timedelta(hours=1)
        heir = self._born()
        for job in self.reader.open_jobs():
            outcome = heir.take_over(job.id, now=self.now)
            assert isinstance(outcome, Joined | Standing)
            if isinstance(outcome, Joined):
                assert outcome.mine
                heir.mark_stored(heir.mark_generated(job.id, "https://x/v", now=self.now).id, video(), now=self.now)
        assert self.reader.open_jobs() == []
        self.every_charge_of_the_provider_is_known()
        self.the_ledger_agrees_with_itself()
        for ledger in (*self.holders, heir, self.reader):
            ledger._database.close()


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
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
