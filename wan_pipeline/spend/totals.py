"""The running totals of the budgets: folding what the triggers have appended, adding all up anew, and holding both against
the jobs.

What does not belong here: what is asked of them (budget.py), and what keeps them (budget_tables.py).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from wan_pipeline.money import Money
from wan_pipeline.spend.budget_tables import budget_totals
from wan_pipeline.spend.records import Difference
from wan_pipeline.spend.tables import jobs

_AT_ONCE = 5000  # changes in one fold
_KEY = (budget_totals.c.day, budget_totals.c.simulated, budget_totals.c.provider, budget_totals.c.campaign)
_NOT_FOLDED = sa.text("NOT folded")

_CHANGES = sa.select(budget_totals.c.id).where(_NOT_FOLDED).order_by(budget_totals.c.id).limit(_AT_ONCE)
_TAKE = budget_totals.delete().where(budget_totals.c.id.in_(_CHANGES)).returning(budget_totals)
_ADD = (
    budget_totals.update()
    .where(
        budget_totals.c.day == bindparam("of_day"),
        budget_totals.c.simulated == bindparam("of_kind"),
        budget_totals.c.provider == bindparam("of_provider"),
        budget_totals.c.campaign.is_not_distinct_from(bindparam("of_campaign")),
        budget_totals.c.folded,
    )
    .values(
        held_nanos=budget_totals.c.held_nanos + bindparam("held"),
        billed_nanos=budget_totals.c.billed_nanos + bindparam("billed"),
    )
)
_LOCK = (sa.func.hashtext("wan_ledger"), sa.func.hashtext("fold budget totals"))
_ALONE = sa.select(sa.func.pg_try_advisory_xact_lock(*_LOCK))


def fold(connection: Connection) -> int:
    """Makes one row of each key's changes, in the caller's transaction; gives how many changes there were. Where somebody
    else is at it, nothing is done, and nobody waits."""
    if connection.dialect.name == "postgresql" and not connection.execute(_ALONE).scalar():
        return 0
    changes = connection.execute(_TAKE).all()
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in changes:
        held_and_billed = sums.setdefault((row.day, row.simulated, row.provider, row.campaign), [0, 0])
        held_and_billed[0] += row.held_nanos
        held_and_billed[1] += row.billed_nanos
    for (day, simulated, provider, campaign), (held, billed) in sums.items():
        key = {"of_day": day, "of_kind": simulated, "of_provider": provider, "of_campaign": campaign}
        if connection.execute(_ADD, {**key, "held": held, "billed": billed}).rowcount == 0:
            values = {"day": day, "simulated": simulated, "provider": provider, "campaign": campaign}
            money = {"held_nanos": held, "billed_nanos": billed, "folded": True}
            connection.execute(budget_totals.insert(), {**values, **money})
    return len(changes)


def rebuild(connection: Connection) -> None:
    """Adds up all jobs anew, in the caller's transaction. On PostgreSQL whoever changes a job waits until it ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(*_LOCK)))  # whoever folds has ended
        connection.execute(sa.text("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(budget_totals.delete())
    names = [*(column.name for column in _KEY), "held_nanos", "billed_nanos", "folded"]
    held, billed = sa.func.sum(jobs.c.held_nanos), sa.func.sum(sa.func.coalesce(jobs.c.billed_nanos, 0))
    key = _key_of_job(connection)
    query = sa.select(*key, held, billed, sa.true()).group_by(*key)
    connection.execute(budget_totals.insert().from_select(names, query))


def differences(connection: Connection) -> list[Difference]:
    """Keys whose totals are not what their jobs hold and were billed."""
    zero = sa.literal(0, sa.BigInteger())
    kept = sa.select(*_KEY, budget_totals.c.held_nanos, budget_totals.c.billed_nanos, zero.label("h"), zero.label("b"))
    there = sa.select(
        *(
            column.label(name)
            for column, name in zip(_key_of_job(connection), ("day", "simulated", "provider", "campaign"), strict=True)
        ),
        zero,
        zero,
        jobs.c.held_nanos,
        sa.func.coalesce(jobs.c.billed_nanos, 0),
    )
    both = sa.union_all(kept, there).subquery()
    key = [both.c.day, both.c.simulated, both.c.provider, both.c.campaign]
    sums = [sa.func.sum(column) for column in (both.c.held_nanos, both.c.h, both.c.billed_nanos, both.c.b)]
    query = sa.select(*key, *sums).group_by(*key).having((sums[0] != sums[1]) | (sums[2] != sums[3])).order_by(*key)
    found: list[Difference] = []
    for row in connection.execute(query):
        whose = f"{row.day} {row.provider}{f' {row.campaign}' if row.campaign else ''}"
        whose += " simulated" if row.simulated else ""
        held, held_by_jobs, billed, billed_by_jobs = (str(Money(int(amount))) for amount in row[4:])
        for what, kept_usd, usd in (("held", held, held_by_jobs), ("billed", billed, billed_by_jobs)):
            if kept_usd != usd:
                told = f"{usd}: budgets are held against a wrong sum until `wan-pipeline doctor --rebuild-ledger`"
                found.append(Difference("", f"budget total of {whose}: {what}", kept_usd, told))
    return found


def _key_of_job(connection: Connection) -> list[sa.ColumnElement[Any]]:
    if connection.dialect.name == "postgresql":
        day: sa.ColumnElement[Any] = sa.cast(sa.func.timezone("UTC", jobs.c.claimed_at), sa.Date)
    else:
        day = sa.type_coerce(sa.func.substr(sa.type_coerce(jobs.c.claimed_at, sa.String()), 1, 10), sa.Date())
    return [day, jobs.c.simulated, jobs.c.provider, jobs.c.campaign]
