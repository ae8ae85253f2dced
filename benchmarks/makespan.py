"""Makespan: how much longer `wan-pipeline run` takes than the provider itself needs.

    python -m benchmarks.makespan [--shots 200] [--latency 10] [--in-flight 50]

200 shots, simulated latency 10 s +- 30 %, 50 in flight, against the simulator as a server (its rendering off: one file for
each size and length is served again and again). Wall time is that of the whole command: start, listing, inspection, quotes,
claims, submissions, polls, downloads, probes, posters, Dagster's events, the end. The ideal is the simulator's own time for
each of these very jobs, scheduled perfectly on 50 slots. Exits with 1 where a video is missing or the ledger and the
simulator's books disagree; the ratio is printed, not judged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.arena import WAN_PIPELINE, Child, ideal_s, served, settings, simulator, write_shots
from wan_pipeline.simulator.books import Books


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shots", type=int, default=200)
    options.add_argument("--latency", type=float, default=10.0)
    options.add_argument("--jitter", type=float, default=0.3)
    options.add_argument("--in-flight", type=int, default=50)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_shots(home / "bucket", given.shots)
        with (
            simulator(home / "simulator", given.latency, given.jitter, given.in_flight) as url,
            served(home / "bucket") as public,
        ):
            environment = settings(home, url, public, given.in_flight)
            used = Child([*WAN_PIPELINE, "run", "--json"], environment).wait()
            times_s = [job.latency_s for job in Books(home / "simulator").jobs()]
            told = subprocess.run(
                [*WAN_PIPELINE, "jobs", "--json", "--limit", str(given.shots * 2)],
                env=environment,
                capture_output=True,
                check=True,
            )
    jobs = json.loads(told.stdout)
    stored = [job for job in jobs if job["state"] == "stored"]
    best_s = ideal_s(times_s, given.in_flight)
    print(f"shots             {given.shots}, {len(stored)} stored, {len(times_s)} charged; exit {used.exit_status}")
    print(f"wall time         {used.wall_s:8.1f} s")
    print(f"ideal             {best_s:8.1f} s  (the simulator's own times on {given.in_flight} slots)")
    print(f"ratio             {used.wall_s / best_s:8.3f}")
    print(f"CPU per video     {used.cpu_s / given.shots:8.3f} s  ({used.cpu_s:.1f} s in all, {used.peak_mb:.0f} MB)")
    return 0 if len(stored) == len(times_s) == given.shots else 1


if __name__ == "__main__":
    sys.exit(main())
