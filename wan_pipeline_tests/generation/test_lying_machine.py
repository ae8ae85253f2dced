"""Some hundreds of histories in which the machine lies, dies and jumps in time: nothing is paid twice, nothing is lost.

`make soak` plays thousands. The seed is fixed here, so that a failure is the code's and not the day's; SEED=... plays
others. A failure prints the history and what it broke.
"""

from __future__ import annotations

import os

import pytest

from wan_pipeline_tests.generation.lying_history import Death, History, Outage, Put, Run, Setting, Together
from wan_pipeline_tests.generation.lying_network import Lies
from wan_pipeline_tests.generation.lying_play import Lab, search
from wan_pipeline_tests.services.postgres import PostgresServer

SEED = int(os.environ.get("SEED", "3"))
_SHOT = (Put(0), Put(1, 1), Put(2, 2))


@pytest.mark.parametrize("part", range(2))
def test_no_history_pays_twice_or_forgets_on_sqlite(part: int) -> None:
    lab = Lab()
    try:
        search(lab, 100, 1000 * SEED + part)
    finally:
        print("\n".join(lab.figures.lines()))
        lab.close()
    assert lab.figures.charges > 100, "too little happens for the histories to mean anything"


def test_no_history_pays_twice_or_forgets_on_postgres(postgres_server: PostgresServer) -> None:
    with postgres_server.database() as url:
        lab = Lab(url)
        try:
            search(lab, 40, 1000 * SEED + 500)
        finally:
            print("\n".join(lab.figures.lines()))
            lab.close()


def test_a_history_played_again_goes_the_same_way() -> None:
    """A printed history would be worth nothing otherwise."""
    run = Run(lies=Lies(submit=("lost after", None, "late"), poll=("garbage",)), new_take=True)
    history = History(Setting(5, latency_s=2.0), (*_SHOT, Together(run, Run(death=Death(9, after=True)), 0.003)))
    lab = Lab()
    try:
        steps: list[list[str]] = []
        for _ in range(2):
            assert (
                lab.play(history, see=lambda world: steps.append([s for p in world.processes for s in p.steps])) == []
            )
        assert steps[0] == steps[1]
    finally:
        lab.close()


def test_a_shot_does_not_wait_for_ever_for_the_place_that_its_own_earlier_job_has() -> None:
    """Its files have changed since a process died over it, and its provider takes one job at a time."""
    first, second = Put(0), Put(0, prompt=1)
    history = History(
        Setting(1, in_flight=1), (first, Run(death=Death(1, after=True, kind="ledger.mark_accepted")), second, Run())
    )
    lab = Lab()
    try:
        assert lab.play(history) == []
        assert lab.figures.videos == 2
    finally:
        lab.close()


@pytest.mark.parametrize("seed", range(4))  # which shot claims first is the seed's
def test_a_job_taken_over_by_a_claim_whose_answer_was_lost_keeps_no_place_from_the_others(seed: int) -> None:
    """The batch holds the job, and no shot in it knows of that; its provider takes one job at a time."""
    dead = Run(shots=(0,), death=Death(1, after=True, kind="ledger.mark_accepted"))
    cut_off = Run(outage=Outage("ledger.claim", 1, 1, after=True))
    history = History(Setting(seed, in_flight=1, latency_s=2.0), (Put(0), dead, Put(1, prompt=1), cut_off))
    lab = Lab()
    try:
        assert lab.play(history) == []
        assert lab.figures.videos == 2
    finally:
        lab.close()
