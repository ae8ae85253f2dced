"""Shots that are made later: whoever has waited longest comes first, however often he is put off again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from wan_pipeline.money import ZERO, Money
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Deferral
from wan_pipeline_tests.spend.samples import NOON, PRICE

MINUTE = timedelta(minutes=1)
CAT = Deferral("cat", False, "WAN_DAILY_BUDGET_USD", "no room", PRICE, "wavespeed", "spring", NOON, NOON + MINUTE, 1)


def test_a_deferral_is_kept_as_it_was_said(ledger: Ledger) -> None:
    dog = Deferral("dog", False, "", "no route to shortapi", ZERO, "shortapi", None, NOON, None, 1)
    ledger.deferrals.defer([dog, CAT])
    assert ledger.deferrals.load(simulated=False) == [CAT, dog]
    assert ledger.deferrals.load(simulated=True) == []


def test_whoever_is_put_off_again_keeps_his_place(ledger: Ledger) -> None:
    ledger.deferrals.defer([CAT])
    ledger.deferrals.defer([replace(CAT, shot="dog", since=NOON + MINUTE)])
    again = replace(CAT, since=NOON + 9 * MINUTE, until=None, limit="", reason="out of reach", needed=Money(7))
    ledger.deferrals.defer([again])
    first, second = ledger.deferrals.load(simulated=False)
    assert first == replace(again, since=NOON, times=2)
    assert second.shot == "dog"


def test_how_often_is_counted_here_whatever_is_said(ledger: Ledger) -> None:
    for said in (1, 2, 0, 7):
        ledger.deferrals.defer([replace(CAT, times=said)])
    assert ledger.deferrals.load(simulated=False)[0].times == 4


def test_a_simulated_shot_waits_in_its_own_queue(ledger: Ledger) -> None:
    ledger.deferrals.defer([CAT, replace(CAT, simulated=True)])
    ledger.deferrals.forget(["cat", "never seen"], simulated=True)
    assert ledger.deferrals.load(simulated=True) == []
    assert ledger.deferrals.load(simulated=False) == [CAT]


def test_what_is_forgotten_begins_anew(ledger: Ledger) -> None:
    ledger.deferrals.defer([CAT])
    ledger.deferrals.forget(["cat"], simulated=False)
    later = replace(CAT, since=NOON + MINUTE)
    ledger.deferrals.defer([later])
    assert ledger.deferrals.load(simulated=False) == [later]


def test_ten_thousand_are_put_off_and_forgotten_and_none_is_nothing(ledger: Ledger) -> None:
    ledger.deferrals.defer([])
    ledger.deferrals.forget([], simulated=False)
    many = [replace(CAT, shot=f"shot-{n:05}") for n in range(10_000)]
    ledger.deferrals.defer(many)
    assert ledger.deferrals.load(simulated=False) == many
    ledger.deferrals.forget([item.shot for item in many], simulated=False)
    assert ledger.deferrals.load(simulated=False) == []
