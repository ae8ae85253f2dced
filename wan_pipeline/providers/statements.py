"""A provider's own books as lines of a statement: what a provider offers for it, and the reading of one row.

Here everything is read strictly: a row that cannot be read makes the whole reading worthless (UnreadError), since a sum with
a row left out is no sum. What does not belong here: keeping the lines, comparing them with the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from wan_pipeline.money import Money
from wan_pipeline.providers.base import JsonObject
from wan_pipeline.providers.looking import UnreadError, Window
from wan_pipeline.providers.words import moment_in, shown
from wan_pipeline.spend.audit_records import StatementLine

_SHOWN = 120


@runtime_checkable
class KeepsBooks(Protocol):
    """A client whose provider lets its account's books be read."""

    @property
    def books_title(self) -> str:
        """What is read, for a person."""
        ...

    async def statement(self, since: datetime, until: datetime, *, simulated: bool) -> list[StatementLine]:
        """Every line that the provider's account has at or after `since` and before `until`. Raises UnreadError where that
        could not be read to its end, or one line of it could not be read."""
        ...

    async def sent_with(self, since: datetime, until: datetime) -> Mapping[str, str]:
        """The attempts' ids by the provider's ids of their jobs, where the provider keeps them; empty where it does not.
        Raises UnreadError."""
        ...


def whole_seconds(since: datetime, until: datetime) -> Window:
    """The window in whole seconds around these moments: what listings are asked for."""
    end = until.astimezone(UTC) + timedelta(microseconds=999_999)
    return Window(since.astimezone(UTC).replace(microsecond=0), end.replace(microsecond=0))


def moment_of(row: JsonObject, name: str, what: str) -> datetime:
    """The row's moment. Raises UnreadError where it has none that can be read."""
    moment = moment_in(row.get(name))
    if moment is None:
        raise UnreadError(f"{what}: its {name} is {_value(row.get(name))}: no moment with an offset")
    return moment


def amount_of(amount: Money | None, said: object, what: str) -> Money:
    """The row's amount. Raises UnreadError where it could not be read."""
    if amount is None:
        raise UnreadError(f"{what}: its amount is {_value(said)}: no amount that can be meant")
    return amount


def line_ids(names: Sequence[str]) -> list[str]:
    """An id for each row of books whose rows have none, from what identifies it; the second of the same gets a #2."""
    seen: dict[str, int] = {}
    ids: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return ids


def words(value: object, secrets: Sequence[str]) -> str:
    """A provider's word, fit to be kept."""
    return shown(str(value), secrets, _SHOWN)


def _value(value: object) -> str:
    return "missing" if value is None else shown(repr(value), at_most=_SHOWN)
