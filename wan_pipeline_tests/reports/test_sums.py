"""The figures are the ledger's, to the nano-dollar, however they are broken down, by days or by months."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reports import CostReport, Figures, Period, cost_report, period_report
from wan_pipeline.reports.sheet import DIMENSIONS
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import metadata
from wan_pipeline_tests.reports.ledgers import (
    DAY,
    LedgerJob,
    add_take,
    append,
    at,
    empty_ledger,
    ledger_of,
    took_place,
    write,
    write_on,
)
from wan_pipeline_tests.services.postgres import PostgresServer

_amounts = st.integers(0, 40_000_000_000_000)  # to 40,000 USD, any nano-dollar
# Three months, often at the very end of a day or of a month.
_MONTH_ENDS = [datetime(2026, month, 1, tzinfo=UTC) for month in (2, 3, 4)]
_moments = st.one_of(
    st.integers(-36 * 3600, 60 * 3600).map(lambda seconds: at(seconds=seconds)),
    st.builds(lambda end, ticks: end + timedelta(microseconds=ticks), st.sampled_from(_MONTH_ENDS), st.integers(-1, 1)),
    st.datetimes(datetime(2026, 2, 1), datetime(2026, 4, 30), timezones=st.just(UTC)),  # noqa: DTZ001
)
_entries = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([EntryKind.HOLD, EntryKind.RELEASE, EntryKind.CHARGE]), _amounts, _moments),
        st.tuples(st.just(EntryKind.REFUND), _amounts, _moments, st.none() | _moments),
        st.tuples(
            st.just(EntryKind.ADJUSTMENT), st.integers(-40_000_000_000_000, 40_000_000_000_000), _moments, st.none()
        ),
    ),
    max_size=5,
).map(tuple)
_jobs = st.lists(
    st.builds(
        LedgerJob,
        submitted_at=st.none() | _moments,
        claimed_at=_moments,
        shot=st.sampled_from(["spring/cat", "spring/dog", "träume/möwe", "a"]),
        provider=st.sampled_from(["wavespeed", "shortapi"]),
        model=st.sampled_from(["m-1", "m-2"]),
        resolution=st.sampled_from(["720p", "1080p"]),
        has_audio=st.sampled_from([True, False, None]),
        campaign=st.sampled_from([None, "", "spring", "Herbst | Winter"]),
        state=st.sampled_from(JobState),
        simulated=st.booleans(),
        duration_s=st.integers(2, 15),
        quoted_low=st.just(0),
        quoted_high=_amounts,
        duplicate_allowed=st.none() | st.just(5),
        entries=_entries,
    ),
    max_size=8,
)


def _refunds_within(job: LedgerJob, period: Period) -> int:
    return sum(
        entry[1]
        for entry in job.entries
        if entry[0] is EntryKind.REFUND and period.since <= took_place(entry) < period.until
    )


def _charged(job: LedgerJob) -> int:
    return sum(entry[1] for entry in job.entries if entry[0] in (EntryKind.CHARGE, EntryKind.ADJUSTMENT))


def _expected(wanted: list[LedgerJob], period: Period) -> Figures:
    """One job at a time, in plain words; but for the kinds of waste, which have tests of their own."""
    mine = [job for job in wanted if period.since <= job.moment < period.until]
    return Figures(
        jobs=len(mine),
        takes=sum(job.state is JobState.STORED for job in mine),
        failed=sum(job.state in (JobState.FAILED, JobState.LOST, JobState.REJECTED) for job in mine),
        ambiguous=sum(job.state is JobState.AMBIGUOUS for job in mine),
        in_flight=sum(job.state in ("reserved", "submitting", "submitted", "generated") for job in mine),
        seconds=sum(job.duration_s for job in mine if job.state is JobState.STORED),
        quoted_low=Money(sum(job.quoted_low for job in mine)),
        quoted=Money(sum(job.quoted_high for job in mine)),
        charged=Money(sum(map(_charged, mine))),
        refunded=Money(sum(_refunds_within(job, period) for job in wanted)),
        held=Money(sum(job.held for job in mine if job.state is not JobState.AMBIGUOUS)),
        unknown=Money(sum(job.held for job in mine if job.state is JobState.AMBIGUOUS)),
    )


def _but_waste(figures: Figures) -> Figures:
    kept = {name: getattr(figures, name) for name in Figures.__slots__ if not name.startswith("wasted")}
    return Figures(**kept)


@contextmanager
def _postgres_ledger(url: str) -> Iterator[Callable[[list[LedgerJob]], Engine]]:
    """One database; each ledger replaces the one before it, past the triggers."""
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "connect")
    def _path(connection: object, record: object) -> None:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute("SET search_path TO wan_ledger")

    def fresh(wanted: list[LedgerJob]) -> Engine:
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for table in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(table))
            write_on(connection, wanted)
        return engine

    yield fresh
    engine.dispose()


@pytest.fixture(scope="module")
def postgres_engine(postgres_server: PostgresServer) -> Iterator[Callable[[list[LedgerJob]], Engine]]:
    from wan_pipeline.spend.ledger import Ledger

    with postgres_server.database() as url:
        Ledger.open(url).close()
        with _postgres_ledger(url) as fresh:
            yield fresh


@pytest.fixture(params=["sqlite", "postgres"])
def fresh_ledger(request: pytest.FixtureRequest) -> Callable[[list[LedgerJob]], Engine]:
    if request.param == "sqlite":
        return lambda wanted: ledger_of(*wanted)
    return request.getfixturevalue("postgres_engine")


def _periods(wanted: list[LedgerJob]) -> tuple[list[Period], list[Period]]:
    """Every day and every month in which anything is."""
    moments = [job.moment for job in wanted]
    moments += [took_place(entry) for job in wanted for entry in job.entries if entry[0] is EntryKind.REFUND]
    days = {moment.date() for moment in moments}
    return [Period.day(day) for day in sorted(days)], sorted({Period.month(day) for day in days})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=_jobs)
def test_the_days_the_months_and_the_ledger_are_one_sum_in_every_breakdown(
    fresh_ledger: Callable[[list[LedgerJob]], Engine], wanted: list[LedgerJob]
) -> None:
    engine = fresh_ledger(wanted)
    days, months = _periods(wanted)
    by_day = [period_report(engine, period) for period in days]
    by_month = [period_report(engine, period) for period in months]
    for simulated in (False, True):
        mine = [job for job in wanted if job.simulated is simulated]
        billed = Money(sum(job.billed or 0 for job in mine))
        for reports in (by_day, by_month):
            assert Money.total(report.total(simulated=simulated).billed for report in reports) == billed
        for dimension in DIMENSIONS:
            sums = [_summed(reports, dimension, simulated) for reports in (by_day, by_month)]
            assert sums[0] == sums[1]
            theirs = {
                key: Money.total(Money(job.billed or 0) for job in mine if _key(job, dimension) == key)
                for key in sums[0]
            }
            assert {key: figures.billed for key, figures in sums[0].items()} == theirs
    for report in (*by_day, *by_month):
        for simulated in (False, True):
            mine = [job for job in wanted if job.simulated is simulated]
            assert _but_waste(report.total(simulated=simulated)) == _expected(mine, report.period)


def _key(job: LedgerJob, dimension: str) -> str | None:
    if dimension == "sound":
        return {True: "sound", False: "silent", None: "not said"}[job.has_audio]
    return getattr(job, dimension) or None


def _summed(reports: list[CostReport], dimension: str, simulated: bool) -> dict[str | None, Figures]:
    sums: dict[str | None, Figures] = {}
    for report in reports:
        for (key,), figures in report.by(dimension, simulated=simulated).items():  # type: ignore[arg-type]
            sums[key] = sums.get(key, Figures()) + figures
    return sums


@settings(max_examples=12, deadline=None)
@given(_jobs)
def test_a_months_days_are_the_reports_of_those_days(wanted: list[LedgerJob]) -> None:
    engine = ledger_of(*wanted)
    for period in _periods(wanted)[1]:
        month = period_report(engine, period)
        assert {day.day for day in month.days} <= {period.first + timedelta(days=number) for number in range(31)}
        for each in month.days:
            assert each.figures == cost_report(engine, each.day).total(simulated=each.simulated)


@settings(max_examples=12, deadline=None)
@given(_jobs)
def test_waste_is_of_one_kind_at_most_and_never_more_than_a_job_was_billed(wanted: list[LedgerJob]) -> None:
    engine = ledger_of(*wanted)
    billed = {False: 0, True: 0}
    for period in _periods(wanted)[0]:
        for simulated in (False, True):
            billed[simulated] += cost_report(engine, period.first).total(simulated=simulated).wasted.nanos
    for simulated in (False, True):
        mine = [job for job in wanted if job.simulated is simulated and job.billed]
        most = sum(max(job.billed or 0, 0) for job in mine)
        least = sum(min(job.billed or 0, 0) for job in mine)
        assert least <= billed[simulated] <= most
        ended = sum(job.billed or 0 for job in mine if job.state in ("failed", "lost", "written_off"))
        others = [job.billed or 0 for job in mine if job.state not in ("failed", "lost", "written_off")]
        spread = sum(each for each in others if each > 0), sum(each for each in others if each < 0)
        assert spread[1] <= billed[simulated] - ended <= spread[0]


def test_a_refund_belongs_to_its_own_moment_and_its_charge_to_the_submission() -> None:
    job = LedgerJob(state=JobState.FAILED, submitted_at=at(23, seconds=3599))
    ledger = ledger_of(job)
    assert cost_report(ledger, DAY).total(simulated=False).billed == Money.usd("0.125")

    append(ledger, [(job.id, EntryKind.REFUND, 125_000_000, at(days=6), at(days=4))])

    total = cost_report(ledger, DAY).total(simulated=False)
    assert (total.billed, total.refunded, total.wasted) == (Money.usd("0.125"), ZERO, ZERO)
    later = cost_report(ledger, DAY + timedelta(days=4)).total(simulated=False)
    assert (later.jobs, later.charged, later.refunded) == (0, ZERO, Money.usd("0.125"))
    assert later.billed == Money.usd("-0.125")
    assert cost_report(ledger, DAY + timedelta(days=6)).rows == ()  # when it was written down is of no importance


def test_a_refund_of_which_no_moment_is_known_belongs_to_when_it_was_written_down() -> None:
    job = LedgerJob(state=JobState.FAILED)
    ledger = ledger_of(job)
    append(ledger, [(job.id, EntryKind.REFUND, 125_000_000)], moment=at(days=1))
    assert cost_report(ledger, DAY + timedelta(days=1)).total(simulated=False).refunded == Money.usd("0.125")


def test_a_correction_that_comes_late_belongs_to_the_day_of_the_submission() -> None:
    job = LedgerJob()
    ledger = ledger_of(job)
    append(ledger, [(job.id, EntryKind.ADJUSTMENT, -1)], moment=at(days=40))
    assert cost_report(ledger, DAY).total(simulated=False).billed == Money.usd("0.124999999")
    assert cost_report(ledger, DAY + timedelta(days=40)).rows == ()


def test_a_job_claimed_before_midnight_and_submitted_after_it_belongs_to_the_new_day() -> None:
    ledger = ledger_of(LedgerJob(claimed_at=at(seconds=-1), submitted_at=at(seconds=1)))
    assert cost_report(ledger, DAY).total(simulated=False).jobs == 1
    assert cost_report(ledger, DAY - timedelta(days=1)).total(simulated=False).jobs == 0


def test_live_and_simulated_jobs_never_share_a_row_or_a_sum() -> None:
    report = cost_report(ledger_of(LedgerJob(), LedgerJob(simulated=True), LedgerJob(simulated=True)), DAY)
    assert [(row.simulated, row.figures.jobs) for row in report.rows] == [(False, 1), (True, 2)]
    assert report.total(simulated=False).billed == Money.usd("0.125")
    assert report.total(simulated=True).billed == Money.usd("0.25")
    assert [(shot.simulated, shot.figures.jobs) for shot in report.dearest] == [(False, 1), (True, 2)]


def test_money_of_an_ambiguous_job_is_unknown_neither_billed_nor_nothing() -> None:
    job = LedgerJob(state=JobState.AMBIGUOUS, submitted_at=None, entries=((EntryKind.HOLD, 125_000_000),))
    figures = cost_report(ledger_of(job), DAY).total(simulated=False)
    assert (figures.billed, figures.held, figures.unknown) == (ZERO, ZERO, Money.usd("0.125"))


def _wasted(*jobs: LedgerJob) -> dict[str, int]:
    figures = cost_report(ledger_of(*jobs), DAY).total(simulated=False)
    kinds = {name: getattr(figures, f"wasted_{name}").nanos for name in ("failed", "lost", "duplicate", "unused")}
    assert figures.wasted.nanos == sum(kinds.values())
    return {name: nanos for name, nanos in kinds.items() if nanos}


def test_each_kind_of_waste_is_told_apart_and_what_was_given_back_is_not_wasted() -> None:
    charge = ((EntryKind.CHARGE, 7),)
    assert _wasted(LedgerJob(entries=charge)) == {}
    assert _wasted(LedgerJob(state=JobState.FAILED, entries=charge)) == {"failed": 7}
    assert _wasted(LedgerJob(state=JobState.LOST, entries=charge)) == {"lost": 7}
    assert _wasted(LedgerJob(state=JobState.WRITTEN_OFF, entries=charge)) == {"lost": 7}
    refunded = (*charge, (EntryKind.REFUND, 5, at(days=9)))
    assert _wasted(LedgerJob(state=JobState.FAILED, entries=refunded)) == {"failed": 2}


def test_a_take_that_a_later_video_has_replaced_is_wasted_until_then_it_is_not() -> None:
    first = LedgerJob(entries=((EntryKind.CHARGE, 7),))
    assert _wasted(first, LedgerJob(shot="spring/dog")) == {}
    assert _wasted(first, LedgerJob(state=JobState.FAILED, entries=())) == {}  # a later take without a video
    assert _wasted(first, LedgerJob(simulated=True)) == {}  # of another kind
    assert _wasted(first, LedgerJob()) == {"unused": 7}


def test_a_video_that_another_shot_uses_is_not_wasted() -> None:
    first = LedgerJob(entries=((EntryKind.CHARGE, 7),))
    ledger = ledger_of(first, LedgerJob())
    with ledger.begin() as connection:
        add_take(connection, "autumn/cat", 1, first, reused=True)
    assert cost_report(ledger, DAY).total(simulated=False).wasted == ZERO


def test_a_job_bought_once_more_because_a_person_allowed_it_is_a_duplicate() -> None:
    allowed = LedgerJob(request_hash="r", duplicate_allowed=9, entries=((EntryKind.CHARGE, 7),))
    again = LedgerJob(request_hash="r", repeat=2)
    assert _wasted(allowed) == {}
    assert _wasted(allowed, LedgerJob(request_hash="r", repeat=2, entries=(), state=JobState.REJECTED)) == {}
    assert _wasted(allowed, again) == {"duplicate": 7}  # not unused as well
    not_allowed = LedgerJob(request_hash="r", entries=((EntryKind.CHARGE, 7),))
    assert _wasted(not_allowed, again) == {"unused": 7}


def test_a_second_of_video_costs_what_failures_cost_too() -> None:
    failed = LedgerJob(state=JobState.FAILED)
    report = cost_report(ledger_of(LedgerJob(), failed), DAY)
    assert report.total(simulated=False).usd_per_second == Money.usd("0.05")
    assert cost_report(ledger_of(failed), DAY).total(simulated=False).usd_per_second is None


def test_the_dearest_ten_shots_are_the_dearest_with_all_their_takes() -> None:
    cheap = [LedgerJob(shot=f"s{n:02}", entries=((EntryKind.CHARGE, n),)) for n in range(1, 15)]
    twice = [LedgerJob(shot="twice", entries=((EntryKind.CHARGE, 10),)) for _ in range(2)]
    unknown = LedgerJob(shot="unknown", state=JobState.AMBIGUOUS, entries=((EntryKind.HOLD, 16),))
    dearest = cost_report(ledger_of(*cheap, *twice, unknown), DAY).dearest
    assert [shot.shot for shot in dearest] == ["twice", "unknown", *(f"s{n:02}" for n in range(14, 6, -1))]


def test_a_day_without_jobs_has_an_empty_report_and_so_has_a_month() -> None:
    for period in (Period.day(DAY), Period.month(DAY)):
        report = period_report(empty_ledger(), period)
        assert (report.rows, report.dearest, report.kinds, report.days) == ((), (), (), ())
        assert report.total(simulated=False) == Figures()


def test_a_period_that_has_not_begun_is_refused() -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    with pytest.raises(ValueError, match="has not begun"):
        cost_report(empty_ledger(), tomorrow)
    with pytest.raises(ValueError, match="2999-01 has not begun"):
        period_report(empty_ledger(), Period.month(date(2999, 1, 5)))


def test_a_report_is_of_one_state_of_the_ledger_though_somebody_writes_meanwhile(
    postgres_engine: Callable[[list[LedgerJob]], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs, their money and the period before are several statements: a charge between two of them must not tear them."""
    from wan_pipeline.reports import report as module

    engine = postgres_engine([LedgerJob(entries=((EntryKind.HOLD, 7),), state=JobState.SUBMITTED)])
    first = module.refund_rows

    def and_then_somebody_buys(connection: sa.Connection, period: Period) -> object:
        rows = first(connection, period)
        if period == Period.day(DAY):
            write(engine, LedgerJob(shot="late"))
        return rows

    monkeypatch.setattr(module, "refund_rows", and_then_somebody_buys)
    total = cost_report(engine, DAY).total(simulated=False)
    assert (total.jobs, total.held, total.billed) == (1, Money(7), ZERO)
    monkeypatch.undo()
    assert cost_report(engine, DAY).total(simulated=False).jobs == 2
