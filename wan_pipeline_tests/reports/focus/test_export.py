"""One row for each charge, with its money exact and where it belongs; in both files the same."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.money import Money
from wan_pipeline.reports.focus import FocusExport
from wan_pipeline.reports.focus.pricing import divided
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.records import EntryKind, JobState
from wan_pipeline_tests.reports.focus.months import (
    ADJUSTMENT,
    CHARGE,
    MARCH,
    REFUND,
    export_of,
    month_of_all_kinds,
    top_up,
    usd,
)
from wan_pipeline_tests.reports.ledgers import LedgerJob, at, empty_ledger, ledger_of

APRIL = Period.parse("2026-04")


def rows_of(export: FocusExport) -> list[dict[str, Any]]:
    return export.table.to_pylist()


def one(*jobs: LedgerJob, month: Period = MARCH) -> dict[str, Any]:
    """The single row of a ledger of these jobs."""
    (row,) = rows_of(export_of(ledger_of(*jobs), month))
    return row


def test_a_charge_is_its_seconds_times_a_unit_price_with_all_that_an_auditor_follows_it_by() -> None:
    job = LedgerJob(submitted_at=at(13, seconds=125), has_audio=True, entries=((CHARGE, usd("0.125")),))
    row = one(job)
    assert row["ChargeCategory"] == "Usage"
    assert row["ChargeClass"] is None
    assert (row["BilledCost"], row["EffectiveCost"]) == (Decimal("0.125"), Decimal("0.125"))
    assert (row["PricingQuantity"], row["PricingUnit"], row["ConsumedQuantity"]) == (5, "Seconds", 5)
    assert row["ContractedUnitPrice"] == row["ListUnitPrice"] == Decimal("0.025")
    assert row["ChargePeriodStart"] == datetime(2026, 3, 14, 13, tzinfo=UTC)
    assert row["ChargePeriodEnd"] == datetime(2026, 3, 14, 14, tzinfo=UTC)
    assert row["BillingPeriodStart"] == datetime(2026, 3, 1, tzinfo=UTC)
    assert row["BillingPeriodEnd"] == datetime(2026, 4, 1, tzinfo=UTC)
    assert row["ProviderName"] == row["InvoiceIssuerName"] == "WaveSpeed"
    assert row["SkuId"] == "wavespeed/wan-2.6-i2v-flash:720p:sound"
    assert (row["ResourceId"], row["ResourceName"]) == (job.id, "spring/cat")
    assert row["SubAccountId"] == "spring"
    tags = json.loads(row["Tags"])
    assert (tags["job"], tags["shot"], tags["campaign"]) == (job.id, "spring/cat", "spring")
    assert row["x_SubmittedAt"] == at(13, seconds=125)
    assert row["x_AmountBasis"] is None


def test_a_fraction_that_does_not_end_is_rounded_in_the_unit_price_and_never_in_what_was_billed() -> None:
    row = one(LedgerJob(duration_s=7, quoted_low=0, entries=((CHARGE, usd("1")),)))
    assert row["BilledCost"] == row["EffectiveCost"] == 1
    assert row["ContractedUnitPrice"] == Decimal("0.142857142857")
    assert row["ContractedCost"] == 7 * Decimal("0.142857142857")
    assert abs(row["ContractedCost"] - 1) < Decimal("0.00000000001")


@settings(deadline=None)
@given(st.integers(-(10**30), 10**30), st.integers(-(10**9), 10**9).filter(bool))
def test_a_quotient_is_rounded_to_the_nearest_half_to_even(number: int, by: int) -> None:
    assert divided(number, by) == round(Fraction(number, by))


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9))
def test_a_half_is_rounded_to_the_even_neighbour(number: int) -> None:
    assert divided(2 * number + 1, 2) % 2 == 0


def test_a_quote_of_one_amount_is_the_list_price_and_a_span_is_none() -> None:
    charged_less = one(LedgerJob(entries=((CHARGE, usd("0.1")),)))
    assert (charged_less["ListUnitPrice"], charged_less["ListCost"]) == (Decimal("0.025"), Decimal("0.125"))
    assert charged_less["ContractedCost"] == Decimal("0.1")
    span = one(LedgerJob(quoted_low=usd("0.1"), entries=((CHARGE, usd("0.11")),)))
    assert span["ListCost"] == span["ContractedCost"] == Decimal("0.11")


def test_ai_ml_apis_credits_are_the_pricing_currency_of_its_charges_to_half_a_microdollar() -> None:
    job = LedgerJob(provider="aimlapi", model="aimlapi/wan-2.6-i2v", entries=((CHARGE, 787_500_500),))
    row = one(job)
    assert (row["PricingCurrency"], row["BillingCurrency"]) == ("Credits", "USD")
    assert row["PricingCurrencyEffectiveCost"] == 1_575_001
    assert row["PricingCurrencyContractedUnitPrice"] == Decimal("315000.2")
    assert row["EffectiveCost"] == Decimal("0.7875005")


def test_a_refund_of_an_earlier_months_job_is_a_correction_in_its_own_month_and_hour() -> None:
    job = LedgerJob(entries=((CHARGE, usd("0.125")), (REFUND, usd("0.025"), at(days=40), at(3, days=30))))
    engine = ledger_of(job)
    (charge,) = rows_of(export_of(engine, MARCH))
    (refund,) = rows_of(export_of(engine, APRIL))
    assert charge["BilledCost"] == Decimal("0.125")
    assert (refund["ChargeCategory"], refund["ChargeClass"]) == ("Usage", "Correction")
    assert refund["BilledCost"] == refund["EffectiveCost"] == Decimal("-0.025")
    assert refund["PricingQuantity"] == refund["ConsumedQuantity"] == -1  # a fifth of the charge, of 5 s
    assert refund["ChargePeriodStart"] == at(3, days=30)
    assert refund["ResourceId"] == job.id
    assert refund["x_SubmittedAt"] == at(12)


def test_a_refund_within_the_month_has_no_class_and_gives_all_seconds_back_with_all_the_money() -> None:
    job = LedgerJob(entries=((CHARGE, usd("0.125")), (REFUND, usd("0.125"), at(days=17, seconds=86_399))))
    charge, refund = rows_of(export_of(ledger_of(job)))
    assert (refund["ChargeClass"], refund["BilledCost"]) == (None, Decimal("-0.125"))
    assert charge["PricingQuantity"] + refund["PricingQuantity"] == 0
    assert charge["ListCost"] + refund["ListCost"] == 0
    assert rows_of(export_of(ledger_of(job), APRIL)) == []


def test_an_adjustment_and_a_further_charge_belong_to_the_jobs_month_and_to_no_seconds() -> None:
    entries = ((CHARGE, usd("0.1")), (CHARGE, usd("0.025"), at(days=60)), (ADJUSTMENT, -1, at(days=90)))
    first, further, correction = rows_of(export_of(ledger_of(LedgerJob(entries=entries))))
    assert [row["PricingQuantity"] for row in (first, further, correction)] == [5, None, None]
    assert {further["ChargeCategory"], correction["ChargeCategory"]} == {"Adjustment"}
    assert further["ContractedCost"] == further["BilledCost"] == Decimal("0.025")
    assert correction["EffectiveCost"] == correction["ListCost"] == Decimal("-0.000000001")
    assert "Correction of the charge" in correction["ChargeDescription"]


def test_what_a_known_top_up_pays_is_billed_once_as_the_purchase() -> None:
    before, after = LedgerJob(submitted_at=at(days=-1)), LedgerJob(submitted_at=at(days=1))
    engine = ledger_of(before, after)
    top_up(engine, "wavespeed", usd("100"), at())
    export = export_of(engine)
    by_kind = {(row["ChargeCategory"], row["ResourceId"]): row for row in rows_of(export)}
    assert by_kind["Usage", before.id]["BilledCost"] == Decimal("0.125")  # what paid for it is not known
    assert (by_kind["Usage", after.id]["BilledCost"], by_kind["Usage", after.id]["EffectiveCost"]) == (
        0,
        Decimal("0.125"),
    )
    purchase = by_kind["Purchase", None]
    assert (purchase["BilledCost"], purchase["EffectiveCost"], purchase["ChargeFrequency"]) == (100, 0, "One-Time")
    assert export.billed == Money.usd("100.125")
    assert export.effective == Money.usd("0.25")


def test_later_months_of_a_provider_with_a_top_up_are_prepaid_and_so_are_their_refunds() -> None:
    job = LedgerJob(entries=((CHARGE, usd("0.125")), (REFUND, usd("0.125"), at(days=40))))
    engine = ledger_of(job)
    top_up(engine, "wavespeed", usd("9"), at(days=-60))
    for month, effective in ((MARCH, "0.125"), (APRIL, "-0.125")):
        export = export_of(engine, month)
        assert (export.billed, export.effective) == (Money(0), Money.usd(effective))


def test_credits_are_bought_by_the_credit_and_dollars_as_one_top_up() -> None:
    engine = empty_ledger()
    top_up(engine, "aimlapi", usd("0.0000005"), at(), "a")
    top_up(engine, "wavespeed", usd("19.999999999"), at(), "b")
    credit, dollars = rows_of(export_of(engine))
    assert (credit["PricingQuantity"], credit["PricingUnit"]) == (1, "Credits")
    assert credit["ListUnitPrice"] == Decimal("0.0000005")
    assert (dollars["PricingQuantity"], dollars["ListUnitPrice"]) == (1, Decimal("19.999999999"))
    assert credit["PricingCurrency"] == dollars["PricingCurrency"] == "USD"


def test_of_a_line_that_was_read_twice_the_newer_reading_stands() -> None:
    engine = empty_ledger()
    top_up(engine, "aimlapi", usd("5"), at(), "same")
    top_up(engine, "aimlapi", usd("6"), at(), "same")
    assert [row["BilledCost"] for row in rows_of(export_of(engine))] == [6]
    top_up(engine, "aimlapi", usd("6"), at(), "same", kind="other")
    assert rows_of(export_of(engine)) == []


def test_ambiguous_jobs_are_no_rows_and_are_told_with_what_they_may_cost() -> None:
    hold = ((EntryKind.HOLD, usd("0.425")),)
    jobs = [LedgerJob(state=JobState.AMBIGUOUS, submitted_at=None, entries=hold) for _ in range(2)]
    export = export_of(ledger_of(*jobs))
    assert (export.rows, export.ambiguous, export.unknown) == (0, 2, Money.usd("0.85"))


def test_live_and_simulated_charges_never_stand_in_one_file() -> None:
    engine = ledger_of(LedgerJob(shot="live"), LedgerJob(shot="simulated", simulated=True))
    top_up(engine, "wavespeed", usd("5"), at(days=-1))
    live, simulated = export_of(engine), export_of(engine, simulated=True)
    assert [row["ResourceName"] for row in rows_of(live)] == ["live", None]
    assert [row["ResourceName"] for row in rows_of(simulated)] == ["simulated"]
    assert rows_of(simulated)[0]["BilledCost"] == Decimal("0.125")  # a live top-up pays for no simulated job
    assert (live.key, simulated.key) == ("reports/2026/03/focus-2026-03", "reports/2026/03/focus-2026-03-simulated")


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC), MARCH),
        (datetime(2026, 4, 1, tzinfo=UTC), APRIL),
        (datetime(2026, 4, 1, 1, tzinfo=UTC) - timedelta(microseconds=1), APRIL),
    ],
)
def test_a_microsecond_before_midnight_belongs_to_its_own_hour_and_month(moment: datetime, month: Period) -> None:
    engine = ledger_of(LedgerJob(submitted_at=moment, entries=((CHARGE, 1),)))
    (row,) = rows_of(export_of(engine, month))
    assert row["ChargePeriodStart"] == moment.replace(minute=0, second=0, microsecond=0)
    assert rows_of(export_of(engine, APRIL if month is MARCH else MARCH)) == []


@pytest.mark.parametrize("known", ["written down", "told by the provider"])
def test_a_refund_at_midnight_belongs_to_the_month_that_begins(known: str) -> None:
    midnight = APRIL.since
    told = (REFUND, 1, midnight) if known == "written down" else (REFUND, 1, at(days=1), midnight)
    engine = ledger_of(LedgerJob(entries=((CHARGE, 5), told)))
    assert [row["BilledCost"] for row in rows_of(export_of(engine))] == [Decimal("0.000000005")]
    (refund,) = rows_of(export_of(engine, APRIL))
    assert refund["ChargePeriodStart"] == midnight


def test_csv_and_parquet_say_the_same_with_plain_decimals_and_moments_in_iso_8601() -> None:
    export = export_of(month_of_all_kinds())
    lines = list(csv.DictReader(io.StringIO(export.to_csv().decode(), newline="")))
    table = pq.read_table(io.BytesIO(export.to_parquet()))
    assert table.schema.metadata[b"focus_version"] == b"1.2"
    assert str(table.schema.field("BilledCost").type) == "decimal128(38, 9)"
    for line, row in zip(lines, table.to_pylist(), strict=True):
        for name, value in row.items():
            text = line[name]
            if isinstance(value, Decimal):
                assert Decimal(text) == value
                assert "E" not in text
            elif isinstance(value, datetime):
                assert text == f"{value:%Y-%m-%dT%H:%M:%SZ}"
            else:
                assert text == (value or "")
    assert len(lines) == export.rows == 11


def test_an_empty_month_has_an_export_with_every_column_and_no_row() -> None:
    export = export_of(empty_ledger(), APRIL)
    assert (export.rows, export.billed, export.effective) == (0, Money(0), Money(0))
    assert export.to_csv().decode().startswith('"AvailabilityZone","BilledCost"')
    assert pq.read_table(io.BytesIO(export.to_parquet())).num_columns == export.table.num_columns


def test_a_day_is_no_month() -> None:
    with pytest.raises(ValueError, match="by the month"):
        export_of(empty_ledger(), Period.parse("2026-03-14"))


def test_whatever_stands_in_a_name_the_csv_is_read_back_as_it_was() -> None:
    odd = 'a "b", c\n;Träume\\'
    export = export_of(ledger_of(LedgerJob(shot=odd, campaign=odd), LedgerJob(campaign="  "), LedgerJob(campaign="")))
    lines = list(csv.DictReader(io.StringIO(export.to_csv().decode(), newline="")))
    assert lines[0]["ResourceName"] == lines[0]["SubAccountName"] == json.loads(lines[0]["Tags"])["shot"] == odd
    assert [row["SubAccountId"] for row in rows_of(export)[1:]] == [None, None]
