"""A row of the export as a value: a charge, a refund, a correction or a top-up, in FOCUS' terms.

What belongs here: which words a line of money has there. What does not: the figures (pricing.py), the columns' types
(table.py), the rules (rules/).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from wan_pipeline.reports.focus.issuer import Issuer, Issuers, issuer_of
from wan_pipeline.reports.focus.pricing import (
    COST,
    MILLI,
    NANO,
    PRICE,
    PURCHASE,
    USAGE,
    Priced,
    priced,
)
from wan_pipeline.reports.focus.reading import Line, MonthOfMoney, TopUp
from wan_pipeline.spend.records import EntryKind

_SOUND = {True: "sound", False: "silent", None: "not said"}
_SOUND_WORDS = {True: " with sound", False: " without sound", None: ""}
_SECONDS = "Seconds"
_NANOS_PER_USD = 10**NANO
_encode = json.JSONEncoder(sort_keys=True).encode  # one for all: making one takes as long as using it


class Charge(NamedTuple):
    """One row. `hour`, `submitted`: moments as text, to the second."""

    provider: str
    issuer: Issuer
    hour: str
    description: str
    figures: Priced
    unit: str | None
    pricing_units_per_usd: int  # of the currency that it is priced in
    pricing_currency: str
    sku: str
    meter: str
    sku_details: str | None
    job: str | None
    shot: str | None
    campaign: str | None
    tags: str | None
    account: str | None
    basis: str | None
    entry: str
    kind: str
    provider_job: str | None
    submitted: str | None


def charges(money: MonthOfMoney, issuers: Issuers) -> Iterator[Charge]:
    """Every row of the month: lines in the order of their moments, then top-ups."""
    for line, figures in priced(money):
        yield _of_line(line, figures, issuer_of(issuers, line.provider))
    for top_up in money.top_ups:
        yield _of_top_up(top_up, issuer_of(issuers, top_up.provider))


def _of_line(line: Line, figures: Priced, issuer: Issuer) -> Charge:
    campaign = line.campaign if line.campaign and line.campaign.strip() else None
    sku, details = _sku(line.model, line.resolution, line.has_audio)
    return Charge(
        provider=line.provider,
        issuer=issuer,
        hour=_hour(line.moment),
        description=_words(line, figures.category),
        figures=figures,
        unit=None if figures.quantity is None else _SECONDS,
        pricing_units_per_usd=issuer.units_per_usd,
        pricing_currency=issuer.virtual_currency or "USD",
        sku=sku,
        meter="Seconds of video",
        sku_details=details,
        job=line.job,
        shot=line.shot,
        campaign=campaign,
        tags=_tags(line, campaign),
        account=line.account,
        basis=line.basis,
        entry=str(line.entry),
        kind=line.kind,
        provider_job=line.provider_job,
        submitted=line.submitted,
    )


def _of_top_up(top_up: TopUp, issuer: Issuer) -> Charge:
    quantity, unit, price = _bought(top_up.amount, issuer)
    cost = top_up.amount * 10 ** (COST - NANO)
    return Charge(
        provider=top_up.provider,
        issuer=issuer,
        hour=_hour(top_up.moment),
        description=f"Top-up of the prepaid balance at {issuer.title}",
        figures=Priced(PURCHASE, False, top_up.amount, 0, quantity, price, price, cost, cost),
        unit=unit,
        pricing_units_per_usd=1,
        pricing_currency="USD",
        sku=f"{top_up.provider}/prepaid-balance",
        meter="Prepaid balance",
        sku_details=None,
        job=None,
        shot=None,
        campaign=None,
        tags=None,
        account=None,
        basis="invoiced",
        entry=top_up.line,
        kind="topup",
        provider_job=None,
        submitted=None,
    )


def _bought(amount: int, issuer: Issuer) -> tuple[int, str, int]:
    """What a top-up buys: quantity, unit, unit price. Units of virtual currency where they come out whole, to a thousandth;
    else one top-up."""
    units = amount * issuer.units_per_usd * 10**MILLI
    prices = 10**PRICE
    if issuer.virtual_currency and units % _NANOS_PER_USD == 0 and prices % issuer.units_per_usd == 0:
        return units // _NANOS_PER_USD, issuer.virtual_currency, prices // issuer.units_per_usd
    return 10**MILLI, "Units", amount * 10 ** (PRICE - NANO)


def _words(line: Line, category: str) -> str:
    what = f"{line.duration_s} s of {line.resolution} video{_SOUND_WORDS[line.has_audio]}, {line.model}"
    whose = f"shot {line.shot}, take {line.take}"
    if line.kind == EntryKind.REFUND:
        return f"Refund for {what}, {whose}"
    if category == USAGE:
        return f"{what}, {whose}"
    return f"{'Further charge' if line.kind == EntryKind.CHARGE else 'Correction of the charge'} for {what}, {whose}"


@cache
def _sku(model: str, resolution: str, has_audio: bool | None) -> tuple[str, str]:
    """Its id and its details: what is priced differently is another one."""
    sound = _SOUND[has_audio]
    details = {"x_Model": model, "x_Resolution": resolution, "x_Sound": sound}
    return f"{model}:{resolution}:{sound.replace(' ', '-')}", json.dumps(details)


def _tags(line: Line, campaign: str | None) -> str:
    tags: dict[str, str | int] = {"job": line.job, "model": line.model, "shot": line.shot, "take": line.take}
    if campaign is not None:
        tags["campaign"] = campaign
    return _encode(tags)


def _hour(moment: str) -> str:
    return f"{moment[:13]}:00:00"
