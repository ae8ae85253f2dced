"""What holds for every test: nothing of the caller's environment reaches it, and nothing of its own the next one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

pytest_plugins = ["wan_pipeline_tests.services.fixtures"]

_FIRST = tuple(f"wan_pipeline_tests/{room}" for room in ("whole/", "defs/test_backfill", "defs/", "cli/"))
_OURS = re.compile(r"WAN_.*|AWS_.*|.*_KEY|(SHORTAPI|AIMLAPI|WAVESPEED)_.*|DAGSTER_.*")


def pytest_configure() -> None:
    _clean()  # also before any fixture of a wider scope


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that wait for real processes come first: at the end they would keep one core waiting for the other."""
    items.sort(key=lambda item: next((n for n, room in enumerate(_FIRST) if item.nodeid.startswith(room)), len(_FIRST)))


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
