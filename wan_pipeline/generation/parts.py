"""What an engine is made of, and the words it uses for handing over a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import httpx

from wan_pipeline.bucket import Bucket
from wan_pipeline.providers.base import Model, ProviderClient
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets


@dataclass(frozen=True)
class EngineParts:
    """The outside world of one batch. `connect` gives a provider's client by the provider's name, and may raise
    ConfigurationError. The ledger is this batch's own: the batch is the holder of the jobs that it buys."""

    ledger: Ledger
    bucket: Bucket
    budgets: Budgets
    connect: Callable[[str], AbstractAsyncContextManager[ProviderClient]]
    download_transport: httpx.AsyncBaseTransport | None
    simulated: bool
    find_model: Callable[[str], Model] = find_model
