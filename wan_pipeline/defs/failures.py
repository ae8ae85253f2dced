"""Errors that a person can put right, told as such: without a traceback in the way, and not retried."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from wan_pipeline.bucket import BucketError
from wan_pipeline.problems import ConfigurationError, ProblemsError


@contextmanager
def told_plainly() -> Generator[None]:
    """Turn a wrong setting, a broken bucket or wrong run tags into a Failure with their message."""
    try:
        yield
    except (ConfigurationError, BucketError, ProblemsError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
