"""How a simulator behaves: its folder, its pace, its limits. Values only; nothing is opened here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROVIDERS = ("shortapi", "aimlapi", "wavespeed")


@dataclass(frozen=True)
class SimulatorConfig:
    """`latency_s` is how long a job takes, plus or minus the share `jitter`.

    `max_in_flight` is how many jobs a provider has in progress at once (a number for each of them, or one per name; None:
    no limit); one more is refused with 429. `render="shared"` serves one video per size, length and sound again and
    again, for measuring others. `keys=None` takes any bearer token. `base_url=None`: result URLs name the host that the
    request named. `clock` gives seconds since the epoch.
    """

    folder: Path
    base_url: str | None = None
    latency_s: float = 2.0
    jitter: float = 0.3
    max_in_flight: Mapping[str, int] | int | None = None
    render: Literal["each", "shared"] = "each"
    seed: int = 0
    keys: frozenset[str] | None = None
    result_ttl_s: float = 24 * 3600
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if self.latency_s < 0 or not 0 <= self.jitter <= 1 or self.result_ttl_s <= 0:
            raise ValueError("latency_s is at least 0, jitter a share between 0 and 1, result_ttl_s above 0")
        if self.render not in ("each", "shared"):
            raise ValueError(f"render is 'each' or 'shared', not {self.render!r}")
        if isinstance(self.max_in_flight, Mapping) and (unknown := set(self.max_in_flight) - set(PROVIDERS)):
            raise ValueError(f"max_in_flight names no provider: {sorted(unknown)}; there are {', '.join(PROVIDERS)}")

    def limit(self, provider: str) -> int | None:
        """How many jobs this provider has in progress at once."""
        if isinstance(self.max_in_flight, Mapping):
            return self.max_in_flight.get(provider)
        return self.max_in_flight

    def job_latency_s(self, number: int) -> float:
        """How long the job with this number (1, 2, 3 ... in the books) takes: known beforehand from seed and number."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        unit = int.from_bytes(digest[:8], "big") / 2**64
        return self.latency_s * (1 + self.jitter * (2 * unit - 1))
