"""The ledger's views, for analysts: the money lines, the days, the jobs, the shots, what is ambiguous. docs/ledger.md.

What belongs here: their SQL, for both databases. What does not: any table, any query of the program itself. The views only
read, they keep nothing, and a change needs a migration; a test compares both.

- A moment belongs to a UTC day: a charge, an adjustment, and all else of a job, to the job's submission (a job that was
  never accepted: to its claim); a refund to its own moment at the provider, where that is known, else to when it was
  written down.
- Amounts are exact twice: whole nano-dollars (`*_nanos`), and dollars (`*_usd`): numeric(38, 9) on PostgreSQL, text on
  SQLite, which has no decimal numbers (there, add up the nano-dollars).
- Every view has the column `simulated`: add live and simulated rows to each other, and the sum means nothing.
"""

# ruff: noqa: S608 - every text here is made of constants

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection

_DIMENSIONS = ("provider", "model", "resolution", "sound", "campaign", "simulated")
_STATES = {
    "stored": ("stored",),
    "failed": ("failed", "lost", "rejected"),
    "ambiguous": ("ambiguous",),
    "in_flight": ("reserved", "submitting", "submitted", "generated"),
}
_WASTE = ("failed", "lost", "duplicate", "unused")


class _Sql:
    """What the two databases say differently."""

    def __init__(self, *, postgres: bool) -> None:
        self._postgres = postgres

    def day(self, moment: str) -> str:
        return f"CAST({moment} AT TIME ZONE 'UTC' AS date)" if self._postgres else f"substr({moment}, 1, 10)"

    def month(self, moment: str) -> str:
        return f"to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM')" if self._postgres else f"substr({moment}, 1, 7)"

    def usd(self, nanos: str) -> str:
        """The exact amount in dollars, nine places; NULL of NULL."""
        if self._postgres:
            return f"CAST(CAST({nanos} AS numeric(38, 0)) * 0.000000001 AS numeric(38, 9))"
        whole, rest = f"abs({nanos}) / 1000000000", f"abs({nanos}) % 1000000000"
        text = f"printf('%s%d.%09d', CASE WHEN {nanos} < 0 THEN '-' ELSE '' END, {whole}, {rest})"
        return f"CASE WHEN {nanos} IS NOT NULL THEN {text} END"

    def sum(self, number: str) -> str:
        """A whole number; PostgreSQL's own sum of BIGINT is a numeric."""
        return f"CAST(coalesce(sum({number}), 0) AS bigint)" if self._postgres else f"coalesce(sum({number}), 0)"

    def whole(self, number: str) -> str:
        return f"CAST({number} AS bigint)"


def _sound(job: str) -> str:
    audio = f"{job}.has_audio"
    return f"CASE WHEN {audio} IS NULL THEN 'not said' WHEN {audio} THEN 'sound' ELSE 'silent' END"


def _charge_lines(sql: _Sql) -> str:
    """One row for each charge, adjustment and refund, signed."""
    return f"""SELECT id AS entry_id, job_id, shot, take, provider, model, resolution, sound, campaign, simulated, kind,
    {sql.day("moment")} AS day, {sql.month("moment")} AS month, moment,
    amount_nanos, {sql.usd("amount_nanos")} AS amount_usd, basis, duration_s, provider_job_id, note, written_at
FROM (
    SELECT e.id, e.job_id, j.shot, j.take, j.provider, j.model, j.resolution, {_sound("j")} AS sound, j.campaign,
        j.simulated, e.kind,
        CASE WHEN e.kind = 'refund' THEN coalesce(e.effective_at, e.at)
            ELSE coalesce(j.submitted_at, j.claimed_at) END AS moment,
        CASE WHEN e.kind = 'refund' THEN -e.amount_nanos ELSE e.amount_nanos END AS amount_nanos,
        e.basis, j.duration_s, j.provider_job_id, e.note, e.at AS written_at
    FROM money_entries e JOIN jobs j ON j.id = e.job_id
    WHERE e.kind IN ('charge', 'adjustment', 'refund')
) lines"""


def _job_costs(sql: _Sql) -> str:
    """One row for each job. The sums of its entries are asked for one job at a time: whoever needs neither pays nothing."""
    kind = _wasted_kind("j")
    moment = "coalesce(submitted_at, claimed_at)"
    quoted = f"{sql.usd('quoted_low_nanos')} AS quoted_low_usd, {sql.usd('quoted_high_nanos')} AS quoted_high_usd"
    return f"""SELECT job_id, shot, take, repeat, provider, model, resolution, sound, campaign, simulated, state,
    {sql.day(moment)} AS day, {sql.month(moment)} AS month, claimed_at, submitted_at, generated_at, stored_at,
    duration_s, CASE WHEN state = 'stored' THEN duration_s ELSE 0 END AS stored_s,
    quoted_low_nanos, quoted_high_nanos, {quoted},
    held_nanos, {sql.usd("held_nanos")} AS held_usd,
    CASE WHEN state = 'ambiguous' THEN held_nanos ELSE 0 END AS unknown_nanos,
    billed_nanos, {sql.usd("billed_nanos")} AS billed_usd, basis,
    charged_nanos, refunded_nanos,
    wasted_kind, CASE WHEN wasted_kind IS NULL THEN 0 ELSE billed_nanos END AS wasted_nanos,
    request_hash, provider_job_id, attempt_id, video_uri, error
FROM (
    SELECT j.id AS job_id, j.shot, j.take, j.repeat, j.provider, j.model, j.resolution, {_sound("j")} AS sound,
        j.campaign, j.simulated, j.state, j.claimed_at, j.submitted_at, j.generated_at, j.stored_at, j.duration_s,
        j.quoted_low_nanos, j.quoted_high_nanos, j.held_nanos, j.billed_nanos, j.basis, j.request_hash,
        j.provider_job_id, j.attempt_id, j.video_uri, j.error,
        (SELECT {sql.sum("c.amount_nanos")} FROM money_entries c
            WHERE c.job_id = j.id AND c.kind IN ('charge', 'adjustment')) AS charged_nanos,
        (SELECT {sql.sum("r.amount_nanos")} FROM money_entries r
            WHERE r.job_id = j.id AND r.kind = 'refund') AS refunded_nanos,
        {kind} AS wasted_kind
    FROM jobs j
) costs"""


def _wasted_kind(job: str) -> str:
    """Each job's bill is wasted in one way at most, the first of these that is true of it. A shot's current take is its
    latest one that has a video; a job that several shots use is used while it is the current take of one of them."""
    return f"""CASE
            WHEN coalesce({job}.billed_nanos, 0) = 0 THEN NULL
            WHEN {job}.state = 'failed' THEN 'failed'
            WHEN {job}.state IN ('lost', 'written_off') THEN 'lost'
            WHEN {job}.duplicate_allowed_nanos IS NOT NULL AND EXISTS (
                SELECT 1 FROM jobs again WHERE again.request_hash = {job}.request_hash AND again.repeat > {job}.repeat
                    AND again.billed_nanos > 0) THEN 'duplicate'
            WHEN {job}.state = 'stored' AND NOT EXISTS (
                SELECT 1 FROM takes t WHERE t.job_id = {job}.id AND NOT EXISTS (
                    SELECT 1 FROM takes newer JOIN jobs maker ON maker.id = newer.job_id
                    WHERE newer.shot = t.shot AND newer.take > t.take AND newer.video_uri IS NOT NULL
                        AND maker.simulated = {job}.simulated)) THEN 'unused'
        END"""


def _daily_costs(sql: _Sql) -> str:
    """What belongs to each day, in each combination of dimensions that occurs. What was charged is what a job's row says to
    be billed, and what was given back of it; so that of millions of entries the refunds alone are read."""
    keys = ", ".join(("day", "month", *_DIMENSIONS))
    of_jobs = {
        "jobs": "1",
        **{name: f"CASE WHEN state IN ({_words(states)}) THEN 1 ELSE 0 END" for name, states in _STATES.items()},
        "stored_s": "stored_s",
        "quoted_low_nanos": "quoted_low_nanos",
        "quoted_high_nanos": "quoted_high_nanos",
        "held_nanos": "CASE WHEN state = 'ambiguous' THEN 0 ELSE held_nanos END",
        "unknown_nanos": "unknown_nanos",
    }
    columns = {**of_jobs, "of_row": "coalesce(billed_nanos, 0)", "given_back": "0", "refunded_nanos": "0"}
    jobs = ", ".join(f"{sql.whole(text)} AS {name}" for name, text in columns.items())
    refunds = {
        "charge_lines": columns | dict.fromkeys(columns, "0") | {"refunded_nanos": "-amount_nanos"},
        "refunds": columns | dict.fromkeys(columns, "0") | {"given_back": "amount_nanos"},
    }
    lines = {name: ", ".join(map(sql.whole, texts.values())) for name, texts in refunds.items()}
    wasted = {f"wasted_{kind}_nanos": f"CASE WHEN wasted_kind = '{kind}' THEN of_row ELSE 0 END" for kind in _WASTE}
    figures = {
        **{name: name for name in of_jobs},
        "wasted_nanos": "CASE WHEN wasted_kind IS NULL THEN 0 ELSE of_row END",
        **wasted,
        "charged_nanos": "of_row + given_back",
        "refunded_nanos": "refunded_nanos",
        "billed_nanos": "of_row + given_back - refunded_nanos",
    }
    sums = ", ".join(f"{sql.sum(text)} AS {name}" for name, text in figures.items())
    shown = ("billed", "charged", "refunded", "wasted", "unknown")
    usd = ", ".join(f"{sql.usd(f'{name}_nanos')} AS {name}_usd" for name in shown)
    return f"""SELECT {keys}, {", ".join(figures)}, {usd}
FROM (
    SELECT {keys}, {sums}
    FROM (
        SELECT {keys}, wasted_kind, {jobs} FROM job_costs
        UNION ALL
        SELECT {keys}, NULL, {lines["charge_lines"]} FROM charge_lines WHERE kind = 'refund'
        UNION ALL
        SELECT {keys}, NULL, {lines["refunds"]} FROM (
            SELECT j.*, e.amount_nanos FROM money_entries e JOIN job_costs j ON j.job_id = e.job_id WHERE e.kind = 'refund'
        ) refunds
    ) facts
    GROUP BY {keys}
) sums"""


def _shot_costs(sql: _Sql) -> str:
    """All that was ever bought for a shot by its own name; what it uses of another's is the other's."""
    names = ("stored_s", "quoted_high_nanos", "held_nanos", "unknown_nanos", "billed_nanos", "wasted_nanos")
    sums = ", ".join(f"{sql.sum(name)} AS {name}" for name in names)
    usd = ", ".join(f"{sql.usd(f'{name}_nanos')} AS {name}_usd" for name in ("billed", "held", "wasted"))
    stored = sql.sum("CASE WHEN state = 'stored' THEN 1 ELSE 0 END")
    return f"""SELECT shot, simulated, jobs, stored, models, {", ".join(names)}, {usd}, first_day, last_day
FROM (
    SELECT shot, simulated, count(*) AS jobs, {stored} AS stored, count(DISTINCT model) AS models, {sums},
        min(day) AS first_day, max(day) AS last_day
    FROM job_costs
    GROUP BY shot, simulated
) sums"""


def _ambiguous_jobs(sql: _Sql) -> str:
    """What nobody knows: sent, without an answer. Held is what it may have cost: unknown, not zero."""
    return f"""SELECT id AS job_id, shot, take, provider, model, resolution, {_sound("jobs")} AS sound, campaign, simulated,
    {sql.day("coalesce(submitted_at, claimed_at)")} AS day, claimed_at, sent_at, doubted_at, looks, next_look_at,
    held_nanos, {sql.usd("held_nanos")} AS held_usd, attempt_id, error
FROM jobs
WHERE state = 'ambiguous'"""


def _words(states: tuple[str, ...]) -> str:
    return ", ".join(f"'{state}'" for state in states)


_VIEWS = {
    "charge_lines": _charge_lines,
    "job_costs": _job_costs,
    "daily_costs": _daily_costs,
    "shot_costs": _shot_costs,
    "ambiguous_jobs": _ambiguous_jobs,
}
NAMES = tuple(_VIEWS)  # in the order in which they can be made


def definitions(dialect: str) -> dict[str, str]:
    """Each view's CREATE VIEW, by its name, in the order in which they can be made. `dialect`: sqlite or postgresql."""
    sql = _Sql(postgres=dialect == "postgresql")
    return {name: f"CREATE VIEW {name} AS\n{make(sql)}" for name, make in _VIEWS.items()}


def attach(metadata: sa.MetaData) -> None:
    """Makes the views whenever all of these tables are made, and drops them before they are dropped."""
    event.listen(metadata, "after_create", _create)
    event.listen(metadata, "before_drop", _drop)


def _create(target: object, connection: Connection, tables: Any = (), **_: object) -> None:
    if {"jobs", "money_entries", "takes"} <= {table.name for table in tables}:
        for statement in definitions(connection.dialect.name).values():
            connection.exec_driver_sql(statement)


def _drop(target: object, connection: Connection, **_: object) -> None:
    for name in reversed(NAMES):
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
