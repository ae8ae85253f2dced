"""Every difference between two sides is found and named, nothing else is, and the sums balance to the nano-dollar."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reconciliation.matching import compare
from wan_pipeline.reconciliation.sides import Line, OurJob
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import LineKind
from wan_pipeline.spend.records import Basis, JobState
from wan_pipeline_tests.reconciliation.worlds import (
    DAY,
    MONTH,
    NOON,
    PRICE,
    books,
    compared,
    given_back,
    honest,
    job,
    line,
    named,
    ours,
    refund,
)

MIDNIGHT = DAY.until
NANO = Money(1)
CHARGED, BACK = "charge", "refund"


def test_what_agrees_is_matched_and_nothing_is_found() -> None:
    jobs = [job(1), job(2, billed=ZERO, refunds=(given_back(PRICE, NOON + timedelta(hours=1)),))]
    found = compared(honest(jobs), jobs)
    assert (found.matched, found.findings, found.pending) == (2, [], 0)
    assert found.balance.ledger == found.balance.theirs == PRICE


@pytest.mark.parametrize(
    "spans", [(DAY.since, DAY.until), (DAY.until, DAY.until + timedelta(days=1))], ids=["its", "next"]
)
def test_what_was_charged_before_midnight_and_given_back_after_it_and_is_in_no_books_agrees_on_both_days(
    spans: tuple[datetime, datetime],
) -> None:
    """A provider that bills no failure writes neither line; and its books are asked for a day at a time."""
    after = given_back(PRICE, DAY.until + timedelta(seconds=45), told=False)
    failed = job(1, moment=DAY.until - timedelta(seconds=1), state=JobState.FAILED, billed=ZERO, refunds=(after,))
    for period in (DAY, Period.day(DAY.until.date())):
        found = compared([], [failed], period, spans=(spans,))
        assert (found.findings, found.pending, found.balance.theirs) == ([], 0, ZERO)


def test_a_line_that_is_not_there() -> None:
    found = compared([line(1)], [job(1), job(2)])
    assert named(found) == [("missing there", CHARGED, "j002")]
    assert (found.balance.missing_there, found.balance.theirs) == (-PRICE, PRICE)


def test_a_line_that_is_nobodys() -> None:
    found = compared([line(1), line(9)], [job(1)])
    assert named(found) == [("missing here", CHARGED, "pred-9")]
    assert found.balance.missing_here == PRICE


def test_a_line_that_stands_there_twice_known_or_not() -> None:
    lines = [line(1), line(1, line_id="second"), line(9), line(9, line_id="more")]
    found = compared(lines, [job(1)])
    assert named(found) == [
        ("doubled", CHARGED, "j001"),
        ("doubled", CHARGED, "pred-9"),
        ("missing here", CHARGED, "pred-9"),
    ]
    assert [each.lines[0].line_id for each in found.findings if each.job] == ["second"]


def test_a_thousand_lines_with_the_same_reference_are_told_at_once_known_or_not() -> None:
    amounts = [*(PRICE + Money(number % 500) for number in range(1000)), *(Money(number) for number in range(1000))]
    lines = [line(number, amount) for number in (1, 9) for amount in amounts]
    lines = [replace(each, line_id=f"{place:04}") for place, each in enumerate(lines)]
    began = process_time()
    found = compared(lines, [job(1)])
    assert process_time() - began < 2  # as many steps as lines: a mapping may name the wrong column
    assert sum(each.kind.value == "doubled" for each in found.findings) == 2 * 500
    assert sum(each.job is None for each in found.findings) == 2000
    (other,) = [each for each in found.findings if each.kind.value == "of another amount"]
    assert "lines more" in other.words


def test_an_amount_that_is_off_by_one_nano_dollar() -> None:
    found = compared([line(1, PRICE + NANO)], [job(1)])
    assert named(found) == [("of another amount", CHARGED, "j001")]
    assert (found.balance.other_amount, found.findings[0].difference) == (NANO, NANO)
    assert "0.000000001 USD more there" in found.findings[0].words


def test_a_line_of_the_next_day_by_a_microsecond() -> None:
    late = MIDNIGHT - timedelta(microseconds=1)
    jobs = [job(1, moment=late), job(2, moment=MIDNIGHT)]
    wrong = [line(1, at=MIDNIGHT), line(2, at=MIDNIGHT)]
    assert named(compared(wrong, jobs)) == [("on a wrong day", CHARGED, "j001")]
    assert named(compared(wrong, jobs, Period.day(MIDNIGHT.date()))) == []
    assert named(compared([line(1, at=late), line(2, at=MIDNIGHT)], jobs, MONTH)) == []


def test_a_charge_that_is_entered_once_the_video_is_made_is_on_no_wrong_day_and_one_days_later_is() -> None:
    late = MIDNIGHT - timedelta(minutes=1)
    for at, wrong in ((MIDNIGHT + timedelta(minutes=1), []), (MIDNIGHT + timedelta(days=2), ["j001"])):
        found = compared([line(1, at=at)], [job(1, moment=late)], by_day=False, lag=timedelta(days=1))
        assert [each.job.id for each in found.findings if each.job] == wrong
        assert found.balance.theirs == PRICE  # of the day of its submission


def test_a_date_alone_is_a_day_of_its_own_time_zone() -> None:
    at = NOON.replace(hour=16)  # midnight in Singapore
    one = [line(1, at=at, until=at + timedelta(days=1))]
    assert named(compared(one, [job(1, moment=at)])) == []
    assert named(compared(one, [job(1, moment=at - timedelta(microseconds=1))])) == [
        ("on a wrong day", CHARGED, "j001")
    ]


def test_a_failure_that_is_charged_and_given_back_there_and_never_charged_here_agrees_over_the_days() -> None:
    failed = job(1, billed=ZERO, state=JobState.FAILED)
    next_day = Period.day(MIDNIGHT.date())
    lines = [line(1), refund(1, at=MIDNIGHT)]
    first, second = compared(lines, [failed]), compared(lines, [failed], next_day)
    assert first.findings == second.findings == []
    assert (first.balance.elsewhere, second.balance.elsewhere) == (PRICE, -PRICE)
    assert compared(lines, [failed], MONTH).balance.elsewhere == ZERO


def test_a_failure_whose_refund_has_not_come_is_early_at_first_and_then_found() -> None:
    failed = job(1, billed=ZERO, state=JobState.FAILED)
    soon = compared([line(1)], [failed], as_of=NOON, lag=timedelta(days=1))
    assert (soon.findings, soon.pending, soon.balance.pending) == ([], 1, PRICE)
    assert named(compared([line(1)], [failed])) == [("of another amount", CHARGED, "j001")]


def test_a_refund_that_we_do_not_have_and_one_that_they_do_not_have() -> None:
    found = compared([line(1), refund(1, Money.usd("0.02"))], [job(1)])
    assert named(found) == [("missing here", BACK, "j001")]
    assert found.balance.missing_here == -Money.usd("0.02")
    back = given_back(Money.usd("0.02"), NOON)
    found = compared([line(1)], [job(1, billed=Money.usd("0.03"), refunds=(back,))])
    assert named(found) == [("missing there", BACK, "j001")]


def test_a_refund_dated_on_another_day_is_named_where_the_provider_had_said_its_moment() -> None:
    back = given_back(PRICE, NOON)
    jobs = [job(1, billed=ZERO, refunds=(back,))]
    lines = [line(1), refund(1, at=NOON + timedelta(days=1))]
    assert named(compared(lines, jobs)) == [("on a wrong day", BACK, "j001")]
    untold = [replace(jobs[0], refunds=(given_back(PRICE, NOON, told=False),))]
    assert named(compared(lines, untold)) == []


def test_what_books_do_not_tell_of_is_not_judged() -> None:
    jobs = [job(1), job(2, billed=ZERO, refunds=(given_back(PRICE, NOON + timedelta(days=9)),))]
    span = ((NOON + timedelta(days=8), NOON + timedelta(days=10)),)
    found = compared([], jobs, spans=span)
    assert (found.findings, found.jobs_not_covered) == ([], 2)
    assert found.balance.not_covered == PRICE + PRICE
    later = Period.day((NOON + timedelta(days=9)).date())
    assert named(compared([refund(2, at=NOON + timedelta(days=9))], jobs, later, spans=span)) == []
    assert named(compared([], jobs, later, spans=span)) == [("missing there", BACK, "j002")]


def test_a_refund_of_a_time_that_books_do_not_tell_of_is_not_missing_there() -> None:
    back = given_back(Money.usd("0.02"), NOON + timedelta(days=9))
    jobs = [job(1, billed=Money.usd("0.03"), refunds=(back,))]
    found = compared([line(1)], jobs, MONTH, spans=((DAY.since, DAY.until),))
    assert (found.findings, found.balance.not_covered) == ([], -Money.usd("0.02"))
    assert (found.balance.ledger, found.balance.theirs) == (Money.usd("0.03"), PRICE)


def test_what_may_still_be_on_its_way_is_not_judged() -> None:
    open_ = job(1, state=JobState.SUBMITTED, billed=None, basis=None)
    assert compared([line(1)], [open_]).pending == 1  # charged there, and not said here yet
    late = compared([], [job(1)], as_of=NOON + timedelta(hours=1), lag=timedelta(days=1))
    assert (late.findings, late.pending, late.balance.pending) == ([], 1, -PRICE)


def test_a_charge_of_a_job_that_was_given_up_is_found_and_can_be_settled_by_a_person_alone() -> None:
    released = job(1, state=JobState.RELEASED, billed=None, basis=None)
    (finding,) = compared([line(1)], [released]).findings
    assert finding.fix is not None
    assert (finding.ours, finding.fix.by_itself, finding.fix.changes[0].total) == (None, False, PRICE)


def test_a_strange_line_that_may_be_an_ambiguous_job_names_it_and_one_that_cannot_be_does_not() -> None:
    lost = job(7, state=JobState.AMBIGUOUS, billed=None, basis=None, provider_job_id=None)
    strange = line(9, at=lost.moment + timedelta(minutes=1), model="alibaba/wan-2.6/image-to-video-flash")
    for candidate, possible in (
        (strange, True),
        (replace(strange, amount=Money.usd("0.07")), False),  # dearer than its quote
        (replace(strange, at=lost.moment - timedelta(hours=5)), False),
        (replace(strange, model="openai/gpt-5"), False),
    ):
        (finding,) = compare(books([candidate]), ours([], [lost]), DAY).findings
        assert ("resolve j007 --found pred-9" in finding.words) is possible


def test_a_line_that_the_provider_ties_to_an_ambiguous_job_says_so_and_changes_no_bill() -> None:
    lost = job(7, state=JobState.AMBIGUOUS, billed=None, basis=None)
    (finding,) = compared([line(7)], [lost]).findings
    assert (finding.kind.value, finding.fix) == ("missing here", None)
    assert "resolve j007 --found pred-7" in finding.words


@pytest.mark.parametrize(
    ("basis", "amount", "by_itself"),
    [(Basis.QUOTED, "0.06", True), (Basis.QUOTED, "0.060000001", False), (Basis.REPORTED, "0.045", False)],
)
def test_only_an_amount_that_nobody_had_said_is_corrected_by_itself_and_within_its_quote(
    basis: Basis, amount: str, by_itself: bool
) -> None:
    (finding,) = compared([line(1, Money.usd(amount))], [job(1, basis=basis)]).findings
    assert finding.fix is not None
    assert finding.fix.by_itself is by_itself
    assert [change.total for change in finding.fix.changes] == [Money.usd(amount)]


def test_a_findings_key_is_the_same_whatever_else_is_compared_and_another_where_an_amount_is() -> None:
    jobs = [job(1), job(2)]
    alone = compared([line(1, PRICE + NANO)], jobs[:1]).findings[0].key
    beside = {each.key for each in compared([line(1, PRICE + NANO), line(9)], jobs, MONTH).findings}
    assert alone in beside
    assert len(beside) == 3
    assert alone != compared([line(1, PRICE - NANO)], jobs[:1]).findings[0].key


# --- any two sides ---

moments = st.integers(0, 4 * 24 * 12).map(lambda n: NOON + timedelta(minutes=5 * n))
amounts = st.integers(1, 5).map(lambda n: Money(n * 10_000_001))


@st.composite
def jobs_of_some_days(draw: st.DrawFn) -> list[OurJob]:
    made: list[OurJob] = []
    for number in range(draw(st.integers(1, 6))):
        moment = draw(moments)
        charged = draw(st.just(ZERO) | amounts)
        backs = draw(st.lists(st.integers(1, 3), max_size=2)) if charged else []
        refunds = tuple(
            given_back(Money(charged.nanos // 8 * part), moment + timedelta(hours=7 * part), told=True)
            for part in backs
        )
        billed = charged - Money.total(each.amount for each in refunds)
        if billed.nanos >= 0:
            state = draw(st.sampled_from([JobState.STORED, JobState.FAILED, JobState.LOST]))
            made.append(job(number, moment=moment, billed=billed, refunds=refunds, state=state))
    return made


def days() -> list[Period]:
    return [Period.day(date(2026, 3, 14) + timedelta(days=n)) for n in range(7)]


@given(jobs_of_some_days())
@settings(max_examples=60, deadline=None)
def test_honest_books_give_no_finding_on_any_day(jobs: list[OurJob]) -> None:
    lines = honest(jobs)
    for period in (*days(), MONTH):
        found = compared(lines, jobs, period)
        assert found.findings == []
        assert found.balance.ledger == found.balance.theirs


@given(jobs_of_some_days(), st.data())
@settings(max_examples=150, deadline=None)
def test_every_planted_error_is_found_and_named_nothing_else_is_and_days_make_the_month(
    jobs: list[OurJob], data: st.DataObject
) -> None:
    lines = honest(jobs)
    planted: list[tuple[str, str, str | None]] = []
    for each in [each for each in jobs if each.charged]:
        index = next(n for n, item in enumerate(lines) if item.line_id == f"c-{each.id}")
        found = lines[index]
        match data.draw(st.sampled_from(["none", "missing", "doubled", "amount", "day", "foreign"])):
            case "missing":
                if any(item.line_id.startswith(f"r-{each.id}") for item in lines):
                    continue  # a refund without a charge is another story
                lines.remove(found)
                planted.append(("missing there", CHARGED, each.id))
            case "doubled":
                lines.append(replace(found, line_id=f"again-{each.id}"))
                planted.append(("doubled", CHARGED, each.id))
            case "amount":
                lines[index] = replace(found, amount=found.amount + NANO)
                planted.append(("of another amount", CHARGED, each.id))
            case "day":
                lines[index] = replace(found, at=found.at + timedelta(days=1))
                planted.append(("on a wrong day", CHARGED, each.id))
            case "foreign":
                lines.append(replace(found, line_id=f"foreign-{each.id}", reference=f"foreign-{each.id}"))
                planted.append(("missing here", CHARGED, f"foreign-{each.id}"))
            case _:
                pass
    whole = compared(lines, jobs, MONTH)
    assert named(whole) == sorted(planted)
    by_day = [compared(lines, jobs, period) for period in days()]
    assert sorted(item for each in by_day for item in named(each)) == sorted(planted)
    assert {item.key for each in by_day for item in each.findings} == {item.key for item in whole.findings}
    for name in ("ledger", "theirs", "missing_here", "missing_there", "other_amount", "doubled", "elsewhere"):
        assert Money.total(getattr(each.balance, name) for each in by_day) == getattr(whole.balance, name)


@given(jobs_of_some_days(), st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_the_books_say_the_sums_balance(jobs: list[OurJob], data: st.DataObject) -> None:
    kinds = st.sampled_from([LineKind.CHARGE, LineKind.REFUND, LineKind.TOPUP, LineKind.OTHER])
    lines: list[Line] = []
    for number in range(data.draw(st.integers(0, 12))):
        of = data.draw(st.integers(0, 8))
        lines.append(line(of, data.draw(amounts), data.draw(kinds), line_id=f"l{number}", at=data.draw(moments)))
    spans = data.draw(st.sampled_from([((NOON, NOON + timedelta(days=2)),), ((MONTH.since, MONTH.until),)]))
    periods = [*days(), MONTH]
    comparisons = [compared(lines, jobs, period, spans=spans) for period in periods]  # raises where they do not
    for found in comparisons:
        assert Money.total(amount for _, amount in found.balance.lines[:-1]) == found.balance.theirs
    *by_day, whole = comparisons
    assert Money.total(each.balance.theirs for each in by_day) == whole.balance.theirs
    assert Money.total(each.balance.elsewhere for each in by_day) == whole.balance.elsewhere
