"""What holds for every test: nothing of the caller's environment reaches it, and nothing of its own the next one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

pytest_plugins = ["wan_pipeline_tests.services.fixtures"]

_OURS = re.compile(r"WAN_.*|AWS_.*|.*_KEY|(SHORTAPI|AIMLAPI|WAVESPEED)_.*|DAGSTER_.*")


def pytest_configure() -> None:
    _clean()  # also before any fixture of a wider scope


@pytest.fixture(autouse=True)
def hermetic_environment() -> Iterator[None]:
    """No settings, keys or Dagster home from outside; what a test sets is gone after it."""
    before = dict(os.environ)
    _clean()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _clean() -> None:
    for name in list(os.environ):
        if _OURS.fullmatch(name):
            del os.environ[name]
    # nor from AWS' configuration files and instance metadata
    os.environ.update(
        AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull
    )
