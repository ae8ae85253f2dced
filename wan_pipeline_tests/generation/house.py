"""A whole installation in a folder, for tests of the engine: folder bucket, SQLite ledger, the real simulator in process.

`Faults` stands between the provider clients and the simulator and does what networks do. `ahead` is how far the wall clock
(the engine's, the ledger's and the simulator's) has been moved on.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from PIL import Image
from pydantic import SecretStr

from wan_pipeline.bucket import open_bucket
from wan_pipeline.bucket_server import bucket_app
from wan_pipeline.generation.engine import Engine
from wan_pipeline.generation.events import Event, Finished, Progress, Stage
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.receiver import receiver_app
from wan_pipeline.money import Money
from wan_pipeline.providers.base import ProviderClient, ProviderLimits
from wan_pipeline.providers.connect import connect
from wan_pipeline.shots.discovery import discover
from wan_pipeline.simulator.app import create_app, deliver_callbacks
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Budgets, ClaimOptions

KEY = "sk-not-to-be-seen-anywhere"
DEMO_KEY = "demo"  # that of demo mode: a submission sent with another key cannot be found to be absent
ASKING_POSTS = frozenset(  # they buy nothing
    {"/api/v3/predictions", "/api/v3/billings/search", "/api/v3/model/price"}
)
Fault = Callable[[httpx.Request, Callable[[], Awaitable[httpx.Response]]], Awaitable[httpx.Response]]


class _Receiver(httpx.AsyncBaseTransport):
    """Where the simulator's callbacks arrive."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with self._house.ledger() as ledger:
            return await httpx.ASGITransport(receiver_app(ledger, SecretStr(KEY))).handle_async_request(request)


class Faults(httpx.AsyncBaseTransport):
    """Hands requests on to the simulator, through `fault` where one is set. Remembers every POST to buy that came by."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.fault: Fault | None = None
        self.posts: list[str] = []
        self.requests: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")

        async def go_on() -> httpx.Response:
            if is_purchase(request):
                self.posts.append(request.url.path)
            return await self.inner.handle_async_request(request)

        return await (self.fault(request, go_on) if self.fault else go_on())


def is_purchase(request: httpx.Request) -> bool:
    """Whether this is a submission, and no question."""
    return request.method == "POST" and request.url.path not in ASKING_POSTS


def png(colour: str = "teal", size: tuple[int, int] = (640, 360), mode: str = "RGB") -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


@dataclass
class House:
    """`put` files, `make` what is in the bucket, look at `books` and `ledger`."""

    folder: Path
    latency_s: float = 0.2
    simulator_in_flight: int | None = None
    limits: ProviderLimits = field(default_factory=lambda: ProviderLimits(20, 6000))
    budgets: Budgets = field(default_factory=lambda: Budgets(Money.usd(100), Money.usd(1000), Money.usd(50)))
    fetchable: bool = True
    result_ttl_s: float | None = 86400
    absent_after: timedelta = timedelta(hours=4)
    callback_base_url: str | None = None
    ahead: timedelta = timedelta(0)
    engine_ahead: timedelta = timedelta(0)  # of all the other clocks

    def __post_init__(self) -> None:
        root = self.folder / "bucket"
        root.mkdir(parents=True, exist_ok=True)
        self.bucket = open_bucket(str(root), "http://bucket.invalid" if self.fetchable else None)
        config = SimulatorConfig(
            folder=self.folder / "simulator",
            base_url="http://simulator.invalid",
            latency_s=self.latency_s,
            max_in_flight=self.simulator_in_flight,
            render="shared",
            keys=frozenset({KEY, DEMO_KEY}),
            result_ttl_s=self.result_ttl_s,
            callbacks="when told",
            clock=lambda: time.time() + self.ahead.total_seconds(),
        )
        fetch = httpx.AsyncClient(transport=httpx.ASGITransport(bucket_app(root)))
        call = httpx.AsyncClient(transport=_Receiver(self))
        self.simulator = create_app(config, fetch=fetch, call=call)
        self.faults = Faults(httpx.ASGITransport(self.simulator))
        self.engine: Engine | None = None
        self.events: list[Event] = []
        self.keys: dict[str, str] = {}

    @property
    def books(self) -> Books:
        return Books(self.folder / "simulator", lambda: time.time() + self.ahead.total_seconds())

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def ledger(self) -> Ledger:
        return Ledger.open(f"sqlite:///{self.folder / 'ledger.sqlite'}", clock=self.clock)

    def call_back(self) -> int:
        """The simulator makes the callbacks that are due; gives how many there were."""
        return asyncio.run(deliver_callbacks(self.simulator))

    def later(self, **passed: float) -> None:
        """So much time passes."""
        self.ahead += timedelta(**passed)

    def put(self, key: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.bucket.write(key, data, "application/octet-stream")

    def shots(self, count: int, prompt: str = "The cat looks up.") -> list[str]:
        """So many different images for the quick model, each a shot of its own."""
        self.put("inbox/_defaults.yaml", f'model: wavespeed/wan-2.6-i2v-flash\nprompt: "{prompt}"\nduration: 2\n')
        keys = [f"shot{number:03d}" for number in range(count)]
        for number, key in enumerate(keys):
            self.put(f"inbox/{key}.png", png(f"#{number:02x}80{255 - number:02x}"))
        return keys

    def _connect(self, provider: str) -> AbstractAsyncContextManager[ProviderClient]:
        key = SecretStr(self.keys.get(provider, KEY))
        return connect(
            provider, "http://simulator.invalid", key, self.limits, self.faults, self.callback_base_url, self.clock
        )

    def make(
        self,
        stage: Stage = Stage.GENERATE,
        *,
        keys: list[str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: bool,
    ) -> dict[str, Finished]:
        """Discovers and runs a batch to its end, as a process of its own would (its own holder in the ledger)."""
        ledger = self.ledger()
        parts = EngineParts(
            ledger,
            self.bucket,
            self.budgets,
            self._connect,
            download_transport=self.faults,
            simulated=True,
            clock=lambda: self.clock() + self.engine_ahead,
            absent_after=self.absent_after,
        )
        shots = [shot for shot in discover(self.bucket, None) if keys is None or shot.key in keys]
        self.engine = Engine(parts)
        self.events = []

        def emit(event: Event) -> None:
            self.events.append(event)
            if on_event:
                on_event(event)

        try:
            results = asyncio.run(self.engine.run(shots, stage, ClaimOptions(**options), emit, "a-run"))
            assert ledger.verify() == [], "the job rows do not agree with the money entries"
        finally:
            ledger.close()
        return {result.shot.key: result for result in results}


async def no_files(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """A fault: no result can be downloaded."""
    return httpx.Response(503) if request.url.path.startswith("/files/") else await go_on()


async def witnesses_silent(request: httpx.Request, go_on: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """A fault: nobody says what became of a lost submission."""
    asked = request.url.path in ASKING_POSTS or request.url.path in ("/v2/logs", "/v2/billing/transactions")
    return httpx.Response(503) if asked else await go_on()


def stop_once_out(house: House, *, hurried: bool = False) -> Callable[[Event], None]:
    """For `on_event`: stops the batch as soon as one job is at its provider."""

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and house.engine:
            house.engine.stop(hurried=hurried)

    return stop
