"""One reading of the ledger for the rules of causes.py, and the alerts that follow from it.

Everything is asked of one state of the database, by statements that an index answers. Two of them are bounded in another
way: bills are looked at as they are written (the entries since the last look), and waste, which is a sum over all jobs of a
month, is asked for only now and then.

What does not belong here: the rules, the sending.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wan_pipeline.money import Money
from wan_pipeline.reports.causes import BILLS_WITHIN_QUOTES, USUAL_DAYS, Bill, Doubt, Reading, Waste, causes
from wan_pipeline.spend import budget
from wan_pipeline.spend.audit_records import Alert
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, JobState
from wan_pipeline.spend.tables import UtcTime, jobs, money_entries

# PostgreSQL gives out ids before they are committed: an entry may show after one with a later id.
_LOOK_BACK = 2000
_AT_ONCE = 500
_job_costs = sa.table(
    "job_costs",
    sa.column("submitted_at", UtcTime()),
    sa.column("claimed_at", UtcTime()),
    sa.column("simulated", sa.Boolean()),
    sa.column("billed_nanos", sa.BigInteger()),
    sa.column("wasted_kind", sa.Text()),
)


@dataclass(frozen=True, slots=True)
class Watched:
    """`raised`: the alerts that are new. `last_entry`: the newest money entry that was looked at; the next look begins
    there."""

    raised: Sequence[Alert]
    reading: Reading
    last_entry: int


def watch(
    ledger: Ledger,
    budgets: Budgets,
    *,
    simulated: bool,
    after_entry: int | None = None,
    with_waste: bool = True,
    now: datetime | None = None,
) -> Watched:
    """Looks for causes, raises what is new, clears what has none any more. `after_entry`: of bills, only what was written
    since, and what is told of already; None: all jobs bought in this UTC month."""
    told = [alert.subject for alert in ledger.alerts.open(simulated=simulated) if alert.kind == BILLS_WITHIN_QUOTES]
    at = now or ledger.now()
    with _one_state(ledger.engine) as connection:
        last_entry = int(connection.execute(sa.select(sa.func.max(money_entries.c.id))).scalar() or 0)
        if after_entry is not None and after_entry > last_entry:
            after_entry = None  # of another ledger, which this one has taken the place of
        reading = Reading(
            at=at,
            simulated=simulated,
            budgets=budget.lines(connection, budgets, at, simulated=simulated),
            spend_today=_spend(connection, at, simulated),
            spend_before=[_spend(connection, at - timedelta(days=ago), simulated) for ago in range(1, USUAL_DAYS + 1)],
            doubts=_doubts(connection, simulated),
            waste=_waste(connection, at, simulated) if with_waste else None,
            bills=_bills(connection, at, simulated, after_entry, told),
        )
    found = [(cause.kind, cause.subject, cause.message) for cause in causes(reading)]
    return Watched(ledger.alerts.settle(reading.kinds, found, simulated=simulated, now=at), reading, last_entry)


@contextmanager
def _one_state(engine: Engine) -> Generator[Connection]:
    """SQLite's transactions see one state by themselves."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def _spend(connection: Connection, moment: datetime, simulated: bool) -> Money:
    """Held and billed for what was bought on that UTC day, as the budgets count it."""
    since, until = budget.day_of(moment)
    query = sa.select(sa.func.sum(jobs.c.held_nanos), sa.func.sum(jobs.c.billed_nanos)).where(
        jobs.c.claimed_at >= since, jobs.c.claimed_at < until, jobs.c.simulated == simulated
    )
    held, billed = connection.execute(query).one()
    return Money(int(held or 0)) + Money(int(billed or 0))


def _doubts(connection: Connection, simulated: bool) -> list[Doubt]:
    since = sa.func.coalesce(jobs.c.doubted_at, jobs.c.claimed_at, type_=UtcTime())
    query = sa.select(jobs.c.id, jobs.c.shot, jobs.c.provider, jobs.c.held_nanos, since).where(
        jobs.c.state == JobState.AMBIGUOUS.value, jobs.c.simulated == simulated
    )
    return [Doubt(job, shot, who, Money(int(held)), at) for job, shot, who, held, at in connection.execute(query)]


def _waste(connection: Connection, moment: datetime, simulated: bool) -> Waste:
    since, until = budget.month_of(moment)
    of = _job_costs.c
    query = (
        sa.select(of.wasted_kind, sa.func.sum(of.billed_nanos))
        .where(
            of.simulated == simulated,
            sa.or_(
                sa.and_(of.submitted_at >= since, of.submitted_at < until),
                sa.and_(of.submitted_at.is_(None), of.claimed_at >= since, of.claimed_at < until),
            ),
        )
        .group_by(of.wasted_kind)
    )
    sums = [(kind, Money(int(nanos or 0))) for kind, nanos in connection.execute(query)]
    wasted = tuple(sorted((str(kind), amount) for kind, amount in sums if kind is not None))
    return Waste(since.astimezone(UTC).date(), Money.total(amount for _, amount in sums), wasted)


def _bills(
    connection: Connection, moment: datetime, simulated: bool, after_entry: int | None, told: Iterable[str]
) -> list[Bill]:
    over = sa.select(jobs.c.id, jobs.c.shot, jobs.c.model, jobs.c.billed_nanos, jobs.c.quoted_high_nanos).where(
        jobs.c.billed_nanos > jobs.c.quoted_high_nanos, jobs.c.simulated == simulated
    )
    if after_entry is None:
        since, until = budget.month_of(moment)
        queries = [over.where(jobs.c.claimed_at >= since, jobs.c.claimed_at < until)]
    else:
        billed = sa.select(money_entries.c.job_id).where(
            money_entries.c.id > after_entry - _LOOK_BACK, money_entries.c.kind.in_(["charge", "adjustment"])
        )
        queries = [over.where(jobs.c.id.in_(billed))]
    known = sorted(told)
    queries += [over.where(jobs.c.id.in_(known[start : start + _AT_ONCE])) for start in range(0, len(known), _AT_ONCE)]
    found = {row[0]: row for query in queries for row in connection.execute(query)}
    return [
        Bill(job, shot, model, Money(int(billed)), Money(int(quoted)))
        for job, shot, model, billed, quoted in sorted(found.values())
    ]
