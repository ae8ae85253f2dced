"""What a report is about: a UTC day or a UTC month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_FIRST_YEAR = 2000  # nothing was bought before; and of the year 1 there is no day before the first


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A UTC day, or a whole UTC month: from `first`'s first moment to the last before `until`."""

    first: date
    is_month: bool = False

    @classmethod
    def day(cls, day: date) -> Period:
        return cls(day)

    @classmethod
    def month(cls, any_day: date) -> Period:
        """The month that this day lies in."""
        return cls(any_day.replace(day=1), is_month=True)

    @classmethod
    def parse(cls, name: str) -> Period:
        """`2026-03-14` or `2026-03`, from 2000 on. Raises ValueError that says how to write it."""
        try:
            first = date.fromisoformat(f"{name}-01" if len(name) == 7 else name)
            if len(name) in (7, 10) and first.year >= _FIRST_YEAR:
                return cls.month(first) if len(name) == 7 else cls.day(first)
        except ValueError:
            pass
        raise ValueError(f"{name!r} is neither a day nor a month: write it as 2026-08-31 or 2026-08")

    @property
    def name(self) -> str:
        """`2026-03-14`, or `2026-03`."""
        return f"{self.first:%Y-%m}" if self.is_month else self.first.isoformat()

    @property
    def word(self) -> str:
        return "month" if self.is_month else "day"

    @property
    def since(self) -> datetime:
        """Its first moment."""
        return datetime.combine(self.first, time(), UTC)

    @property
    def until(self) -> datetime:
        """The first moment after it."""
        return datetime.combine(self._next_first(), time(), UTC)

    @property
    def previous(self) -> Period:
        """The day before it, or the month before it."""
        before = self.first - timedelta(days=1)
        return Period.month(before) if self.is_month else Period.day(before)

    @property
    def key(self) -> str:
        """Where its files lie in the bucket, without their endings."""
        return f"reports/{self.first:%Y/%m}/{self.name}"

    def is_over(self, at: datetime) -> bool:
        return at >= self.until

    def has_begun(self, at: datetime) -> bool:
        return at >= self.since

    def _next_first(self) -> date:
        if not self.is_month:
            return self.first + timedelta(days=1)
        return (self.first + timedelta(days=32)).replace(day=1)

    def __str__(self) -> str:
        return self.name
