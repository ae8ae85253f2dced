"""The budgets: what of a day's, a month's, a shot's, a campaign's and a provider's money is used, and whether there is
room for one hold more.

A job counts in the UTC day and month in which its hold was last asked for (`claimed_at`), with what it holds plus what it
was billed. Simulated and real jobs share no budget. A shot's sum is asked of its few jobs, every other one of the running
totals (budget_tables.py), so that it costs the same however many jobs there are. What does not belong here: writing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from wan_pipeline.money import ZERO, Money
from wan_pipeline.settings import Settings
from wan_pipeline.spend.budget_tables import budget_totals
from wan_pipeline.spend.records import BudgetLine, Budgets, BudgetUse, Job, OverBudget, PeriodUse
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
    instead_of: Job | None = None


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
    day, month = day_of(now), month_of(now)
    return BudgetUse(
        day=PeriodUse(*day, *_sums(connection, _OF_PERIOD, _period(day, simulated))),
        month=PeriodUse(*month, *_sums(connection, _OF_PERIOD, _period(month, simulated))),
    )


def lines(connection: Connection, budgets: Budgets, now: datetime, *, simulated: bool) -> list[BudgetLine]:
    """Each budget that is set, as it stands: day, month, campaigns, providers. (A shot's is one for each shot.)"""
    found: list[BudgetLine] = []
    for account in _accounts(budgets, now, sorted(budgets.campaigns), sorted(budgets.providers), simulated=simulated):
        held, billed = _sums(connection, account.query, account.values)
        found.append(BudgetLine(account.name, account.allowed, held, billed, account.until))
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
    campaigns = [] if purchase.campaign is None else [purchase.campaign]
    accounts = _accounts(budgets, now, campaigns, [purchase.provider], simulated=purchase.simulated)
    if budgets.shot is not None:
        values = {"of_shot": purchase.shot, "of_kind": purchase.simulated}
        accounts.append(_Account(SHOT, budgets.shot, _OF_SHOT, values, None))
    full: list[OverBudget] = []
    for account in accounts:
        held, billed = _sums(connection, account.query, account.values)
        used = held + billed - _counted(account, purchase.instead_of)
        if used + purchase.needed > account.allowed:
            never = purchase.needed > account.allowed  # waiting for the next period would not help
            until = None if never else account.until
            full.append(OverBudget(account.name, account.allowed, used, purchase.needed, until))
    return max(full, key=lambda item: item.until or _FAR, default=None)


_Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Account:
    """A budget that is set: its sums are `query` with `values`; `until`: when its period ends."""

    name: str
    allowed: Money
    query: sa.Select[Any, Any]
    values: _Values
    until: datetime | None


def _sums_of(*where: sa.ColumnElement[bool], table: sa.Table = budget_totals) -> sa.Select[Any, Any]:
    sums = sa.select(sa.func.sum(table.c.held_nanos), sa.func.sum(table.c.billed_nanos))
    return sums.where(table.c.simulated == bindparam("of_kind"), *where)


_day = budget_totals.c.day
_OF_PERIOD = _sums_of(_day >= bindparam("since"), _day < bindparam("until"))
_OF_PROVIDER = _OF_PERIOD.where(budget_totals.c.provider == bindparam("of_provider"))
_OF_CAMPAIGN = _sums_of(budget_totals.c.campaign == bindparam("of_campaign"))
_OF_SHOT = _sums_of(jobs.c.shot == bindparam("of_shot"), table=jobs)


def _accounts(
    budgets: Budgets, now: datetime, campaigns: Sequence[str], providers: Sequence[str], *, simulated: bool
) -> list[_Account]:
    day, month = day_of(now), month_of(now)
    of_day, of_month = _period(day, simulated), _period(month, simulated)
    found: list[_Account] = []
    if budgets.daily is not None:
        found.append(_Account(DAILY, budgets.daily, _OF_PERIOD, of_day, day[1]))
    if budgets.monthly is not None:
        found.append(_Account(MONTHLY, budgets.monthly, _OF_PERIOD, of_month, month[1]))
    for campaign in campaigns:
        if campaign in budgets.campaigns:
            values = {"of_campaign": campaign, "of_kind": simulated}
            allowed = budgets.campaigns[campaign]
            found.append(_Account(campaign_name(campaign), allowed, _OF_CAMPAIGN, values, None))
    for provider in providers:
        if provider in budgets.providers:
            values = {**of_month, "of_provider": provider}
            found.append(_Account(provider_name(provider), budgets.providers[provider], _OF_PROVIDER, values, month[1]))
    return found


def _period(bounds: tuple[datetime, datetime], simulated: bool) -> _Values:
    return {"since": bounds[0].date(), "until": bounds[1].date(), "of_kind": simulated}


def _counted(account: _Account, job: Job | None) -> Money:
    """What this job counts in that budget."""
    if job is None:
        return ZERO
    day, values = job.claimed_at.astimezone(UTC).date(), account.values
    in_period = "since" not in values or values["since"] <= day < values["until"]
    same = (
        ("of_kind", job.simulated),
        ("of_provider", job.provider),
        ("of_campaign", job.campaign),
        ("of_shot", job.shot),
    )
    if not in_period or any(values.get(name, its) != its for name, its in same):
        return ZERO
    return job.held + (job.billed or ZERO)


def _sums(connection: Connection, query: sa.Select[Any, Any], values: _Values) -> tuple[Money, Money]:
    row: Any = connection.execute(query, values).one()
    return Money(int(row[0] or 0)), Money(int(row[1] or 0))  # PostgreSQL's sum of BIGINT is a Decimal
