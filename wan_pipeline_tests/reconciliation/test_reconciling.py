"""What evidence settles is corrected, once; what it does not stays red until a person accepts it; SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any, cast
from unittest.mock import patch

import pytest

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import ZERO, Money
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import ProviderClient
from wan_pipeline.providers.looking import UnreadError
from wan_pipeline.reconciliation.findings import Standing
from wan_pipeline.reconciliation.publishing import publish
from wan_pipeline.reconciliation.reconciling import Reconciler, Reconciliation, Verdict, chosen
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import LineKind, StatementLine
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Basis, EntryKind, Job, JobState
from wan_pipeline_tests.spend.samples import PRICE, corrected, job_in, request_for

BOUGHT_AT = datetime(2026, 3, 14, 12, tzinfo=UTC)
DAY = Period.day(BOUGHT_AT.date())
LOW = Money.usd("0.10")  # of the quotes here; PRICE is the upper bound
NANO = Money(1)


@dataclass
class Account:
    """A provider's account whose books say what a test wants."""

    lines: list[StatementLine] = field(default_factory=list[StatementLine])
    attempts: dict[str, str] = field(default_factory=dict[str, str])
    trouble: Exception | None = None
    books_title: str = "the provider's books"

    def connect(self, provider: str) -> AbstractAsyncContextManager[ProviderClient]:
        @asynccontextmanager
        async def client() -> AsyncIterator[ProviderClient]:
            yield cast(ProviderClient, self)

        if isinstance(self.trouble, ConfigurationError):
            raise self.trouble
        return client()

    async def statement(self, since: datetime, until: datetime, *, simulated: bool) -> list[StatementLine]:
        if self.trouble is not None:
            raise self.trouble
        return [line for line in self.lines if since <= line.at < until]

    async def sent_with(self, since: datetime, until: datetime) -> dict[str, str]:
        return self.attempts


@dataclass
class Lab:
    ledger: Ledger
    account: Account
    folder: Path
    now: list[datetime]

    def buy(self, shot: str, state: JobState = JobState.STORED, **changed: Any) -> Job:
        request = request_for(shot, shot, quoted_low=LOW, **changed)
        return job_in(self.ledger, state, request)

    def charge(
        self, job: Job, amount: Money = PRICE, kind: LineKind = LineKind.CHARGE, **changed: Any
    ) -> StatementLine:
        name = f"{kind.value}-{job.shot}"
        line = StatementLine("wavespeed", False, "billings", name, kind, job.provider_job_id, amount, BOUGHT_AT)
        line = replace(line, **changed)
        self.account.lines.append(line)
        return line

    def reconcile(self, period: Period = DAY, provider: str = "wavespeed", **how: Any) -> Reconciliation:
        result = self.reconciler.reconcile(provider, period, **how)
        assert self.ledger.verify() == []
        return result

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.ledger, open_bucket(str(self.folder)), self.account.connect, simulated=False)

    def put(self, key: str, text: str) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def lab(ledger_url: str, tmp_path: Path) -> Iterator[Lab]:
    now = [BOUGHT_AT]
    (tmp_path / "bucket").mkdir()
    with Ledger.open(ledger_url, clock=lambda: now[0]) as ledger:
        yield Lab(ledger, Account(), tmp_path / "bucket", now)


def later(lab: Lab, days: int = 5) -> None:
    lab.now[0] = BOUGHT_AT + timedelta(days=days)


def found(result: Reconciliation) -> list[tuple[str, str]]:
    return [(finding.kind.value, finding.standing.value) for finding in result.findings]


def test_an_amount_that_nobody_had_said_is_corrected_by_the_books_once(lab: Lab) -> None:
    job = lab.buy("cat")
    lab.charge(job, Money.usd("0.15"))
    later(lab)

    dry = lab.reconcile(dry_run=True)
    assert found(dry) == [("of another amount", "to be corrected")]
    assert (dry.verdict, lab.ledger.job(job.id).billed) == (Verdict.UNEXPLAINED, PRICE)

    first, second = lab.reconcile(), lab.reconcile()

    assert [each.standing for each in first.corrected] == [Standing.CORRECTED]
    assert (first.findings, first.verdict, second.corrected) == ((), Verdict.EXPLAINED, ())
    billed = lab.ledger.job(job.id)
    assert (billed.billed, billed.basis) == (Money.usd("0.15"), Basis.INVOICED)
    (entry,) = [each for each in lab.ledger.entries(job.id) if each.kind is EntryKind.ADJUSTMENT]
    assert "billings: charge-cat" in entry.note
    (kept,) = second.corrections
    assert (kept.job_id, kept.amount, kept.note) == (job.id, Money.usd("0.15") - PRICE, entry.note)


def test_what_a_person_accepts_is_kept_with_reason_name_and_date_and_its_amount_is_corrected(lab: Lab) -> None:
    job = lab.buy("cat")
    lab.charge(job, PRICE + NANO)  # beyond the quote
    later(lab)
    red = lab.reconcile()
    assert (red.verdict, found(red)) == (Verdict.UNEXPLAINED, [("of another amount", "unexplained")])

    lab.reconciler.accept(red.unexplained, "ticket 417", "Ada")

    after = lab.reconcile()
    assert (after.verdict, after.findings) == (Verdict.EXPLAINED, ())
    assert lab.ledger.job(job.id).billed == PRICE + NANO
    assert "accepted by Ada: ticket 417" in lab.ledger.entries(job.id)[-1].note
    (said,) = after.earlier
    assert (said.reason, said.who, said.at, said.day) == ("ticket 417", "Ada", lab.now[0], BOUGHT_AT.date())


def test_accepted_lines_without_a_job_and_jobs_without_a_line_change_no_bill_and_stay_shown(lab: Lab) -> None:
    job = lab.buy("cat")
    strange = lab.charge(lab.buy("dog"), reference="somebody-else")
    lab.charge(lab.ledger.jobs(shot="dog")[0], line_id="right")
    lab.account.lines.append(replace(strange, line_id="twice"))
    later(lab)
    before = lab.ledger.entries(None)
    red = lab.reconcile()
    assert sorted(found(red)) == [
        ("doubled", "unexplained"),
        ("missing here", "unexplained"),
        ("missing there", "unexplained"),
    ]
    (one,), wrong = chosen(red.findings, [red.findings[0].key[:12]])
    assert wrong == []
    lab.reconciler.accept([one], "ours after all", "Ada")
    assert len(lab.reconcile().unexplained) == 2
    for _ in range(2):
        lab.reconciler.accept(lab.reconcile().unexplained, "so be it", "Grace")
    after = lab.reconcile()
    assert (after.verdict, {each.standing for each in after.findings}) == (Verdict.EXPLAINED, {Standing.EXPLAINED})
    assert sorted(each.explanation.who for each in after.findings if each.explanation) == ["Ada", "Grace", "Grace"]
    assert lab.ledger.entries(None) == before
    assert lab.ledger.job(job.id).billed == PRICE


def test_a_refund_is_written_with_its_own_moment_whatever_day_is_asked_for(lab: Lab) -> None:
    job = lab.buy("cat")
    back_at = BOUGHT_AT + timedelta(days=3)
    lab.charge(job)
    lab.charge(job, Money.usd("0.05"), LineKind.REFUND, at=back_at)
    later(lab)
    assert lab.reconcile().corrected == ()  # the books of that day do not tell of it yet

    result = lab.reconcile(Period.day(back_at.date()))

    assert [each.kind.value for each in result.corrected] == ["missing here"]
    assert (result.verdict, result.billed) == (Verdict.EXPLAINED, -Money.usd("0.05"))
    assert lab.ledger.job(job.id).billed == Money.usd("0.15")
    assert lab.ledger.entries(job.id)[-1].effective_at == back_at
    assert lab.reconcile(Period.day(back_at.date())).corrected == ()
    assert lab.reconcile().findings == ()
    assert lab.reconcile(Period.month(back_at.date())).findings == ()


def test_two_sets_of_books_that_contradict_each_other_correct_once_and_the_other_is_red(lab: Lab) -> None:
    job = lab.buy("cat")
    lab.charge(job, Money.usd("0.15"))
    later(lab)
    lab.put("invoices/wavespeed-2026-03.csv", f"Job,Cost,Date\n{job.id},0.16,2026-03-14T12:00:00Z\n")
    lab.put("invoices/mapping.yaml", "provider: wavespeed\ncolumns: {reference: Job, amount: Cost, date: Date}\n")
    result = lab.reconcile()
    assert [each.book for each in result.corrected] == ["api"]
    assert [(each.book, each.standing) for each in result.findings] == [("invoices/mapping.yaml", Standing.UNEXPLAINED)]
    assert lab.ledger.job(job.id).billed == Money.usd("0.15")


def test_a_line_dated_wrong_or_a_foreign_one_does_not_make_an_invoice_tell_of_another_day(lab: Lab) -> None:
    job = lab.buy("cat")
    next_day = Period.day((BOUGHT_AT + timedelta(days=1)).date())
    lab.now[0] += timedelta(days=1)
    lab.buy("dog")  # of which the invoice is not
    later(lab)
    rows = [f"{job.id},{PRICE},2026-03-15T00:00:00Z", f"somebody-else,{PRICE},2026-03-15T09:00:00Z"]
    lab.put("invoices/usage.csv", "\n".join(["Job,Cost,Date", *rows]))
    lab.put("invoices/mapping.yaml", "provider: wavespeed\ncolumns: {reference: Job, amount: Cost, date: Date}\n")
    lab.account.trouble = UnreadError("not now")
    assert [each.kind.value for each in lab.reconcile().findings] == ["on a wrong day"]
    assert [each.kind.value for each in lab.reconcile(next_day).findings] == ["missing here"]


def test_what_somebody_else_has_billed_meanwhile_is_not_corrected_by_what_was_seen_before(lab: Lab) -> None:
    job = lab.buy("cat")
    lab.charge(job, PRICE + NANO)
    later(lab)
    seen = lab.reconcile().unexplained
    corrected(lab.ledger, job.id, Money.usd("0.19"), "support said so")
    assert lab.reconciler.accept(seen, "as they say", "Ada") == []
    assert lab.ledger.job(job.id).billed == Money.usd("0.19")


@pytest.mark.parametrize("name", ["usage.csv", "2026-03.csv"])
def test_a_refund_in_an_invoice_that_tells_of_no_other_line_of_its_month_is_found_there(lab: Lab, name: str) -> None:
    job = lab.buy("cat")
    back_at = BOUGHT_AT + timedelta(days=30)
    lab.put("invoices/mapping.yaml", "provider: wavespeed\ncolumns: {reference: Job, amount: Cost, date: Date}\n")
    rows = [f"{job.id},{PRICE},{BOUGHT_AT.isoformat()}", f"{job.id},-0.05,{back_at.isoformat()}"]
    lab.put(f"invoices/{name}", "\n".join(["Job,Cost,Date", *rows]))
    later(lab, 40)
    lab.account.trouble = UnreadError("not now")
    assert lab.reconcile(Period.month(BOUGHT_AT.date())).corrected == ()
    (corrected,) = lab.reconcile(Period.month(back_at.date())).corrected
    assert corrected.difference == -Money.usd("0.05")
    assert lab.ledger.entries(job.id)[-1].effective_at == back_at


def test_a_refund_that_is_dated_before_its_charge_is_left_to_a_person(lab: Lab) -> None:
    job = lab.buy("cat")
    lab.charge(job)
    lab.charge(job, Money.usd("0.05"), LineKind.REFUND, at=BOUGHT_AT - timedelta(days=3))
    later(lab)
    result = lab.reconcile(Period.month(BOUGHT_AT.date()))
    assert (result.corrected, found(result)) == ((), [("missing here", "unexplained")])


@pytest.mark.parametrize("name", ["usage.csv", "2026-03.csv"])
def test_charges_that_a_mapping_reads_as_refunds_are_left_to_a_person(lab: Lab, name: str) -> None:
    """It forgets `charges_are: negative`: every line is below zero, and no charge is to be seen."""
    jobs = [lab.buy("cat"), lab.buy("dog")]
    lab.put("invoices/mapping.yaml", "provider: wavespeed\ncolumns: {reference: Job, amount: Cost, date: Date}\n")
    moment = (BOUGHT_AT + timedelta(seconds=2)).isoformat()
    lab.put(f"invoices/{name}", "\n".join(["Job,Cost,Date", *(f"{job.id},-{PRICE},{moment}" for job in jobs)]))
    later(lab)
    lab.account.trouble = UnreadError("not now")

    result = lab.reconcile()

    assert (result.corrected, len(result.unexplained)) == ((), 2)
    assert [lab.ledger.job(job.id).billed for job in jobs] == [PRICE, PRICE]


def test_several_who_settle_the_same_job_at_once_append_its_entries_once(lab: Lab) -> None:
    job = lab.buy("cat")
    lab.charge(job, PRICE + NANO)
    lab.charge(job, Money.usd("0.05"), LineKind.REFUND, at=BOUGHT_AT + timedelta(hours=2))
    later(lab)
    seen = lab.reconcile().unexplained
    before = len(lab.ledger.entries(job.id))
    read, together = Ledger.job, Barrier(3)

    def read_together(ledger: Ledger, job_id: str) -> Job:
        found = read(ledger, job_id)
        with suppress(BrokenBarrierError):
            together.wait(timeout=0.5)
        return found

    with patch.object(Ledger, "job", read_together), ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lab.reconciler.accept, [seen] * 3, ["as they say"] * 3, "ABC"))
    assert sorted(map(len, done)) == [0, 0, 1]
    assert [entry.kind.value for entry in lab.ledger.entries(job.id)[before:]] == ["adjustment", "refund"]


def test_a_charge_of_an_ambiguous_job_is_tied_to_it_by_the_providers_own_logs(lab: Lab) -> None:
    lost = lab.buy("cat", JobState.AMBIGUOUS)
    assert lost.attempt_id is not None
    lab.charge(lost, reference="inf-1")
    lab.account.attempts = {"inf-1": lost.attempt_id}
    later(lab)
    (finding,) = lab.reconcile().findings
    assert finding.job is not None
    assert (finding.kind.value, finding.job.id) == ("missing here", lost.id)
    assert f"resolve {lost.id} --found inf-1" in finding.words


def test_a_line_that_names_an_ambiguous_job_as_we_do_is_not_given_out_as_the_providers_id(lab: Lab) -> None:
    lost = lab.buy("cat", JobState.AMBIGUOUS)
    (attempt,) = lab.ledger.attempts(lost.id)
    later(lab)
    lab.put("invoices/mapping.yaml", "provider: wavespeed\ncolumns: {reference: Job, amount: Cost, date: Date}\n")
    lab.account.trouble = UnreadError("not now")
    for ours in (lost.id, attempt.id):
        lab.put("invoices/2026-03.csv", f"Job,Cost,Date\n{ours},{PRICE},{BOUGHT_AT.isoformat()}\n")
        (finding,) = lab.reconcile().findings
        assert f"resolve {lost.id} --found ID" in finding.words
        assert f"--found {ours}" not in finding.words


def test_what_cannot_be_read_is_said_and_nothing_is_concluded(lab: Lab) -> None:
    lab.buy("cat")
    later(lab)
    lab.account.trouble = UnreadError("its pages end after 3 rows of 7")
    result = lab.reconcile()
    assert (result.verdict, result.findings, result.comparisons) == (Verdict.NOT_READ, (), ())
    assert "its pages end" in str(result.unread)
    lab.account.trouble = ConfigurationError("WAVESPEED_API_KEY is not set")
    assert "WAVESPEED_API_KEY" in str(lab.reconcile().unread)
    nothing = lab.reconcile(Period.parse("2026-02-01"))
    assert (nothing.unread, nothing.verdict) == (None, Verdict.NO_BOOKS)  # nothing was bought, no key is needed
    assert "WAVESPEED_API_KEY" in str(nothing.unasked)


def test_a_provider_without_books_is_not_asked_for_a_key(lab: Lab) -> None:
    lab.buy("cat", provider="shortapi", model="shortapi/wan-2.6-i2v")
    later(lab)
    lab.account.trouble = ConfigurationError("SHORTAPI_KEY is not set")
    result = lab.reconcile(provider="shortapi")
    assert (result.verdict, result.unread, result.unasked, result.jobs) == (Verdict.NO_BOOKS, None, None, 1)


def test_what_was_read_is_kept_when_the_provider_has_forgotten_it(lab: Lab) -> None:
    lab.charge(lab.buy("cat"))
    later(lab)
    assert lab.reconcile().verdict is Verdict.EXPLAINED
    lab.account.lines.clear()
    assert (lab.reconcile().verdict, lab.reconcile().comparisons[0].matched) == (Verdict.EXPLAINED, 1)


def test_simulated_jobs_and_lines_are_not_looked_at_with_live_ones(lab: Lab) -> None:
    lab.buy("dream", simulated=True)
    later(lab)
    result = lab.reconcile()
    assert (result.jobs, result.billed, result.findings) == (0, ZERO, ())


def test_a_run_of_today_says_that_it_is_early_and_judges_nothing_that_may_come(lab: Lab) -> None:
    lab.buy("cat")
    result = lab.reconcile()
    assert result.is_running
    assert (result.verdict, result.comparisons[0].pending) == (Verdict.EXPLAINED, 1)
    later(lab)
    assert found(lab.reconcile()) == [("missing there", "unexplained")]


def test_the_files_hold_every_line_with_how_it_stands(lab: Lab) -> None:
    import csv
    import json

    jobs = [lab.buy("cat"), lab.buy("dog")]
    lab.charge(jobs[0])
    later(lab)
    result = lab.reconcile()
    publish(result, open_bucket(str(lab.folder)))
    base = lab.folder / "reports/2026/03/reconciliation-2026-03-14-wavespeed"
    rows = {row["shot"]: row for row in csv.DictReader(base.with_suffix(".csv").read_text().splitlines())}
    assert {shot: (row["stands"], row["finding"]) for shot, row in rows.items()} == {
        "cat": ("matched", ""),
        "dog": ("unexplained", "missing there (charge)"),
    }
    assert rows["cat"]["line_ids"] == "charge-cat"
    told = json.loads(base.with_suffix(".json").read_text())
    assert (told["verdict"], told["billed_usd"]) == ("unexplained", "0.40")
    assert told["books"][0]["balance"][0] == {"what": "billed by the ledger", "usd": "0.40"}
    assert [each["key"] for each in told["findings"]] == [rows["dog"]["key"]]
