"""Deferred shots whose time has come: for which of them there is room, the one that has waited longest first.

Pure arithmetic over what the ledger says. What belongs here: whose turn it is. What does not: the budgets' sums (the claim
asks them again, and has the last word), and launching.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from wan_pipeline.money import Money
from wan_pipeline.spend.budget import DAILY, MONTHLY, campaign_name, provider_name
from wan_pipeline.spend.records import BudgetLine, Deferral


def awaited(job_id: str) -> str:
    """What stands in the place of a budget where a shot waits for a job of another shot, which has the same request."""
    return f"job {job_id}"


def with_room(
    waiting: Iterable[Deferral],
    lines: Sequence[BudgetLine],
    shot_budget: Money | None,
    used_by_shot: Mapping[str, Money],
    now: datetime,
) -> list[Deferral]:
    """Those to be taken up now, oldest first. `used_by_shot`: what these shots hold and were billed already.

    What is given takes its room from those behind it. A budget that has none for one of them has none for those behind it
    that need it too, however little they need: otherwise a dear shot would wait for ever behind a row of cheap ones. What
    can never fit stands in nobody's way.
    """
    allowed = {line.name: line.allowed for line in lines}
    left = {line.name: line.left for line in lines}
    blocked: set[str] = set()
    chosen: list[Deferral] = []
    for each in waiting:
        if not each.limit and each.until is not None and each.until > now:
            continue  # its provider is given time
        needs = [name for name in _limits_of(each) if name in left]
        if any(each.needed > allowed[name] for name in needs):
            continue  # not before somebody raises it
        if shot_budget is not None and used_by_shot.get(each.shot, Money(0)) + each.needed > shot_budget:
            continue  # the shot's own budget: nobody else waits for that
        full = [name for name in needs if name in blocked or each.needed > left[name]]
        if full:
            blocked.update(full)
            continue
        for name in needs:
            left[name] -= each.needed
        chosen.append(each)
    return chosen


def _limits_of(each: Deferral) -> list[str]:
    campaign = [campaign_name(each.campaign)] if each.campaign is not None else []
    return [DAILY, MONTHLY, *campaign, provider_name(each.provider)]
