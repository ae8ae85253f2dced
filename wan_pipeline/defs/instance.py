"""Dagster's own home: where its catalog of runs and events is stored, and the dagster.yaml that says so.

What belongs here: the folder, the two storage classes that dagster.yaml names, and putting that file in place.
What does not: anything the ledger keeps (Dagster's storage is the display, the ledger is the truth), and definitions.

Imported by every Dagster process before any code location is, so it imports little.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from wan_pipeline.defs.event_log import KeptSqliteStorage
from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings

STORAGE_URL_VARIABLE = "WAN_DAGSTER_STORAGE_URL"

# In the package a link to the checkout's top-level dagster.yaml, the one true file; a wheel carries its text.
_PACKAGED = Path(__file__).with_name("dagster.yaml")
_KEPT_IN_STEP = (
    "# Written by wan-pipeline, and again whenever its own dagster.yaml changes. "
    "Delete this line, and the file is yours: it is then never touched.\n"
)


def prepare_dagster_home(settings: Settings) -> Path:
    """`$WAN_HOME/dagster` with dagster.yaml in it, and DAGSTER_HOME of this process (and its children) set to it.

    Any number of processes may call it at once, any number of times. A dagster.yaml that a person has made their own
    (by deleting its first line) stays as it is. A DAGSTER_HOME set before is overruled: what our commands make is to
    be found in one place, that of WAN_HOME.

    Raises ConfigurationError where the folder cannot be made or written.
    """
    home = settings.dagster_home
    try:
        home.mkdir(parents=True, exist_ok=True)
        target = home / _PACKAGED.name
        text = _KEPT_IN_STEP + _PACKAGED.read_text(encoding="utf-8")
        present = target.read_text(encoding="utf-8") if target.exists() else None
        if present is None or (present != text and present.startswith(_KEPT_IN_STEP)):
            _replace(target, text)
    except OSError as error:
        raise ConfigurationError(
            f"Dagster's home {home} cannot be written ({error.strerror or error}): "
            "set WAN_HOME to a folder this user may write to"
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def _replace(target: Path, text: str) -> None:
    """In one step: a Dagster process that starts just now reads the old text or the new, never half of one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        draft.chmod(0o644)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _storage_folder() -> Path:
    """DAGSTER_HOME as our commands set it; `$WAN_HOME/dagster` for a plain `dagster dev` in the checkout, which would
    otherwise keep its catalog in a temporary folder and forget it."""
    set_home = os.environ.get("DAGSTER_HOME")
    return Path(set_home).expanduser().absolute() if set_home else Settings.load().dagster_home


class InstanceStorage(DagsterStorage, ConfigurableClass):
    """What dagster.yaml names as `storage`: a door to SQLite in the home, or to PostgreSQL by WAN_DAGSTER_STORAGE_URL.

    It takes no configuration of its own, so the URL's password stays in the environment.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return cast("UserConfigSchema", {})

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        url = os.environ.get(STORAGE_URL_VARIABLE)
        if not url:
            return KeptSqliteStorage.from_local(str(_storage_folder()), inst_data)
        parsed = _parsed_storage(url)
        from dagster_postgres.utils import DagsterPostgresException

        from wan_pipeline.defs.postgres_storage import LeanPostgresStorage

        try:
            return LeanPostgresStorage(parsed.render_as_string(hide_password=False), inst_data=inst_data)
        except (DagsterPostgresException, SQLAlchemyError) as error:
            raise _unreachable(parsed, error.__cause__ or error) from None


def check_storage() -> str:
    """Where Dagster stores, in words without a password; PostgreSQL is asked. Raises ConfigurationError, with a remedy."""
    url = os.environ.get(STORAGE_URL_VARIABLE)
    if not url:
        return "SQLite in it"
    from wan_pipeline.spend.database import shown

    parsed = _parsed_storage(url)
    engine = sa.create_engine(parsed, connect_args={"connect_timeout": 10})
    try:
        with engine.connect():
            return f"PostgreSQL, {shown(parsed)}, by {STORAGE_URL_VARIABLE}"
    except SQLAlchemyError as error:
        raise _unreachable(parsed, error) from None
    finally:
        engine.dispose()


def _parsed_storage(text: str) -> URL:
    try:
        url = make_url(text)
    except (SQLAlchemyError, ValueError):  # the latter for a port that is no number
        url = None
    if url is None or url.drivername not in ("postgresql", "postgresql+psycopg2"):
        raise ConfigurationError(
            f"{STORAGE_URL_VARIABLE}: Dagster stores in PostgreSQL or (where this is unset) in SQLite; "
            "write postgresql+psycopg2://user:password@host/database"
        )
    return url.set(drivername="postgresql+psycopg2")  # SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3


def _unreachable(url: URL, error: BaseException) -> ConfigurationError:
    from wan_pipeline.spend.database import shown

    said = str(getattr(error, "orig", None) or type(error).__name__).strip().split("\n")[0]
    return ConfigurationError(
        f"{STORAGE_URL_VARIABLE}: Dagster's storage {shown(url)} cannot be reached: {said}. Start it, or correct the URL"
    )


class InstanceComputeLogs(LocalComputeLogManager):
    """What dagster.yaml names as `compute_logs`: files in the same home as the storage."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return cast("UserConfigSchema", {})

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> InstanceComputeLogs:
        return cls(base_dir=str(_storage_folder() / "storage"), inst_data=inst_data)
