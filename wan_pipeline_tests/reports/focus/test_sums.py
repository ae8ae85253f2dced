"""Whatever is in the ledger, the exports of its months keep every rule and add up to it, to the nano-dollar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from wan_pipeline.money import Money
from wan_pipeline.reports import Period, period_report
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline.spend.tables import metadata
from wan_pipeline_tests.reports.focus.months import export_of, top_up
from wan_pipeline_tests.reports.ledgers import LedgerJob, ledger_of, write
from wan_pipeline_tests.services.postgres import PostgresServer

MONTHS = [Period.parse(f"2026-{number:02d}") for number in (2, 3, 4)]
_ENDS = [month.since for month in MONTHS[1:]]
_moments = st.one_of(
    st.builds(lambda end, ticks: end + timedelta(microseconds=ticks), st.sampled_from(_ENDS), st.integers(-1, 1)),
    st.datetimes(datetime(2026, 2, 1), datetime(2026, 4, 30), timezones=st.just(UTC)),  # noqa: DTZ001
)
_amounts = st.integers(0, 10) | st.integers(0, 40_000_000_000_000)  # to 40,000 USD, any nano-dollar
_entries = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([EntryKind.HOLD, EntryKind.CHARGE]), _amounts, _moments),
        st.tuples(st.just(EntryKind.REFUND), _amounts, _moments, st.none() | _moments),
        st.tuples(st.just(EntryKind.ADJUSTMENT), _amounts.flatmap(lambda x: st.sampled_from([x, -x])), _moments),
    ),
    max_size=5,
).map(tuple)
_providers = st.sampled_from(["wavespeed", "shortapi", "aimlapi", "gone"])
_jobs = st.lists(
    st.builds(
        LedgerJob,
        submitted_at=st.none() | _moments,
        claimed_at=_moments,
        shot=st.sampled_from(["spring/cat", "träume/möwe"]),
        provider=_providers,
        resolution=st.sampled_from(["720p", "1080p"]),
        has_audio=st.sampled_from([True, False, None]),
        campaign=st.sampled_from([None, "", "spring"]),
        state=st.sampled_from(JobState),
        simulated=st.booleans(),
        duration_s=st.integers(2, 15),
        quoted_low=_amounts,
        quoted_high=st.just(40_000_000_000_000) | st.just(10),
        entries=_entries,
    ).filter(lambda job: job.quoted_low <= job.quoted_high),
    max_size=8,
)
_top_ups = st.lists(st.tuples(_providers, _amounts, _moments), max_size=2)
TopUps = list[tuple[str, int, datetime]]


@pytest.fixture(scope="module")
def postgres_of(postgres_server: PostgresServer) -> Iterator[Callable[[list[LedgerJob]], Engine]]:
    """A ledger of these jobs, which replaces the one before it, past the triggers."""
    with postgres_server.database() as url, Ledger.open(url) as ledger:

        def fresh(wanted: list[LedgerJob]) -> Engine:
            with ledger.engine.begin() as connection:
                connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
                for table in reversed(metadata.sorted_tables):
                    connection.execute(sa.delete(table))
            write(ledger.engine, *wanted)
            return ledger.engine

        yield fresh


def _holds(engine: Engine, jobs: list[LedgerJob], top_ups: TopUps) -> None:
    for number, (provider, amount, moment) in enumerate(top_ups):
        top_up(engine, provider, amount, moment, f"t{number}")
    since = {provider: min(moment for who, _, moment in top_ups if who == provider) for provider, _, _ in top_ups}
    for simulated in (False, True):
        exports = [export_of(engine, month, simulated=simulated) for month in MONTHS]
        for month, export in zip(MONTHS, exports, strict=True):
            report = period_report(engine, month)
            assert export.effective == report.total(simulated=simulated).billed
            by_provider: dict[str, Decimal] = defaultdict(Decimal)
            for row in export.table.to_pylist():
                by_provider[row["BillingAccountId"].partition("/")[0]] += row["EffectiveCost"]
            for (provider,), figures in report.by("provider", simulated=simulated).items():
                assert by_provider[str(provider)] == figures.billed.dollars
            assert export.unknown == report.total(simulated=simulated).unknown
        mine = [job for job in jobs if job.simulated is simulated]
        assert Money.total(export.effective for export in exports) == Money(sum(job.billed or 0 for job in mine))
        paid_directly = [
            job
            for job in mine
            if simulated or job.provider not in since or _second(job.moment) < _second(since[job.provider])
        ]
        paid_in = 0 if simulated else sum(amount for _, amount, _ in top_ups)
        assert Money.total(export.billed for export in exports) == Money(
            paid_in + sum(job.billed or 0 for job in paid_directly)
        )


def _second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(_jobs, _top_ups)
def test_the_exports_of_all_months_add_up_to_the_ledger_and_each_to_its_report(
    jobs: list[LedgerJob], top_ups: TopUps
) -> None:
    _holds(ledger_of(*jobs), jobs, top_ups)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(jobs=_jobs, top_ups=_top_ups)
def test_on_postgresql_too(
    postgres_of: Callable[[list[LedgerJob]], Engine], jobs: list[LedgerJob], top_ups: TopUps
) -> None:
    _holds(postgres_of(jobs), jobs, top_ups)
