"""From a money entry to the figures of a charge: category, quantity, unit prices, costs. Whole numbers, no float.

- A job's first charge is *Usage* of the seconds that were ordered. Its unit price is charge / seconds, to the twelfth
  decimal place, half to even, since a third of a cent does not end. ListCost and ContractedCost are the exact product of
  unit price and seconds, as FOCUS demands; they may differ from what was billed by some trillionths of a dollar. BilledCost
  and EffectiveCost are the ledger's amounts, to the nano-dollar, always.
- The list price is the quote where the quote is one amount; where it is a span (or the charge is zero), nobody has published
  one, and it is what was charged.
- A refund is *Usage* given back: negative seconds, as large a part of the job's as the refund is of its charges, to the
  millisecond. It is of the class *Correction* where the job belongs to an earlier month; FOCUS demands that the class is
  null for a correction within its own billing period.
- A further charge, or an adjustment, belongs to the job's month, and to no seconds of its own: *Adjustment*.
- What a known top-up covers is not billed again: from the first top-up on that the ledger knows of a provider, its jobs have
  BilledCost 0 and their cost in EffectiveCost alone; the top-up has it the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wan_pipeline.reports.focus.reading import Line, MonthOfMoney
from wan_pipeline.spend.records import EntryKind

USAGE, ADJUSTMENT, PURCHASE = "Usage", "Adjustment", "Purchase"
CORRECTION = "Correction"

NANO, MILLI, PRICE, COST = 9, 3, 12, 15  # decimal places: amounts, quantities, unit prices, their products


class Priced(NamedTuple):
    """A charge's figures. Each number counts units of its last decimal place; None: the charge has none."""

    category: str
    is_correction: bool
    billed: int  # NANO
    effective: int  # NANO
    quantity: int | None  # seconds: MILLI
    list_price: int | None  # PRICE
    contracted_price: int | None  # PRICE
    list_cost: int  # COST
    contracted_cost: int  # COST


def priced(money: MonthOfMoney) -> Iterator[tuple[Line, Priced]]:
    """Each line with its figures, in the order of the lines."""
    begin = f"{money.month.since:%Y-%m-%dT%H:%M:%S}"
    first = _first_charges(money.lines)
    for line in money.lines:
        since = money.prepaid_since.get(line.provider)
        prepaid = since is not None and line.submitted >= since
        if line.kind == EntryKind.REFUND:
            yield line, _refund(line, prepaid, is_correction=line.submitted < begin)
        elif first.get(line.job) == line.entry and line.duration_s > 0:
            yield line, _usage(line, line.amount, 1000 * line.duration_s, prepaid, is_correction=False)
        else:
            yield line, _plain(line.amount, prepaid)


def _first_charges(lines: Iterable[Line]) -> dict[str, int]:
    """By job: the entry that its seconds belong to."""
    first: dict[str, int] = {}
    for line in lines:
        if line.kind == EntryKind.CHARGE:
            first[line.job] = min(first.get(line.job, line.entry), line.entry)
    return first


def _refund(line: Line, prepaid: bool, is_correction: bool) -> Priced:
    whole = 1000 * line.duration_s
    gross = line.gross or 0
    share = divided(whole * line.amount, gross) if gross > 0 else whole
    quantity = min(max(share, 1), whole) if line.amount else 0
    if not quantity:
        return _plain(-line.amount, prepaid, is_correction)
    return _usage(line, -line.amount, -quantity, prepaid, is_correction)


def _usage(line: Line, amount: int, quantity: int, prepaid: bool, is_correction: bool) -> Priced:
    contracted = divided(amount * 10 ** (PRICE + MILLI - NANO), quantity)
    listed = contracted
    if amount and line.quoted_low == line.quoted_high:
        listed = divided(line.quoted_high * 10 ** (PRICE - NANO), line.duration_s)
    billed = 0 if prepaid else amount
    return Priced(
        USAGE,
        is_correction,
        billed,
        amount,
        quantity,
        listed,
        contracted,
        listed * quantity,
        contracted * quantity,
    )


def _plain(amount: int, prepaid: bool, is_correction: bool = False) -> Priced:
    cost = amount * 10 ** (COST - NANO)
    return Priced(ADJUSTMENT, is_correction, 0 if prepaid else amount, amount, None, None, None, cost, cost)


def divided(number: int, by: int) -> int:
    """The quotient to the nearest whole number, half to even."""
    if by < 0:
        number, by = -number, -by
    whole, rest = divmod(number, by)
    return whole + (2 * rest > by or (2 * rest == by and whole % 2 == 1))
