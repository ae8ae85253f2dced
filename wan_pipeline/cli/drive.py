"""Dagster's own job, executed in this process: what `run` makes shows in the catalog like what the UI makes.

Measured with dagster 1.13.27 on SQLite: eight ranged runs at once in threads of one process take about as long as two
one after the other, and agree with the catalog, if two things of Dagster's are kept out of the way. Both are in
`open_instance`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from wan_pipeline.cli.exits import INTERRUPTED, TERMINATED
from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.defs.partition_order import in_order
from wan_pipeline.defs.partitions import Piece, add_shots, contiguous_pieces
from wan_pipeline.defs.process_marks import PROCESS_TAG, end_orphans, process_mark
from wan_pipeline.defs.run_tags import ASKED_BY, AskedBy
from wan_pipeline.generation.stopping import stop_all
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings
from wan_pipeline.shots.shot import Shot

_log = logging.getLogger(__name__)
MAX_PIECES_AT_ONCE = 8
_WHOLE = 10**9  # a piece of `run` may be as long as it likes: one batch shares the providers' limits best
_LOOK_AGAIN_S = 0.5
_INSISTS = 2  # stops asked for before the one that is obeyed at once
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def open_instance(settings: Settings) -> Generator[dg.DagsterInstance]:
    """The instance of $WAN_HOME, fit for several runs at once in this process.

    - What steps print is not captured: capturing redirects the file descriptors 1 and 2 of the whole process, and runs
      that begin and end at the same time leave them redirected for good.
    - No logging configuration is applied when a run begins. `logging.config.dictConfig` takes every handler's lock while
      it holds the logging module's; a run that is just storing an event holds its handler's and needs that one.
    """
    home = prepare_dagster_home(settings)
    overrides: Any = {
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        }
    }
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=overrides)) as instance:
        instance.get_yaml_python_handlers = _no_handlers
        end_orphans(instance, home)
        yield instance


def _no_handlers() -> list[logging.Handler]:
    return []


@dataclass(frozen=True)
class PieceResult:
    """`error` is Dagster's word on a run that did not succeed; its shots tell the reasons themselves where they can."""

    piece: Piece
    run_id: str | None
    error: str | None


class Drive:
    """Runs of one job over shots, in threads; a signal stops them all in order."""

    def __init__(
        self, instance: dg.DagsterInstance, home: Path, job: dg.JobDefinition, tags: Mapping[str, str]
    ) -> None:
        self._instance = instance
        self._job = job
        self._home = home
        self._tags = dict(tags)
        self.stopped_by: int | None = None  # the exit status of a stop

    def pieces(self, shots: Sequence[Shot]) -> list[Piece]:
        """The fewest ranges; shots with mistakes apart, so that a run of good ones is not red for its neighbour's."""
        add_shots(self._instance, [shot.key for shot in shots])
        order = in_order(self._instance, {shot.key for shot in shots})
        pieces: list[Piece] = []
        for ready in (True, False):
            pieces += contiguous_pieces(order, {shot.key for shot in shots if shot.ready is ready}, _WHOLE)
        return pieces

    def run(self, pieces: Sequence[Piece], on_stop: Callable[[int], None]) -> list[PieceResult]:
        """Every piece, as many at once as is good. `on_stop(times)` is told each Ctrl-C or SIGTERM.

        The first of them stops the batches: nothing more is bought, what is in flight is left to be collected, and this
        returns once all that was sent is written down.
        """
        results: list[PieceResult] = []
        with (
            process_mark(self._home) as mark,
            ThreadPoolExecutor(MAX_PIECES_AT_ONCE, thread_name_prefix="wan-run") as pool,
            self._signals(on_stop),
        ):
            waiting: set[Future[PieceResult]] = {pool.submit(self._one, piece, mark) for piece in pieces}
            while waiting:
                done, waiting = wait(waiting, timeout=_LOOK_AGAIN_S)
                results += [future.result() for future in done if not future.cancelled()]
        return results

    def _one(self, piece: Piece, mark: str) -> PieceResult:
        if self.stopped_by is not None:
            return PieceResult(piece, None, "stopped before it began")
        try:
            result = self._job.execute_in_process(
                instance=self._instance,
                tags={**self._tags, **piece.range_tags, PROCESS_TAG: mark},
                run_config=_QUIET,
                raise_on_error=False,
            )
        except Exception as error:  # noqa: BLE001 - Dagster's own trouble with one piece: the others go on, and are told
            _log.warning("a run of %s broke off", ", ".join(piece.keys), exc_info=True)
            return PieceResult(piece, None, f"its run broke off: {type(error).__name__}: {error}")
        return PieceResult(piece, result.run_id, None if result.success else _error(result))

    @contextmanager
    def _signals(self, on_stop: Callable[[int], None]) -> Generator[None]:
        """SIGINT and SIGTERM stop the batches; the third one leaves at once, as the person insists."""
        count = 0

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal count
            count += 1
            self.stopped_by = TERMINATED if number == signal.SIGTERM else INTERRUPTED
            on_stop(count)
            if count == 1:
                # Not in the handler: it may have interrupted this very thread inside one of their locks.
                threading.Thread(target=stop_all, name="wan-stop").start()
            elif count > _INSISTS:
                os._exit(self.stopped_by)  # threads wait for answers; the ledger calls what is left open by its name

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _error(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed: the op's Failure, or whatever else it died of."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            if data.error is not None:
                cause = data.error.cause or data.error
                return cause.message.strip()
    return next(
        (event.message for event in result.all_events if event.is_failure and event.message),
        "the run failed; Dagster's event log says why",
    )


def run_quietly(instance: dg.DagsterInstance, job: dg.JobDefinition, partition: str) -> None:
    """One run over one partition. Raises ConfigurationError with Dagster's word on it where it fails."""
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config=_QUIET,
        tags={ASKED_BY: str(AskedBy.RUN)},
        raise_on_error=False,
    )
    if not result.success:
        raise ConfigurationError(f"{job.name} of {partition}: {_error(result)}")
