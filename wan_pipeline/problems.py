"""How a mistake in somebody's input is told: the file, the field, the value, what is wrong and the remedy.

Every floor of the house speaks of mistakes with these, so that the command line, the UI and the ledger say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_SHOWN_VALUE_CHARS = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `file` is a bucket key (or "" while the finder does not know it), `field` a setting or input role."""

    file: str
    field: str
    value: str
    message: str
    remedy: str

    def at(self, file: str) -> Problem:
        """The same problem, in this file, unless it names one already."""
        return self if self.file else replace(self, file=file)

    def __str__(self) -> str:
        """One line, whatever stands in the names and values: a line break or a colour code is shown, not obeyed."""
        value = self.value if len(self.value) <= _SHOWN_VALUE_CHARS else self.value[:_SHOWN_VALUE_CHARS] + "…"
        where = ": ".join(part for part in (self.file, self.field) if part)
        shown = f" (found: {value})" if value else ""
        return printable(f"{where}: {self.message}{shown}. {self.remedy}")


def printable(text: str) -> str:
    """The text with each line break, colour code and the like as it is written in Python."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class ProblemsError(ValueError):
    """Somebody's input has mistakes: all of those that could be found in one go."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigurationError(RuntimeError):
    """The installation is not usable as configured. The message says which setting, what is wrong, and how to fix it."""
