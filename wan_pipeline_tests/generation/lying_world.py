"""A whole installation in a folder, and a history that happens to it: real engine, ledger, bucket and simulator.

Each batch is a process of its own (lying_process.py), its network lies (lying_network.py), all in one loop whose time
costs nothing (lying_time.py). After the history everything is healed, and what has come of it is compared with the
simulator's books (lying_books.py).
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import sqlalchemy as sa
from PIL import Image
from pydantic import SecretStr

from wan_pipeline.bucket import open_bucket
from wan_pipeline.generation.engine import Engine
from wan_pipeline.generation.events import Finished, Stage
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.receiver import receiver_app
from wan_pipeline.media.poster import drawn
from wan_pipeline.money import Money
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline.providers.connect import connect
from wan_pipeline.shots.discovery import discover
from wan_pipeline.shots.yaml_cache import YamlCache
from wan_pipeline.simulator.app import create_app, deliver_callbacks
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.spend.database import Database
from wan_pipeline.spend.errors import LedgerError
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.owners import Owner
from wan_pipeline.spend.records import Bought, Budgets, ClaimOptions, Deferral, Job, JobState
from wan_pipeline.spend.tables import attempts, jobs
from wan_pipeline_tests.generation import lying_history as h
from wan_pipeline_tests.generation.lying_network import LyingTransport, Post, Told, Wire
from wan_pipeline_tests.generation.lying_process import Process, ProcessBucket, ProcessDatabase, watch
from wan_pipeline_tests.generation.lying_time import Clocks, StandstillError, TooLongError, VirtualLoop, threadless

KEY = "sk-not-to-be-seen-anywhere"
CAMPAIGN = "spring"
_LONGEST_BATCH_S = 10 * 3600
RESULTS_LAST_S = {"wavespeed": 7 * 24 * 3600.0, "aimlapi": 24 * 3600.0, "shortapi": 24 * 3600.0}
# A URL says that it lives for 7 days, and may say so anew whenever it is asked for: 14 days is the end of that.
_PAUSES_S = (*[1200.0] * 3, *[3.0 * 3600] * 2, *[24.0 * 3600] * 2, *[96.0 * 3600] * 5)
S = JobState


class World:
    """Play a history with `play`; what it came to is in `ledger`, `books`, `wire` and `violations`."""

    def __init__(self, folder: Path, database: Database, setting: h.Setting) -> None:
        self.folder = folder
        self.database = database
        self.setting = setting
        self.loop = VirtualLoop(setting.seed)
        watch(self.loop)
        self.clocks = Clocks(self.loop)
        self.wire = Wire(before_post=self._before_post)
        self.violations: list[str] = []
        self.budgets = Budgets(None, None, None)
        self.runs: dict[str, ClaimOptions] = {}
        self.decisions: dict[str, str] = {}
        self.bought_by: dict[str, str] = {}
        self.results: dict[str, list[Finished]] = {}
        self.processes: list[Process] = []
        self.checks = Counter[str]()
        self.failed_batches = 0
        self._yamls = YamlCache()
        self._puts = 0
        root = folder / "bucket"
        root.mkdir(parents=True)
        self.bucket = open_bucket(str(root), "http://bucket.invalid")
        self.simulator = folder / "simulator"
        self.simulator.mkdir()
        (self.simulator / "shared").symlink_to(tiny_videos())
        self.config = SimulatorConfig(
            folder=self.simulator,
            base_url="http://simulator.invalid",
            latency_s=setting.latency_s,
            max_in_flight=setting.simulator_in_flight,
            render="shared",
            keys=frozenset({KEY}),
            list_inputs=setting.listed_inputs,
            billing_lag_s=setting.lag_s,
            logs_lag_s=setting.lag_s,
            callbacks="when told",
            clock=self.clocks.simulator_s,
        )
        self._fetch = httpx.AsyncClient(transport=_BucketFiles(root))
        receiver = Ledger(_Direct(database, self.clocks))
        self._receiver = _Receiver(httpx.ASGITransport(receiver_app(receiver, SecretStr(KEY))))
        self._call = httpx.AsyncClient(transport=self._receiver)
        self._app = create_app(self.config, fetch=self._fetch, call=self._call)
        self._server = httpx.ASGITransport(self._app)
        self.direct = Ledger(_Direct(database, self.clocks))
        self._put_defaults()

    def close(self) -> None:
        self._abandon()
        self.loop.run(self._fetch.aclose(), 10)
        self.loop.run(self._call.aclose(), 10)
        self.loop.close()

    # --- what happens ---

    def play(self, steps: Sequence[h.Step]) -> None:
        for step in steps:
            self.do(step)
            if isinstance(step, h.Run | h.Together | h.Decide):
                self._agrees_with_itself(step)

    def do(self, step: h.Step) -> None:
        match step:
            case h.Put():
                self._put(step)
            case h.Run():
                self._work(self._batch(step))
            case h.Together():
                self._work(self._together(step))
            case h.Recover():
                self._work(self._recover(step))
            case h.RunDeferred():
                shots = [item.shot for item in self.direct.deferrals.load(simulated=True) if self._is_due(item)]
                if shots:
                    self._work(self._batch(h.Run(lies=step.lies, death=step.death), keys=shots))
            case h.Decide():
                self._decide(step)
            case h.Budget():
                self._budget(step)
            case h.Sleep():
                self.clocks.sleep(step.seconds)
                self._receiver.is_down = step.receiver_down
                self.loop.run(deliver_callbacks(self._app), 3600)
            case h.Skew():
                self.clocks.skew[step.clock] = timedelta(minutes=step.minutes)

    def _agrees_with_itself(self, step: h.Step | None = None) -> None:
        differences = self.direct.verify()
        if differences:
            self.violations.append(f"after {step or 'all'}: the ledger does not agree with itself: {differences}")

    def _work(self, work: Any) -> None:
        try:
            self.loop.run(work, _LONGEST_BATCH_S)
        except (StandstillError, TooLongError) as error:
            self.violations.append(f"a batch hangs: {error}")
            self._abandon()

    def _abandon(self) -> None:
        """What still runs is ended, so that the history can go on."""
        for process in self.processes:
            process.die("")

        async def end() -> None:
            for _ in range(200):
                others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
                for task in others:
                    task.cancel()
                await asyncio.sleep(0)

        self.loop.run(end(), 60)

    def _is_due(self, item: Deferral) -> bool:
        return item.until is None or item.until <= self.clocks.ledger()

    def _put_defaults(self) -> None:
        text = f'model: {h.MODELS[0]}\nprompt: "{h.PROMPTS[0]}"\n'
        self.bucket.write("inbox/_defaults.yaml", text.encode(), "text/yaml")

    def _put(self, put: h.Put) -> None:
        model = h.MODELS[put.model]
        lines = [f"model: {model}", f'prompt: "{h.PROMPTS[put.prompt]}"', f"duration: {5 if 'aiml' in model else 2}"]
        lines += [f"campaign: {CAMPAIGN}"] if put.campaign else []
        self._puts += 1
        # A size of its own: two changes within a tick of the file system's clock would look the same.
        lines += ["#" * self._puts]
        self.bucket.write(f"inbox/shot{put.shot}.png", png(put.picture), "image/png")
        self.bucket.write(f"inbox/shot{put.shot}.yaml", "\n".join(lines).encode(), "text/yaml")

    def _budget(self, step: h.Budget) -> None:
        def usd(cents: int | None) -> Money | None:
            return None if cents is None else Money(cents * 10_000_000)

        campaign, provider = usd(step.campaign), usd(step.provider)
        self.budgets = Budgets(
            usd(step.daily),
            None,
            usd(step.shot),
            {} if campaign is None else {CAMPAIGN: campaign},
            {} if provider is None else {"wavespeed": provider},
        )

    def _decide(self, step: h.Decide) -> None:
        waiting = self.direct.jobs(S.AMBIGUOUS)
        if not waiting:
            return
        job = sorted(waiting, key=lambda each: each.claimed_at)[step.which % len(waiting)]
        up_to = job.quoted_high if step.duplicate else None
        try:
            with Ledger(_Direct(self.database, self.clocks)) as ledger:  # a command of its own
                match step.word:
                    case "found":
                        truth = self.truth(job)
                        if truth is None:
                            return
                        ledger.resolve_found(job.id, truth, "the operator")
                    case "not charged":
                        ledger.resolve_not_charged(job.id, "the operator", up_to)
                    case _:
                        ledger.resolve_write_off(job.id, "the operator", up_to)
        except LedgerError as error:
            self.checks[f"refused: {step.word}"] += 1
            if step.word != "found":
                self.violations.append(f"a person's word is refused: {error}")
            return
        self.decisions[job.id] = step.word + (" with duplicate" if step.duplicate else "")

    # --- processes ---

    def _process(self, step: Any) -> Process:
        process = Process(self.loop, step.death, getattr(step, "outage", None))
        number = len(self.processes)
        owner = Owner(f"host{number}", f"host{number}", 1, "then") if self.setting.hosts else None
        process.ledger = Ledger(ProcessDatabase(self.database, process, self.clocks.ledger, self._after_write), owner)
        self.processes.append(process)
        return process

    async def _together(self, step: h.Together) -> None:
        async def later() -> None:
            await asyncio.sleep(step.later_s)
            await self._batch(step.other)

        await asyncio.gather(self._batch(step.one), later())

    async def _batch(self, run: h.Run, keys: Sequence[str] | None = None) -> None:
        wanted = keys if keys is not None else [f"shot{number}" for number in run.shots] or None
        options = ClaimOptions(run.retry_failed, run.new_take, run.outdated, run.collect_only)
        process = self._process(run)
        await process.live(self._engine(process, run, wanted, options))

    async def _recover(self, step: h.Recover) -> None:
        process = self._process(step)
        await process.live(self._recovery(process, step))

    async def _recovery(self, process: Process, step: h.Recover) -> None:
        ledger = process.ledger
        assert ledger is not None
        shots = recovery_shots(ledger)
        await self._engine(process, h.Run(lies=step.lies), shots, ClaimOptions(collect_only=True))

    async def _engine(self, process: Process, run: h.Run, wanted: Sequence[str] | None, options: ClaimOptions) -> None:
        ledger = process.ledger
        assert ledger is not None
        transport = LyingTransport(self._server, self.wire, process, run.lies)
        limits = ProviderLimits(self.setting.in_flight, self.setting.per_minute)

        @asynccontextmanager
        async def connected(provider: str) -> AsyncGenerator[Any]:
            client = connect(
                provider,
                "http://simulator.invalid",
                SecretStr(KEY),
                limits,
                transport,
                callback_base_url="http://receiver.invalid" if self.setting.callbacks else None,
                clock=self.clocks.engine,
            )
            async with Told(client) as told:
                yield told

        parts = EngineParts(
            ledger,
            ProcessBucket(self.bucket, process),
            self.budgets,
            connected,
            download_transport=transport,
            simulated=True,
            clock=self.clocks.engine,
            absent_after=timedelta(seconds=h.ABSENT_AFTER_S),
        )
        shots = [
            shot for shot in discover(self.bucket, None, cache=self._yamls) if wanted is None or shot.key in wanted
        ]
        engine = Engine(parts)
        if run.stop_after_s is not None:
            self.loop.call_later(run.stop_after_s, engine.stop)
        name = f"run-{len(self.runs)}"
        self.runs[name] = options
        try:
            results = await engine.run(shots, Stage.GENERATE, options, lambda event: None, name)
            self.results[name] = results
            self._keep_deferred(ledger, results)
        except Exception as error:  # noqa: BLE001 - the whole batch has failed: only an outage explains that
            self.failed_batches += 1
            if not process.failed_steps:
                self.violations.append(f"{name} died of {type(error).__name__}: {error}")
        finally:
            ledger.close()

    def _keep_deferred(self, ledger: Ledger, results: Sequence[Finished]) -> None:
        """As the op does."""
        now = self.clocks.ledger()
        items = [
            Deferral(
                each.shot.key,
                True,
                each.deferred.limit,
                each.reason,
                each.deferred.needed,
                each.deferred.provider,
                each.shot.campaign,
                now,
                each.deferred.until,
                1,
            )
            for each in results
            if each.deferred is not None
        ]
        put_off = {item.shot for item in items}
        if items:
            ledger.deferrals.defer(items)
        ledger.deferrals.forget([each.shot.key for each in results if each.shot.key not in put_off], simulated=True)

    # --- what is checked at once ---

    def _before_post(self, post: Post) -> None:
        """The intent is durable before anything leaves."""
        query = (
            sa.select(jobs.c.state)
            .select_from(attempts.join(jobs, jobs.c.id == attempts.c.job_id))
            .where(attempts.c.id == post.attempt_id, jobs.c.attempt_id == attempts.c.id)
        )
        with self.database.read() as connection:
            state = connection.execute(query).scalar()
        if state != S.SUBMITTING.value:
            self.violations.append(f"attempt {post.attempt_id} was sent, and the ledger has it as {state}")

    def _after_write(self, method: str, result: Any) -> None:
        if isinstance(result, Bought):
            self.bought_by.setdefault(
                result.job.id, result.job.run_id or ""
            )  # who opens it again has asked for no more
            self._no_budget_is_passed(result.job)

    def _no_budget_is_passed(self, job: Job) -> None:
        """By the raw rows, as this very claim has left them."""
        query = sa.select(
            jobs.c.shot, jobs.c.provider, jobs.c.campaign, jobs.c.claimed_at, jobs.c.held_nanos, jobs.c.billed_nanos
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
        used = dict.fromkeys(("daily", "shot", "campaign", "provider"), 0)
        for row in rows:
            nanos = row.held_nanos + (row.billed_nanos or 0)
            used["daily"] += nanos * (row.claimed_at.date() == job.claimed_at.date())
            used["shot"] += nanos * (row.shot == job.shot)
            used["campaign"] += nanos * (row.campaign == CAMPAIGN and job.campaign == CAMPAIGN)
            same_month = (row.claimed_at.year, row.claimed_at.month) == (job.claimed_at.year, job.claimed_at.month)
            used["provider"] += nanos * (row.provider == "wavespeed" == job.provider and same_month)
        allowed = {
            "daily": self.budgets.daily,
            "shot": self.budgets.shot,
            "campaign": self.budgets.campaigns.get(CAMPAIGN),
            "provider": self.budgets.providers.get("wavespeed"),
        }
        for name, limit in allowed.items():
            if limit is not None and used[name] > limit.nanos:
                self.violations.append(
                    f"{job.id} ({job.shot}): the {name} budget {limit} is passed: {Money(used[name])}"
                )

    # --- what is true ---

    def truth(self, job: Job) -> str | None:
        """The provider's id of what it took for this job, whatever the ledger knows."""
        own = {attempt.id for attempt in self.direct.attempts(job.id)}
        return next((post.job_id for post in self.wire.posts if post.attempt_id in own and post.job_id), None)

    # --- the end ---

    def heal(self) -> None:
        """No more lies, the clocks are right, the windows are over: recovery works until there is nothing left to do,
        then everything is asked for once, with room for all of it."""
        self.clocks.skew = dict.fromkeys(self.clocks.skew, timedelta(0))
        self.budgets = Budgets(None, None, None)
        self.do(h.Sleep(h.ABSENT_AFTER_S + 3600))
        self._recover_to_quiescence()
        self.do(h.Run())
        self._recover_to_quiescence()
        self._agrees_with_itself()

    def _recover_to_quiescence(self) -> None:
        """What cannot be had is waited for until nobody gives it any more."""
        last: list[str] = []
        for pause_s in _PAUSES_S:
            self.do(h.Recover())
            open_jobs = self.direct.open_jobs(simulated=True)
            left = [job.id for job in (*open_jobs, *self.direct.ambiguous(simulated=True))]
            if left == last and not open_jobs:
                return
            last = left
            self.do(h.Sleep(pause_s))


def recovery_shots(ledger: Ledger) -> list[str]:
    """What the recovery sensor collects."""
    found = [*ledger.settle_orphans(simulated=True), *ledger.ambiguous(simulated=True, due=True)]
    return sorted({job.shot for job in found})


class _Direct(Database):
    """For the operator and the checks."""

    def __init__(self, shared: Database, clocks: Clocks) -> None:
        vars(self).update(vars(shared))
        self._clocks = clocks

    def close(self) -> None:
        """They are the others' too."""

    def now(self, connection: Any) -> Any:
        return self._clocks.ledger()


class _Receiver(httpx.AsyncBaseTransport):
    """The way to the receiver of callbacks, which may be down."""

    def __init__(self, receiver: httpx.AsyncBaseTransport) -> None:
        self._receiver = receiver
        self.is_down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("nobody there")
        return await self._receiver.handle_async_request(request)


class _BucketFiles(httpx.AsyncBaseTransport):
    """What serves the bucket's files to the providers."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=(self._root / request.url.path.lstrip("/")).read_bytes())


@cache
def png(number: int) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (480, 270), ("teal", "plum", "gold", "navy")[number]).save(file, "PNG")
    return file.getvalue()


@cache
def tiny_videos() -> Path:
    """A folder with one tiny video under all the names that the simulator will look for."""
    import atexit
    import tempfile

    import av
    import numpy as np

    folder = Path(tempfile.mkdtemp(prefix="wan-lying-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    first = folder / "1280x720-2s-silent.mp4"
    with av.open(str(first), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(np.zeros((36, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for name in (f"1280x720-{length}s-{sound}.mp4" for length in (2, 5) for sound in ("sound", "silent")):
        if not (folder / name).exists():
            (folder / name).hardlink_to(first)
    return folder


@contextmanager
def surroundings(seed: int) -> Generator[list[str]]:
    """No threads, no chance but the seed's; gives what the program has logged as unforeseen."""
    unforeseen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "nobody foresaw" in text:
                error = record.exc_info[1] if record.exc_info else None
                unforeseen.append(f"{text}: {error!r}")

    handler = Handler()
    logger = logging.getLogger("wan_pipeline")
    before = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    state = random.getstate()
    random.seed(seed)
    try:
        with (
            threadless(),
            mock.patch("wan_pipeline.media.proof.drawn", _poster),
            mock.patch("os.urandom", random.Random(seed).randbytes),  # ids too are the seed's
        ):
            yield unforeseen
    finally:
        random.setstate(state)
        logger.removeHandler(handler)
        logger.propagate, level = before
        logger.setLevel(level)


_posters: dict[tuple[int, int], bytes] = {}


def _poster(picture: Any) -> bytes:
    """What the real one makes of a picture of that size, made once."""
    size = (picture.width, picture.height)
    if size not in _posters:
        _posters[size] = drawn(picture)
    return _posters[size]
