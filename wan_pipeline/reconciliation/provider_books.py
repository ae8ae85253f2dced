"""The providers' own books, read over their APIs into the ledger, and from there as one side of a comparison.

What is read is kept: providers forget. What could not be read is said, and nothing is concluded from it. For a day the books
are asked from CLOCK_SKEW before it until BOOKS_LAG after it, since a charge lands once its generation has completed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.base import ProviderClient
from wan_pipeline.providers.connect import PROVIDERS
from wan_pipeline.providers.looking import UnreadError
from wan_pipeline.providers.statements import KeepsBooks
from wan_pipeline.reconciliation.ledger_side import LedgerSide
from wan_pipeline.reconciliation.sides import BOOKS_LAG, CLOCK_SKEW, Book, Line
from wan_pipeline.spend.audit_records import StatementLine
from wan_pipeline.spend.ledger import Ledger

API = "api"  # the name of these books

Connect = Callable[[str], AbstractAsyncContextManager[ProviderClient]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of asking a provider. `title` None: it lets nobody read its books. `unread`: why they could not be read;
    `needs_key`: there is no key to ask with."""

    title: str | None
    lines: tuple[StatementLine, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    unread: str | None = None
    needs_key: bool = False
    sent_with: Mapping[str, str] = field(default_factory=dict[str, str])


def read(connect: Connect, side: LedgerSide, now: datetime) -> Reading:
    """Asks the provider for the period's lines, and where one names no job of the ledger, by whose request it was made.
    Not to be called inside an event loop."""
    period = side.period
    since, until = period.since - CLOCK_SKEW, min(period.until + BOOKS_LAG, now + CLOCK_SKEW)
    # Asked before any key is wanted: whose books nobody can read needs none to say so.
    if until <= since or not hasattr(PROVIDERS[side.provider].client_class, "statement"):
        return Reading(title=None)
    try:
        return asyncio.run(_read(connect, side, since, until))
    except ConfigurationError as error:
        return Reading(title=f"the books of {side.provider}", unread=str(error), needs_key=True)


def book(reading: Reading, ledger: Ledger, side: LedgerSide, now: datetime) -> Book | None:
    """These books, with what earlier readings have kept of them; None where there are none to be read."""
    if reading.title is None or reading.since is None or reading.until is None:
        return None
    period = side.period
    kept = ledger.statements.lines(side.provider, period.since, period.until, simulated=side.simulated)
    side.look_up(line.reference for line in kept if line.reference is not None)
    side.tie(reading.sent_with)
    lines = {line.line_id: line for line in (*kept, *side.lines_of_jobs())}
    # What is known of the period's own jobs is there; of the others that it touches, and of those that only the provider
    # could tie to a reference, all lines are wanted too.
    elsewhere = {job.provider_job_id for job in side.jobs.values() if not period.since <= job.moment < period.until}
    references = sorted({each for each in elsewhere if each is not None} | reading.sent_with.keys())
    more = ledger.statements.of_jobs(side.provider, references, simulated=side.simulated)
    lines |= {line.line_id: line for line in more}
    return Book(
        name=API,
        title=reading.title,
        lines=tuple(_line(line) for line in lines.values()),
        spans=((reading.since + CLOCK_SKEW, reading.until),),
        as_of=now,
    )


async def _read(connect: Connect, side: LedgerSide, since: datetime, until: datetime) -> Reading:
    async with connect(side.provider) as client:
        if not isinstance(client, KeepsBooks):
            return Reading(title=None)
        title = client.books_title
        lines: list[StatementLine] = []
        try:
            # A day at a time: a listing is read to its end or not at all, and a month's may be too long for that.
            while since < until:
                end = min(since + timedelta(days=1), until)
                lines += await client.statement(since, end, simulated=side.simulated)
                since = end
            side.look_up(line.reference for line in lines if line.reference is not None)
            strange = [line for line in lines if line.reference is not None and line.reference not in side.known]
            sent_with = dict[str, str]()
            for day in sorted({line.at.date() for line in strange}):
                begin = min(line.at for line in strange if line.at.date() == day) - BOOKS_LAG
                sent_with |= await client.sent_with(begin, begin + BOOKS_LAG + timedelta(days=1))
        except UnreadError as error:
            return Reading(title, unread=str(error))
        references = {line.reference for line in strange}
        tied = {reference: attempt for reference, attempt in sent_with.items() if reference in references}
        start = side.period.since - CLOCK_SKEW
        return Reading(title, tuple(lines), start, until, sent_with=tied)


def _line(line: StatementLine) -> Line:
    return Line(
        line.line_id, line.source, line.kind, line.reference, line.amount, line.at, model=line.model, detail=line.detail
    )
