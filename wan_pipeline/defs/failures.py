"""How an op ends that cannot do its work: in words for a person, and retried by one layer or by none.

Dagster has three layers of retries: the op's own, the instance's `run_retries`, and automation conditions; to each, a run
that failed is as good a reason as any. Here:

- What a person has to put right (a wrong setting, a refused shot) is retried by none: a Failure with allow_retries=False,
  and the run's tags keep `run_retries` off it, should somebody turn that on (run_tags.NO_RUN_RETRIES).
- What passes by itself before anything was bought (the ledger restarts, the bucket answers 503) is retried by the op.
- Once a batch has begun, what is left of it is taken up by the recovery sensor, from the ledger; a retry of the op would
  only stand beside it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from wan_pipeline.bucket import BucketError
from wan_pipeline.defs.passing import is_passing
from wan_pipeline.generation.deciding import DecisionError
from wan_pipeline.problems import ConfigurationError, ProblemsError
from wan_pipeline.providers.words import shown
from wan_pipeline.spend.errors import LedgerError

# Before each retry of the op: a minute in all, which a database or an object store needs to come back.
RETRY_WAITS_S = [2.0, 4.0, 8.0, 16.0, 32.0]


@contextmanager
def told_plainly() -> Generator[None]:
    """Turn whatever is raised into a Failure that says what is wrong, and is not retried. What is unforeseen keeps its
    traceback, beneath a line that says what kind it is."""
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except (ConfigurationError, BucketError, ProblemsError, LedgerError, DecisionError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except Exception as error:
        trouble = "trouble that passes by itself" if is_passing(error) else "an error that nobody foresaw"
        description = shown(f"ended by {trouble}: {type(error).__name__}: {error}")
        raise dg.Failure(description=description, allow_retries=False) from error


@contextmanager
def retried_where_it_passes(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> Generator[None]:
    """Around what comes before any purchase: passing trouble puts the op up for a retry, a few times."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (dg.Failure, dg.RetryRequested)) or not is_passing(error):
            raise
        tried = context.retry_number
        if tried >= len(RETRY_WAITS_S):
            raise
        wait_s = RETRY_WAITS_S[tried]
        context.log.warning(shown(f"{error} (tried again in {wait_s:g} s, nothing was bought)"))
        raise dg.RetryRequested(max_retries=len(RETRY_WAITS_S), seconds_to_wait=wait_s) from error
