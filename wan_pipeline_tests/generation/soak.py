"""`make soak`: thousands of histories in which the machine lies, dies and jumps in time, with figures.

`SEED=7 make soak` repeats the run that printed seed 7. Ends with status 1 at the first broken promise, after making the
history that broke it small. What does not belong here: what can happen, and what must hold (lying_*.py).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time

from wan_pipeline_tests.generation.lying_play import Lab, Violation, search
from wan_pipeline_tests.services.postgres import postgres

_AT_A_TIME = 100  # hypothesis remembers what it has tried: in parts it stays quick


def main() -> int:
    """Plays, prints, and gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sqlite", type=int, default=2000, metavar="N", help="histories on SQLite [2000]")
    parser.add_argument("--postgres", type=int, default=300, metavar="N", help="histories on PostgreSQL [300]")
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("SEED") or random.randrange(1_000_000)), help="[$SEED, or any]"
    )
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}: SEED={chosen.seed} make soak repeats this run", flush=True)
    failed = _soak("SQLite", Lab(), chosen.sqlite, chosen.seed)
    if chosen.postgres and not failed:
        with postgres() as server, server.database() as url:
            failed = _soak("PostgreSQL", Lab(url), chosen.postgres, chosen.seed)
    return 1 if failed else 0


def _soak(name: str, lab: Lab, count: int, seed: int) -> bool:
    """True: a promise was broken."""
    began_s = said_s = time.monotonic()
    try:
        for part, first in enumerate(range(0, count, _AT_A_TIME)):
            search(lab, min(_AT_A_TIME, count - first), seed * 10_000 + part, shrink=True)
            if time.monotonic() - said_s > 20:
                said_s = time.monotonic()
                print(f"{name}: {lab.figures.histories} histories, violations 0", flush=True)
    except Violation as violation:
        print(f"{name}: violations 1, after {lab.figures.histories} histories\n{violation}")
        return True
    else:
        print(
            "\n".join([f"{name}: violations 0 in {time.monotonic() - began_s:.0f} s", *lab.figures.lines()]), flush=True
        )
        return False
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(main())
