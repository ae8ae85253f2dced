"""The providers by name: which variable holds their key, what their lowest tier allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import httpx
from pydantic import SecretStr

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.aimlapi import AimlApiClient
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.providers.client import HttpProviderClient, utc_now
from wan_pipeline.providers.shortapi import ShortApiClient
from wan_pipeline.providers.wavespeed import WaveSpeedClient

# Neither ShortAPI nor AI/ML API documents a limit: the house starts low, and a 429 lowers it further.
_UNDOCUMENTED = ProviderLimits(max_in_flight=5, submits_per_minute=20)


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """`key_variable` is the setting of docs/operating.md; `title` is the name for a reader."""

    name: str
    title: str
    key_variable: str
    lowest_tier_limits: ProviderLimits
    client_class: type[HttpProviderClient]


PROVIDERS: Mapping[str, ProviderInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            ProviderInfo("shortapi", "ShortAPI", "SHORTAPI_KEY", _UNDOCUMENTED, ShortApiClient),
            ProviderInfo("aimlapi", "AI/ML API", "AIMLAPI_KEY", _UNDOCUMENTED, AimlApiClient),
            ProviderInfo(
                "wavespeed",
                "WaveSpeed",
                "WAVESPEED_API_KEY",
                ProviderLimits(max_in_flight=2, submits_per_minute=2),  # Bronze
                WaveSpeedClient,
            ),
        )
    }
)


def connect(
    name: str,
    base_url: str,
    key: SecretStr,
    limits: ProviderLimits,
    transport: httpx.AsyncBaseTransport | None = None,
    callback_base_url: str | None = None,
    clock: Callable[[], datetime] = utc_now,
) -> HttpProviderClient:
    """The provider's client, to be entered with `async with` inside one event loop.

    `callback_base_url` (WAN_PUBLIC_CALLBACK_URL): ShortAPI is asked to call back below it; the others are not.
    Raises ConfigurationError for a provider that there is not, or a key or base URL that cannot be one.
    """
    info = PROVIDERS.get(name)
    if info is None:
        raise ConfigurationError(f"there is no provider {name!r}: there are {', '.join(PROVIDERS)}")
    return info.client_class(base_url, key, limits, transport, callback_base_url=callback_base_url, clock=clock)
