"""How figures are called and amounts, moments, differences are written, the same on every page and in every table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

from wan_pipeline.money import Money
from wan_pipeline.reports.figures import Figures
from wan_pipeline.reports.sheet import CostSheet

FIGURES = {  # attribute of Figures: how it is called
    "jobs": "jobs",
    "takes": "takes",
    "failed": "failed jobs",
    "ambiguous": "ambiguous jobs",
    "in_flight": "jobs in flight",
    "seconds": "seconds of video",
    "quoted_low": "quoted at least, USD",
    "quoted": "quoted, USD",
    "billed": "billed, USD",
    "charged": "charged, USD",
    "refunded": "refunded, USD",
    "held": "in flight, USD",
    "unknown": "unknown, USD",
    "wasted": "wasted, USD",
    "wasted_failed": "wasted on failed jobs, USD",
    "wasted_lost": "wasted on lost videos, USD",
    "wasted_duplicate": "wasted on duplicates, USD",
    "wasted_unused": "wasted on unused takes, USD",
    "usd_per_second": "USD for each second",
}
NOTES = (
    "A job belongs to the UTC day of its submission (of its claim, where it was never accepted), and so do its charges and"
    " their corrections, however late they come; a refund belongs to the day on which it took place, whatever day its job is"
    " of. Amounts are US dollars, exact.",
    "*Jobs* are paid generations; *takes* are the videos that came of them and are stored: a shot that reuses another's"
    " video costs nothing and is neither. *Seconds* are those of the takes, as ordered.",
    "*Quoted* is the upper bound; *billed* is what was charged less what was refunded in the period, so it is below zero"
    " where more was given back. Charged is what the provider said or, where it says nothing, the quote; *in flight* is held"
    " for jobs under way, *unknown* for jobs that may or may not have been accepted (`ambiguous`): it may have been billed.",
    "*Wasted* is the part of what is billed that no video in use came of: jobs that failed, jobs whose video is lost or that"
    " were written off, jobs that a person let be bought once more, and videos that a later take has replaced. What was"
    " refunded is not wasted. *Failed* counts jobs that failed, were rejected, or whose paid video was lost. *USD/second* is"
    " what was billed for each second of stored video, failures included.",
    "A budget counts what is held and billed for the jobs claimed in its period, so its sum may differ from what is billed"
    " here.",
)


def moment(value: datetime) -> str:
    """`2026-03-14 06:05`, in UTC."""
    return f"{value:%Y-%m-%d %H:%M}"


def as_of(sheet: CostSheet) -> str:
    """When the ledger was read, and whether more is to come by itself."""
    over = "" if sheet.is_over else f": the {sheet.period.word} is not over"
    return f"As of {moment(sheet.as_of)} UTC{over}."


def title(sheet: CostSheet) -> str:
    return f"Cost report for {sheet.period.name}"


def nothing(sheet: CostSheet) -> str:
    return f"No job was submitted and nothing was refunded in {sheet.period.name} (UTC)."


def span(low: Money, high: Money) -> str:
    return str(high) if low == high else f"{low} to {high}"


def many(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def or_blank(amount: Money) -> str:
    return str(amount) if amount else ""


def value(figure: int | Money | None) -> str:
    """A count with commas, an amount exactly; empty where there is none."""
    if figure is None:
        return ""
    return str(figure) if isinstance(figure, Money) else f"{figure:,}"


def signed(figure: int | Money) -> str:
    """With its sign, also where it is positive."""
    number = figure.nanos if isinstance(figure, Money) else figure
    return ("+" if number > 0 else "") + value(figure)


def percent_of(part: Money, whole: Money) -> str:
    """`12 %`, rounded to a whole percent; empty where nothing is a part of it."""
    if part.nanos <= 0 or whole.nanos <= 0:
        return ""
    return f"{round(Fraction(part.nanos * 100, whole.nanos))} %"


def percent_change(before: int | Money, after: int | Money) -> str:
    """`+12.5 %`; empty where it says nothing: from zero or less, or to more than eleven times as much."""
    old, new = (each.nanos if isinstance(each, Money) else each for each in (before, after))
    if old <= 0 or new < 0:
        return ""
    change = Fraction((new - old) * 100, old)
    if change > 1000:
        return ""
    tenths = round(change * 10)
    digits = f"{abs(tenths) // 10}.{abs(tenths) % 10}".removesuffix(".0")
    return f"{'+' if tenths > 0 else '-' if tenths < 0 else ''}{digits} %"


def wasted_kinds(figures: Figures) -> Sequence[tuple[str, Money]]:
    """The kinds of waste that there are, and how much of each."""
    kinds = (
        ("failed jobs", figures.wasted_failed),
        ("lost videos", figures.wasted_lost),
        ("duplicates", figures.wasted_duplicate),
        ("unused takes", figures.wasted_unused),
    )
    return [(name, amount) for name, amount in kinds if amount]


def summary(figures: Figures) -> Sequence[tuple[str, str, str]]:
    """The totals in a few lines: what, how much, and what there is to say about it; each only where it is something."""
    states = (
        (figures.takes, "stored"),
        (figures.failed, "failed"),
        (figures.in_flight, "in flight"),
        (figures.ambiguous, "ambiguous"),
    )
    counts = ", ".join(f"{count:,} {word}" for count, word in states if count)
    rate = figures.usd_per_second
    refunded = f"charged {figures.charged}, refunded {figures.refunded}" if figures.refunded else ""
    lines = [
        ("Billed", f"{figures.billed} USD", refunded),
        ("Jobs", value(figures.jobs), counts),
        ("Video stored", f"{figures.seconds:,} s", "" if rate is None else f"{rate} USD for each second"),
        ("Quoted", f"{span(figures.quoted_low, figures.quoted)} USD", ""),
    ]
    if figures.held:
        lines.append(("In flight", f"{figures.held} USD", "held for jobs under way"))
    if figures.ambiguous:
        without = f"for {many(figures.ambiguous, 'job')} without an answer, which may have been billed"
        lines.append(("Unknown", f"up to {figures.unknown} USD", without))
    if figures.wasted:
        kinds = ", ".join(f"{name} {amount}" for name, amount in wasted_kinds(figures))
        share = percent_of(figures.wasted, figures.billed)
        lines.append(("Wasted", f"{figures.wasted} USD", kinds + (f"; {share} of what is billed" if share else "")))
    return lines
