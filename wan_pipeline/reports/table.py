"""A table of the report as words in cells: what every form of it for readers shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

MOST_ROWS = 25  # on a page; files for programs have all
OPTIONAL = ("refunded", "in flight", "unknown", "wasted", "failed")  # columns that are left out where they are empty


@dataclass(frozen=True, slots=True)
class Table:
    """`words`: how many of the first columns hold words; the others hold numbers. `more`: rows that are not shown."""

    name: str
    title: str
    headings: tuple[str, ...]
    words: int
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] | None = None
    more: int = 0
    note: str = ""
    all_in: str = "the CSV"  # where the others are

    def without_empty(self, optional: Iterable[str] = OPTIONAL) -> Table:
        """Without those of the optional columns in which nothing stands."""
        lines = self.rows if self.total is None else (*self.rows, self.total)
        kept = [
            index
            for index, heading in enumerate(self.headings)
            if heading not in tuple(optional) or any(line[index] not in ("", "0") for line in lines)
        ]

        def pick(line: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(line[index] for index in kept)

        return replace(
            self,
            headings=pick(self.headings),
            rows=tuple(map(pick, self.rows)),
            total=None if self.total is None else pick(self.total),
        )
