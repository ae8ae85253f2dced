"""A month with every kind of line in it: what the export's tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Engine

from wan_pipeline.providers.issuing import ISSUERS
from wan_pipeline.reports.focus import FocusExport, focus_export
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_tables import statement_lines
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline_tests.reports.ledgers import DAY, LedgerJob, at, ledger_of

MARCH = Period.month(DAY)
CHARGE, REFUND, ADJUSTMENT = EntryKind.CHARGE, EntryKind.REFUND, EntryKind.ADJUSTMENT


def usd(amount: str) -> int:
    """Nano-dollars."""
    whole, _, places = amount.partition(".")
    return int(whole + places.ljust(9, "0"))


def top_up(engine: Engine, provider: str, amount: int, moment: datetime, line: str = "t1", kind: str = "topup") -> None:
    """A line of the provider's books, as the reconciliation would have kept it."""
    with engine.begin() as connection:
        connection.execute(
            statement_lines.insert().values(
                provider=provider,
                simulated=False,
                source="transactions",
                line_id=line,
                digest=f"{kind}{amount}{moment}".ljust(64, "0")[:64],
                kind=kind,
                amount_nanos=amount,
                at=moment,
                detail="",
                read_at=moment,
            )
        )


def jobs_of_all_kinds() -> list[LedgerJob]:
    """Live ones: plain, in credits, of an endless fraction, corrected, charged twice, refunded in part, refunded from
    an earlier month, failed for nothing; and some that are no lines of this month."""
    aimlapi = {"provider": "aimlapi", "model": "aimlapi/wan-2.6-i2v", "resolution": "1080p", "has_audio": True}
    february = at(days=-20)
    return [
        LedgerJob(entries=((CHARGE, usd("0.125")),)),
        LedgerJob(**aimlapi, quoted_low=usd("0.7875"), quoted_high=usd("1.02375"), entries=((CHARGE, 787_500_500),)),
        LedgerJob(
            provider="shortapi",
            model="shortapi/wan-2.6-r2v",
            has_audio=None,
            campaign=None,
            duration_s=7,
            quoted_low=usd("0.5"),
            quoted_high=usd("0.9"),
            entries=((CHARGE, usd("0.595")), (ADJUSTMENT, -1), (CHARGE, 3)),
        ),
        LedgerJob(state=JobState.FAILED, entries=((CHARGE, 0),)),
        LedgerJob(entries=((CHARGE, usd("0.125")), (REFUND, usd("0.041666666"), at(days=2)))),
        LedgerJob(
            submitted_at=february,
            claimed_at=february,
            state=JobState.FAILED,
            entries=((CHARGE, usd("0.125")), (REFUND, usd("0.125"), at(days=9), at(days=2))),
        ),
        LedgerJob(state=JobState.AMBIGUOUS, submitted_at=None, entries=((EntryKind.HOLD, usd("0.125")),)),
        LedgerJob(simulated=True),
    ]


def month_of_all_kinds() -> Engine:
    """A ledger of those, with a top-up at AI/ML API before its job, and one at ShortAPI after its own."""
    engine = ledger_of(*jobs_of_all_kinds())
    top_up(engine, "aimlapi", usd("50"), at(days=-10))
    top_up(engine, "shortapi", usd("20.000000001"), datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC))
    top_up(engine, "wavespeed", usd("7"), at(days=30) + timedelta(days=5))  # in April: March was not paid with it
    return engine


def export_of(engine: Engine, month: Period = MARCH, *, simulated: bool = False) -> FocusExport:
    return focus_export(engine, month, ISSUERS, simulated=simulated)
