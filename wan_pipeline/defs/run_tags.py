"""The run tags: who asked for a run, and what an operator decided for it.

A backfill of several shots takes no run config from the UI, but it does take tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.spend.records import ClaimOptions

ASKED_BY = "wan/asked_by"
NEW_TAKE = "wan/new_take"
RETRY_FAILED = "wan/retry_failed"
OUTDATED = "wan/outdated"
COLLECT_ONLY = "wan/collect_only"

# How many partitions lay in the range when it was asked for, or when the run began.
RANGE_SIZE_TAG = "wan/partitions"

# What a run has come to: written at its end, so that the list of runs and a backfill's page show it.
QUOTED_USD = "wan/quoted_usd"
BILLED_USD = "wan/billed_usd"

# Dagster's names; a test compares them with those it uses.
PARENT_RUN_ID_TAG = "dagster/parent_run_id"
ROOT_RUN_ID_TAG = "dagster/root_run_id"
PARENT_BACKFILL_ID_TAG = "dagster/parent_backfill_id"
RETRY_NUMBER_TAG = "dagster/retry_number"
MAX_RETRIES_TAG = "dagster/max_retries"
RETRY_ON_FAILURE_TAG = "dagster/retry_on_asset_or_op_failure"
PRIORITY_TAG = "dagster/priority"

# What keeps the instance's `run_retries` off a run, whatever it is set to: what can be tried again is, by the op and by
# the recovery sensor, and a second hand in it might buy what the provider has refused.
NO_RUN_RETRIES = {MAX_RETRIES_TAG: "0", RETRY_ON_FAILURE_TAG: "false"}

_CARRIED = {"outdated": OUTDATED, "retry_failed": RETRY_FAILED}  # by the names of ClaimOptions' fields
_DECISIONS = (NEW_TAKE, RETRY_FAILED, OUTDATED, COLLECT_ONLY)
_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})


class AskedBy(StrEnum):
    """Who asked for a run. A run without the tag was asked for by a person: a click in the UI, a backfill."""

    SENSOR = "sensor"
    SCHEDULE = "schedule"
    RECOVERY = "recovery"
    RUN = "run"


def claim_options(tags: Mapping[str, str]) -> ClaimOptions:
    """What the run's tags allow the claims to do. Raises ProblemsError for a wan/ tag that nobody understands.

    A person who materializes a shot in the UI names it, so a failed take may be tried again. A re-execution repeats the
    run's tags, and would buy again what `wan/new_take` has bought in the first execution; so there it does not count,
    whether a person or Dagster's run retries began it.
    """
    ours = {name: value for name, value in tags.items() if name.startswith("wan/") and name not in _WRITTEN}
    problems = [_unknown_tag(name, value) for name, value in ours.items() if name not in _KNOWN]
    decided: dict[str, bool] = {}
    for name in _DECISIONS:
        value = tags.get(name, "false").strip().lower()
        if value not in _TRUE | _FALSE:
            problems.append(
                Problem("run tags", name, tags[name], "is neither yes nor no", "Write true, or leave it out")
            )
        decided[name] = value in _TRUE
    asked_by = tags.get(ASKED_BY)
    if asked_by is not None and asked_by not in set(AskedBy):
        allowed = ", ".join(AskedBy)
        remedy = f"Leave it out for a run that a person asks for; programs write one of {allowed}"
        problems.append(Problem("run tags", ASKED_BY, asked_by, "is nobody this pipeline knows", remedy))
    if problems:
        raise ProblemsError(problems)
    again = PARENT_RUN_ID_TAG in tags or PARENT_BACKFILL_ID_TAG in tags
    by_a_person = (asked_by is None or again) and RETRY_NUMBER_TAG not in tags
    return ClaimOptions(
        retry_failed=decided[RETRY_FAILED] or by_a_person,
        new_take=decided[NEW_TAKE] and not again,
        outdated=decided[OUTDATED],
        collect_only=decided[COLLECT_ONLY],
    )


def carried(options: ClaimOptions) -> str:
    """What of these decisions the run has to know that makes a shot which this one defers. Said again they do no harm; a
    new take would be bought again each time, so a person has to ask for it again."""
    return " ".join(name for name in _CARRIED if getattr(options, name))


def carried_tags(decided: str) -> dict[str, str]:
    """The same as run tags."""
    return {_CARRIED[name]: "true" for name in decided.split() if name in _CARRIED}


def is_recovery(tags: Mapping[str, str]) -> bool:
    """A run of the recovery sensor: it looks for what is to be collected, and may find nothing."""
    return tags.get(ASKED_BY) == AskedBy.RECOVERY and tags.get(COLLECT_ONLY, "").strip().lower() in _TRUE


_KNOWN = frozenset({ASKED_BY, *_DECISIONS})
_WRITTEN = frozenset({RANGE_SIZE_TAG, QUOTED_USD, BILLED_USD})  # a re-execution brings those of its parent


def _unknown_tag(name: str, value: str) -> Problem:
    return Problem("run tags", name, value, "is no tag of this pipeline", f"The tags are {', '.join(sorted(_KNOWN))}")
