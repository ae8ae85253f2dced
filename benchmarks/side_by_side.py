"""Side by side: the same videos made in four ways, undisturbed and with a `kill -9` half way.

    python -m benchmarks.side_by_side [--shots 100] [--in-flight 25] [--latency 20] [--phase killed] [--way 3] [--quick]

The official WaveSpeed SDK in a thread pool, the polling script of AI/ML API's document in one, one Dagster run per video,
and this pipeline: see benchmarks/rivals/ for what each does and where that is documented. The same pictures, prompt, seconds
and size, each way against a simulator of its own with the same latencies (20 s +- 30 %, job by job), with the same number of
videos under way at once. One Dagster run per video: with the 10 places that Dagster's queue has by default, and a fifth of
the shots (what is told per video needs no scaling; wall time stands beside the ideal for as many places as it has). The
provider takes twice as many at once, so that one who starts again is not refused for what is still under way there.

Wall and CPU are those of the whole way, all its processes and its start included. Polls are the requests that ask how jobs
are, as the simulator counts them, lists of many jobs included. The second table: once half of the videos are saved, all the
processes are killed (SIGKILL) and started again at once, as a person would. Paid twice: charges beyond one for each video.
Lost: charged, and no video of it was ever saved.

Exits with 1 where this pipeline has not every video, or has paid for one twice, or lost one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.arena import ideal_s, served, simulator, table, write_shots
from benchmarks.rivals.driven import Pipeline, RunPerVideo, Scene, Took, Way, ways, whole

_DAGSTERS_QUEUE = 10
_A_PART = 5  # of the shots, where each is a run


@dataclass(frozen=True)
class Figures:
    """What one way came to."""

    way: Way
    shots: int
    slots: int
    wall_s: float
    cpu_s: float
    ideal_s: float
    polls: int
    submits: int
    charges: int
    charged_usd: str
    videos: int
    damaged: int

    @property
    def paid_twice(self) -> int:
        return self.charges - self.shots

    @property
    def lost(self) -> int:
        return self.charges - self.videos


def measure(way: Way, folder: Path, bucket: Path, public: str, given: argparse.Namespace, *, kill: bool) -> Figures:
    """One way, from nothing to its last video."""
    per_run = isinstance(way, RunPerVideo)
    count = max(2, given.shots // _A_PART) if per_run else given.shots
    slots = min(given.in_flight, _DAGSTERS_QUEUE) if per_run else given.in_flight
    names = sorted(path.stem for path in (bucket / "inbox").glob("*.png"))[:count]
    took = Took()
    with simulator(folder / "simulator", given.latency, given.jitter, given.in_flight * 2) as url:
        scene = Scene(folder / "way", url, public, bucket, names, given.in_flight)
        scene.folder.mkdir(parents=True)
        if kill:
            way.work(scene, took, again=False, kill_at=count // 2)
        way.work(scene, took, again=kill, kill_at=None)
        asked = httpx.get(f"{url}/simulator/requests").json().get(way.provider, {})
        books: dict[str, Any] = httpx.get(f"{url}/simulator/books", timeout=60).json()
    saved = way.saved(scene)
    good = whole(saved)
    times_s = [_seconds(job) for job in books["jobs"]]
    return Figures(
        way=way,
        shots=count,
        slots=slots,
        wall_s=took.wall_s,
        cpu_s=took.cpu_s,
        ideal_s=ideal_s(times_s[:count], slots),
        polls=asked.get("poll", 0) + asked.get("list", 0),
        submits=asked.get("submission", 0),
        charges=len(books["charges"]),
        charged_usd=books["charged_usd"],
        videos=good,
        damaged=len(saved) - good,
    )


def _seconds(job: dict[str, Any]) -> float:
    return (datetime.fromisoformat(job["ready_at"]) - datetime.fromisoformat(job["created_at"])).total_seconds()


def undisturbed(found: list[Figures]) -> str:
    """The first table."""
    headings = (
        "undisturbed",
        "shots",
        "at once",
        "wall s",
        "ideal s",
        "ratio",
        "CPU s/video",
        "polls/video",
        "submits",
        "videos",
    )
    rows = [
        (
            *(each.way.title, str(each.shots), str(each.slots), f"{each.wall_s:.1f}", f"{each.ideal_s:.1f}"),
            *(f"{each.wall_s / each.ideal_s:.2f}", f"{each.cpu_s / each.shots:.3f}", f"{each.polls / each.shots:.1f}"),
            *(str(each.submits), str(each.videos)),
        )
        for each in found
    ]
    return table(headings, rows)


def killed(found: list[Figures]) -> str:
    """The second table, and what a person does."""
    headings = (
        "kill -9 half way",
        "shots",
        "submits",
        "charged",
        "USD",
        "paid twice",
        "lost",
        "damaged",
        "videos",
        "wall s",
    )
    rows = [
        (
            *(each.way.title, str(each.shots), str(each.submits), str(each.charges), each.charged_usd),
            *(str(each.paid_twice), str(each.lost), str(each.damaged), str(each.videos), f"{each.wall_s:.1f}"),
        )
        for each in found
    ]
    by_hand = [f"  {each.way.title}: {each.way.after_a_kill}" for each in found]
    return "\n".join([table(headings, rows), "", "What a person does after the kill:", *by_hand])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shots", type=int, default=100)
    options.add_argument("--in-flight", type=int, default=25)
    options.add_argument("--latency", type=float, default=20.0)
    options.add_argument("--jitter", type=float, default=0.3)
    options.add_argument(
        "--way", type=int, choices=range(4), action="append", help="only this one, from 0; may be repeated"
    )
    options.add_argument("--phase", choices=("undisturbed", "killed", "both"), default="both")
    options.add_argument("--quick", action="store_true", help="4 shots, the SDK and this pipeline, killed only")
    given = options.parse_args()
    chosen = ways() if given.way is None else [ways()[number] for number in given.way]
    if given.quick:
        given.shots, given.in_flight, given.latency, given.phase = 4, 2, 0.5, "killed"
        chosen = chosen if given.way else [ways()[0], ways()[-1]]
    right = True
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_shots(root / "bucket", given.shots)
        with served(root / "bucket") as public:
            for phase, show in (("undisturbed", undisturbed), ("killed", killed)):
                if given.phase not in (phase, "both"):
                    continue
                found: list[Figures] = []
                for number, way in enumerate(chosen):
                    folder = root / f"{phase}-{number}"
                    found.append(measure(way, folder, root / "bucket", public, given, kill=phase == "killed"))
                    print(f"# {phase}: {way.title} done", file=sys.stderr, flush=True)
                print(f"\n{show(found)}", flush=True)
                ours = [each for each in found if isinstance(each.way, Pipeline)]
                right &= all((each.videos, each.charges, each.damaged) == (each.shots, each.shots, 0) for each in ours)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
