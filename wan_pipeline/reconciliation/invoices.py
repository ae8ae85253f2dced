"""Invoices and usage files that somebody has dropped below `invoices/` in the bucket, as sets of books.

The files are the evidence: they are read afresh each time and nothing of them is kept. All files that one mapping
describes are one set of books, so that a refund in December's file is held against November's charge. What belongs here:
which file goes with which mapping, and what time the files tell of. What does not: reading either (csv_reading.py,
mapping.py).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from wan_pipeline.bucket import Bucket
from wan_pipeline.bucket.base import BucketObject
from wan_pipeline.problems import Problem, ProblemsError
from wan_pipeline.reconciliation.csv_reading import read_lines
from wan_pipeline.reconciliation.mapping import ENDING, Mapping, read_mapping
from wan_pipeline.reconciliation.sides import Line
from wan_pipeline.reports.period import Period

FOLDER = "invoices/"
PROVIDERS = ("aimlapi", "shortapi", "wavespeed")
_LARGEST = 256 * 1024 * 1024
_IN_PATH = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])(?:-?(0[1-9]|[12]\d|3[01]))?(?!\d)")


@dataclass(frozen=True, slots=True)
class InvoiceFile:
    """A file that could be read. `days`: those that it says it tells of, first and last; None: it does not say. `copy_of`:
    the file with these very bytes that was read before; its own `lines` are none, so that they count once."""

    key: str
    mapping_key: str
    provider: str
    lines: tuple[Line, ...]
    days: tuple[date, date] | None
    modified_at: datetime
    copy_of: InvoiceFile | None = None


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that could not, and all its mistakes. `provider` and `days` None: nobody knows whose or of when it is."""

    key: str
    provider: str | None
    days: tuple[date, date] | None
    problems: tuple[Problem, ...]

    def concerns(self, provider: str, period: Period) -> bool:
        """May it be about that?"""
        if self.provider not in (None, provider):
            return False
        return self.days is None or (_begin(self.days[0]) < period.until and _end(self.days[1]) > period.since)


@dataclass(frozen=True, slots=True)
class InvoiceSet:
    """The files of one mapping: one set of books. `lines`: of all of them; the same id in two files is told apart."""

    mapping_key: str
    provider: str
    files: tuple[InvoiceFile, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Invoices:
    """All that lies below `invoices/`."""

    files: tuple[InvoiceFile, ...] = ()
    refused: tuple[RefusedFile, ...] = ()
    notes: tuple[str, ...] = ()  # what was left out, and why
    sets: tuple[InvoiceSet, ...] = ()


def read_invoices(bucket: Bucket) -> Invoices:
    """Every `.csv` below `invoices/` with its mapping. Raises BucketError."""
    objects = {each.key: each for each in bucket.list(FOLDER)}
    keys = [key for key in objects if key.casefold().endswith(".csv")]
    mappings: dict[str, Mapping | tuple[Problem, ...]] = {}
    files: list[InvoiceFile] = []
    refused: list[RefusedFile] = []
    notes: list[str] = []
    seen: dict[str, InvoiceFile] = {}
    for key in sorted(keys):
        read = _read(bucket, objects[key], objects, mappings, seen)
        match read:
            case InvoiceFile(copy_of=InvoiceFile() as first):
                notes.append(f"{key} is {first.key} once more, byte for byte: its lines count once")
                if read.days and read.mapping_key == first.mapping_key:
                    files.append(read)
            case InvoiceFile():
                files.append(read)
            case RefusedFile():
                refused.append(read)
    return Invoices(tuple(files), tuple(refused), tuple(notes), tuple(_sets(files)))


def mapping_places(key: str) -> list[str]:
    """Where the mapping of this file is looked for, the nearest first."""
    folder, _, name = key.rpartition("/")
    stem = name[: -len(".csv")]
    named = [provider for provider in PROVIDERS if _names(key, provider)]
    places = [f"{folder}/{stem}{ENDING}"]
    while folder:
        places += [f"{folder}/{provider}{ENDING}" for provider in named]
        places.append(f"{folder}/{ENDING.removeprefix('.')}")
        folder = folder.rpartition("/")[0]
    return list(dict.fromkeys(places))


def spans_of(files: Iterable[InvoiceFile], moments: dict[str, datetime]) -> list[tuple[datetime, datetime]]:
    """The time that these files tell of: the days that they name; else from the first to the last day of their lines, each
    by the moment of its job where that is known (`moments`, by reference): a line that is dated wrong, or foreign, moves
    no end."""
    spans: list[tuple[datetime, datetime]] = []
    for file in files:
        if file.days is not None:
            spans.append((_begin(file.days[0]), _end(file.days[1])))
            continue
        known = [
            moments[line.reference] for line in file.lines if line.reference is not None and line.reference in moments
        ]
        told = known or [line.at for line in file.lines]
        if told:
            spans.append((_begin(min(told).astimezone(UTC).date()), _end(max(told).astimezone(UTC).date())))
    return spans


def _read(
    bucket: Bucket,
    found: BucketObject,
    objects: dict[str, BucketObject],
    mappings: dict[str, Mapping | tuple[Problem, ...]],
    seen: dict[str, InvoiceFile],
) -> InvoiceFile | RefusedFile:
    key, days = found.key, _days_in(found.key)
    places = mapping_places(key)
    mapping_key = next((place for place in places if place in objects), None)
    named = next((provider for provider in PROVIDERS if _names(key, provider)), None)
    if mapping_key is None:
        remedy = f"Write {places[0]}, or one for the whole folder: {places[-1]}; docs/reconciliation.md has one of each"
        return RefusedFile(key, named, days, (Problem(key, "", "", "it has no mapping file", remedy),))
    if mapping_key not in mappings:
        try:
            mappings[mapping_key] = read_mapping(mapping_key, bucket.read(mapping_key))
        except ProblemsError as error:
            mappings[mapping_key] = error.problems
    mapping = mappings[mapping_key]
    if not isinstance(mapping, Mapping):
        return RefusedFile(key, named, days, mapping)
    if mapping.covers is not None:
        days = (mapping.covers.first, mapping.covers.last)
    if found.size_bytes > _LARGEST:
        problem = Problem(key, "", f"{found.size_bytes:,} bytes", "it is too large", "Divide it by month or day")
        return RefusedFile(key, mapping.provider, days, (problem,))
    data = bucket.read(key)
    digest = hashlib.sha256(data).hexdigest()
    first = seen.get(digest)
    if first is not None:
        return InvoiceFile(key, mapping_key, mapping.provider, (), days, found.modified_at, first)
    try:
        lines = read_lines(key, data, mapping)
    except ProblemsError as error:
        return RefusedFile(key, mapping.provider, days, error.problems)
    file = InvoiceFile(key, mapping_key, mapping.provider, tuple(lines), days, found.modified_at)
    if (
        lines
    ):  # files with no line in them are no copies of each other: each says of its own days that there was nothing
        seen[digest] = file
    return file


def _sets(files: Sequence[InvoiceFile]) -> Iterable[InvoiceSet]:
    for mapping_key in sorted({file.mapping_key for file in files}):
        mine = tuple(file for file in files if file.mapping_key == mapping_key)
        seen: Counter[str] = Counter()
        lines: list[Line] = []
        for file in mine:
            for line in file.lines:
                seen[line.line_id] += 1
                count = seen[line.line_id]
                lines.append(line if count == line.occurrence else replace(line, occurrence=count))
        yield InvoiceSet(mapping_key, mine[0].provider, mine, tuple(lines))


def _names(key: str, provider: str) -> bool:
    return any(re.split(r"[^a-z0-9]", part.casefold())[0] == provider for part in key.split("/"))


def _days_in(key: str) -> tuple[date, date] | None:
    """The month or day in the path's last part that names one: `2026-11`, `2026-11-20`, `20261120`."""
    for part in reversed(key.removeprefix(FOLDER).split("/")):
        match = _IN_PATH.search(part)
        if match is None:
            continue
        year, month, day = match.groups()
        try:
            period = (
                Period.day(date(int(year), int(month), int(day)))
                if day
                else Period.month(date(int(year), int(month), 1))
            )
        except ValueError:
            continue
        return period.since.date(), (period.until - timedelta(days=1)).date()
    return None


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _end(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), UTC)
