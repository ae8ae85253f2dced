"""What `doctor` finds, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`ok`, `note` (works, but know this) or `problem`; the remedy is in the detail's words or on its own."""

    check: str
    status: str
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        return {"check": self.check, "status": self.status, "detail": self.detail, "remedy": self.remedy}
