"""The figures are the ledger's, to the nano-dollar, whatever is in it and however they are broken down."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.money import ZERO, Money
from wan_pipeline.reports import Figures, cost_report
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, append, at, empty_ledger, ledger_of

_amounts = st.integers(0, 40_000_000_000_000)  # to 40,000 USD, any nano-dollar
_entries = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([kind for kind in EntryKind if kind is not EntryKind.ADJUSTMENT]), _amounts),
        st.tuples(st.just(EntryKind.ADJUSTMENT), _amounts | _amounts.map(lambda amount: -amount)),
    ),
    max_size=5,
).map(tuple)
_moments = st.integers(-36 * 3600, 60 * 3600).map(lambda seconds: at(seconds=seconds))  # the day, and around it
_jobs = st.lists(
    st.builds(
        LedgerJob,
        submitted_at=st.none() | _moments,
        claimed_at=_moments,
        shot=st.sampled_from(["spring/cat", "spring/dog", "träume/möwe", "a"]),
        provider=st.sampled_from(["wavespeed", "shortapi"]),
        model=st.sampled_from(["m-1", "m-2"]),
        resolution=st.sampled_from(["720p", "1080p"]),
        campaign=st.sampled_from([None, "", "spring", "Herbst | Winter"]),
        state=st.sampled_from(JobState),
        simulated=st.booleans(),
        duration_s=st.integers(2, 15),
        quoted_low=st.just(0),
        quoted_high=_amounts,
        entries=_entries,
    ),
    max_size=12,
)


def _billed(job: LedgerJob) -> int:
    sign = {EntryKind.CHARGE: 1, EntryKind.ADJUSTMENT: 1, EntryKind.REFUND: -1, EntryKind.HOLD: 0, EntryKind.RELEASE: 0}
    return sum(sign[kind] * amount for kind, amount in job.entries)


def _held(job: LedgerJob) -> int:
    return sum({EntryKind.HOLD: 1, EntryKind.RELEASE: -1}.get(kind, 0) * amount for kind, amount in job.entries)


@settings(max_examples=60, deadline=None)
@given(_jobs)
def test_every_breakdown_adds_up_to_the_entries_of_that_days_jobs(wanted: list[LedgerJob]) -> None:
    report = cost_report(ledger_of(*wanted), DAY)
    for simulated in (False, True):
        mine = [
            job
            for job in wanted
            if job.simulated is simulated and at() <= (job.submitted_at or job.claimed_at) < at(days=1)
        ]
        expected = Figures(
            jobs=len(mine),
            stored=sum(job.state is JobState.STORED for job in mine),
            failed=sum(job.state in (JobState.FAILED, JobState.LOST, JobState.REJECTED) for job in mine),
            ambiguous=sum(job.state is JobState.AMBIGUOUS for job in mine),
            in_flight=sum(job.state in ("reserved", "submitting", "submitted", "generated") for job in mine),
            seconds=sum(job.duration_s for job in mine if job.state is JobState.STORED),
            quoted=Money(sum(job.quoted_high for job in mine)),
            billed=Money(sum(map(_billed, mine))),
            held=Money(sum(_held(job) for job in mine if job.state is not JobState.AMBIGUOUS)),
            unknown=Money(sum(_held(job) for job in mine if job.state is JobState.AMBIGUOUS)),
            wasted=Money(sum(_billed(job) for job in mine if job.state in ("failed", "lost", "written_off"))),
        )
        assert report.total(simulated=simulated) == expected
        for dimensions in ((), ("provider",), ("model",), ("resolution",), ("campaign",), ("model", "campaign")):
            parts = report.by(*dimensions, simulated=simulated).values()
            total = Figures()
            for part in parts:
                total += part
            assert total == expected
        for key, figures in report.by("campaign", simulated=simulated).items():
            assert figures.billed.nanos == sum(_billed(job) for job in mine if (job.campaign or None) == key[0])


@settings(max_examples=30, deadline=None)
@given(_jobs)
def test_two_days_together_are_all_jobs_once(wanted: list[LedgerJob]) -> None:
    """No job falls between two days, or into both."""
    ledger = ledger_of(*wanted)
    counted = sum(
        cost_report(ledger, DAY + timedelta(days=offset)).total(simulated=simulated).jobs
        for offset in range(-2, 4)
        for simulated in (False, True)
    )
    assert counted == len(wanted)


def test_a_refund_that_comes_days_later_lowers_the_day_of_the_submission() -> None:
    job = LedgerJob(state=JobState.FAILED, submitted_at=at(23, seconds=3599))
    ledger = ledger_of(job)
    assert cost_report(ledger, DAY).total(simulated=False).billed == Money.usd("0.125")

    append(ledger, [(job.id, EntryKind.REFUND, 125_000_000)], moment=at(days=4))

    assert cost_report(ledger, DAY).total(simulated=False).billed == ZERO
    assert cost_report(ledger, DAY + timedelta(days=4)).rows == ()


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


def test_a_day_without_jobs_has_an_empty_report() -> None:
    report = cost_report(empty_ledger(), DAY)
    assert (report.rows, report.dearest, report.kinds) == ((), (), ())
    assert report.total(simulated=False) == Figures()
