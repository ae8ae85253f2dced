"""Imports: what of a process's start is Dagster's own, and what this project adds to it.

    python -m benchmarks.imports [--rounds 7] [--quick]

Each start is a fresh interpreter, its CPU that of all that it starts; the rows are measured in turn, round after round, and
the median of each is told. Beside each stands the bare one: `import dagster` beside the definitions, a run of a job of one
op that does nothing beside a run over a shot that is made already (both by `dagster api execute_run`, a command of Dagster's
launchers), a code server of that job beside ours (from its start until it answers). The bytecode is compiled beforehand.

Exits with 1 where loading the definitions takes more than 1.0 s (CPU) beyond `import dagster`; --quick does not judge.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arena import WAN_PIPELINE, Child, Usage, free_port, served, settings, simulator, table, write_shots

_MOST_S = 1.0
_DAGSTER = (sys.executable, "-m", "dagster")


@dataclass(frozen=True)
class Start:
    """A start that is measured; `beside`: the title of the bare one."""

    title: str
    measure: Callable[[], Usage]
    beside: str | None = None


def imported(*modules: str, environment: dict[str, str]) -> Callable[[], Usage]:
    """A process that imports these and is gone: Python's own clearing up at the end is not counted."""
    return lambda: _well(Child([sys.executable, "-c", f"import os, {', '.join(modules)}; os._exit(0)"], environment))


def command(*words: str, environment: dict[str, str]) -> Callable[[], Usage]:
    """A command, to its end."""
    return lambda: _well(Child(words, environment))


def run_process(environment: dict[str, str], *order: str) -> Callable[[], Usage]:
    """The process of a run that is made anew each time."""

    def measure() -> Usage:
        ordered = subprocess.run(
            [sys.executable, "-m", "benchmarks.run_orders", *order], env=environment, capture_output=True, check=True
        )
        command = json.loads(ordered.stdout.splitlines()[-1])
        return _well(Child(command, environment))

    return measure


def code_server(environment: dict[str, str], module: str) -> Callable[[], Usage]:
    """A code server, until it answers. (`dagster api grpc` opens its port once the code is loaded.)"""

    def measure() -> Usage:
        port = str(free_port())
        server = Child([*_DAGSTER, "api", "grpc", "-m", module, "--port", port, "--host", "127.0.0.1"], environment)
        while not _answers(int(port)):
            if not server.running():
                raise RuntimeError(f"the code server of {module} has ended")
            time.sleep(0.02)
        return server.kill()

    return measure


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _well(child: Child) -> Usage:
    used = child.wait(300)
    if used.exit_status:
        raise RuntimeError(f"exit status {used.exit_status}")
    return used


def starts(environment: dict[str, str], bare: dict[str, str]) -> list[Start]:
    """Everything that is measured, the bare ones first."""
    definitions = "wan_pipeline.definitions"
    return [
        Start("import dagster", imported("dagster", environment=bare)),
        Start("load the definitions", imported(definitions, environment=environment), "import dagster"),
        Start("a bare code server", code_server(bare, "benchmarks.bare_definitions")),
        Start("our code server", code_server(environment, definitions), "a bare code server"),
        Start("a bare run's process", run_process(bare, "benchmarks.bare_definitions", "bare")),
        Start(
            "a run of a shot that is made",
            run_process(environment, definitions, "make_videos", "shot00000"),
            "a bare run's process",
        ),
        Start("wan-pipeline --help", command(*WAN_PIPELINE, "--help", environment=environment)),
        Start("wan-pipeline run, nothing to do", command(*WAN_PIPELINE, "run", environment=environment)),
    ]


def report(found: dict[str, list[Usage]], rows: list[Start]) -> str:
    """Medians, and each beside its bare one."""
    cpu = {title: statistics.median(used.cpu_s for used in each) for title, each in found.items()}
    wall = {title: statistics.median(used.wall_s for used in each) for title, each in found.items()}
    lines: list[tuple[str, ...]] = []
    for row in rows:
        more = ("", "")
        if row.beside is not None:
            more = (f"{cpu[row.title] - cpu[row.beside]:+.2f} s", f"{cpu[row.title] / cpu[row.beside]:.2f}")
        peak_mb = max(used.peak_mb for used in found[row.title])
        lines.append((row.title, f"{wall[row.title]:.2f} s", f"{cpu[row.title]:.2f} s", f"{peak_mb:.0f}", *more))
    return table(("median", "wall", "CPU", "peak MB", "CPU beyond the bare one", "ratio"), lines)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--quick", action="store_true", help="one round, imports alone")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_shots(home / "bucket", 1)
        (home / "bare").mkdir()
        (home / "bare" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        nothing_is_asked = "http://127.0.0.1:9"
        environment = settings(home, nothing_is_asked, nothing_is_asked, 10)
        bare = {key: value for key, value in environment.items() if not key.startswith("WAN_")}
        bare["DAGSTER_HOME"] = str(home / "bare")
        environment["DAGSTER_HOME"] = str(home / "home" / "dagster")
        rows = starts(environment, bare)
        if given.quick:
            rows, given.rounds = rows[:2], 1
        else:
            with simulator(home / "simulator", 0.1, 0, 10) as url, served(home / "bucket") as public:
                _well(Child([*WAN_PIPELINE, "run"], settings(home, url, public, 10)))  # the shot is made
        found: dict[str, list[Usage]] = defaultdict(list)
        for number in range(given.rounds + 1):
            for row in rows:
                used = row.measure()
                if number:  # the first round compiles
                    found[row.title].append(used)
    print(report(found, rows))
    beyond_s = statistics.median(used.cpu_s for used in found[rows[1].title]) - statistics.median(
        used.cpu_s for used in found[rows[0].title]
    )
    return 0 if given.quick or beyond_s <= _MOST_S else 1


if __name__ == "__main__":
    sys.exit(main())
