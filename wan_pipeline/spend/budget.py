"""The budgets: what of a day's, a month's, a shot's, a campaign's and a provider's money is used, and whether there is
room for one hold more.

A job counts in the UTC day and month in which its hold was last asked for (`claimed_at`), with what it holds plus what it
was billed. Simulated and real jobs share no budget. What does not belong here: writing anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.settings import Settings
from wan_pipeline.spend.records import BudgetLine, Budgets, BudgetUse, OverBudget, PeriodUse
from wan_pipeline.spend.tables import jobs

DAILY = "WAN_DAILY_BUDGET_USD"
MONTHLY = "WAN_MONTHLY_BUDGET_USD"
SHOT = "WAN_SHOT_BUDGET_USD"

_AT_ONCE = 500  # shots in one question
_FAR = datetime.max.replace(tzinfo=UTC)


def campaign_name(campaign: str) -> str:
    """How a campaign's budget is called."""
    return f"WAN_CAMPAIGN_BUDGETS_USD ({campaign})"


def provider_name(provider: str) -> str:
    """How a provider's budget is called: its setting."""
    return f"WAN_{provider.upper()}_MONTHLY_BUDGET_USD"


@dataclass(frozen=True, slots=True)
class Purchase:
    """A hold that is asked for. `instead_of`: a job whose hold it takes the place of, which does not count beside it."""

    shot: str
    campaign: str | None
    provider: str
    needed: Money
    simulated: bool
    instead_of: str | None = None


def budgets_of(settings: Settings) -> Budgets:
    """Every limit that is set."""
    return Budgets(
        settings.daily_budget,
        settings.monthly_budget,
        settings.shot_budget,
        campaigns=settings.campaign_budgets,
        providers=settings.provider_budgets,
    )


def day_of(moment: datetime) -> tuple[datetime, datetime]:
    """The UTC day that `moment` lies in: its first moment, and the next day's."""
    start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The UTC month that `moment` lies in: its first moment, and the next month's."""
    start = day_of(moment)[0].replace(day=1)
    return start, (start + timedelta(days=32)).replace(day=1)


def use(connection: Connection, now: datetime, *, simulated: bool) -> BudgetUse:
    real = jobs.c.simulated == simulated
    day, month = day_of(now), month_of(now)
    return BudgetUse(
        day=PeriodUse(*day, *_sums(connection, real, *_within(day))),
        month=PeriodUse(*month, *_sums(connection, real, *_within(month))),
    )


def lines(connection: Connection, budgets: Budgets, now: datetime, *, simulated: bool) -> list[BudgetLine]:
    """Each budget that is set, as it stands: day, month, campaigns, providers. (A shot's is one for each shot.)"""
    real = jobs.c.simulated == simulated
    found: list[BudgetLine] = []
    for name, allowed, where, until in _accounts(budgets, now, sorted(budgets.campaigns), sorted(budgets.providers)):
        held, billed = _sums(connection, real, *where)
        found.append(BudgetLine(name, allowed, held, billed, until))
    return found


def used_by_shots(connection: Connection, shots: Collection[str], *, simulated: bool) -> dict[str, Money]:
    """What each of these shots holds and was billed, all its takes together; those that have any."""
    keys, used = sorted(set(shots)), dict[str, Money]()
    for start in range(0, len(keys), _AT_ONCE):
        query = (
            sa.select(jobs.c.shot, sa.func.sum(jobs.c.held_nanos), sa.func.sum(jobs.c.billed_nanos))
            .where(jobs.c.shot.in_(keys[start : start + _AT_ONCE]), jobs.c.simulated == simulated)
            .group_by(jobs.c.shot)
        )
        for shot, held, billed in connection.execute(query):
            used[shot] = Money(int(held or 0)) + Money(int(billed or 0))
    return used


def over(connection: Connection, budgets: Budgets, purchase: Purchase, now: datetime) -> OverBudget | None:
    """The budget that has no room for it; of several, the one that stays full the longest. None: there is room.

    A shot's budget is for the sum of all its takes, a campaign's for all that is ever bought for it.
    """
    others = [jobs.c.simulated == purchase.simulated]
    if purchase.instead_of is not None:
        others.append(jobs.c.id != purchase.instead_of)
    campaigns = [] if purchase.campaign is None else [purchase.campaign]
    accounts = _accounts(budgets, now, campaigns, [purchase.provider])
    if budgets.shot is not None:
        accounts.append((SHOT, budgets.shot, [jobs.c.shot == purchase.shot], None))
    full: list[OverBudget] = []
    for name, allowed, where, until in accounts:
        held, billed = _sums(connection, *others, *where)
        if held + billed + purchase.needed > allowed:
            never = purchase.needed > allowed  # waiting for the next period would not help
            full.append(OverBudget(name, allowed, held + billed, purchase.needed, None if never else until))
    return max(full, key=lambda item: item.until or _FAR, default=None)


_Account = tuple[str, Money, list[sa.ColumnElement[bool]], datetime | None]


def _accounts(budgets: Budgets, now: datetime, campaigns: list[str], providers: list[str]) -> list[_Account]:
    """The budgets that are set: name, limit, which jobs count in it, when its period ends."""
    day, month = day_of(now), month_of(now)
    found: list[_Account] = []
    if budgets.daily is not None:
        found.append((DAILY, budgets.daily, _within(day), day[1]))
    if budgets.monthly is not None:
        found.append((MONTHLY, budgets.monthly, _within(month), month[1]))
    for campaign in campaigns:
        if campaign in budgets.campaigns:
            found.append((campaign_name(campaign), budgets.campaigns[campaign], [jobs.c.campaign == campaign], None))
    for provider in providers:
        if provider in budgets.providers:
            where = [jobs.c.provider == provider, *_within(month)]
            found.append((provider_name(provider), budgets.providers[provider], where, month[1]))
    return found


def _within(bounds: tuple[datetime, datetime]) -> list[sa.ColumnElement[bool]]:
    return [jobs.c.claimed_at >= bounds[0], jobs.c.claimed_at < bounds[1]]


def _sums(connection: Connection, *where: sa.ColumnElement[bool]) -> tuple[Money, Money]:
    query = sa.select(sa.func.sum(jobs.c.held_nanos), sa.func.sum(jobs.c.billed_nanos)).where(*where)
    row: Any = connection.execute(query).one()
    return Money(int(row[0] or 0)), Money(int(row[1] or 0))  # PostgreSQL's sum of BIGINT is a Decimal
