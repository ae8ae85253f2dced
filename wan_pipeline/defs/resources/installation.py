"""The installation: what its settings name, opened. Everything of defs/ that touches the outside world gets it here.

Live mode with a key missing, an unreadable bucket or an unreachable ledger fails, and says which and how to fix it.
Nothing ever falls back to the simulator.
"""

# No `from __future__ import annotations` beside the resource: Dagster reads its annotations when the class is made.

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import dagster as dg
from pydantic import SecretStr

from wan_pipeline.bucket import Bucket, BucketError, BucketObject, FolderBucket, open_bucket
from wan_pipeline.bucket.events import LATE
from wan_pipeline.defs.resources.configured import (
    AimlApiResource,
    BucketResource,
    LedgerResource,
    SettingsResource,
    ShortApiResource,
    SimulatorResource,
    WaveSpeedResource,
)
from wan_pipeline.generation.events import Event, Finished, Stage
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import ProviderClient, ProviderLimits
from wan_pipeline.settings import Settings
from wan_pipeline.shots.discovery import Discovery, YamlCache, discover_whole
from wan_pipeline.shots.scoped import Namers, UncertainError, discover_some
from wan_pipeline.shots.shot import Shot
from wan_pipeline.shots.spec import Sidecar
from wan_pipeline.spend.budget import budgets_of
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, ClaimOptions

if TYPE_CHECKING:
    import httpx

    from wan_pipeline.generation.parts import EngineParts

DEMO_LIMITS = ProviderLimits(max_in_flight=20, submits_per_minute=600)

LARGE_INBOX = 2_000  # shots; smaller ones are listed as a whole in a second, whoever asks for what
# A yaml that is put into the bucket later than this before a run begins may name one of its images after all.
KNOWN_FOR = timedelta(minutes=2)

# Parsed sidecar files by bucket. Sensors tick in the code server, a process that lives on: it parses each file once.
_yaml_caches: dict[str, YamlCache] = {}
_listing = Lock()  # a cache serves one listing at a time, and `run` drives several runs in threads


class RunningBatch(Protocol):
    """What `OpenInstallation.start` gives; see generation.batch.Batch."""

    results: list[Finished]

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def events(self) -> Iterator[Event]: ...

    def groups(self, at_most: int) -> Iterator[list[Event]]: ...

    def rest(self) -> list[Event]: ...


@dataclass(frozen=True)
class OpenInstallation:
    """Bucket and ledger, opened, and the way to start a batch of shots."""

    settings: Settings
    bucket: Bucket
    ledger: Ledger
    simulator_resource: SimulatorResource

    def discover(self, bucket: Bucket | None = None) -> list[Shot]:
        """Every shot in the bucket, those with mistakes included. `bucket`: to be read in place of the own one."""
        return self.discover_whole(bucket).shots

    def discover_whole(self, bucket: Bucket | None = None) -> Discovery:
        """The same, and what the yamls name."""
        with _listing:
            cache = _yaml_caches.setdefault(self.bucket.url, YamlCache())
            return discover_whole(bucket or self.bucket, self.settings.default_model, cache)

    def discover_some(self, keys: Collection[str]) -> list[Shot]:
        """The shots of these keys, sorted by key, as `discover` would give them; a key of no shot is left out.

        Of a large inbox only what concerns these keys is listed and read, where a sensor has just seen which yaml names
        which image; otherwise, and where only the whole can tell, it is discovered as a whole.
        """
        wanted = frozenset(keys)
        if self.inbox_is_known():
            with suppress(UncertainError):
                return self.discover_near(wanted, self.ledger.index.inbox.namers)
        return [shot for shot in self.discover() if shot.key in wanted]

    def discover_near(self, keys: Collection[str], namers: Namers, bucket: Bucket | None = None) -> list[Shot]:
        """The same without the whole listing. Raises UncertainError where only that can tell."""
        with _listing:
            cache = _yaml_caches.setdefault(self.bucket.url, YamlCache())
            return discover_some(bucket or self.bucket, keys, namers, self.settings.default_model, cache)

    def yamls(self, objects: Sequence[BucketObject], bucket: Bucket) -> dict[str, Sidecar]:
        """What these yamls say, by key."""
        with _listing:
            return _yaml_caches.setdefault(self.bucket.url, YamlCache()).some(bucket, objects)

    def inbox_is_known(self) -> bool:
        """Is the inbox a large one, and does the index know what was in it a moment ago?"""
        fresh_at = self.ledger.index.inbox.listing(self.bucket.url).fresh_at
        # by events all is known only LATE, though it was looked at just now
        known_for = KNOWN_FOR if self.settings.bucket_events_url is None else KNOWN_FOR + LATE
        fresh = fresh_at is not None and abs(datetime.now(UTC) - fresh_at) <= known_for
        return fresh and self.ledger.index.holds_at_least(LARGE_INBOX)

    def start(self, shots: Sequence[Shot], stage: Stage, options: ClaimOptions, run_id: str | None) -> RunningBatch:
        """The engine over these shots, in a thread of its own; to be entered with `with`."""
        from wan_pipeline.generation.batch import Batch

        return Batch(self.parts(), shots, stage, options, run_id)

    def parts(self) -> "EngineParts":
        """What an engine is made of here: real providers in live mode, the simulator in demo mode."""
        from wan_pipeline.generation.parts import EngineParts

        return EngineParts(
            ledger=self.ledger,
            bucket=self.bucket,
            budgets=self.budgets,
            connect=self.connect,
            download_transport=self._transport,
            simulated=self.simulated,
            absent_after=self.absent_after,
        )

    @property
    def simulated(self) -> bool:
        """Is this demo mode: simulated providers, nothing bought."""
        return self.settings.mode == "demo"

    @property
    def absent_after(self) -> timedelta:
        """How long after a submission "the provider has no such job" is believed."""
        return timedelta(seconds=self.settings.absent_after_seconds)

    @property
    def budgets(self) -> Budgets:
        """Every limit that is set."""
        return budgets_of(self.settings)

    def connect(self, provider: str) -> AbstractAsyncContextManager[ProviderClient]:
        """The provider's client. Raises ConfigurationError in live mode without its key."""
        from wan_pipeline.providers.connect import PROVIDERS, connect

        info = PROVIDERS[provider]
        if self.simulated:
            from wan_pipeline.defs.resources.simulated import PROVIDERS_BASE_URL

            limits = self._limits(provider, DEMO_LIMITS)
            return connect(provider, PROVIDERS_BASE_URL, SecretStr("demo"), limits, self._transport)
        key = _provider_key(self.settings, provider)
        if key is None:
            raise ConfigurationError(missing_key(info.key_variable, info.title))
        base_url = getattr(self.settings, f"{provider}_base_url")
        limits = self._limits(provider, info.lowest_tier_limits)
        return connect(provider, base_url, key, limits, callback_base_url=self.settings.public_callback_url)

    def limits_of(self, provider: str) -> ProviderLimits:
        """How many of its jobs may be under way at once, and how many submissions a minute."""
        from wan_pipeline.providers.connect import PROVIDERS

        return self._limits(provider, DEMO_LIMITS if self.simulated else PROVIDERS[provider].lowest_tier_limits)

    def check(self) -> None:
        """Is everything there that a batch needs? Raises ConfigurationError that says what is not, and the remedy."""
        try:
            self.bucket.check()
        except BucketError as error:
            raise ConfigurationError(f"WAN_BUCKET_URL: {error}") from error
        if self.simulated:
            return
        from wan_pipeline.providers.connect import PROVIDERS

        if all(_provider_key(self.settings, name) is None for name in PROVIDERS):
            names = ", ".join(info.key_variable for info in PROVIDERS.values())
            raise ConfigurationError(
                f"WAN_MODE is live, and no provider's key is set: set at least one of {names}, or WAN_MODE=demo"
            )

    def _limits(self, provider: str, otherwise: ProviderLimits) -> ProviderLimits:
        in_flight = getattr(self.settings, f"{provider}_max_in_flight")
        per_minute = getattr(self.settings, f"{provider}_submits_per_minute")
        polls = getattr(self.settings, f"{provider}_polls_per_minute")
        return ProviderLimits(
            in_flight or otherwise.max_in_flight,
            per_minute or otherwise.submits_per_minute,
            polls or otherwise.polls_per_minute,
        )

    @cached_property
    def _transport(self) -> "httpx.AsyncBaseTransport | None":
        if not self.simulated:
            return None
        from wan_pipeline.defs.resources.simulated import simulated_providers

        root = Path(self.bucket.url) if isinstance(self.bucket, FolderBucket) else None
        simulator = self.simulator_resource
        return simulated_providers(self.settings.home / "simulator", root, simulator.latency_s, simulator.render)


class Installation(dg.ConfigurableResource[Any]):
    """Everything that one installation is configured with; see the resources it is made of."""

    settings: SettingsResource
    bucket: BucketResource
    ledger: LedgerResource
    shortapi: ShortApiResource
    aimlapi: AimlApiResource
    wavespeed: WaveSpeedResource
    simulator: SimulatorResource

    def load_settings(self) -> Settings:
        """Raises ConfigurationError that names every wrong variable."""
        parts = (self.settings, self.bucket, self.ledger, self.shortapi, self.aimlapi, self.wavespeed)
        return Settings.load(**{name: value for part in parts for name, value in part.overrides().items()})

    @contextmanager
    def open(self) -> Generator[OpenInstallation]:
        """Bucket and ledger of these settings. Raises ConfigurationError where one cannot be opened."""
        settings = self.load_settings()
        bucket = _open_bucket(settings)
        ledger = Ledger.open(settings.ledger_url)
        try:
            yield OpenInstallation(settings, bucket, ledger, self.simulator)
        finally:
            ledger.close()


def missing_key(variable: str, title: str) -> str:
    """The words for a provider's missing key."""
    return f"{variable} is not set: set it to your key of {title}, or use a model of another provider"


def _open_bucket(settings: Settings) -> Bucket:
    bucket = open_bucket(settings.bucket_url, settings.public_base_url)
    if isinstance(bucket, FolderBucket):
        folder = Path(bucket.url)
        # A folder that is not there lists as empty; where a disk is not mounted, that would read as "nothing to do".
        # In demo mode it is made with the first file.
        if not folder.is_dir() and (settings.mode == "live" or folder.exists()):
            raise ConfigurationError(f"WAN_BUCKET_URL: {folder} is no folder: create it, mount it, or correct the path")
    if settings.mode == "demo" and isinstance(bucket, FolderBucket):
        from wan_pipeline.defs.resources.simulated import BUCKET_BASE_URL

        # The simulator in this process fetches a folder in this process, whether or not something serves it elsewhere.
        return open_bucket(settings.bucket_url, BUCKET_BASE_URL)
    return bucket


def _provider_key(settings: Settings, provider: str) -> SecretStr | None:
    return {
        "shortapi": settings.shortapi_key,
        "aimlapi": settings.aimlapi_key,
        "wavespeed": settings.wavespeed_api_key,
    }[provider]
