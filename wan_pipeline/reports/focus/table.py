"""The export as an Arrow table: the 57 columns of FOCUS 1.2 in alphabetical order, then the house's own (`x_…`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wan_pipeline.reports.focus.arrow import functions
from wan_pipeline.reports.focus.charges import Charge
from wan_pipeline.reports.focus.decimals import decimals, plain_text
from wan_pipeline.reports.focus.pricing import CORRECTION, COST, MILLI, NANO, PRICE, USAGE
from wan_pipeline.reports.period import Period

_HOUR_S = 3600
_CATEGORY = "AI and Machine Learning"
_SUBCATEGORY = "Generative AI"
# The providers have none of these: no zones, regions, reservations, commitment discounts, and no invoice with an id.
_ABSENT = (
    "AvailabilityZone",
    "BillingAccountName",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "InvoiceId",
    "RegionId",
    "RegionName",
)


def table_of(rows: Sequence[Charge], month: Period) -> Any:
    """A pyarrow.Table, also of no rows."""
    import pyarrow as pa

    figures = [row.figures for row in rows]
    count = len(rows)

    def text(values: Sequence[str | None]) -> Any:
        return pa.array(values, pa.string())

    def always(value: str | None) -> Any:
        return pa.repeat(pa.scalar(value, pa.string()), count)

    hours = _moments([row.hour for row in rows])
    quantities = decimals([each.quantity for each in figures], MILLI)
    used = [each.quantity if each.category == USAGE else None for each in figures]
    is_usage = [each.category == USAGE for each in figures]
    per_usd = [row.pricing_units_per_usd for row in rows]

    def in_pricing_currency(prices: Sequence[int | None]) -> Any:
        return decimals(
            [None if price is None else price * per for price, per in zip(prices, per_usd, strict=True)], PRICE
        )

    listed = [each.list_price for each in figures]
    contracted = [each.contracted_price for each in figures]
    titles = text([row.issuer.title for row in rows])
    skus = text([row.sku for row in rows])
    campaigns = text([row.campaign for row in rows])
    columns = {name: always(None) for name in _ABSENT} | {
        "BilledCost": decimals([each.billed for each in figures], NANO),
        "BillingAccountId": text([f"{row.provider}/account" for row in rows]),
        "BillingAccountType": always("API account"),
        "BillingCurrency": always("USD"),
        "BillingPeriodEnd": _bound(month.until, count),
        "BillingPeriodStart": _bound(month.since, count),
        "ChargeCategory": text([each.category for each in figures]),
        "ChargeClass": text([CORRECTION if each.is_correction else None for each in figures]),
        "ChargeDescription": text([row.description for row in rows]),
        "ChargeFrequency": text(["Usage-Based" if usage else "One-Time" for usage in is_usage]),
        "ChargePeriodEnd": _moments([row.hour for row in rows], after_s=_HOUR_S),
        "ChargePeriodStart": hours,
        "CommitmentDiscountQuantity": decimals([None] * count, MILLI),
        "ConsumedQuantity": decimals(used, MILLI),
        "ConsumedUnit": text([row.unit if usage else None for row, usage in zip(rows, is_usage, strict=True)]),
        "ContractedCost": decimals([each.contracted_cost for each in figures], COST),
        "ContractedUnitPrice": decimals(contracted, PRICE),
        "EffectiveCost": decimals([each.effective for each in figures], NANO),
        "InvoiceIssuerName": titles,
        "ListCost": decimals([each.list_cost for each in figures], COST),
        "ListUnitPrice": decimals(listed, PRICE),
        "PricingCategory": always("Standard"),
        "PricingCurrency": text([row.pricing_currency for row in rows]),
        "PricingCurrencyContractedUnitPrice": in_pricing_currency(contracted),
        "PricingCurrencyEffectiveCost": decimals(
            [each.effective * per for each, per in zip(figures, per_usd, strict=True)], NANO
        ),
        "PricingCurrencyListUnitPrice": in_pricing_currency(listed),
        "PricingQuantity": quantities,
        "PricingUnit": text([row.unit for row in rows]),
        "ProviderName": titles,
        "PublisherName": titles,
        "ResourceId": text([row.job for row in rows]),
        "ResourceName": text([row.shot for row in rows]),
        "ResourceType": text([None if row.job is None else "Video generation job" for row in rows]),
        "ServiceCategory": always(_CATEGORY),
        "ServiceName": text([row.issuer.service for row in rows]),
        "ServiceSubcategory": always(_SUBCATEGORY),
        "SkuId": skus,
        "SkuMeter": text([row.meter for row in rows]),
        "SkuPriceDetails": text([row.sku_details for row in rows]),
        "SkuPriceId": skus,
        "SubAccountId": campaigns,
        "SubAccountName": campaigns,
        "SubAccountType": text([None if row.campaign is None else "Campaign" for row in rows]),
        "Tags": text([row.tags for row in rows]),
    }
    own = {
        "x_AmountBasis": text([row.basis for row in rows]),
        "x_ApiKeyFingerprint": text([row.account for row in rows]),
        "x_LedgerEntryId": text([row.entry for row in rows]),
        "x_LedgerEntryKind": text([row.kind for row in rows]),
        "x_ProviderJobId": text([row.provider_job for row in rows]),
        "x_SubmittedAt": _moments([row.submitted for row in rows]),
    }
    return pa.table(dict(sorted(columns.items())) | own)


def text_of(table: Any) -> Any:
    """The same rows as they stand in the CSV: every value a string, moments as `2026-11-01T00:00:00Z`, decimals plain."""
    import pyarrow as pa

    pc = functions()

    def shown(column: Any) -> Any:
        if pa.types.is_decimal(column.type):
            return plain_text(column)
        if pa.types.is_timestamp(column.type):
            return pc.strftime(column, "%Y-%m-%dT%H:%M:%SZ")
        return column

    return pa.table({name: shown(table[name]) for name in table.column_names})


def _moments(texts: Sequence[str | None], after_s: int = 0) -> Any:
    """Timestamps to the second, UTC."""
    import pyarrow as pa

    pc = functions()

    coded = pa.array(texts, pa.string()).dictionary_encode()
    moments = pc.strptime(coded.dictionary, format="%Y-%m-%dT%H:%M:%S", unit="s").cast(pa.int64())
    utc = pc.add(moments, after_s).cast(pa.timestamp("s", tz="UTC"))
    return utc.take(coded.indices)


def _bound(moment: Any, count: int) -> Any:
    import pyarrow as pa

    return pa.repeat(pa.scalar(moment, pa.timestamp("s", tz="UTC")), count)
