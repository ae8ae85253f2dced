"""How a simulator behaves: its folder, its pace, its limits. Values only; nothing is opened here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wan_pipeline.simulator.money import usd

_DAY_S = 24 * 3600.0
_SHOWN_BALANCE_NANOS = usd("1000")
PROVIDERS = ("shortapi", "aimlapi", "wavespeed")


@dataclass(frozen=True)
class SimulatorConfig:
    """`latency_s` is how long a job takes, plus or minus the share `jitter`.

    `max_in_flight` is how many jobs a provider has in progress at once (a number for each of them, or one per name; None:
    no limit); one more is refused with 429. `render="shared"` serves one video per size, length and sound again and
    again, for measuring others. `keys=None` takes any bearer token. `base_url=None`: result URLs name the host that the
    request named. `clock` gives seconds since the epoch.

    `result_ttl_s`: how long after a job's end its result can be fetched; None: as long as the provider says.
    `billing_lag_s`: how much later than what happened a provider's account shows its charge or refund; the books have it
    at once. `logs_lag_s`: the same for AI/ML API's request logs. `logs_per_minute`: AI/ML API's limit on asking for them.
    `list_inputs`: whether WaveSpeed's list of predictions tells their inputs. `opening_balance_usd`: what each provider's
    account begins with, and cannot overdraw; None: no end of it. `callbacks`: by a thread of its own as time passes, or
    when somebody calls `deliver_callbacks`; `callback_retries_s` are the waits between the tries at one.
    """

    folder: Path
    base_url: str | None = None
    latency_s: float = 2.0
    jitter: float = 0.3
    max_in_flight: Mapping[str, int] | int | None = None
    render: Literal["each", "shared"] = "each"
    seed: int = 0
    keys: frozenset[str] | None = None
    result_ttl_s: float | None = None
    billing_lag_s: float = 0.0
    logs_lag_s: float = 0.0
    logs_per_minute: int | None = 200
    list_inputs: bool = True
    opening_balance_usd: str | None = None
    callbacks: Literal["by themselves", "when told"] = "by themselves"
    callback_retries_s: tuple[float, ...] = (1.0, 5.0, 25.0)
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if (
            self.latency_s < 0
            or not 0 <= self.jitter <= 1
            or (self.result_ttl_s is not None and self.result_ttl_s <= 0)
        ):
            raise ValueError("latency_s is at least 0, jitter a share between 0 and 1, result_ttl_s above 0")
        if min(self.billing_lag_s, self.logs_lag_s, *self.callback_retries_s, 0.0) < 0:
            raise ValueError("billing_lag_s, logs_lag_s and callback_retries_s are at least 0")
        if self.logs_per_minute is not None and self.logs_per_minute < 1:
            raise ValueError("logs_per_minute is at least 1, or None for no limit")
        if self.callbacks not in ("by themselves", "when told"):
            raise ValueError(f"callbacks is 'by themselves' or 'when told', not {self.callbacks!r}")
        if self.opening_balance_usd is not None:
            usd(self.opening_balance_usd)  # raises ValueError
        if self.render not in ("each", "shared"):
            raise ValueError(f"render is 'each' or 'shared', not {self.render!r}")
        if isinstance(self.max_in_flight, Mapping) and (unknown := set(self.max_in_flight) - set(PROVIDERS)):
            raise ValueError(f"max_in_flight names no provider: {sorted(unknown)}; there are {', '.join(PROVIDERS)}")

    def limit(self, provider: str) -> int | None:
        """How many jobs this provider has in progress at once."""
        if isinstance(self.max_in_flight, Mapping):
            return self.max_in_flight.get(provider)
        return self.max_in_flight

    def ttl_s(self, provider: str) -> float:
        """How long a result of this provider can be fetched."""
        if self.result_ttl_s is not None:
            return self.result_ttl_s
        return 7 * _DAY_S if provider == "wavespeed" else _DAY_S

    @property
    def opening_nanos(self) -> int | None:
        """What an account must not overdraw, where it has an end."""
        return None if self.opening_balance_usd is None else usd(self.opening_balance_usd)

    @property
    def shown_opening_nanos(self) -> int:
        """What an account says that it began with."""
        return _SHOWN_BALANCE_NANOS if self.opening_nanos is None else self.opening_nanos

    def job_latency_s(self, number: int) -> float:
        """How long the job with this number (1, 2, 3 ... in the books) takes: known beforehand from seed and number."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        unit = int.from_bytes(digest[:8], "big") / 2**64
        return self.latency_s * (1 + self.jitter * (2 * unit - 1))
