"""Brings a database to the tables this program knows: by alembic, in process, once, however many open it at a time.

What belongs here: which version a database has, and what to do about it. What does not: the tables (tables.py) and the
steps between versions (migrations/versions).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.spend.database import Database, migration_lock, shown
from wan_pipeline.spend.tables import POSTGRES_SCHEMA

VERSIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
)  # of migrations/versions, in their order; written here so that opening needs no alembic
HEAD = VERSIONS[-1]
VERSION_TABLE = "ledger_version"  # not alembic_version: a database shared with Dagster has that one already


def prepare(database: Database) -> None:
    """Creates or upgrades the tables where need be. Raises ConfigurationError for what it cannot reach or understand."""
    try:
        with database.read() as connection:
            version = _version(database, connection)
        if version != HEAD:
            database.write(lambda connection: _upgrade(database, connection))
    except (DBAPIError, OSError) as error:
        raise unreachable(database.url, error) from None


def check(database: Database) -> None:
    """Raises ConfigurationError unless the ledger answers, can be written to and has this program's version."""

    def look(connection: Connection) -> None:
        version = _version(database, connection)
        if version != HEAD:
            raise _wrong_version(database, version)
        connection.execute(sa.text("UPDATE owners SET released_at = released_at WHERE id = ''"))

    try:
        database.write(look, patiently=False)
    except DBAPIError as error:
        raise unreachable(database.url, error) from None


def _version(database: Database, connection: Connection) -> str | None:
    """The database's version; None: it has no ledger yet."""
    if database.is_postgres:
        exists = connection.execute(sa.select(sa.func.to_regclass(f"{POSTGRES_SCHEMA}.{VERSION_TABLE}"))).scalar()
    else:
        query = sa.text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name")
        exists = connection.execute(query, {"name": VERSION_TABLE}).scalar()
    if exists is None:
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608  a constant


def _has_schema(connection: Connection) -> bool:
    # Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create one even where it exists.
    return connection.execute(sa.select(sa.func.to_regnamespace(POSTGRES_SCHEMA))).scalar() is not None


def _upgrade(database: Database, connection: Connection) -> None:
    """In the transaction of `connection`: it ends with all of the tables or with none."""
    database.lock(connection, "migrate")
    version = _version(database, connection)
    if version == HEAD:  # another process was quicker
        return
    if version is not None and version not in VERSIONS:
        raise _wrong_version(database, version)
    if database.is_postgres and not _has_schema(connection):
        connection.execute(sa.text(f"CREATE SCHEMA {POSTGRES_SCHEMA}"))
    # Only now: alembic is slow to import, and an up-to-date ledger does not need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "wan_pipeline.spend:migrations")
    config.attributes["connection"] = connection
    with migration_lock:
        command.upgrade(config, "head")


def _wrong_version(database: Database, version: str | None) -> ConfigurationError:
    if version is None:
        return ConfigurationError(f"WAN_LEDGER_URL: {shown(database.url)} has no ledger's tables any more. Restart.")
    if version in VERSIONS:
        return ConfigurationError(
            f"WAN_LEDGER_URL: the ledger {shown(database.url)} has version {version}, this program {HEAD}. Restart it:"
            " it upgrades the ledger when it opens it."
        )
    return ConfigurationError(
        f"WAN_LEDGER_URL: the ledger {shown(database.url)} has version {version}, which is newer than this program"
        f" (it knows up to {HEAD}). Install the wan-pipeline that wrote it, or a later one."
    )


def unreachable(url: URL, error: DBAPIError | OSError) -> ConfigurationError:
    """What to tell whoever set WAN_LEDGER_URL."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    remedy = (
        "Is the server up, and are host, port, user, password and database in WAN_LEDGER_URL right? The user must be"
        f" allowed to create the schema {POSTGRES_SCHEMA}."
        if url.get_backend_name() == "postgresql"
        else "WAN_LEDGER_URL (by default a file in WAN_HOME) must name a file in a folder that can be written to."
    )
    return ConfigurationError(
        f"WAN_LEDGER_URL: the ledger {shown(url)} cannot be used: {' '.join(str(cause).split()).rstrip('.?')}. {remedy}"
    )
