"""The budgets: what of a day's, a month's and a shot's money is used, and whether there is room for one hold more.

A job counts in the UTC day and month in which it was claimed, with what it holds plus what it was billed. Simulated and
real jobs share no budget. What does not belong here: writing anything.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.spend.records import Budgets, BudgetUse, OverBudget, PeriodUse
from wan_pipeline.spend.tables import jobs

DAILY = "WAN_DAILY_BUDGET_USD"
MONTHLY = "WAN_MONTHLY_BUDGET_USD"
SHOT = "WAN_SHOT_BUDGET_USD"


def day_of(moment: datetime) -> tuple[datetime, datetime]:
    """The UTC day that `moment` lies in: its first moment, and the next day's."""
    start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The UTC month that `moment` lies in: its first moment, and the next month's."""
    start = day_of(moment)[0].replace(day=1)
    return start, (start + timedelta(days=32)).replace(day=1)


def use(connection: Connection, now: datetime, *, simulated: bool) -> BudgetUse:
    return BudgetUse(
        day=_period(connection, day_of(now), simulated), month=_period(connection, month_of(now), simulated)
    )


def over(
    connection: Connection, budgets: Budgets, shot: str, needed: Money, now: datetime, *, simulated: bool
) -> OverBudget | None:
    """The budget that has no room for `needed`; of several, the one that stays full the longest. None: there is room.

    A shot's budget is for the sum of all its takes.
    """
    if budgets.shot is not None:
        held, billed = _sums(connection, jobs.c.shot == shot, jobs.c.simulated == simulated)
        if held + billed + needed > budgets.shot:
            return OverBudget(SHOT, budgets.shot, held + billed, needed, None)
    for name, allowed, bounds in (
        (MONTHLY, budgets.monthly, month_of(now)),
        (DAILY, budgets.daily, day_of(now)),
    ):
        if allowed is None:
            continue
        period = _period(connection, bounds, simulated)
        if period.used + needed > allowed:
            never = needed > allowed  # waiting for the next period would not help
            return OverBudget(name, allowed, period.used, needed, None if never else period.until)
    return None


def _period(connection: Connection, bounds: tuple[datetime, datetime], simulated: bool) -> PeriodUse:
    since, until = bounds
    held, billed = _sums(
        connection, jobs.c.claimed_at >= since, jobs.c.claimed_at < until, jobs.c.simulated == simulated
    )
    return PeriodUse(since, until, held, billed)


def _sums(connection: Connection, *where: sa.ColumnElement[bool]) -> tuple[Money, Money]:
    query = sa.select(sa.func.sum(jobs.c.held_nanos), sa.func.sum(jobs.c.billed_nanos)).where(*where)
    row: Any = connection.execute(query).one()
    return Money(int(row[0] or 0)), Money(int(row[1] or 0))  # PostgreSQL's sum of BIGINT is a Decimal
