"""Demo mode's providers: the simulator, in this process, behind the same clients as the real ones.

One transport answers the clients and the downloads. The simulator fetches each input by the URL it was given, as a
provider does; a folder bucket is served to it, and to nobody else, at an address that exists in this process alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wan_pipeline.problems import ConfigurationError

if TYPE_CHECKING:
    import httpx

BUCKET_BASE_URL = "http://bucket.invalid"  # .invalid never resolves (RFC 6761): a leak of it cannot reach anybody
PROVIDERS_BASE_URL = "http://simulator.invalid"


def simulated_providers(
    folder: Path, bucket_root: Path | None, latency_s: str | None, render: str | None
) -> httpx.AsyncBaseTransport:
    """A transport that reaches the simulator whose books lie in `folder`, whatever the host of the request.

    `bucket_root`: the folder bucket that it can fetch at BUCKET_BASE_URL; other URLs it fetches over the network.
    Raises ConfigurationError for a latency or way of rendering that cannot be meant.
    """
    import httpx

    from wan_pipeline.bucket_server import bucket_app
    from wan_pipeline.simulator.app import create_app
    from wan_pipeline.simulator.config import SimulatorConfig

    config = SimulatorConfig(folder=folder, base_url=PROVIDERS_BASE_URL)
    if latency_s is not None:
        config = replace(config, latency_s=_seconds(latency_s))
    if render is not None:
        config = replace(config, render=_way_of_rendering(render))
    mounts = {BUCKET_BASE_URL: httpx.ASGITransport(bucket_app(bucket_root))} if bucket_root else {}
    # Nothing is kept alive: whoever opened the installation has one event loop per batch, and connections outlive none.
    fetch = httpx.AsyncClient(mounts=mounts, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))
    # An error inside the simulator is a 500 to its client, as it would be over the network.
    return httpx.ASGITransport(create_app(config, fetch=fetch), raise_app_exceptions=False)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigurationError(f"WAN_SIMULATOR_LATENCY is {text!r}: write seconds, e.g. 2.5")
    return seconds


def _way_of_rendering(text: str) -> Literal["each", "shared"]:
    match text:
        case "each" | "shared":
            return text
        case _:
            raise ConfigurationError(f"WAN_SIMULATOR_RENDER is {text!r}: write each or shared")
