"""A process that can die at any step: before or after each thing that it does to the world outside.

Outside are the ledger's transactions, HTTP, and the bucket. After its death no such thing takes place any more, whatever
its `finally` blocks try, nobody answers it, and its holder in the ledger is gone. What does not belong here: the engine
that runs in it (lying_world.py), and what the network does (lying_network.py).
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from wan_pipeline.bucket import Bucket, BucketError
from wan_pipeline.bucket.base import BucketObject, BucketWriter
from wan_pipeline.spend import owners
from wan_pipeline.spend.database import Database
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.generation.lying_time import VirtualLoop

T = TypeVar("T")
_ROUNDS = 200


class ProcessDied(BaseException):
    """Raised in the dead process by whatever it still tries to do."""


@dataclass(frozen=True)
class Death:
    """Before or after the `at`-th step; where `kind` is given, of the steps whose name begins with it."""

    at: int
    after: bool
    kind: str = ""


@dataclass(frozen=True)
class Outage:
    """From the `at`-th step of this kind (`ledger` or `bucket`) on, so many of them fail: it is out of reach, or full.
    `after`: it is done, and only the answer is lost."""

    kind: str
    at: int
    count: int
    after: bool = False


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """One engine's process. `steps` names what it has done, in order."""

    def __init__(self, loop: VirtualLoop, death: Death | None = None, outage: Outage | None = None) -> None:
        self.loop = loop
        self.death = death
        self.outage = outage
        self.died = False
        self.died_at = ""
        self.steps: list[str] = []
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.ledger: Ledger | None = None
        self.failed_steps = 0
        self._tried = 0
        self._gone: asyncio.Future[None] | None = None
        self._left: list[Any] = []  # what it had open

    # --- its steps ---

    def looks(self, kind: str) -> None:
        """It only reads: to die here is to die before what it does next."""
        if self.died:
            raise ProcessDied
        self._outage(kind, after=False)

    def before(self, kind: str) -> None:
        """Raises ProcessDied where it is dead, or dies now."""
        if self.died:
            raise ProcessDied
        self.steps.append(kind)
        if self.death is not None and not self.death.after and self._is_due(self.death):
            self.die(f"before {kind}")
            raise ProcessDied
        self._outage(kind, after=False)

    def after(self, kind: str) -> None:
        if self.died:
            raise ProcessDied
        if self.death is not None and self.death.after and self._is_due(self.death):
            self.die(f"after {kind}")
            raise ProcessDied
        self._outage(kind, after=True)

    def step(self, kind: str, work: Callable[[], T]) -> T:
        self.before(kind)
        result = work()
        self.after(kind)
        return result

    def die(self, where: str) -> None:
        if self.died:
            return
        self.died, self.died_at = True, where
        if self.ledger is not None:
            owners._open_here.pop(self.ledger.owner_id, None)  # pyright: ignore[reportPrivateUsage]
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _is_due(self, death: Death) -> bool:
        if not self.steps[-1].startswith(death.kind):
            return False
        return sum(step.startswith(death.kind) for step in self.steps) == death.at

    def _outage(self, kind: str, *, after: bool) -> None:
        outage = self.outage
        if outage is None or outage.after is not after or not kind.startswith(outage.kind):
            return
        self._tried += 1
        if outage.at <= self._tried < outage.at + outage.count:
            self.failed_steps += 1
            if kind.startswith("bucket"):
                raise BucketError("no space left on device")
            raise OperationalError("COMMIT", {}, OSError("no route to host"))

    # --- its life ---

    async def live(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Until it has done its work, or is dead: None. Nothing of it is left running."""
        self._gone = self.loop.create_future()
        context = copy_context()
        context.run(_PROCESS.set, self)
        task = self.loop.create_task(work, context=context)
        await asyncio.wait({task, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        if not self.died:
            return task.result()
        await self._bury()
        return None

    async def _bury(self) -> None:
        for _ in range(_ROUNDS):
            running = [task for task in self.tasks if not task.done()]
            if not running:
                break
            for task in running:
                task.cancel()
            await asyncio.sleep(0)
        for task in list(self.tasks):
            if task.done() and not task.cancelled():
                task.exception()  # nobody asks any more

    def keep(self, thing: Any) -> None:
        """What would clean up behind itself when it is forgotten is not forgotten."""
        self._left.append(thing)


def watch(loop: VirtualLoop) -> None:
    """Tells the loop whose task is whose, and who is dead."""

    def on_task(task: asyncio.Task[Any], context: Context) -> None:
        process = context.get(_PROCESS)
        if process is not None:
            process.tasks.add(task)

    def is_gone(error: BaseException | None) -> bool:
        process = _PROCESS.get()
        return isinstance(error, ProcessDied) or (process is not None and process.died)

    loop.on_task, loop.is_gone = on_task, is_gone


async def never() -> None:
    """Nobody answers."""
    await asyncio.get_running_loop().create_future()


class ProcessDatabase(Database):
    """The ledger's database as one process uses it, over connections that all processes of a history share."""

    def __init__(
        self,
        shared: Database,
        process: Process,
        clock: Callable[[], datetime],
        on_write: Callable[[str, Any], None],
    ) -> None:
        vars(self).update(vars(shared))
        self._shared = shared
        self._process = process
        self._clock = clock
        self._on_write = on_write

    def close(self) -> None:
        """They are the others' too."""

    @contextmanager
    def read(self) -> Generator[Connection]:
        self._process.looks("ledger reads")
        with self._shared.read() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T], *, patiently: bool = True) -> T:
        method = _method()

        def transaction() -> T:
            result = self._shared.write(work, patiently=patiently)
            self._on_write(method, result)
            return result

        return self._process.step(f"ledger.{method}", transaction)

    def now(self, connection: Connection) -> datetime:
        return self._clock()


def _method() -> str:
    """The ledger's method whose transaction this is."""
    frame = sys._getframe(2)
    name = frame.f_code.co_name
    while frame.f_back is not None and name.startswith("_"):
        frame = frame.f_back
        name = frame.f_code.co_name
    return name


class ProcessBucket:
    """The bucket as one process uses it."""

    def __init__(self, bucket: Bucket, process: Process) -> None:
        self._bucket = bucket
        self._process = process

    @property
    def url(self) -> str:
        return self._bucket.url

    def list(self, prefix: str = "") -> Iterator[BucketObject]:
        self._process.looks("bucket reads")
        return iter([*self._bucket.list(prefix)])

    def stat(self, key: str) -> BucketObject:
        self._process.looks("bucket reads")
        return self._bucket.stat(key)

    def exists(self, key: str) -> bool:
        self._process.looks("bucket reads")
        return self._bucket.exists(key)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self._process.looks("bucket reads")
        return self._bucket.read(key, start, length)

    def open(self, key: str) -> BinaryIO:
        self._process.looks("bucket reads")
        return self._bucket.open(key)

    def writer(self, key: str, content_type: str) -> ProcessWriter:
        return ProcessWriter(self._bucket, self._process, key, content_type)

    def write(self, key: str, data: bytes, content_type: str) -> BucketObject:
        kind = f"bucket.write {key.rpartition('.')[2]}"
        return self._process.step(kind, lambda: self._bucket.write(key, data, content_type))

    def copy(self, source_key: str, target_key: str) -> None:
        self._process.step("bucket.copy", lambda: self._bucket.copy(source_key, target_key))

    def uri(self, key: str) -> str:
        return self._bucket.uri(key)

    def fetch_url(self, key: str, expires_s: int) -> str | None:
        return self._bucket.fetch_url(key, expires_s)

    def check(self) -> None:
        self._bucket.check()


class ProcessWriter:
    """An object on its way into the bucket; what a dead process had not published is never seen."""

    def __init__(self, bucket: Bucket, process: Process, key: str, content_type: str) -> None:
        self._open = lambda: bucket.writer(key, content_type)
        self._process = process
        self._writer: BucketWriter | None = None
        self._manager: Any = None

    def __enter__(self) -> ProcessWriter:
        self._process.before("bucket.writer opened")
        self._manager = self._open()
        self._process.keep(self._manager)
        self._writer = self._manager.__enter__()
        return self

    @property
    def size_bytes(self) -> int:
        return self._writer.size_bytes if self._writer else 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        assert self._writer is not None
        self._process.looks("bucket.writer written to")
        return self._writer.write(data)

    def landed(self) -> BinaryIO:
        assert self._writer is not None
        return self._writer.landed()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool | None:
        if self._process.died:
            raise ProcessDied
        if kind is not None:
            return self._manager.__exit__(kind, error, trace)
        return self._process.step("bucket.publish mp4", lambda: self._manager.__exit__(None, None, None))
