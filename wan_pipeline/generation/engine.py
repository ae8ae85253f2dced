"""The engine: one asyncio loop drives a batch of shots, each on its own way, within the providers' limits.

What belongs here: the batch as a whole, its heartbeat, its stop. One shot's way is in path.py. A shot's failure is its
own; nobody waits for the slowest but the batch's end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from wan_pipeline.generation.collection import Collector
from wan_pipeline.generation.completion import Completer
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import Event, Finished, Stage, Verdict
from wan_pipeline.generation.finding import Finder
from wan_pipeline.generation.inspection import Inspector
from wan_pipeline.generation.lanes import Lanes
from wan_pipeline.generation.left_behind import LeftBehind
from wan_pipeline.generation.parts import EngineParts
from wan_pipeline.generation.path import Path
from wan_pipeline.generation.results import Shelf
from wan_pipeline.generation.runway import Turn, in_turn
from wan_pipeline.generation.tools import BatchTools
from wan_pipeline.providers.download import Downloader
from wan_pipeline.providers.words import shown
from wan_pipeline.shots.shot import Shot
from wan_pipeline.spend.owners import HEARTBEAT_EVERY_S
from wan_pipeline.spend.records import ClaimOptions, Job

_log = logging.getLogger(__name__)


class Engine:
    """Makes one batch. An engine runs once."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._desk: Desk | None = None
        self._lanes: Lanes | None = None
        self._stop_asked = False
        self._hurried = False

    async def run(
        self,
        shots: Sequence[Shot],
        stage: Stage,
        options: ClaimOptions,
        emit: Callable[[Event], None],
        run_id: str | None = None,
    ) -> list[Finished]:
        """Takes each shot as far as `stage`; gives one `Finished` for each, in their order, each emitted as it comes.

        Raises what makes the whole batch impossible; what happens to one shot is in its `Finished`.
        """
        self._loop = asyncio.get_running_loop()
        self._desk = desk = Desk(self._parts)
        try:
            async with AsyncExitStack() as stack:
                downloader = await stack.enter_async_context(Downloader(self._parts.download_transport))
                self._lanes = lanes = Lanes(desk, stack)
                buying = stage is Stage.GENERATE
                completer = Completer(desk, lanes, Collector(desk, downloader))
                tools = BatchTools(
                    desk=desk,
                    lanes=lanes,
                    inspector=Inspector(desk.bucket, desk.input_threads, self._parts.find_model),
                    completer=completer,
                    finder=Finder(desk, lanes),
                    shelf=Shelf(desk),
                    stage=stage,
                    options=options,
                    emit=emit,
                    run_id=run_id,
                    earlier=await self._earlier(desk, shots) if buying else {},
                    put_off=await self._put_off(desk) if buying else {},
                )
                if self._stop_asked:
                    self._stop_now()
                heartbeat = asyncio.create_task(self._heartbeat(desk, lanes)) if buying else None
                if buying:
                    desk.aside(LeftBehind(desk, lanes, completer).watch())
                try:
                    return await in_turn(shots, tools.earlier, lambda shot, turn: self._one(shot, tools, turn))
                finally:
                    await desk.end_asides()
                    if heartbeat is not None:
                        heartbeat.cancel()
                        await self._let_go(desk)
        finally:
            self._loop = None
            desk.close()

    def stop(self, *, hurried: bool = False) -> None:
        """From any thread: buy nothing more, let requests under way be answered and written down, then end. What had not set
        out is still looked up, for it may be made already, not due, or another's; `hurried`: it is not, and STOPPED says
        nothing of it (somebody waits for the end)."""
        self._hurried |= hurried
        self._stop_asked = True
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._stop_now)
            except RuntimeError:
                _log.debug("the batch had ended when it was told to stop")

    def _stop_now(self) -> None:
        if self._desk is not None:
            self._desk.hurried = self._hurried
            self._desk.stopped.set()
        if self._lanes is not None:
            self._lanes.stop()

    async def _earlier(self, desk: Desk, shots: Sequence[Shot]) -> dict[str, list[Job]]:
        keys = {shot.key for shot in shots}
        simulated = desk.parts.simulated
        found = await desk.record(desk.ledger.open_jobs, sorted(keys), simulated=simulated)
        found += await desk.record(desk.ledger.ambiguous, simulated=simulated)
        jobs: dict[str, list[Job]] = {}
        for job in found:
            if job.shot in keys:
                jobs.setdefault(job.shot, []).append(job)
        return jobs

    async def _put_off(self, desk: Desk) -> dict[str, int]:
        put_off = await desk.record(desk.ledger.deferrals.load, simulated=desk.parts.simulated)
        return {item.shot: item.times for item in put_off}

    async def _one(self, shot: Shot, tools: BatchTools, turn: Turn) -> Finished:
        try:
            finished = await Path(shot, tools, turn).go()
        except Exception as error:  # noqa: BLE001 - a shot's failure is its own; it is told, with its kind, and logged
            _log.warning("shot %s ended by an error that nobody foresaw", shot.key, exc_info=True)
            finished = Finished(shot, Verdict.FAILED, shown(f"{type(error).__name__}: {error}"))
        tools.emit(finished)
        return finished

    async def _let_go(self, desk: Desk) -> None:
        try:
            await desk.record(desk.ledger.release_owner)
        except Exception:  # noqa: BLE001 - what the shots have come to is not to be lost over it
            _log.warning("the ledger could not be told that this batch has ended", exc_info=True)

    async def _heartbeat(self, desk: Desk, lanes: Lanes) -> None:
        """Others hear that this batch lives, or waits for a place; and it hears of them."""
        while True:
            await asyncio.sleep(HEARTBEAT_EVERY_S)
            alone = False
            try:
                if lanes.busy:
                    await desk.record(desk.ledger.register_owner)
                await desk.record(desk.ledger.heartbeat)
                alone = await desk.record(desk.ledger.is_alone)
            except Exception:  # noqa: BLE001 - the next beat may pass; the batch goes on
                _log.warning("the ledger could not be told that this batch is alive", exc_info=True)
            lanes.set_alone(alone=alone)
