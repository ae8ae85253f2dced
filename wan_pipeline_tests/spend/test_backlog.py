"""How long a backlog takes: no budget is ever exceeded, and more money never makes a shot wait longer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.backlog import NOT_BEFORE, Pace, Plan, Room, Waiting, plan
from wan_pipeline.spend.budget import DAILY, MONTHLY, SHOT, campaign_name, provider_name
from wan_pipeline.spend.records import BudgetLine, Budgets

NOW = datetime(2026, 11, 28, 18, 0, tzinfo=UTC)  # the month ends in two days
TODAY = NOW.date()


def usd(cents: int) -> Money:
    return Money(cents * 10_000_000)


def room(
    daily: int | None,
    monthly: int | None,
    shot: int | None = None,
    used: int = 0,
    campaigns: dict[str, int] | None = None,
    providers: dict[str, int] | None = None,
    used_by_shot: dict[str, int] | None = None,
) -> Room:
    """Budgets in cents; so much of the day and of the month is used, of the others nothing."""

    def amounts(of: dict[str, int] | None) -> dict[str, Money]:
        return {name: usd(cents) for name, cents in (of or {}).items()}

    budgets = Budgets(
        None if daily is None else usd(daily),
        None if monthly is None else usd(monthly),
        None if shot is None else usd(shot),
        amounts(campaigns),
        amounts(providers),
    )
    lines = [BudgetLine(campaign_name(name), each, ZERO, ZERO, None) for name, each in budgets.campaigns.items()]
    lines += [BudgetLine(provider_name(name), each, ZERO, ZERO, NOW) for name, each in budgets.providers.items()]
    if budgets.daily is not None:
        lines.append(BudgetLine(DAILY, budgets.daily, usd(used), ZERO, NOW))
    if budgets.monthly is not None:
        lines.append(BudgetLine(MONTHLY, budgets.monthly, ZERO, usd(used), NOW))
    return Room(budgets, lines, amounts(used_by_shot))


def shots(*cents: int, provider: str = "wavespeed", campaign: str | None = None, **more: object) -> list[Waiting]:
    found = [Waiting(f"shot{number:03}", provider, campaign, usd(each)) for number, each in enumerate(cents)]
    return [replace(each, **more) for each in found]  # type: ignore[arg-type]


def days(made: Plan) -> dict[str, date | None]:
    return {each.shot: each.day for each in made.planned}


def test_what_fits_is_bought_today_and_the_rest_on_the_days_that_follow() -> None:
    made = plan(shots(40, 40, 40, 40, 40), room(100, 1000), NOW)
    assert [(each.day - TODAY).days for each in made.planned if each.day] == [0, 0, 1, 1, 2]
    assert made.days == 3
    assert made.limit == DAILY
    assert str(made) == "3 days, until 2026-11-30: the daily budget of 1.00 USD is the limit (WAN_DAILY_BUDGET_USD)"
    assert [each.shot for each in made.not_today] == ["shot002", "shot003", "shot004"]
    assert {each.limit for each in made.not_today} == {DAILY}


def test_what_is_used_today_and_this_month_counts_and_a_new_month_has_all_of_its_money() -> None:
    made = plan(shots(50, 50), room(100, 1000, used=60), NOW)
    assert list(made.spent) == [TODAY + timedelta(days=1)]
    made = plan(shots(50, 50), room(100, 100, used=60), NOW)
    assert list(made.spent) == [date(2026, 12, 1)]
    assert made.limit == MONTHLY
    assert "the monthly budget of 1.00 USD is the limit" in str(made)


def test_what_never_fits_is_said_with_the_limit_and_stands_in_nobodys_way() -> None:
    made = plan(shots(120, 40, 60), room(100, 1000, shot=50, used_by_shot={"shot001": 20}), NOW)
    assert days(made) == {"shot000": None, "shot001": None, "shot002": None}
    assert [each.limit for each in made.never] == [DAILY, SHOT, SHOT]
    assert "0.30 USD is left of its 0.50 USD" in made.never[1].why
    assert str(made) == "never: 3 shots are beyond WAN_DAILY_BUDGET_USD, WAN_SHOT_BUDGET_USD for good, e.g. shot000"
    made = plan(shots(120, 40), room(100, 1000), NOW)
    assert days(made) == {"shot000": None, "shot001": TODAY}
    assert "the others: 1 day" in str(made)


def test_a_campaigns_budget_has_no_period_and_is_first_come_first_served() -> None:
    made = plan(shots(60, 60, 10, campaign="spring"), room(100, 1000, campaigns={"spring": 100}), NOW)
    assert days(made) == {"shot000": TODAY, "shot001": None, "shot002": None}
    assert {each.limit for each in made.never} == {"WAN_CAMPAIGN_BUDGETS_USD (spring)"}


def test_a_provider_without_money_keeps_its_own_shots_waiting_and_no_others() -> None:
    backlog = [*shots(60, 60), replace(shots(50, provider="aimlapi")[0], shot="other")]
    made = plan(backlog, room(1000, 5000, providers={"wavespeed": 60}), NOW)
    assert days(made) == {"shot000": TODAY, "shot001": date(2026, 12, 1), "other": TODAY}
    assert made.limit == "WAN_WAVESPEED_MONTHLY_BUDGET_USD"


def test_the_pace_of_a_provider_and_not_before_make_a_backlog_long_too() -> None:
    pace = Pace(3_600_000, "WAN_WAVESPEED_SUBMITS_PER_MINUTE", "wavespeed takes one an hour")
    made = plan(shots(*[1] * 10, pace=pace), room(1000, 5000), NOW)
    assert Counter(days(made).values()) == {TODAY: 6, TODAY + timedelta(days=1): 4}  # it is 18:00
    assert "wavespeed takes one an hour (WAN_WAVESPEED_SUBMITS_PER_MINUTE)" in str(made)
    later = plan(shots(1, not_before=NOW + timedelta(days=3)), room(1000, 5000), NOW)
    assert days(later) == {"shot000": date(2026, 12, 1)}
    assert later.limit == NOT_BEFORE
    mixed = plan([*shots(1, not_before=NOW + timedelta(days=3)), replace(shots(1)[0], shot="now")], room(9, 9), NOW)
    assert days(mixed)["now"] == TODAY
    short = plan(shots(*[1] * 3, pace=replace(pace, each_ms=60_000)), room(1000, 5000), NOW)
    assert str(short) == "1 day: all of it fits into what is left today, the slowest provider is busy for about 3 min"


def test_every_limit_that_was_waited_for_is_named_the_worst_first() -> None:
    made = plan(shots(*[50] * 6), room(50, 100), NOW)  # two in November, two in December, two in January
    assert list(made.spent)[-1] == date(2027, 1, 2)
    assert str(made) == (
        "36 days, until 2027-01-02: the monthly budget of 1.00 USD is the limit for 32 of them (WAN_MONTHLY_BUDGET_USD), "
        "the daily budget of 0.50 USD is the limit for 3 of them (WAN_DAILY_BUDGET_USD)"
    )


def test_nothing_to_buy_takes_no_day() -> None:
    assert str(plan([], room(0, 0), NOW)) == "nothing is to be bought"
    assert plan([], room(0, 0), NOW).days == 0


CENTS = st.integers(1, 12)
PROVIDERS = st.sampled_from(["wavespeed", "aimlapi"])


@st.composite
def backlogs(draw: st.DrawFn) -> list[Waiting]:
    found: list[Waiting] = []
    for number in range(draw(st.integers(1, 12))):
        provider = draw(PROVIDERS)
        wait = draw(st.sampled_from([None, None, None, 1, 4]))
        pace = draw(st.sampled_from([None, 4, 20]))
        found.append(
            Waiting(
                f"shot{number}",
                provider,
                draw(st.sampled_from([None, "spring"])),
                usd(draw(CENTS)),
                None if wait is None else NOW + timedelta(days=wait),
                None if pace is None else Pace(pace * 3_600_000, f"pace of {provider}", "slow"),
            )
        )
    return found


@given(
    backlogs(),
    st.integers(0, 15),
    st.integers(0, 40),
    st.integers(0, 10),
    st.sampled_from([None, {"wavespeed": 15}, {"wavespeed": 9, "aimlapi": 14}]),
    st.sampled_from([None, {"spring": 20}]),
)
def test_no_budget_is_ever_exceeded_and_every_shot_is_planned_once(
    backlog: list[Waiting],
    daily: int,
    monthly: int,
    used: int,
    providers: dict[str, int] | None,
    campaigns: dict[str, int] | None,
) -> None:
    made = plan(backlog, room(daily, monthly, used=used, providers=providers, campaigns=campaigns), NOW)
    assert [each.shot for each in made.planned] == [each.shot for each in backlog]
    by_day: Counter[date] = Counter()
    by_month: Counter[tuple[int, int]] = Counter()
    by_provider: Counter[tuple[int, int, str]] = Counter()
    by_campaign: Counter[str | None] = Counter()
    busy_ms: Counter[tuple[date, str]] = Counter()
    for want, each in zip(backlog, made.planned, strict=True):
        if each.day is None:
            assert each.limit
            assert each.why
            continue
        month = (each.day.year, each.day.month)
        assert each.day >= TODAY if want.not_before is None else each.day >= want.not_before.date()
        assert each.limit or each.day == TODAY
        by_day[each.day] += want.needed.nanos
        by_month[month] += want.needed.nanos
        by_provider[*month, want.provider] += want.needed.nanos
        by_campaign[want.campaign] += want.needed.nanos
        busy_ms[each.day, want.provider] += want.pace.each_ms if want.pace else 0
    for day, nanos in by_day.items():
        assert nanos <= usd(daily - used if day == TODAY else daily).nanos
        assert made.spent[day].nanos == nanos
    for month, nanos in by_month.items():
        assert nanos <= usd(monthly - used if month == (2026, 11) else monthly).nanos
    for (_, _, provider), nanos in by_provider.items():
        assert nanos <= usd((providers or {}).get(provider, 10**6)).nanos
    assert by_campaign["spring"] <= usd((campaigns or {}).get("spring", 10**6)).nanos
    for (day, _), busy in busy_ms.items():
        assert busy <= (6 if day == TODAY else 24) * 3_600_000


@given(
    backlogs(),
    st.integers(1, 15),
    st.integers(1, 40),
    st.integers(0, 10),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([None, {"wavespeed": 15}]),
)
def test_more_daily_or_monthly_money_never_makes_a_shot_wait_longer(
    backlog: list[Waiting], daily: int, monthly: int, used: int, more: int, more_a_month: int, providers: dict[str, int]
) -> None:
    less = plan(backlog, room(daily, monthly, used=used, providers=providers), NOW)
    richer = plan(backlog, room(daily + more, monthly + more_a_month, used=used, providers=providers), NOW)
    assert {each.shot for each in richer.never} <= {each.shot for each in less.never}
    if len(richer.never) == len(less.never):
        before = days(less)
        assert all(each.day is None or each.day <= (before[each.shot] or date.max) for each in richer.planned)
        assert richer.days <= less.days


def test_ten_thousand_shots_over_years_are_foretold_in_moments() -> None:
    made = plan(shots(*[3, 7] * 5000), room(10, 100), NOW)
    assert made.days > 365
    assert sum(each.nanos for each in made.spent.values()) == usd(50_000).nanos
