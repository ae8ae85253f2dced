"""What an engine is made of, and the words it uses for handing over a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from wan_pipeline.bucket import Bucket
from wan_pipeline.providers.base import Model, ProviderClient
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class EngineParts:
    """The outside world of one batch. `connect` gives a provider's client by the provider's name, and may raise
    ConfigurationError. The ledger is this batch's own: the batch is the holder of the jobs that it buys.

    `clock` is the wall clock, which may jump: only moments that outlive the process are taken from it. `absent_after`: how
    long after a submission "the provider has no such job" is believed.
    """

    ledger: Ledger
    bucket: Bucket
    budgets: Budgets
    connect: Callable[[str], AbstractAsyncContextManager[ProviderClient]]
    download_transport: httpx.AsyncBaseTransport | None
    simulated: bool
    find_model: Callable[[str], Model] = find_model
    clock: Callable[[], datetime] = utc_now
    absent_after: timedelta = timedelta(hours=4)
