"""The report as JSON: every figure for programs, and what its next making is compared with.

Amounts are decimal strings, moments ISO 8601 in UTC, unknown is null. `version` changes with the meaning of a field.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from wan_pipeline.money import Money
from wan_pipeline.reports.changes import Cause, Change, FigureChange, Published
from wan_pipeline.reports.figures import AMOUNTS, COUNTS, FIELDS, BillDifference, CostRow, Figures
from wan_pipeline.reports.sheet import CostSheet

VERSION = 1
_DERIVED = ("billed", "wasted")


class UnreadableError(ValueError):
    """What was published before is not what this program writes. The message says how."""


def as_object(sheet: CostSheet) -> dict[str, Any]:
    """For JSON: dicts, lists, strings, whole numbers."""
    previous = sheet.previous
    return {
        "version": VERSION,
        "report": "monthly costs" if sheet.period.is_month else "daily costs",
        "period": sheet.period.name,
        "as_of": _moment(sheet.as_of),
        "is_over": sheet.is_over,
        "totals": [{"simulated": kind, **figures_object(sheet.total(simulated=kind))} for kind in sheet.kinds],
        "rows": [_row(row) for row in sheet.rows],
        "days": [
            {"simulated": each.simulated, "day": each.day.isoformat(), **figures_object(each.figures)}
            for each in sheet.days
        ],
        "previous": None
        if previous is None
        else {
            "period": previous.name,
            "totals": [{"simulated": kind, **figures_object(figures)} for kind, figures in previous.totals],
        },
        "budgets": [
            {
                "simulated": each.simulated,
                "budget": each.name,
                "period": each.period,
                "allowed_usd": str(each.allowed),
                "held_usd": str(each.held),
                "billed_usd": str(each.billed),
                "left_usd": str(each.left),
            }
            for each in sheet.budgets
        ],
        "dearest": [
            {
                "simulated": each.simulated,
                "shot": each.shot,
                "models": list(each.models),
                **figures_object(each.figures),
            }
            for each in sheet.dearest
        ],
        "differences": [_difference(each) for each in sheet.differences],
        "refunds": [
            {
                "simulated": each.simulated,
                "job": each.job,
                "shot": each.shot,
                "provider": each.provider,
                "model": each.model,
                "amount_usd": str(each.amount),
                "at": _moment(each.at),
                "submitted_at": _moment(each.submitted_at),
                "note": each.note,
            }
            for each in sheet.refunds
        ],
        "changes": [_change(each) for each in sheet.changes],
    }


def to_json(sheet: CostSheet) -> bytes:
    return (json.dumps(as_object(sheet), indent=1, ensure_ascii=False) + "\n").encode()


def figures_object(figures: Figures) -> dict[str, Any]:
    """`jobs: 3, …, billed_usd: "0.125"`."""
    rate = figures.usd_per_second
    return {
        **{name: getattr(figures, name) for name in COUNTS},
        **{f"{name}_usd": str(getattr(figures, name)) for name in (*AMOUNTS, *_DERIVED)},
        "usd_per_second": None if rate is None else str(rate),
    }


def read_published(data: bytes) -> Published:
    """What an earlier making has written. Raises UnreadableError."""
    try:
        found = json.loads(data)
        if found["version"] != VERSION:
            raise UnreadableError(f"it is of version {found['version']}, and this program reads {VERSION}")
        return Published(
            as_of=_moment_in(found["as_of"]),
            was_over=bool(found["is_over"]),
            totals={bool(each["simulated"]): _figures_in(each) for each in found["totals"]},
            changes=tuple(_change_in(each) for each in found["changes"]),
        )
    except UnreadableError:
        raise
    except KeyError as error:
        raise UnreadableError(f"it has no field {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"it is not a report of this program ({error})") from None


def _row(row: CostRow) -> dict[str, Any]:
    return {
        "simulated": row.simulated,
        "provider": row.provider,
        "model": row.model,
        "resolution": row.resolution,
        "sound": row.sound,
        "campaign": row.campaign,
        **figures_object(row.figures),
    }


def _difference(each: BillDifference) -> dict[str, Any]:
    return {
        "simulated": each.simulated,
        "job": each.job,
        "shot": each.shot,
        "provider": each.provider,
        "model": each.model,
        "state": each.state.value,
        "quoted_low_usd": str(each.quoted_low),
        "quoted_usd": str(each.quoted),
        "billed_usd": str(each.billed),
        "basis": None if each.basis is None else each.basis.value,
        "how": each.how,
        "difference_usd": str(each.difference),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "since": _moment(change.since),
        "as_of": _moment(change.as_of),
        "late": change.late,
        "figures": [
            {
                "simulated": each.simulated,
                "figure": each.figure,
                "before": _value(each.before),
                "after": _value(each.after),
            }
            for each in change.figures
        ],
        "jobs": [
            {
                "simulated": each.simulated,
                "job": each.job,
                "shot": each.shot,
                "what": each.what,
                "at": _moment(each.at),
            }
            for each in change.causes
        ],
        "more_jobs": change.more_causes,
    }


def _change_in(found: Any) -> Change:
    return Change(
        since=_moment_in(found["since"]),
        as_of=_moment_in(found["as_of"]),
        late=bool(found["late"]),
        figures=tuple(
            FigureChange(
                bool(each["simulated"]), str(each["figure"]), _value_in(each["before"]), _value_in(each["after"])
            )
            for each in found["figures"]
        ),
        causes=tuple(
            Cause(
                bool(each["simulated"]), str(each["job"]), str(each["shot"]), str(each["what"]), _moment_in(each["at"])
            )
            for each in found["jobs"]
        ),
        more_causes=int(found["more_jobs"]),
    )


def _figures_in(found: Any) -> Figures:
    values = [int(found[name]) if name in COUNTS else Money.usd(str(found[f"{name}_usd"])) for name in FIELDS]
    return Figures(*values)  # pyright: ignore[reportArgumentType]


def _value(value: int | Money) -> int | str:
    return value if isinstance(value, int) else str(value)


def _value_in(found: Any) -> int | Money:
    return found if isinstance(found, int) else Money.usd(str(found))


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _moment_in(text: Any) -> datetime:
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment
