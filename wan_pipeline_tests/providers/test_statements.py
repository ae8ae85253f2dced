"""The providers' books as lines: exact, of the right kind, read to their end, or not at all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.money import Money
from wan_pipeline.providers.looking import UnreadError
from wan_pipeline.providers.statements import KeepsBooks
from wan_pipeline.spend.audit_records import LineKind, StatementLine
from wan_pipeline_tests.providers.accounts import Account, AimlApi, WaveSpeed, charge, deduction, request
from wan_pipeline_tests.providers.test_finding_out_simulated import Street
from wan_pipeline_tests.providers.tiny_server import QUICK, client_of, serving

SINCE, UNTIL = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 8, 2, tzinfo=UTC)
K = LineKind


def read(provider: str, account: Account) -> list[StatementLine]:
    async def work() -> list[StatementLine]:
        async with serving(account._serve) as server, client_of(provider, server.url, patience=QUICK) as client:
            assert isinstance(client, KeepsBooks)
            return await client.statement(SINCE, UNTIL, simulated=False)

    return asyncio.run(work())


def entry(kind: str, credits: Any, **changed: Any) -> dict[str, Any]:
    direction = changed.pop("direction", "CHARGE" if kind == "MODEL_USAGE" else "TOPUP")
    amount = {"usd": 1.0, "credits": credits}
    return charge(changed.pop("reference_id", None), type=kind, direction=direction, amount=amount, **changed)


def test_aimlapis_entries_are_charges_refunds_money_paid_in_and_others_exact_from_their_credits() -> None:
    account = AimlApi(
        charges=[
            charge("inf-1", amount={"usd": 0.79, "credits": 1_575_001}),
            entry("REFUND", 500_000, reference_id="inf-1"),
            entry("PAYMENT", 20_000_000, reference_id="pay-1", model=None),
            entry("BONUS", 1, model=None),
            entry("ADJUSTMENT", 2, direction="CHARGE", model=None),
        ]
    )
    lines = {line.kind: line for line in read("aimlapi", account)}
    assert [lines[kind].amount for kind in (K.CHARGE, K.REFUND, K.TOPUP)] == [
        Money(1_575_001 * 500),
        Money.usd("0.25"),
        Money.usd(10),
    ]
    assert (lines[K.CHARGE].reference, lines[K.REFUND].reference, lines[K.TOPUP].reference) == (
        "inf-1",
        "inf-1",
        "pay-1",
    )
    assert sum(line.kind is K.OTHER for line in read("aimlapi", account)) == 2
    assert lines[K.OTHER].detail in ("BONUS TOPUP", "ADJUSTMENT CHARGE")


def test_aimlapis_entries_have_ids_that_stay_however_they_are_paged_and_tell_the_same_entry_twice_apart() -> None:
    rows = [charge("inf-1"), charge("inf-1"), charge("inf-2"), charge("inf-1", amount={"credits": 7, "usd": 0})]
    first = read("aimlapi", AimlApi(charges=rows))
    again = read("aimlapi", AimlApi(charges=rows[::-1], page_size=3))
    assert len({line.line_id for line in first}) == 4
    assert {(line.line_id, line.amount) for line in first} == {(line.line_id, line.amount) for line in again}


def test_wavespeeds_records_are_deductions_refunds_and_others() -> None:
    rows = [
        deduction("pred-1", price=0.123456789),
        deduction("pred-1", 2, billing_type="refund", price="0.05"),
        deduction(None, 3, billing_type="recharge", price=25),
        deduction(None, 4, billing_type="coupon", price=5),
        deduction("pred-2", 5, billing_type="something new", price=1),
        deduction("pred-3", 6, created_at="2026-08-02T00:00:00.000Z"),  # the next day's
    ]
    lines = read("wavespeed", WaveSpeed(billings=rows))
    assert [(line.kind, line.reference, line.amount) for line in lines] == [
        (K.CHARGE, "pred-1", Money(123_456_789)),
        (K.REFUND, "pred-1", Money.usd("0.05")),
        (K.TOPUP, None, Money.usd(25)),
        (K.OTHER, None, Money.usd(5)),
        (K.CHARGE, "pred-2", Money.usd(1)),
    ]


@pytest.mark.parametrize(
    ("provider", "account", "said"),
    [
        ("aimlapi", AimlApi(charges=[entry("MODEL_USAGE", "many", reference_id="inf-1")]), "its amount is 'many'"),
        ("aimlapi", AimlApi(charges=[charge("inf-1", created_at="today")]), "its created_at is 'today'"),
        ("aimlapi", AimlApi(charges=[charge("inf-1", direction="TOPUP")]), "which its type contradicts"),
        ("wavespeed", WaveSpeed(billings=[deduction("pred-1", price=-1)]), "its amount is"),
        ("wavespeed", WaveSpeed(billings=[deduction("pred-1", created_at=None)]), "its created_at is missing"),
        ("wavespeed", WaveSpeed(billings=[deduction("pred-1")], broken={1: (200, {"code": 500})}), "code 500"),
    ],
)
def test_books_with_a_row_that_cannot_be_read_are_not_read_at_all(provider: str, account: Account, said: str) -> None:
    with pytest.raises(UnreadError, match=said):
        read(provider, account)


def test_aimlapis_logs_say_whose_request_an_inference_was() -> None:
    account = AimlApi(requests=[request("inf-1", "attempt-1"), request("inf-2"), request("inf-3", "attempt-3")])

    async def work() -> Any:
        async with serving(account._serve) as server, client_of("aimlapi", server.url, patience=QUICK) as client:
            assert isinstance(client, KeepsBooks)
            return await client.sent_with(SINCE, UNTIL)

    assert asyncio.run(work()) == {"inf-1": "attempt-1", "inf-3": "attempt-3"}


def test_shortapi_has_no_books_to_read() -> None:
    assert not isinstance(client_of("shortapi", "http://127.0.0.1:1"), KeepsBooks)


@pytest.mark.parametrize("provider", ["aimlapi", "wavespeed"])
def test_the_simulated_accounts_books_come_to_what_it_has_charged_and_given_back(tmp_path: Path, provider: str) -> None:
    street = Street(tmp_path, provider)
    for number in range(120):  # more than a page
        street.send(f"attempt-{number}", key=f"inbox/{number}.png")
    street.clock.now += 200
    job_id = street.job_of_the_latest_order()
    street.books.give_back(job_id, 10_000_000)
    street.clock.now += 1

    async def statement(client: Any) -> list[StatementLine]:
        return await client.statement(street.now - timedelta(days=1), street.now, simulated=True)

    lines = street.run(statement)
    charged = Money.total(line.amount for line in lines if line.kind is K.CHARGE)
    (back,) = [line for line in lines if line.kind is K.REFUND]
    assert (back.reference, back.amount) == (job_id, Money.usd("0.01"))
    assert (charged - back.amount).nanos == street.books.total_nanos(provider)
    assert len({line.line_id for line in lines}) == len(lines)
    assert {line.reference for line in lines if line.kind is K.CHARGE} == street.known
