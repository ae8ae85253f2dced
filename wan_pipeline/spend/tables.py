"""The ledger's tables, in SQLAlchemy Core: the one place that says what is stored. No query, no rule lives here.

For whoever reads the database directly:

- Amounts are whole nano-dollars in BIGINT columns named `*_nanos` (1 USD = 1,000,000,000). NULL means: nobody has said;
  it is not zero.
- Moments are UTC. PostgreSQL: `timestamp with time zone`. SQLite: text of one fixed width, `2026-12-01T06:00:00.000000Z`,
  so that comparison as text is comparison in time and SQLite's date functions read it.
- On PostgreSQL all tables lie in the schema `wan_ledger`: Dagster's own storage has a table `jobs` and a table
  `alembic_version` too, and both may share one database.
- `money_entries` is append-only: triggers refuse UPDATE, DELETE and TRUNCATE. `jobs.held_nanos` and `jobs.billed_nanos`
  are its sums, kept in the same transaction: held = hold - release, billed = charge - refund + adjustment.

The tables of reconciliation and alerts are in audit_tables.py, the views for analysts in views.py. A change needs a
migration in migrations/versions; a test compares both.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    event,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from wan_pipeline.spend import views
from wan_pipeline.spend.records import Basis, EntryKind, JobState

POSTGRES_SCHEMA = "wan_ledger"
BucketKey = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # in the order of the bytes: a listing's
_LONGEST_TEXT = 4000  # a provider's answer may be a whole HTML page; its beginning says what is wrong


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as the module's docstring says, read back in UTC. A naive one is a TypeError."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError(f"a moment without time zone: {value!r}")
        value = value.astimezone(UTC)
        if dialect.name == "postgresql":
            return value
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.astimezone(UTC)


class FreeText(TypeDecorator[str]):
    """Words from outside (a provider's, a file's): what PostgreSQL cannot store is replaced, and the rest is cut short.

    A NUL in an error message must not be what keeps a rejection from being written down.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        text = value.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
        return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def one_of(column: str, values: Collection[str]) -> str:
    """A check's condition."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

owners = Table(
    # Who holds jobs: one row for each time a process began to work with the ledger. Rows stay, for the record.
    "owners",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("host", sa.Text, nullable=False),  # the name, for a reader
    Column("host_id", sa.Text, nullable=False),  # boot and pid namespace: where `pid` means anything
    Column("pid", Integer, nullable=False),
    Column("process_started", sa.Text, nullable=False),  # tells a process from a later one with its pid
    Column("registered_at", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("released_at", UtcTime),  # set: it ended in order, its jobs are anybody's
)

jobs = Table(
    # One row for each paid generation.
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("shot", sa.Text, nullable=False),  # that bought it; others may reuse it: see takes
    Column("take", Integer, nullable=False),
    Column("provider", sa.Text, nullable=False),
    Column("model", sa.Text, nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("repeat", Integer, nullable=False),  # the n-th time this very request was bought
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("own_digest", sa.Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("arguments", sa.JSON, nullable=False),  # the request, frozen before the POST
    Column("inputs", sa.JSON, nullable=False),
    Column("duration_s", Integer, nullable=False),  # ordered seconds of video
    Column("resolution", sa.Text, nullable=False),
    Column("has_audio", Boolean),  # NULL: the model's document promises neither sound nor silence
    Column("campaign", sa.Text),
    Column("quoted_low_nanos", BigInteger, nullable=False),
    Column("quoted_high_nanos", BigInteger, nullable=False),
    Column("held_nanos", BigInteger, nullable=False),
    Column("billed_nanos", BigInteger),
    Column("basis", String(16)),  # who said what is billed
    Column("provider_job_id", FreeText),
    Column("attempt_id", String(32)),  # the latest
    Column("owner", String(32), ForeignKey("owners.id")),  # the latest holder
    Column("retryable", Boolean, nullable=False),
    Column("error", FreeText),
    Column("result_url", FreeText),
    Column("video_uri", sa.Text),
    Column("video_key", sa.Text),
    Column("video_sha256", String(64)),
    Column("video_bytes", BigInteger),
    Column("video_duration_s", Float(53)),
    Column("poster_uri", sa.Text),
    Column("simulated", Boolean, nullable=False),
    Column("run_id", sa.Text),
    Column("claimed_at", UtcTime, nullable=False),  # whose day and month the budgets count it in
    Column("submitted_at", UtcTime),
    Column("generated_at", UtcTime),
    Column("stored_at", UtcTime),
    Column("updated_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime),  # when the latest attempt began
    Column("doubted_at", UtcTime),  # when it became ambiguous
    Column("looks", Integer, nullable=False, server_default=sa.text("0")),  # how often it was looked for since then
    Column("next_look_at", UtcTime),
    Column("result_expires_at", UtcTime),
    Column("fetches", Integer, nullable=False, server_default=sa.text("0")),  # failed collections
    Column("next_fetch_at", UtcTime),
    Column("kept_key", sa.Text),  # what came instead of a video
    Column("duplicate_allowed_nanos", BigInteger),  # a person lets the request be bought anew for at most this
    sa.UniqueConstraint("request_hash", "repeat"),
    CheckConstraint(one_of("state", list(JobState)), name="state"),
    CheckConstraint(f"basis IS NULL OR {one_of('basis', list(Basis))}", name="basis"),
    CheckConstraint("held_nanos >= 0", name="held"),
    CheckConstraint("quoted_low_nanos >= 0 AND quoted_low_nanos <= quoted_high_nanos", name="quoted"),
    CheckConstraint("repeat >= 1 AND take >= 1", name="counted_from_one"),
    # What is asked: newest first and the sums of a part of a day (from the index alone), by state and what is in flight of
    # whom (from the index alone), by shot, the report of a day, what has changed since a report was made, whose job is this,
    # a provider's jobs. The sums that budgets are held against are in budget_totals.
    Index("ix_jobs_claimed_at", "claimed_at", "simulated", "held_nanos", "billed_nanos"),
    Index("ix_jobs_state", "state", "claimed_at", "provider", "simulated", "fetches", "owner"),
    Index("ix_jobs_shot", "shot", "claimed_at"),
    Index("ix_jobs_submitted_at", "submitted_at"),
    Index("ix_jobs_updated_at", "updated_at"),
    Index("ix_jobs_provider_job_id", "provider_job_id"),
    Index("ix_jobs_provider", "provider", "simulated", "claimed_at"),
)

attempts = Table(
    # One row for each submission; its id goes out with it where the provider takes one (X-Client-Request-Id).
    "attempts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("owner", String(32), ForeignKey("owners.id"), nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", String(16)),  # NULL: under way, or its process died
    Column("detail", FreeText),
    Column("account", String(12)),  # the fingerprint of the key that it was sent with; NULL: not known
    sa.UniqueConstraint("job_id", "n"),
    CheckConstraint(
        "outcome IS NULL OR outcome IN ('accepted', 'refused', 'not_sent', 'rejected', 'ambiguous')", name="outcome"
    ),
    Index("ix_attempts_began_at", "began_at", "job_id"),  # how many in the last minute
)

looks = Table(
    # What the witnesses said of ambiguous jobs, one row for each witness of each look.
    "looks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("witness", FreeText, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("detail", FreeText, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_looks_job_id", "job_id"),
)

callbacks = Table(
    # The providers' ids that genuine callbacks have named for an attempt: hints, which a poll has to confirm.
    "callbacks",
    metadata,
    Column("attempt_id", String(32), ForeignKey("attempts.id"), primary_key=True),
    Column("provider_job_id", String(500), primary_key=True),
    Column("at", UtcTime, nullable=False),
)

takes = Table(
    # The videos of each shot in their order, and the job each came from.
    "takes",
    metadata,
    Column("shot", sa.Text, primary_key=True),
    Column("take", Integer, primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("own_digest", sa.Text, nullable=False),  # as when the shot was last looked at with this very request
    Column("request_hash", String(64), nullable=False),
    Column("reused", Boolean, nullable=False),
    Column("video_uri", sa.Text),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_takes_job_id", "job_id"),
    Index("ix_takes_created_at", "created_at"),  # which videos have been replaced since
)

money_entries = Table(
    "money_entries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),  # never negative, but for an adjustment
    Column("basis", String(16)),  # who said so; NULL for a release
    Column("at", UtcTime, nullable=False),
    Column("note", FreeText, nullable=False),
    Column("effective_at", UtcTime),  # of a refund: when it took place at the provider, where that is known
    CheckConstraint(one_of("kind", list(EntryKind)), name="kind"),
    CheckConstraint(f"basis IS NULL OR {one_of('basis', list(Basis))}", name="basis"),
    CheckConstraint("amount_nanos >= 0 OR kind = 'adjustment'", name="amount"),
    Index("ix_money_entries_job_id", "job_id"),
    Index("ix_money_entries_at", "at"),
    Index(  # the refunds of a day, which are few among the entries of many years
        "ix_money_entries_refunds",
        "effective_at",
        "at",
        sqlite_where=sa.text("kind = 'refund'"),
        postgresql_where=sa.text("kind = 'refund'"),
    ),
    sqlite_autoincrement=True,  # an id is never given out again
)

_GONE = sa.text("gone_at IS NOT NULL")  # otherwise SQLite takes "gone_at IS NULL" for something that is rare
_NOT_AT_REST = sa.text(
    "gone_at IS NULL AND (taken_up_version IS NULL OR taken_up_version <> version"
    " OR finished_version IS NULL OR finished_version <> version)"
)
shot_index = Table(
    # What the bucket sensor has seen. Not the ledger's business; it only lives in the same database.
    "shot_index",
    metadata,
    Column("key", sa.Text, primary_key=True),
    Column("version", sa.Text, nullable=False),
    Column("taken_up_version", sa.Text),
    Column("ready", Boolean, nullable=False),
    Column("problem", FreeText),
    Column("not_before", UtcTime),
    Column("campaign", FreeText),
    Column("model", FreeText),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("version_seen_at", UtcTime, nullable=False),
    Column("gone_at", UtcTime),
    Column("finished_version", sa.Text),  # whose making came to an end, good or bad
    Column("taken_up_at", UtcTime),
    Column("times_taken_up", Integer, nullable=False, server_default=sa.text("0")),
    Column("modified_at", UtcTime),  # of the newest file that it depends on
    Column("origin", BucketKey),  # the bucket key that it comes from
    Column("listed_version", sa.Text),  # that the last listing has shown; what runs have seen may be older or newer
    Index("ix_shot_index_origin", "origin"),
    # Those about which something is to be done yet: few, however many there are. A query has to say it in the same words.
    Index("ix_shot_index_not_at_rest", "key", sqlite_where=_NOT_AT_REST, postgresql_where=_NOT_AT_REST),
    Index("ix_shot_index_gone_at", "gone_at", sqlite_where=_GONE, postgresql_where=_GONE),
)
# Without a type: of a Boolean, SQLAlchemy makes "(…) = 1" for SQLite, which then does not know its index in it.
NOT_AT_REST: sa.ColumnElement[bool] = sa.literal_column(f"({_NOT_AT_REST.text})", cast(Any, NullType()))

deferrals = Table(
    # Shots that wait for room in a budget, or for their provider. Not the ledger's business either: losing them costs
    # nothing but that somebody has to ask for those shots.
    "deferrals",
    metadata,
    Column("shot", sa.Text, primary_key=True),
    Column("simulated", Boolean, primary_key=True),
    Column("limit_name", sa.Text, nullable=False),  # the budget's setting, or "" where the provider was out of reach
    Column("reason", FreeText, nullable=False),
    Column("needed_nanos", BigInteger, nullable=False),
    Column("provider", sa.Text, nullable=False),
    Column("campaign", FreeText),
    Column("since", UtcTime, nullable=False),
    Column("until", UtcTime),
    Column("times", Integer, nullable=False),
    Column("decided", sa.Text, nullable=False),
)

APPEND_ONLY_SQLITE = tuple(
    f"""CREATE TRIGGER money_entries_no_{verb.lower()} BEFORE {verb} ON money_entries
BEGIN SELECT RAISE(ABORT, 'money entries are appended, never changed'); END"""
    for verb in ("UPDATE", "DELETE")
)
APPEND_ONLY_POSTGRES = (
    """CREATE FUNCTION money_entries_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'money entries are appended, never changed'; END $$""",
    """CREATE TRIGGER money_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON money_entries
FOR EACH STATEMENT EXECUTE FUNCTION money_entries_append_only()""",
)
for _dialect, _statements in (("sqlite", APPEND_ONLY_SQLITE), ("postgresql", APPEND_ONLY_POSTGRES)):
    for _statement in _statements:
        event.listen(money_entries, "after_create", sa.DDL(_statement).execute_if(dialect=_dialect))
views.attach(metadata)
