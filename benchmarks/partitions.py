"""What one video, one tick, one backfill and one page cost with 1,000, 10,000 and 100,000 finished shots in place.

    python -m benchmarks.partitions [--sizes 1000,10000,100000] [--quick]

For each size an installation is put in place (partitions_scene.py: bucket in a folder, ledger, index and Dagster's catalog
in SQLite, the simulator as a server), and the same work is done in it: a tick of every sensor and schedule of ours; 50 new
shots made in one run, in process and as the launcher starts it; `wan-pipeline run` with nothing to do, and with ten new;
the asset page's queries; a backfill of 200 shots from the UI, until its runs are in the queue; a tenth of the shots retired.
All figures are CPU time, of all processes that take part (the webserver, the daemon with nothing but its backfills, and the
code servers that they start); the last column is the largest size's over the smallest one's. It lasts minutes.

Exits with 1 where work itself went wrong.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import arena
from benchmarks.partitions_scene import Scene, scene
from wan_pipeline.defs.partitions import MAX_SHOTS_PER_RUN

_SHOTS_PER_RUN = 50
_BACKFILLED = 200
# The daemon looks after backfills every 30 s, and nothing sets that. Here it does every second, and does nothing else.
_DAEMON = (
    "import dagster._daemon.controller as controller, dagster._daemon.cli as cli\n"
    "from dagster import DagsterInstance\n"
    "controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1\n"
    "DagsterInstance.get_required_daemon_types = lambda self: ['BACKFILL']\n"
    "cli.main()\n"
)
_ASSETS = ("source_images", "shot_quotes", "generated_videos")
_STATS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numFailed numMaterializing numPartitions } } } }"""
# What the tab "Partitions" asks for.
_HEALTH = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionKeysByDimension { name partitionKeys } assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions materializingPartitions failedPartitions unmaterializedPartitions } } } } }"""
_BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""


@dataclass
class Figures:
    """CPU seconds by what was done, in the order in which it was."""

    cpu_s: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, name: str, cpu_s: float) -> None:
        self.cpu_s[name] = cpu_s


def measure(made: Scene) -> Figures:
    """Every figure of one installation. Raises RuntimeError where the work went wrong."""
    found = Figures()
    for name, cpu_s in _probe(made, "ticks").items():
        found.add(f"tick: {name}", cpu_s)
    found.add("a run's making, per video", _made_and_launched(made, found))
    found.add(
        "run in process, per video", _probe(made, "run", *made.add_new("a", _SHOTS_PER_RUN))["run"] / _SHOTS_PER_RUN
    )
    made.command("run")  # a first one has the listing's index to bring up to date
    found.add("`run`, nothing to do", made.command("run").cpu_s)
    made.add_new("ten", 10)
    found.add("`run`, ten new", made.command("run").cpu_s)
    _in_the_ui(made, found)
    retired = _probe(made, "retire")
    if not retired["gone"]:
        raise RuntimeError(f"the retirement left {retired}")
    found.add("a tenth retired, per shot", retired["retire"] / retired["gone"])
    found.add("the same by Dagster's own way, per shot", retired["one_by_one"])
    return found


def _made_and_launched(made: Scene, found: Figures) -> float:
    """A run as the daemon writes it down, and as the launcher starts it; gives what the writing down took per video."""
    keys = made.add_new("b", _SHOTS_PER_RUN)
    run = _probe(made, "make", *keys)
    command = [sys.executable, "-m", "dagster", "api", "execute_run", run["arguments"]]
    usage = arena.Child(command, made.environment, output=made.home / "launched.log").wait()
    with sqlite3.connect(made.home / "home" / "dagster" / "history" / "runs.db") as runs:
        (status,) = runs.execute("SELECT status FROM runs WHERE run_id = ?", (run["run_id"],)).fetchone()
    if status != "SUCCESS":
        raise RuntimeError(f"the launched run ended as {status}; see {made.home / 'launched.log'}")
    found.add("run as launched, per video", usage.cpu_s / _SHOTS_PER_RUN)
    return run["made"] / _SHOTS_PER_RUN


def _probe(made: Scene, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.partitions_probe", *arguments]
    done = subprocess.run(command, env=dict(made.environment), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _in_the_ui(made: Scene, found: Figures) -> None:
    with _dagster(made) as (ask, cpu_s):
        key = {"key": {"path": ["generated_videos"]}}
        for name, query in (("asset's numbers", _STATS), ("asset's partitions", _HEALTH)):
            for which in ("first", "again"):
                before = cpu_s()
                answer = ask(query, key)["assetNodeOrError"]
                found.add(f"page: {name}, {which}", cpu_s() - before)
                stats = answer.get("partitionStats")
                if stats and stats["numMaterialized"] < made.shots:
                    raise RuntimeError(f"the catalog knows {stats}")
        keys = [f"made/s000/shot{number:06d}" for number in range(1, min(_BACKFILLED, made.shots))]
        before = cpu_s()
        selection = [{"path": [asset]} for asset in _ASSETS]
        params = {"params": {"assetSelection": selection, "partitionNames": keys}}
        launched = ask(_BACKFILL, params)["launchPartitionBackfill"]
        if launched["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(f"the backfill was refused: {launched}")
        found.add("backfill of 200: asked for", cpu_s() - before)
        _until_queued(made, launched["backfillId"])
        found.add("backfill of 200: until queued", cpu_s() - before)


def _until_queued(made: Scene, backfill: str) -> None:
    query = "SELECT count(DISTINCT run_id) FROM run_tags WHERE key = 'dagster/backfill' AND value = ?"
    wanted = -(-(min(_BACKFILLED, made.shots) - 1) // MAX_SHOTS_PER_RUN)
    end = time.monotonic() + 300
    while time.monotonic() < end:
        with sqlite3.connect(f"file:{made.home / 'home/dagster/history/runs.db'}?mode=ro", uri=True) as runs:
            (count,) = runs.execute(query, (backfill,)).fetchone()
        if count:
            time.sleep(0.5)  # those of one iteration are written down one after the other
            if count >= wanted:
                return
        time.sleep(0.2)
    raise RuntimeError("the backfill's runs have not come")


@contextmanager
def _dagster(made: Scene) -> Generator[tuple[Callable[[str, Mapping[str, Any]], Any], Callable[[], float]]]:
    """The webserver and the daemon over this installation: how to ask the one, and what CPU both have taken so far."""
    port = arena.free_port()
    location = ["-m", "wan_pipeline.definitions"]
    # Nothing is taken up and nothing is launched meanwhile: what is measured is what Dagster does until then.
    environment = {
        **made.environment,
        "WAN_SETTLE_SECONDS": "600000",
        "DAGSTER_HOME": str(made.home / "home" / "dagster"),
    }
    log = made.home / "dagster.log"
    webserver = arena.Child(
        [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *location],
        environment,
        output=log,
    )
    daemon = arena.Child([sys.executable, "-c", _DAEMON, "run", *location], environment, output=log)

    def ask(query: str, variables: Mapping[str, Any]) -> Any:
        json_ = {"query": query, "variables": dict(variables)}
        answer = httpx.post(f"http://127.0.0.1:{port}/graphql", json=json_, timeout=300).json()
        if "errors" in answer:
            raise RuntimeError(f"the webserver says {answer['errors']}")
        return answer["data"]

    def cpu_s() -> float:
        return _cpu_s(webserver.pid) + _cpu_s(daemon.pid)

    try:
        _until_up(ask, log)
        yield ask, cpu_s
    finally:
        daemon.stop()
        webserver.stop()


def _until_up(ask: Callable[[str, Mapping[str, Any]], Any], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }", {})[
                "repositoriesOrError"
            ]["nodes"]:
                time.sleep(8)  # the daemon begins too: its first ticks are no part of the figures
                return
        except (httpx.TransportError, KeyError, ValueError):
            pass
        time.sleep(0.3)
    raise RuntimeError(f"the webserver does not answer:\n{log.read_text()[-3000:]}")


def _cpu_s(pid: int) -> float:
    """Of this process and those below it, the ended ones of these included."""
    process = psutil.Process(pid)
    spent = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


def print_table(sizes: Sequence[int], figures: Sequence[Figures]) -> None:
    """A line for each thing that was done, in ms of CPU."""
    rows: list[list[str]] = []
    for name in figures[0].cpu_s:
        spent = [each.cpu_s[name] for each in figures]
        ratio = spent[-1] / spent[0] if spent[0] else 0.0
        rows.append([name, *(f"{value * 1000:,.1f}" for value in spent), f"{ratio:.2f}"])
    print(arena.table(["CPU, ms", *(f"{size:,}" for size in sizes), "ratio"], rows))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="1000,10000,100000")
    options.add_argument("--quick", action="store_true", help="40 and 80 shots, without the UI: does it work?")
    options.add_argument(
        "--folder", type=Path, help="where the installations are kept, for the next time; else nowhere"
    )
    given = options.parse_args()
    sizes = [40, 80] if given.quick else [int(size) for size in given.sizes.split(",")]
    figures: list[Figures] = []
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            began = time.monotonic()
            with scene((given.folder or Path(name)) / str(size), size) as made:
                print(f"{size:,} shots in place after {time.monotonic() - began:.0f} s", file=sys.stderr)
                try:
                    figures.append(measure_quickly(made) if given.quick else measure(made))
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    return 1
    print_table(sizes, figures)
    return 0


def measure_quickly(made: Scene) -> Figures:
    """The ticks and a run alone."""
    found = Figures()
    for name, cpu_s in _probe(made, "ticks").items():
        found.add(f"tick: {name}", cpu_s)
    found.add("run in process, per video", _probe(made, "run", *made.add_new("a", 3))["run"] / 3)
    return found


if __name__ == "__main__":
    sys.exit(main())
