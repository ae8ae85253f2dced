"""What has no room waits and is made when there is some, the oldest first; nobody fails for it, and nobody has to ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.defs.deferred import with_room
from wan_pipeline.defs.resources import WaveSpeedResource
from wan_pipeline.money import Money
from wan_pipeline.spend.records import BudgetLine, Deferral
from wan_pipeline_tests.defs.lab import Lab, asked_for

KEYS = ["a/one", "a/two", "b", "c"]
NOW = datetime(2026, 12, 5, 12, 0, tzinfo=UTC)
DAILY, MONTHLY, OWN = "WAN_DAILY_BUDGET_USD", "WAN_MONTHLY_BUDGET_USD", "WAN_WAVESPEED_MONTHLY_BUDGET_USD"


def _deferrals(lab: Lab) -> list[Deferral]:
    with lab.ledger() as ledger:
        return ledger.deferrals.load(simulated=True)


def _raised(lab: Lab, daily: str) -> Lab:
    """The same installation, restarted with another daily budget."""
    return Lab(lab.home, lab.instance, lab.settings | {"daily_budget_usd": daily}, lab.overrides)


def test_a_shot_over_budget_does_not_fail_the_run_and_is_made_when_there_is_room(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.settings["daily_budget_usd"] = "0.10"

    result = lab.run(KEYS, tags={"wan/asked_by": "sensor"})

    assert result.success
    assert len(lab.materialized("generated_videos")) == 2
    waiting = _deferrals(lab)
    assert {each.shot for each in waiting} == set(KEYS) - lab.materialized("generated_videos")
    assert {(each.limit, each.needed, each.times) for each in waiting} == {(DAILY, Money.usd("0.05"), 1)}
    assert all(each.until is not None and each.until > datetime.now(UTC) for each in waiting)
    assert lab.due() == []

    raised = _raised(lab, "0.20")
    for request in raised.due():
        assert request.tags["wan/asked_by"] == "schedule"
        assert raised.launch(request).success

    assert lab.materialized("generated_videos") == set(KEYS)
    assert _deferrals(lab) == []
    assert lab.charged() == lab.billed() == Money.usd("0.20")
    assert raised.due() == []


def test_only_as_many_are_taken_up_as_have_room_and_those_that_wait_longest(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.settings["daily_budget_usd"] = "0"
    for key in ("c", "b", "a/two", "a/one"):
        lab.run([key])
    assert [each.shot for each in _deferrals(lab)] == ["c", "b", "a/two", "a/one"]

    assert sorted(asked_for(_raised(lab, "0.12").due())) == [("c", "b")]  # neighbours, by when they became partitions


def test_a_tick_asks_for_nothing_that_a_run_under_way_covers(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.settings["daily_budget_usd"] = "0"
    lab.run(KEYS)
    raised = _raised(lab, "1")
    (request,) = raised.due()
    lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"), tags=dict(request.tags))

    assert raised.due() == []


def test_a_deferred_shot_that_is_gone_or_was_made_meanwhile_is_forgotten(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.settings["daily_budget_usd"] = "0"
    lab.run(KEYS)
    raised = _raised(lab, "1")
    (lab.bucket / "inbox/c.jpg").unlink()
    lab.tick()
    assert raised.run(["b"]).success

    (request,) = raised.due()

    assert asked_for([request]) == [("a/one", "a/two")]
    assert [each.shot for each in _deferrals(lab)] == ["a/one", "a/two"]


def test_a_shot_that_is_deferred_is_not_taken_up_by_recovery_too(lab: Lab) -> None:
    from wan_pipeline.defs.recovery import recover

    lab.put_shots(KEYS)
    lab.settings["daily_budget_usd"] = "0"
    lab.run(KEYS, tags={"wan/asked_by": "sensor"})
    with lab.installation.open() as opened:
        assert recover(lab.instance, opened, datetime.now(UTC) + timedelta(hours=2)) == ([], 0)


def test_a_providers_and_a_campaigns_budget_hold_up_their_own_shots_alone(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/b.yaml", "campaign: spring\n")
    lab.settings["campaign_budgets_usd"] = "spring=0.01"
    assert lab.run(KEYS).success
    assert lab.materialized("generated_videos") == set(KEYS) - {"b"}
    (waiting,) = _deferrals(lab)
    assert (waiting.shot, waiting.limit, waiting.until) == ("b", "WAN_CAMPAIGN_BUDGETS_USD (spring)", None)

    lab.put("inbox/d.jpg", (lab.bucket / "inbox/a/one.jpg").read_bytes() + b"x")
    capped = Lab(
        lab.home, lab.instance, dict(lab.settings), {"wavespeed": WaveSpeedResource(monthly_budget_usd="0.15")}
    )
    assert capped.run(["d"]).success
    assert {each.limit for each in _deferrals(lab) if each.shot == "d"} == {OWN}


def test_the_run_says_what_waits_and_for_what(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.settings["daily_budget_usd"] = "0"
    lab.run(KEYS[:1])

    messages = [
        record.event_log_entry.user_message
        for record in lab.instance.get_records_for_run(lab.instance.get_runs(limit=1)[0].run_id).records
    ]
    (told,) = [text for text in messages if text.startswith("Deferred")]
    assert "a/one: WAN_DAILY_BUDGET_USD is 0.00 USD" in told


# --- whose turn it is ---


def _waiting(shot: str, needed: str, limit: str = DAILY, until: datetime | None = None) -> Deferral:
    return Deferral(shot, True, limit, "no room", Money.usd(needed), "wavespeed", None, NOW, until, 1)


def _line(name: str, allowed: str, held: str = "0") -> BudgetLine:
    return BudgetLine(name, Money.usd(allowed), Money.usd(held), Money(0), None)


def _chosen(waiting: list[Deferral], lines: list[BudgetLine]) -> list[str]:
    return [each.shot for each in with_room(waiting, lines, None, {}, NOW)]


def test_a_dear_shot_is_not_overtaken_by_cheap_ones_that_need_the_same_budget() -> None:
    waiting = [_waiting("dear", "5"), _waiting("cheap", "1")]
    assert _chosen(waiting, [_line(DAILY, "6", held="2")]) == []
    assert _chosen(waiting, [_line(DAILY, "6", held="1")]) == ["dear"]
    assert _chosen(waiting, [_line(DAILY, "6")]) == ["dear", "cheap"]


def test_what_can_never_fit_stands_in_nobodys_way() -> None:
    assert _chosen([_waiting("never", "7"), _waiting("cheap", "1")], [_line(DAILY, "6")]) == ["cheap"]


def test_a_provider_that_could_not_be_reached_is_given_its_time() -> None:
    later, past = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
    waiting = [_waiting("later", "1", limit="", until=later), _waiting("now", "1", limit="", until=past)]
    assert _chosen(waiting, [_line(DAILY, "6")]) == ["now"]


def test_a_shots_own_budget_holds_up_that_shot_alone() -> None:
    waiting = [_waiting("full", "1", limit="WAN_SHOT_BUDGET_USD"), _waiting("other", "1")]
    chosen = with_room(waiting, [_line(DAILY, "6")], Money.usd(5), {"full": Money.usd("4.50")}, NOW)
    assert [each.shot for each in chosen] == ["other"]


@given(
    needs=st.lists(st.integers(1, 9), max_size=12),
    allowed=st.integers(0, 30),
    held=st.integers(0, 30),
    own=st.integers(0, 30),
)
def test_what_is_chosen_fits_every_budget_together_and_nobody_is_overtaken(
    needs: list[int], allowed: int, held: int, own: int
) -> None:
    waiting = [_waiting(str(number), str(need)) for number, need in enumerate(needs)]
    lines = [_line(DAILY, str(allowed), str(held)), _line(OWN, str(own))]
    chosen = [int(shot) for shot in _chosen(waiting, lines)]
    spent = sum(needs[number] for number in chosen)
    assert spent <= max(0, min(allowed - held, own))
    can_fit = [number for number, need in enumerate(needs) if need <= min(allowed, own)]
    assert chosen == can_fit[: len(chosen)]


def test_a_deferred_shot_whose_runs_fail_is_not_tried_in_each_tick(lab: Lab) -> None:
    lab.put_shots(KEYS[:1])
    lab.settings["daily_budget_usd"] = "0"
    lab.run(KEYS[:1])
    raised = _raised(lab, "1")
    (request,) = raised.due()
    run = lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"), tags=dict(request.tags))
    lab.instance.report_run_failed(run, "the bucket did not answer")
    assert raised.due() == []
