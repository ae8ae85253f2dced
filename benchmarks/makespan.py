"""Makespan: how much longer `wan-pipeline run` takes than the provider itself needs, and what it costs this machine.

    python -m benchmarks.makespan [--shots 1000] [--latency 20] [--in-flight 200] [--quick]

1,000 shots, simulated latency 20 s +- 30 %, 200 in flight, against the simulator as a server (its rendering off: one file
for each size and length is served again and again). Wall time is that of the whole command: start, listing, inspection,
quotes, claims, submissions, polls, downloads, probes, posters, Dagster's events, the end. The ideal is the simulator's own
time for each of these very jobs, scheduled perfectly on as many slots.

CPU is that of the pipeline's process. Beside it stands what Dagster's own events for these very shots cost (bare_events.py
reads them from the run and logs them again, in one bare op), with the storage that Dagster ships and with this project's.

Exits with 1 where a video is missing, or the ledger and the simulator's books disagree; the ratios are printed, not judged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from benchmarks.arena import WAN_PIPELINE, Child, Usage, ideal_s, served, settings, simulator, table, write_shots
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.records import Job


def bare_events(home: Path, storage: str) -> dict[str, float]:
    """Shots, events and cpu_s of logging the run's events again, and nothing else."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.bare_events", str(home), "--storage", storage]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def timeline(jobs: Sequence[Job], began: float, used: Usage) -> list[tuple[str, str]]:
    """Where the time went that is not the provider's. `began`: Unix time."""
    first, last = min(job.created_at for job in jobs), max(job.ready_at for job in jobs)
    return [
        ("start to first submission", f"{first.timestamp() - began:.2f} s"),
        ("last job's end to exit", f"{began + used.wall_s - last.timestamp():.2f} s"),
    ]


def figures(
    jobs: Sequence[Job], used: Usage, slots: int, asked: Mapping[str, int], home: Path
) -> list[tuple[str, str]]:
    """The table's rows."""
    count, best_s = len(jobs), ideal_s([job.latency_s for job in jobs], slots)
    theirs, ours = bare_events(home, "dagster"), bare_events(home, "kept")
    mine = used.cpu_s / count
    return [
        ("wall time", f"{used.wall_s:.1f} s"),
        (f"ideal on {slots} slots", f"{best_s:.1f} s"),
        ("wall / ideal", f"{used.wall_s / best_s:.3f}"),
        ("polls per video", f"{asked.get('poll', 0) / count:.2f}"),
        ("lists per video", f"{asked.get('list', 0) / count:.2f}"),
        ("CPU per video", f"{1e3 * mine:.1f} ms"),
        ("Dagster's events per video", f"{theirs['events'] / theirs['shots']:.1f}"),
        ("their CPU, Dagster's storage", f"{1e3 * theirs['cpu_s'] / theirs['shots']:.1f} ms"),
        ("their CPU, our storage", f"{1e3 * ours['cpu_s'] / ours['shots']:.1f} ms"),
        ("CPU / Dagster's events", f"{mine / (theirs['cpu_s'] / theirs['shots']):.2f}"),
        ("CPU / events in our storage", f"{mine / (ours['cpu_s'] / ours['shots']):.2f}"),
        ("peak memory", f"{used.peak_mb:.0f} MB"),
    ]


def main() -> int:

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shots", type=int, default=1000)
    options.add_argument("--latency", type=float, default=20.0, help="seconds")
    options.add_argument("--jitter", type=float, default=0.3, help="0.3: +- 30 %%")
    options.add_argument("--in-flight", type=int, default=200)
    options.add_argument("--quick", action="store_true", help="12 shots of 1 s, 6 in flight")
    given = options.parse_args()
    if given.quick:
        given.shots, given.latency, given.in_flight = 12, 1.0, 6
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_shots(home / "bucket", given.shots)
        with (
            simulator(home / "simulator", given.latency, given.jitter, given.in_flight) as url,
            served(home / "bucket") as public,
        ):
            environment = settings(home, url, public, given.in_flight)
            began = time.time()
            used = Child([*WAN_PIPELINE, "run", "--json"], environment).wait()
            asked = httpx.get(f"{url}/simulator/requests").json().get("wavespeed", {})
            jobs = Books(home / "simulator").jobs()
            told = subprocess.run(
                [*WAN_PIPELINE, "jobs", "--json", "--limit", str(given.shots * 2)],
                env=environment,
                capture_output=True,
                check=True,
            )
        stored = [job for job in json.loads(told.stdout) if job["state"] == "stored"]
        print(f"{given.shots} shots: {len(stored)} stored, {len(jobs)} charged; exit {used.exit_status}")
        if not len(stored) == len(jobs) == given.shots:
            return 1
        rows = figures(jobs, used, given.in_flight, asked, home / "home") + timeline(jobs, began, used)
    about = f"{given.shots} shots, {given.latency:g} s +- {given.jitter:.0%}, {given.in_flight} in flight"
    print(table([about, ""], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
