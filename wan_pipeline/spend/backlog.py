"""How many UTC days a backlog takes within the budgets, and at the pace that the providers keep: one day after the other.

Pure arithmetic over what the ledger says. The rule is that of deferrals: first come, first served, nobody overtakes another
for the same budget, and what can never fit stands in nobody's way. Each shot is counted with its quote's upper bound. To be
foretold in one pass it is made a little stricter: a shot that its own provider keeps waiting (that provider's budget, its
pace, the shot's `not_before`) stands behind those that it does not keep waiting, and then all stand in one queue. So with a
greater daily, monthly or campaign's budget no shot is bought later, unless there is a shot more that can be bought at all.

What does not belong here: what the shots cost, and whether they are bought already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.budget import DAILY, MONTHLY, SHOT, campaign_name, provider_name
from wan_pipeline.spend.records import BudgetLine, Budgets

NOT_BEFORE = "not_before"
_DAY_MS = 86_400_000
_FURTHEST = timedelta(days=366 * 100)  # beyond that a day says nothing
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of its provider's time a submission takes up: `each_ms`, at least 1. `limit` names the setting that
    says so, `words` say it."""

    each_ms: int
    limit: str
    words: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A shot that is to be bought. `needed`: its quote's upper bound. `pace` None: its provider takes any number a day."""

    shot: str
    provider: str
    campaign: str | None
    needed: Money
    not_before: datetime | None = None
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What the budgets allow, what is used of them (`lines`, of the present periods), and of each shot's own."""

    budgets: Budgets
    lines: Sequence[BudgetLine]
    used_by_shot: Mapping[str, Money]


@dataclass(frozen=True, slots=True)
class Planned:
    """When a shot can be bought. `day` None: never, at these limits. `limit`: what kept it waiting last, or for good; ""
    where nothing does. `why`: that limit in words, for one that never fits with the amounts."""

    shot: str
    day: date | None
    needed: Money
    limit: str = ""
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """The shots in the order in which they came. `stood_still`: by limit, how many days the queue waited for it."""

    today: date
    planned: tuple[Planned, ...]
    stood_still: Mapping[str, int]
    words_of: Mapping[str, str]
    busiest_ms: int  # how long the slowest provider is at what can be bought today

    @cached_property
    def spent(self) -> Mapping[date, Money]:
        """What is bought at most on each day on which anything is."""
        days: dict[date, Money] = {}
        for each in self.planned:
            if each.day is not None:
                days[each.day] = days.get(each.day, ZERO) + each.needed
        return dict(sorted(days.items()))

    @property
    def not_today(self) -> list[Planned]:
        """Those that do not fit now."""
        return [each for each in self.planned if each.day != self.today]

    @property
    def never(self) -> list[Planned]:
        return [each for each in self.planned if each.day is None]

    @property
    def days(self) -> int:
        """UTC days from today on, today included, until what can ever be bought is; 0: there is nothing."""
        return (max(self.spent) - self.today).days + 1 if self.spent else 0

    @property
    def limit(self) -> str:
        """What the queue waited for on most days; "" where it did not wait."""
        return max(self.stood_still, key=lambda name: (self.stood_still[name], name), default="")

    def __str__(self) -> str:
        """One line: `3 days: the daily budget of 25.00 USD is the limit (WAN_DAILY_BUDGET_USD)`."""
        if not self.planned:
            return "nothing is to be bought"
        never = self.never
        if not never:
            return self._how_long()
        names = ", ".join(dict.fromkeys(each.limit for each in never))
        shots = "1 shot is" if len(never) == 1 else f"{len(never)} shots are"
        text = f"never: {shots} beyond {names} for good, e.g. {never[0].shot}"
        return text if not self.spent else f"{text}; the others: {self._how_long()}"

    def _how_long(self) -> str:
        if self.days == 1:
            minutes = -(-self.busiest_ms // 60_000)
            pace = f", the slowest provider is busy for about {minutes} min" if minutes > 1 else ""
            return f"1 day: all of it fits into what is left today{pace}"
        waits = sorted(self.stood_still.items(), key=lambda wait: (-wait[1], wait[0]))
        reasons = [
            f"{self.words_of.get(name, name)} {f'for {days} of them ' if len(waits) > 1 else ''}({name})"
            for name, days in waits
        ]
        return f"{self.days} days, until {max(self.spent)}: {', '.join(reasons)}"


def plan(backlog: Sequence[Waiting], room: Room, now: datetime) -> Plan:
    """When each of these shots is bought if nothing else is. The order given is the queue's."""
    today = now.astimezone(UTC).date()
    refused = _refused(backlog, room)
    able = [each for each in backlog if each.shot not in refused]
    released = _released(able, room, now)
    queue = sorted(able, key=lambda each: released[each.shot][0])
    accounts = _Accounts(room, now)
    stood_still: Counter[str] = Counter()
    bought: dict[str, Planned] = {}
    limit = ""  # what the queue has waited for last
    for each in queue:
        free_from, kept = released[each.shot]
        if free_from > accounts.day:
            limit = kept
            stood_still[kept] += (free_from - accounts.day).days
            accounts.go_to(free_from)
        while (lacking := accounts.lacks(each)) is not None and accounts.day - today < _FURTHEST:
            limit, then = lacking, accounts.next_chance(lacking)
            stood_still[lacking] += (then - accounts.day).days
            accounts.go_to(then)
        if accounts.day - today >= _FURTHEST:
            bought[each.shot] = Planned(each.shot, None, each.needed, limit, "not within a hundred years")
            continue
        accounts.take(each)
        bought[each.shot] = Planned(each.shot, accounts.day, each.needed, limit)
    words = _words(room, backlog)
    planned = tuple(_with_words(bought.get(each.shot) or refused[each.shot], words) for each in backlog)
    first = {each.shot for each in planned if each.day == today}
    return Plan(today, planned, stood_still, words, _busiest_ms([each for each in able if each.shot in first]))


def _refused(backlog: Sequence[Waiting], room: Room) -> dict[str, Planned]:
    """What can never be bought at these limits: dearer than a whole budget, or than what is left of one that has no period.
    Of those, a campaign's is first come, first served too."""
    budgets = room.budgets
    left = {line.name: line.left for line in room.lines}
    full: set[str] = set()
    refused: dict[str, Planned] = {}
    for each in backlog:
        wholes = [(DAILY, budgets.daily), (MONTHLY, budgets.monthly)]
        wholes.append((provider_name(each.provider), budgets.providers.get(each.provider)))
        campaign = None if each.campaign is None else campaign_name(each.campaign)
        allowed = None if each.campaign is None else budgets.campaigns.get(each.campaign)
        if campaign is not None and allowed is not None:
            wholes.append((campaign, allowed))
        limit = why = ""
        for name, whole in wholes:
            if whole is not None and each.needed > whole:
                limit, why = name, f"it may cost {each.needed} USD, {whole} USD is all that is allowed"
        used = room.used_by_shot.get(each.shot, ZERO)
        if not limit and budgets.shot is not None and used + each.needed > budgets.shot:
            limit = SHOT
            why = f"it may cost {each.needed} USD, {budgets.shot - used} USD is left of its {budgets.shot} USD"
        if not limit and campaign is not None and allowed is not None:
            rest = left.get(campaign, allowed)
            if campaign in full or each.needed > rest:
                limit = campaign
                why = f"it may cost {each.needed} USD, {rest} USD of {allowed} USD is left once those before it are bought"
                full.add(campaign)
            else:
                left[campaign] = rest - each.needed
        if limit:
            refused[each.shot] = Planned(each.shot, None, each.needed, limit, why)
    return refused


def _released(able: Sequence[Waiting], room: Room, now: datetime) -> dict[str, tuple[date, str]]:
    """From which day on its own provider, and its `not_before`, would let each shot be bought, and what keeps it until
    then: as if the budgets that providers share had no end."""
    released: dict[str, tuple[date, str]] = {}
    today = now.astimezone(UTC).date()
    for provider in dict.fromkeys(each.provider for each in able):
        own = [each for each in able if each.provider == provider]
        accounts = _Accounts(room, now, shared=False)
        kept = ""
        for each in sorted(own, key=lambda each: max(today, _first_day(each, today))):
            begin = _first_day(each, today)
            if begin > accounts.day:
                kept = NOT_BEFORE
                accounts.go_to(begin)
            while (lacking := accounts.lacks(each)) is not None and accounts.day - today < _FURTHEST:
                kept = lacking
                accounts.go_to(accounts.next_chance(lacking))
            accounts.take(each)
            released[each.shot] = (accounts.day, kept)
    return released


def _first_day(each: Waiting, today: date) -> date:
    """The day on which `not_before` falls: the shot is bought in what is left of it then."""
    return today if each.not_before is None else max(today, each.not_before.astimezone(UTC).date())


class _Accounts:
    """What is left of each budget, and of each provider's time, on `day`. `shared` False: providers' own alone."""

    def __init__(self, room: Room, now: datetime, *, shared: bool = True) -> None:
        now = now.astimezone(UTC)
        self.day = now.date()
        self._budgets = room.budgets
        self._shared = shared
        self._left = {line.name: line.left for line in room.lines}
        midnight = datetime.combine(self.day + _DAY, time(), UTC)
        self._today_ms = (midnight - now) // timedelta(milliseconds=1)
        self._ms: dict[str, int] = {}

    def go_to(self, day: date) -> None:
        """A later day has all of its money and time again, a later month too."""
        if (day.year, day.month) != (self.day.year, self.day.month):
            for name in [MONTHLY, *map(provider_name, self._budgets.providers)]:
                self._left.pop(name, None)
        self._left.pop(DAILY, None)
        self._ms.clear()
        self._today_ms = _DAY_MS
        self.day = day

    def lacks(self, each: Waiting) -> str | None:
        """The limit that has no room for it on this day; of several, the one that stays full the longest."""
        periods = [(provider_name(each.provider), self._budgets.providers.get(each.provider))]
        if self._shared:
            periods = [(MONTHLY, self._budgets.monthly), *periods, (DAILY, self._budgets.daily)]
        for name, allowed in periods:
            if allowed is not None and each.needed > self._left.get(name, allowed):
                return name
        if each.pace is not None and min(each.pace.each_ms, _DAY_MS) > self._ms.get(each.provider, self._today_ms):
            return each.pace.limit
        return None

    def next_chance(self, limit: str) -> date:
        """The first day on which that limit has all of its room again."""
        if limit == MONTHLY or limit in map(provider_name, self._budgets.providers):
            return (self.day.replace(day=1) + timedelta(days=32)).replace(day=1)
        return self.day + _DAY

    def take(self, each: Waiting) -> None:
        own = (provider_name(each.provider), self._budgets.providers.get(each.provider))
        for name, allowed in (own, (MONTHLY, self._budgets.monthly), (DAILY, self._budgets.daily)):
            if allowed is not None:
                self._left[name] = self._left.get(name, allowed) - each.needed
        if each.pace is not None:
            left_ms = self._ms.get(each.provider, self._today_ms)
            self._ms[each.provider] = left_ms - min(each.pace.each_ms, _DAY_MS)


def _busiest_ms(first: Sequence[Waiting]) -> int:
    busy: Counter[str] = Counter()
    for each in first:
        busy[each.provider] += 0 if each.pace is None else each.pace.each_ms
    return max(busy.values(), default=0)


def _words(room: Room, backlog: Sequence[Waiting]) -> dict[str, str]:
    budgets = room.budgets
    words = {
        DAILY: f"the daily budget of {budgets.daily} USD is the limit",
        MONTHLY: f"the monthly budget of {budgets.monthly} USD is the limit",
        NOT_BEFORE: "shots say that they are not to be made before",
    }
    for provider, amount in budgets.providers.items():
        words[provider_name(provider)] = f"{provider}'s monthly budget of {amount} USD is the limit"
    return words | {each.pace.limit: each.pace.words for each in backlog if each.pace is not None}


def _with_words(each: Planned, words: Mapping[str, str]) -> Planned:
    if each.why or not each.limit:
        return each
    return Planned(each.shot, each.day, each.needed, each.limit, words.get(each.limit, ""))
