"""An installation under `dagster dev` in live mode, whose parts can be killed, stopped and started: real processes all.

What belongs here: the parts, where they are hit, and how everything is found to have come right again. What does not: which
of them is hit when (test_chaos_*.py).

Processes are told by a mark in their environment that only this installation's have, and signalled by their own ids: what
`dagster dev` starts outlives it sometimes, and is found all the same.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import httpx
import psutil
import pytest
from dagster._core.instance.ref import InstanceRef
from sqlalchemy.exc import DBAPIError

from wan_pipeline.bucket import Bucket, open_bucket
from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.money import Money
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings
from wan_pipeline.simulator.books import Books
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline_tests.generation.house import png
from wan_pipeline_tests.services.process import ServerProcess
from wan_pipeline_tests.whole.installation import COMMAND, Installation, free_port, served_folder
from wan_pipeline_tests.whole.told import reasons_of_runs, reasons_of_ticks

T = TypeVar("T")
MARK = "CHAOS_MARK"  # no setting of ours, so nothing is said about it
WORKSPACE = """\
load_from:
  - python_module:
      module_name: wan_pipeline_tests.whole.quick_definitions
      location_name: wan_pipeline
"""
MODELS = {
    "wavespeed": "wavespeed/wan-2.6-i2v-flash",
    "aimlapi": "aimlapi/wan-2.6-i2v",
    "shortapi": "shortapi/wan-2.7-i2v",
}
SECONDS = {"wavespeed": 2, "aimlapi": 5, "shortapi": 2}
_UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_SENT = frozenset({JobState.SUBMITTING, JobState.SUBMITTED, JobState.GENERATED, JobState.STORED, JobState.AMBIGUOUS})
_TICKS = re.compile("SensorDaemon.*(Checking for new runs|skipped)|Received LocationStateChange")
# Dagster itself ends runs that were about to start when everything was killed: after three to five minutes.
_SLOW, _QUICK = "start_timeout_seconds: 180", "start_timeout_seconds: 60\n  poll_interval_seconds: 10"
PATIENCE_S = 200.0  # until all is well again: nothing waits so long, but the machine may be busy


@dataclass
class Chaos:
    """`put` shots, hit something, and `wait_until_stored`; then `assert_all_is_well`."""

    house: Installation
    simulator: ServerProcess
    bucket: Bucket
    folder: Path
    port: int = field(default_factory=free_port)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    shots: set[str] = field(default_factory=set[str])
    pictures: Iterator[int] = field(default_factory=count)
    began: float = field(default_factory=time.monotonic)
    receiver: ServerProcess | None = None
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0

    # --- what is to be made ---

    def put(self, batch: str, number: int = 15, providers: Sequence[str] = tuple(MODELS)) -> list[str]:
        """So many new shots, each with a picture of its own, dealt out to the providers."""
        keys: list[str] = []
        for provider in providers:
            text = f"model: {MODELS[provider]}\nprompt: The {batch} comes.\nduration: {SECONDS[provider]}\n"
            self.bucket.write(f"inbox/{batch}/{provider}/_defaults.yaml", text.encode(), "application/yaml")
        for index in range(number):
            key = f"{batch}/{providers[index % len(providers)]}/{index:02d}"
            picture = next(self.pictures)
            self.bucket.write(f"inbox/{key}.png", png(f"#{picture % 256:02x}{picture // 256:02x}90"), "image/png")
            keys.append(key)
        self.shots.update(keys)
        self.say(f"{batch}: {number} shots put")
        return keys

    # --- `dagster dev`, and whoever restarts it when it has ended ---

    @property
    def log(self) -> Path:
        return self.folder / "dagster.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """`dagster dev`, as `wan-pipeline dev` starts it; returns when its code is loaded."""
        workspace = self.house.home / "dagster" / "workspace.yaml"
        workspace.write_text(WORKSPACE)
        command = [sys.executable, "-m", "wan_pipeline.cli.dagster_dev", "dev", "-w", str(workspace)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "-h", "127.0.0.1", "-p", str(self.port)],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )
        self.until(self._is_up, "dagster dev is up")

    @property
    def environment(self) -> dict[str, str]:
        home = self.house.home / "dagster"
        return self.house.environment | {"DAGSTER_HOME": str(home), MARK: self.mark, "PYTHONWARNINGS": "ignore"}

    def keep_up(self) -> None:
        """What systemd's Restart=always does: `dagster dev` ends by itself when one of its processes has gone."""
        if self.process is not None and self.process.poll() is not None:
            self.say(f"dagster dev has ended with {self.process.returncode}; it is restarted")
            self.restarts += 1
            self.start()

    def until_ended(self) -> None:
        """Until `dagster dev` has noticed that one of its processes is gone, and has ended."""
        assert self.process is not None
        self.process.wait(120)

    def redeploy(self) -> None:
        """SIGTERM, and started again as soon as it has ended."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self.say("dagster dev has ended after SIGTERM")
        self.start()

    def kill(self, *kinds: str) -> int:
        """kill -9 of these processes of Dagster; gives their number. "everything": all of them, `dagster dev` too."""
        found = self.processes()
        victims = [each for kind, each in found if kind in kinds or "everything" in kinds]
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=20)
        if "everything" in kinds and self.process is not None:
            self.process.wait(20)
        self.say(f"kill -9 of {Counter(kind for kind, each in found if each in victims)}")
        return len(victims)

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """The processes of this `dagster dev`, by what they do."""
        found: list[tuple[str, psutil.Process]] = []
        for process in psutil.process_iter():
            try:
                ours = process.uids().real == os.getuid() and process.environ().get(MARK) == self.mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append((_kind(process), process))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def end(self) -> None:
        """Whatever is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                self.say("dagster dev has not ended after SIGTERM")
        left = [process for _, process in self.processes()]
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)
        if self.process is not None:
            self.process.wait(10)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A query or mutation, as the UI asks it; fails on GraphQL errors."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"dagster dev has ended with {self.process.returncode}:\n{self.tail()}")
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        try:
            return bool(self.ask(query)["repositoriesOrError"]["nodes"])
        except (httpx.TransportError, KeyError, ValueError, AssertionError):
            return False

    # --- waiting, looking ---

    def until(self, condition: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
        """What the condition gives as soon as it gives something."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = condition()
            if found:
                self.say(f"now: {what}")
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what}: it has not come after {timeout_s} s:\n{self.picture()}\n{self.tail()}")

    def wait_until_sent(self, batch: str, number: int) -> None:
        """Until so many shots of the batch are on their way to their providers: the answers to some of them are awaited,
        and others are about to be sent."""

        def enough() -> bool:
            return sum(job.shot.startswith(f"{batch}/") and job.state in _SENT for job in self.jobs()) >= number

        self.until(enough, f"{number} of {batch} are sent")

    def wait_until_stored(self, shots: Sequence[str] | None = None, timeout_s: float = PATIENCE_S) -> None:
        """Until each of these shots (default: all) has its video, with nobody's help but a service manager's."""
        wanted = set(self.shots if shots is None else shots)

        def all_stored() -> bool:
            self.keep_up()
            try:
                jobs = self.jobs()
            except (DBAPIError, ConfigurationError):
                return False
            stored = {job.shot for job in jobs if job.state is JobState.STORED}
            return wanted <= stored | {job.shot for job in self.left_to_a_person(jobs)}

        self.until(all_stored, f"{len(wanted)} shots stored", timeout_s)

    @property
    def books(self) -> Books:
        return self.house.books

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with Ledger.open(Settings.load(**self.house.variables, WAN_HOME=str(self.house.home)).ledger_url) as ledger:
            yield ledger

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's own storage, as the UI reads it."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            home = str(self.house.home / "dagster")
            with dg.DagsterInstance.from_ref(InstanceRef.from_dir(home)) as instance:
                yield instance

    def jobs(self) -> list[Job]:
        with self.ledger() as ledger:
            return ledger.jobs()

    def left_to_a_person(self, jobs: Sequence[Job]) -> list[Job]:
        """The one exception: what was on its way to ShortAPI as the process died, and never got there. It cannot be told
        from what did but for a callback, and those came for all that ShortAPI has charged."""
        known = {job.provider_job_id for job in jobs if job.provider_job_id}
        if any(charge.provider == "shortapi" and charge.job_id not in known for charge in self.books.charges()):
            return []
        return [job for job in jobs if job.state is JobState.AMBIGUOUS and job.provider == "shortapi"]

    def picture(self) -> str:
        """What there is, for a failing test's reader."""
        try:
            lines = [f"{job.shot} {job.state} {job.provider_job_id} {job.error or ''}" for job in self.jobs()]
        except Exception as error:  # noqa: BLE001 - it is being told that something is wrong
            lines = [f"the ledger: {error}"]
        missing = self.shots - {line.split()[0] for line in lines}
        return "\n".join([*lines, f"without a job: {sorted(missing)}"])

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(line for line in lines if not _TICKS.search(line))[-8000:]

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    # --- is all well ---

    def assert_the_books_agree(self) -> None:
        """DESIGN.md's invariant, by the simulator's own books."""
        with self.ledger() as ledger:
            jobs = ledger.jobs()
            attempts = {job.id: ledger.attempts(job.id) for job in jobs}
            assert ledger.verify() == []
        charges, posts = self.books.charges(), self.books.post_rows()
        assert len(posts) <= sum(len(each) for each in attempts.values()), "more posts than attempts were written down"
        by_request = Counter(post.client_request_id for post in posts if post.client_request_id)
        assert all(number == 1 for number in by_request.values()), "an attempt was posted twice"
        assert all(number == 1 for number in Counter(charge.job_id for charge in charges).values())
        known = Counter(job.provider_job_id for job in jobs if job.provider_job_id)
        assert all(number == 1 for number in known.values()), "two jobs of the ledger are one of the provider's"
        unknown = [charge for charge in charges if charge.job_id not in known]
        assert unknown == [], "a charge that is no job of the ledger's"
        left = {job.id for job in self.left_to_a_person(jobs)}
        self._assert_a_person_is_told(left)
        assert [job for job in jobs if job.state is JobState.AMBIGUOUS and job.id not in left] == []
        stored = [job for job in jobs if job.state is JobState.STORED]
        assert Counter(job.shot for job in stored) == Counter(charge_shot(jobs, charge.job_id) for charge in charges)
        assert max(Counter(job.shot for job in stored).values(), default=0) <= 1, "a shot was bought twice"
        billed = Money.total(job.billed for job in jobs if job.billed is not None)
        assert billed.nanos == self.books.total_nanos()
        for job in stored:
            assert job.video_key is not None
            assert self.bucket.stat(job.video_key).size_bytes == job.video_bytes
            assert self.bucket.exists(job.video_key.replace(".mp4", ".json"))

    def _assert_a_person_is_told(self, ambiguous: set[str]) -> None:
        """What is known of these jobs, and what to do about them, where a person looks."""
        self.say(f"{len(ambiguous)} submissions to ShortAPI are left to a person")
        if ambiguous:
            done = self.house.run("jobs", "--state", "ambiguous", "--json")
            assert done.returncode == 0, done.stderr
            told = {job["id"]: job for job in json.loads(done.stdout)}
            assert set(told) == ambiguous
            assert all(job["looks"] and "resolve" in job["next"] for job in told.values()), told

    def assert_it_was_told_plainly(self) -> None:
        """No traceback is the only message that anybody gets, and no run is shown as running for ever."""
        with self.instance() as instance:
            unfinished = dg.RunsFilter(statuses=[*_UNFINISHED])
            self.until(lambda: not instance.get_runs(unfinished), "no run is left unfinished", 120)
            told = {**reasons_of_runs(instance), **reasons_of_ticks(instance)}
        for reason, times in Counter(reason.splitlines()[0] for reason in told.values() if reason).most_common():
            self.say(f"told {times} times: {reason}")
        unexplained = [what for what, reason in told.items() if not reason]
        assert not unexplained, f"nothing but a traceback: {unexplained}\n{self.tail()}"


def charge_shot(jobs: Sequence[Job], provider_job_id: str) -> str:
    return next(job.shot for job in jobs if job.provider_job_id == provider_job_id)


def _kind(process: psutil.Process) -> str:
    """What a process of `dagster dev` is there for, told by how it was started."""
    words = " ".join(process.cmdline())
    for part, kind in {
        "dagster._daemon": "daemon",
        "dagster_webserver": "webserver",
        "dagster code-server start": "code server",
        "dagster api grpc": "code",
        "multiprocessing.spawn": "worker",
        "multiprocessing.forkserver": "worker",
        "wan_pipeline.cli.dagster_dev dev": "dagster dev",
    }.items():
        if part in words:
            return kind
    return "other"  # those who copy what a worker prints, and the like


@contextmanager
def chaos(
    folder: Path,
    *,
    bucket_url: str | None = None,
    variables: dict[str, str] | None = None,
    latency_s: float = 4,
    home: Path | None = None,
) -> Iterator[Chaos]:
    """A living installation; its bucket is a folder that is served over HTTP, unless another is given."""
    with ExitStack() as stack:
        port = free_port()
        books = folder / "simulator"
        books.mkdir(parents=True)
        options = ["--port", str(port), "--folder", str(books), "--latency", str(latency_s), "--render", "shared"]
        simulator = ServerProcess(
            [*COMMAND, "simulator", *options], f"http://127.0.0.1:{port}/simulator/books", folder / "simulator.log"
        )
        simulator.start()
        stack.callback(lambda: simulator.stop())
        public = None
        if bucket_url is None:
            bucket_folder = (home or folder) / "bucket"
            bucket_folder.mkdir(parents=True)
            bucket_url, public = str(bucket_folder), stack.enter_context(served_folder(bucket_folder))
        house = Installation(home or folder / "home", books)
        house.live(f"http://127.0.0.1:{port}", bucket_url, public)
        house.variables |= {
            "WAN_DAILY_BUDGET_USD": "1000",
            "WAN_MONTHLY_BUDGET_USD": "1000",
            "WAN_ABSENT_AFTER_SECONDS": "8",
            **(variables or {}),
        }
        callbacks = free_port()
        house.variables["WAN_PUBLIC_CALLBACK_URL"] = f"http://127.0.0.1:{callbacks}"
        receiver = ServerProcess(
            [*COMMAND, "receiver", "--port", str(callbacks)],
            f"http://127.0.0.1:{callbacks}/",
            folder / "receiver.log",
            house.environment,
        )
        receiver.start()
        stack.callback(lambda: receiver.stop())
        yield stack.enter_context(_living(Chaos(house, simulator, open_bucket(bucket_url), folder, receiver=receiver)))


@contextmanager
def beside(first: Chaos, folder: Path) -> Iterator[Chaos]:
    """Another one, as on another host: a home and a `dagster dev` of its own; bucket, ledger and providers shared."""
    assert "WAN_LEDGER_URL" in first.house.variables
    house = Installation(folder / "home", first.house.simulator_folder, dict(first.house.variables))
    with _living(Chaos(house, first.simulator, first.bucket, folder)) as second:
        yield second


@contextmanager
def _living(installation: Chaos) -> Iterator[Chaos]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")  # so that it is put back afterwards
        target = prepare_dagster_home(Settings.load(WAN_HOME=str(installation.house.home))) / "dagster.yaml"
    ours = target.read_text().partition("\n")[2]  # without its first line it is the installation's own
    assert _SLOW in ours
    target.write_text(ours.replace(_SLOW, _QUICK))
    try:
        installation.start()
        yield installation
    finally:
        installation.end()
