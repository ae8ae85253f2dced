"""What `doctor` finds of drift: a price or a parameter of the catalog that is not what a provider says, bills or takes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from wan_pipeline.cli.findings import Finding
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.providers.base import Model, PollError
    from wan_pipeline.providers.client import HttpProviderClient
    from wan_pipeline.providers.drift import Drift
    from wan_pipeline.providers.wavespeed_schema import PublishedSchema
    from wan_pipeline.spend.ledger import Ledger

_LATELY = timedelta(days=7)


def told_prices(settings: Settings) -> Iterator[Finding]:
    """The catalog's dated prices, and whether those providers agree that tell theirs for nothing: asked in live mode, with
    the key that is set."""
    from wan_pipeline.providers.catalog import catalog
    from wan_pipeline.providers.connect import PROVIDERS
    from wan_pipeline.providers.drift import price_drifts, sample_orders
    from wan_pipeline.providers.price_check import ask_prices

    asked = [(model, order) for model, order in sample_orders(catalog().values()) if _key_of(settings, model.provider)]
    if settings.mode == "demo" or not asked:
        return
    prices = ask_prices(lambda provider: _client(settings, provider), asked)
    for provider, reason in prices.unasked.items():
        yield Finding("prices", "note", f"{PROVIDERS[provider].title} could not be asked for its prices: {reason}")
    drifts = price_drifts(asked, prices)
    yield from map(_finding, drifts)
    heard = [model.id for model, order in asked if prices.of(model, order) is not None]
    for model_id in dict.fromkeys(heard):
        if all(drift.subject != model_id for drift in drifts):
            yield Finding(
                "prices", "ok", f"{model_id}: its provider names the catalog's prices, {heard.count(model_id)} asked"
            )
    yield from _published(settings, dict.fromkeys(heard))


def _published(settings: Settings, heard: Collection[str]) -> Iterator[Finding]:
    """What providers that can be asked publish of these models' parameters, where it is not what is sent."""
    from wan_pipeline.providers.base import PollError
    from wan_pipeline.providers.catalog import catalog
    from wan_pipeline.providers.schema_drift import schema_drift

    for model_id in heard:
        model = catalog()[model_id]
        said = asyncio.run(_schema_of(settings, model))
        if said is None:
            continue
        published, submit_path = said
        if isinstance(published, PollError):
            yield Finding("parameters", "note", f"{model_id}: what it takes could not be asked: {published.reason}")
            continue
        drift = schema_drift(model, published, submit_path)
        if drift is None:
            yield Finding("parameters", "ok", f"{model_id}: its provider publishes the parameters that are sent")
        else:
            yield Finding("parameters", "note", f"{drift.subject}: {drift.detail}", drift.remedy)


async def _schema_of(settings: Settings, model: Model) -> tuple[PublishedSchema | PollError, str] | None:
    from wan_pipeline.providers.wavespeed_schema import SchemaTeller

    async with _client(settings, model.provider) as client:
        if not isinstance(client, SchemaTeller):
            return None
        return await client.published_schema(model), client.submit_path(model)


def seen_in(ledger: Ledger, settings: Settings) -> Iterator[Finding]:
    """Drift that the ledger has seen: bills off the catalog's prices, and settings that a provider has refused by name."""
    from wan_pipeline.providers.catalog import catalog
    from wan_pipeline.providers.drift import bill_drifts, parameter_drifts
    from wan_pipeline.spend import precedents

    simulated, now = settings.mode == "demo", datetime.now(UTC)
    bills = precedents.recent_bills(ledger.engine, now, simulated=simulated)
    rejections = precedents.recent_rejections(ledger.engine, now - _LATELY, simulated=simulated)
    drifts = bill_drifts(bills, catalog(), now)
    yield from map(_finding, drifts)
    if bills and not drifts:
        latest = "the latest bill is" if len(bills) == 1 else f"the latest {len(bills)} bills are"
        yield Finding("prices", "ok", f"{latest} as the catalog's prices have it")
    for drift in parameter_drifts(rejections, catalog()):
        yield Finding("parameters", "note", f"{drift.subject}: {drift.detail}", drift.remedy)


def _finding(drift: Drift) -> Finding:
    more = "; until then more is billed than the budgets hold" if drift.serious else ""
    return Finding("prices", "note", f"{drift.subject}: {drift.detail}", f"{drift.remedy}{more}")


def _key_of(settings: Settings, provider: str) -> bool:
    return bool(getattr(settings, _variable(provider)))


def _variable(provider: str) -> str:
    from wan_pipeline.providers.connect import PROVIDERS

    return PROVIDERS[provider].key_variable.lower()


def _client(settings: Settings, provider: str) -> HttpProviderClient:
    """A client with little patience: `doctor` is waited for. Raises ConfigurationError without a key."""
    from wan_pipeline.providers.connect import PROVIDERS
    from wan_pipeline.providers.http import Patience

    info = PROVIDERS[provider]
    key = getattr(settings, _variable(provider))
    if not key:
        raise ConfigurationError(f"{info.key_variable} is not set")
    patience = Patience(connect_s=5, read_s=15, pool_s=15, whole_get_s=20, get_tries=2)
    base_url = getattr(settings, f"{provider}_base_url")
    return info.client_class(base_url, key, info.lowest_tier_limits, None, patience)
