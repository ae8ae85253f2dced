"""`wan-pipeline dev`: Dagster's UI and daemon over this installation, and the bucket served so that posters show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from wan_pipeline.cli import links
from wan_pipeline.cli.console import say
from wan_pipeline.cli.exits import INTERRUPTED, TERMINATED, WrongUseError
from wan_pipeline.cli.opened import prepare_home, settings_bucket
from wan_pipeline.cli.options import example
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    import psutil

_LET_FINISH_S = 60  # a terminated run writes down what it has sent
_LOOK_AGAIN_S = 0.5


@click.command(
    short_help="Start Dagster's UI, with its daemon.",
    epilog=example("wan-pipeline dev", "wan-pipeline dev --port 3001"),
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="Of the UI. 0: a free one."
)
@click.option(
    "--bucket-port",
    type=click.IntRange(0, 65535),
    help=f"Where a bucket in a folder is served for the UI's posters. Default: {links.PORT}; 0: a free one.",
)
def command(port: int, bucket_port: int | None) -> int:
    """Start Dagster's UI on this machine, with its daemon: what is put into inbox/ is made with no click.

    In demo mode an empty inbox/ gets the sample shots. In live mode what is made is paid for. Ctrl-C ends it.
    """
    settings = Settings.load()
    prepare_home(settings)
    bucket = settings_bucket(settings)
    bucket.check()
    from wan_pipeline.bucket import S3Bucket
    from wan_pipeline.bucket.events import no_events

    if settings.bucket_events_url is not None and not isinstance(bucket, S3Bucket):
        raise no_events(bucket.url)
    port = _free_port(port, "--port")
    from wan_pipeline.cli.drive import open_instance

    with open_instance(settings):
        pass  # Dagster's home is there now, and runs of killed processes count no more
    if settings.mode == "demo":
        from wan_pipeline.shots.samples import write_samples

        written = write_samples(bucket)
        if written:
            say(f"sample shots: {len(written)} files below inbox/ of {bucket.url}")
    with _served(settings, bucket_port) as public:
        variables = {links.VARIABLE: public} if public else {}
        what = "simulated, nothing is bought" if settings.mode == "demo" else "LIVE: what is made is paid for"
        say(f"Dagster's UI: http://{links.HOST}:{port}  ({what})")
        say(f"Images for it: {bucket.url}/inbox/  Ctrl-C ends it.")
        return _run_dagster(_workspace(settings), port, variables)


@contextmanager
def _served(settings: Settings, port: int | None) -> Generator[str | None]:
    """A folder bucket over HTTP on the loopback interface; None where that is not ours to do."""
    if not links.are_ours(settings):
        yield None
        return
    import uvicorn

    from wan_pipeline.bucket_server import bucket_app

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        _listen(listener, port)
        folder = Path(settings_bucket(settings).url)
        config = uvicorn.Config(bucket_app(folder), log_level="warning", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="wan-bucket-server")
        thread.start()
        try:
            yield f"http://{links.HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _listen(listener: socket.socket, port: int | None) -> None:
    """On the port that was asked for; else on the usual one, or a free one where that is taken."""
    if port is not None:
        _bind(listener, port, "--bucket-port")
    else:
        try:
            _bind(listener, links.PORT, "--bucket-port")
        except WrongUseError as error:
            say(f"{error}. Posters of earlier videos will not show.")
            _bind(listener, 0, "--bucket-port")
    listener.listen(128)


def _bind(listener: socket.socket, port: int, option: str) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((links.HOST, port))
    except OSError as error:
        raise WrongUseError(
            f"port {port} cannot be had ({error.strerror or error}): choose another {option}, or 0 for a free one"
        ) from error


def _free_port(port: int, option: str) -> int:
    """The port itself, where it is free; a free one for 0. Raises WrongUseError."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        _bind(probe, port, option)
        return probe.getsockname()[1]


def _workspace(settings: Settings) -> Path:
    """Names the code location as the checkout's workspace.yaml does: Dagster keeps the sensor's state by that name."""
    path = settings.dagster_home / "workspace.yaml"
    path.write_text(
        "load_from:\n  - python_module:\n      module_name: wan_pipeline.definitions\n      location_name: wan_pipeline\n"
    )
    return path


def _run_dagster(workspace: Path, port: int, variables: dict[str, str]) -> int:
    """`dagster dev` as a child, until it ends or we are told to; nothing of it is left behind."""
    arguments = ["dev", "-w", str(workspace), "-h", links.HOST, "-p", str(port)]
    stopped_by: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped_by.append(TERMINATED if number == signal.SIGTERM else INTERRUPTED)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # A session of its own: a terminal's Ctrl-C comes to us alone, and we end the children in their order.
        child = subprocess.Popen(  # noqa: S603 - our own interpreter, arguments of our own
            [sys.executable, "-m", "wan_pipeline.cli.dagster_dev", *arguments],
            env=os.environ | {"PYTHONWARNINGS": "ignore"} | variables,
            cwd=Path.cwd(),
            start_new_session=True,
        )
        while child.poll() is None and not stopped_by:
            time.sleep(_LOOK_AGAIN_S)
        if child.poll() is None:
            say("stopping Dagster; runs under way write down what they have sent")
        _end(child, stopped_by)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped_by:
        return stopped_by[0]
    say(f"dagster dev ended by itself, with exit status {child.returncode}")
    return child.returncode


def _end(child: subprocess.Popen[bytes], stopped_by: list[int]) -> None:
    """Ends the child and what it has started, by their process ids; a second signal makes it quick."""
    import psutil

    family = _family(child.pid)
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    told = len(stopped_by)
    deadline = time.monotonic() + _LET_FINISH_S
    while _alive(family) and time.monotonic() < deadline and len(stopped_by) <= told:
        time.sleep(_LOOK_AGAIN_S)
        child.poll()
        family |= _family(child.pid)
    left = _alive(family)
    for process in left:
        _signal(process, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=10)
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    child.wait()


def _family(pid: int) -> set[psutil.Process]:
    """The process and all that come from it."""
    import psutil

    try:
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def _alive(family: set[psutil.Process]) -> list[psutil.Process]:
    import psutil

    alive: list[psutil.Process] = []
    for process in family:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
        except psutil.NoSuchProcess:
            continue
    return alive


def _signal(process: psutil.Process, number: int) -> None:
    import psutil

    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
