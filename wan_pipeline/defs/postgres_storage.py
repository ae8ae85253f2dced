"""Dagster's PostgreSQL storage with planned checks that do not take the square of a run's partitions (event_log.py)."""

from __future__ import annotations

from typing import Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage

from wan_pipeline.defs.event_log import LeanPlans


class LeanPostgresEventLogStorage(LeanPlans, PostgresEventLogStorage):
    """See the module."""


class LeanPostgresStorage(DagsterPostgresStorage):
    """Dagster's own, with that event log."""

    def __init__(self, postgres_url: str, inst_data: Any = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        self._event_log_storage = LeanPostgresEventLogStorage(postgres_url)
