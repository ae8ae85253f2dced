"""What can happen, as values: the steps of a history, and how hypothesis thinks them up.

A history printed is a history that can be played again: `play(History(...))` of lying_world.py. What does not belong
here: doing it.
"""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st

from wan_pipeline_tests.generation.lying_network import (
    ASK_LIES,
    FILE_LIES,
    NO_LIES,
    SUBMIT_LIES,
    WITNESS_LIES,
    Lies,
)
from wan_pipeline_tests.generation.lying_process import Death, Outage

MODELS = ("wavespeed/wan-2.6-i2v-flash", "aimlapi/wan-2.6-i2v", "shortapi/wan-2.7-i2v")
PROMPTS = (
    "The cat looks up.",
    "The cat leaps.",
    "The cat sleeps.",
    "[fail]",
    "[refuse]",
    "[no video]",
    "[half]",
    "[huge]",
    "[cut]",
    "[gone]",
    "[cut always]",
    "[gone always]",
)
ABSENT_AFTER_S = 6 * 3600
LARGEST_SKEW_MIN = 120  # either way: from one end to the other, and the longest generation, is less than ABSENT_AFTER_S


@dataclass(frozen=True)
class Setting:
    """What holds for the whole history. `hosts`: the processes run on many hosts, where silence is what death is known
    by; otherwise on one, where it is known at once."""

    seed: int
    latency_s: float = 0.0
    simulator_in_flight: int | None = None
    in_flight: int = 20
    per_minute: int = 6000
    hosts: bool = False
    listed_inputs: bool = True
    lag_s: float = 0.0  # how late the providers' logs and billing are
    callbacks: bool = False  # WAN_PUBLIC_CALLBACK_URL is set, and the receiver runs


@dataclass(frozen=True)
class Put:
    """A shot's file comes, or is another one from now on."""

    shot: int
    model: int = 0
    prompt: int = 0
    picture: int = 0
    campaign: bool = False


@dataclass(frozen=True)
class Run:
    """A batch: over which shots, with which decisions of an operator; the lies it meets; how its process ends."""

    shots: tuple[int, ...] = ()  # none: all
    new_take: bool = False
    retry_failed: bool = False
    outdated: bool = False
    collect_only: bool = False
    lies: Lies = NO_LIES
    death: Death | None = None
    outage: Outage | None = None
    stop_after_s: float | None = None


@dataclass(frozen=True)
class Together:
    """Two batches at once, each a process of its own; the second begins a little later."""

    one: Run
    other: Run
    later_s: float = 0.0


@dataclass(frozen=True)
class Recover:
    """What the recovery sensor does: settle what nobody holds, collect, look for what is ambiguous."""

    lies: Lies = NO_LIES
    death: Death | None = None


@dataclass(frozen=True)
class RunDeferred:
    """What had no room is asked for again, oldest first."""

    lies: Lies = NO_LIES
    death: Death | None = None


@dataclass(frozen=True)
class Decide:
    """A person about the n-th ambiguous job: it was found, not charged, or is given up. `duplicate`: and may be bought
    once more, up to its quote."""

    which: int
    word: str  # found, not charged, write off
    duplicate: bool = False


@dataclass(frozen=True)
class Budget:
    """The budgets from now on, in cents; None: no limit."""

    daily: int | None = None
    shot: int | None = None
    campaign: int | None = None
    provider: int | None = None


@dataclass(frozen=True)
class Sleep:
    """Nobody is at work for so long. Callbacks that are due come; `receiver_down`: and nobody takes them."""

    seconds: float
    receiver_down: bool = False


@dataclass(frozen=True)
class Skew:
    """A machine's clock is set: so many minutes off the world's."""

    clock: str
    minutes: int


Step = Put | Run | Together | Recover | RunDeferred | Decide | Budget | Sleep | Skew


@dataclass(frozen=True)
class History:
    setting: Setting
    steps: tuple[Step, ...]


def _often(share: int) -> st.SearchStrategy[bool]:
    """True one time in `share`."""
    return st.integers(0, share - 1).map(lambda number: number == 1)


def _told(lies: tuple[str, ...], honest: int, longest: int) -> st.SearchStrategy[tuple[str | None, ...]]:
    return st.lists(st.sampled_from((None,) * honest + lies), min_size=1, max_size=longest).map(tuple)


# The ones that everything turns upon are told oftener.
_SUBMIT_LIES = (*SUBMIT_LIES, *("lost after", "lost before") * 3, "reset after", "hangs after")
LIES = st.one_of(
    st.just(NO_LIES),
    st.builds(Lies, submit=_told(_SUBMIT_LIES, 4, 4)),
    st.builds(
        Lies,
        submit=_told(_SUBMIT_LIES, 4, 4),
        poll=_told(ASK_LIES, 4, 4),
        file=_told(FILE_LIES, 4, 5),
        witness=_told(WITNESS_LIES, 4, 4),
    ),
)
COLLECTING_LIES = st.one_of(
    st.just(NO_LIES),
    st.builds(Lies, poll=_told(ASK_LIES, 4, 4), file=_told(FILE_LIES, 4, 5), witness=_told(WITNESS_LIES, 3, 5)),
)
# At the n-th step whatever it is, or at a step of a kind: so that each kind is met often.
_KINDS = (
    "ledger.claim",
    "ledger.claim",
    "ledger.mark_accepted",
    "ledger.mark_accepted",
    "ledger.mark_",
    "ledger.mark_generated",
    "ledger.mark_stored",
    "ledger.begin_attempt",
    "ledger.settle",
    "ledger.re",
    "http submit",
    "http submit",
    "http submit",
    "http poll",
    "http file",
    "http witness",
    "bucket.publish",
    "bucket.write webp",
    "bucket.write json",
    "bucket.writer",
)
DEATHS = st.one_of(
    st.builds(Death, st.integers(1, 30), st.booleans()),
    st.builds(Death, st.integers(1, 2), st.booleans(), st.sampled_from(_KINDS)),
    st.builds(Death, st.just(1), st.booleans(), st.sampled_from(_KINDS)),
)
_MAYBE_DEATH = st.one_of(st.none(), DEATHS)
_MAYBE_OUTAGE = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.builds(
        Outage,
        st.sampled_from(["ledger.claim", "ledger.mark_", "ledger", "bucket.publish", "bucket.write", "bucket"]),
        st.integers(1, 12),
        st.integers(1, 3),
        st.booleans(),
    ),
    st.builds(
        Outage, st.sampled_from(["ledger.claim", "ledger.mark_", "ledger.re"]), st.just(1), st.just(1), st.booleans()
    ),
)
_SHOTS = st.one_of(st.just(()), st.lists(st.integers(0, 2), min_size=1, max_size=2, unique=True).map(tuple))
_STOPS = st.sampled_from([None, None, None, None, 0.0, 0.05, 3.0, 60.0])
RUNS = st.builds(
    Run,
    shots=_SHOTS,
    new_take=_often(3),
    retry_failed=_often(4),
    outdated=_often(4),
    collect_only=_often(10),
    lies=LIES,
    death=_MAYBE_DEATH,
    outage=_MAYBE_OUTAGE,
    stop_after_s=_STOPS,
)
_PROMPT = st.sampled_from([*(0, 1, 2) * 6, *range(len(PROMPTS))])
_PUTS = st.builds(Put, st.integers(0, 2), st.integers(0, 2), _PROMPT, st.integers(0, 1), st.booleans())
_CENTS = st.sampled_from([None, 0, 6, 20, 80, 200, 1000])
_WORK = st.one_of(
    RUNS,
    RUNS,
    RUNS,
    st.builds(Together, RUNS, RUNS, st.sampled_from([0.0, 0.003, 0.02, 1.0, 5.0])),
    st.builds(Together, RUNS, RUNS, st.sampled_from([0.0, 0.003, 0.02, 1.0, 5.0])),
    st.builds(Recover, COLLECTING_LIES, _MAYBE_DEATH),
    st.builds(RunDeferred, LIES, _MAYBE_DEATH),
)
_BETWEEN = st.one_of(
    st.just(()),
    st.builds(Decide, st.integers(0, 2), st.sampled_from(["found", "not charged", "write off"]), st.booleans()),
    st.builds(Budget, _CENTS, _CENTS, _CENTS, _CENTS),
    st.builds(Sleep, st.sampled_from([1.0, 70.0, 1800.0, 7 * 3600.0, 25 * 3600.0]), _often(4)),
    st.builds(
        Skew, st.sampled_from(["ledger", "engine", "simulator"]), st.integers(-LARGEST_SKEW_MIN, LARGEST_SKEW_MIN)
    ),
)
_CHAPTERS = st.builds(
    lambda puts, between, work: (*puts, *([between] if between != () else []), work),
    st.lists(_PUTS, max_size=2),
    _BETWEEN,
    _WORK,
)
SETTINGS = st.builds(
    Setting,
    seed=st.integers(0, 999),
    latency_s=st.sampled_from([0.0, 0.0, 2.0, 40.0]),
    simulator_in_flight=st.sampled_from([None, None, 1, 2]),
    in_flight=st.sampled_from([20, 20, 2, 1]),
    per_minute=st.sampled_from([6000, 6000, 2]),
    hosts=st.booleans(),
    listed_inputs=st.sampled_from([True, True, False]),
    lag_s=st.sampled_from([0.0, 0.0, 1800.0]),
    callbacks=st.booleans(),
)
HISTORIES = st.builds(
    lambda setting, puts, chapters: History(setting, (*puts, *(step for chapter in chapters for step in chapter))),
    SETTINGS,
    st.lists(_PUTS, min_size=1, max_size=3),
    st.lists(_CHAPTERS, min_size=1, max_size=5),
)

# Smaller grounds, on which what is broken shows soon: for test_mutations.py.
_CORE_LIES = st.builds(
    Lies,
    submit=_told(("lost after", "lost before", "lost before", "500 after", "hangs after"), 3, 2),
    poll=_told(("404", "lost"), 3, 2),
)
_CORE_RUNS = st.builds(
    Run, new_take=_often(2), lies=_CORE_LIES, death=st.one_of(st.none(), st.none(), DEATHS), stop_after_s=_STOPS
)
_CORE_PUTS = st.builds(Put, st.integers(0, 1), st.sampled_from([0, 0, 1, 2]))
_CORE_STEPS = st.one_of(
    _CORE_RUNS,
    _CORE_RUNS,
    st.builds(Together, _CORE_RUNS, _CORE_RUNS, st.sampled_from([0.0, 0.02, 5.0])),
    _CORE_PUTS,
    st.builds(Budget, st.sampled_from([6, 80]), st.none(), st.none(), st.none()),
    st.builds(Sleep, st.sampled_from([70.0, 7 * 3600.0])),
)
CORE_HISTORIES = st.builds(
    lambda setting, puts, steps: History(setting, (*puts, *steps)),
    st.builds(
        Setting, seed=st.integers(0, 999), latency_s=st.sampled_from([0.0, 40.0]), lag_s=st.sampled_from([0.0, 1800.0])
    ),
    st.lists(_CORE_PUTS, min_size=1, max_size=3),
    st.lists(_CORE_STEPS, min_size=1, max_size=5),
)
# The same request bought again and again.
SAME_AGAIN = st.builds(
    lambda setting, runs: History(setting, (Put(0), *runs)),
    st.builds(Setting, seed=st.integers(0, 999)),
    st.lists(st.builds(Run, new_take=st.just(True), lies=_CORE_LIES), min_size=2, max_size=4),
)
# More is wanted than there is money for.
LITTLE_MONEY = st.builds(
    lambda setting, puts, budget, runs: History(setting, (*puts, budget, *runs)),
    st.builds(Setting, seed=st.integers(0, 999), latency_s=st.just(40.0)),
    st.lists(_PUTS, min_size=2, max_size=4),
    st.builds(Budget, st.sampled_from([6, 20, 80]), st.none(), st.sampled_from([None, 20]), st.none()),
    st.lists(st.builds(Run, lies=_CORE_LIES), min_size=1, max_size=2),
)
# Processes that die just when money is spent.
DYING_BUYERS = st.builds(
    lambda setting, puts, runs: History(setting, (*puts, *runs)),
    st.builds(Setting, seed=st.integers(0, 999)),
    st.lists(_CORE_PUTS, min_size=1, max_size=2),
    st.lists(
        st.builds(
            Run,
            new_take=_often(3),
            death=st.builds(
                Death,
                st.integers(1, 2),
                st.booleans(),
                st.sampled_from(["http submit", "ledger.claim", "ledger.mark_accepted"]),
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
# Providers that break down after they have taken a job.
BREAKING = st.builds(
    lambda setting, puts, runs: History(setting, (*puts, *runs)),
    st.builds(Setting, seed=st.integers(0, 999)),
    st.lists(_CORE_PUTS, min_size=1, max_size=2),
    st.lists(
        st.builds(Run, new_take=_often(3), lies=st.builds(Lies, submit=_told(("500 after", "504 after"), 1, 3))),
        min_size=1,
        max_size=3,
    ),
)
