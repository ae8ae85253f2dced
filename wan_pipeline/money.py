"""Amounts of US dollars, exact: integer nano-dollars inside, `Decimal` at the edges, never a float.

AI/ML API's credit is 0.0000005 USD, half a micro-dollar, so micro-dollars cannot hold it; nano-dollars can.
What belongs here: the amount and its arithmetic. What does not: prices, budgets, who billed what.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

NANOS_PER_USD = 1_000_000_000
NANOS_PER_AIMLAPI_CREDIT = 500  # 2,000,000 credits = 1 USD (shared/providers/README.md, sure: A)


@dataclass(frozen=True, order=True, slots=True)
class Money:
    """An amount in US dollars, held as whole nano-dollars. May be negative (a refund, a difference)."""

    nanos: int

    def __post_init__(self) -> None:
        if type(self.nanos) is not int:
            raise TypeError(f"Money holds whole nano-dollars, not {self.nanos!r}")

    @classmethod
    def usd(cls, amount: str | int | Decimal) -> Money:
        """The amount written as dollars: `Money.usd("0.085")`.

        Raises TypeError for a float (it cannot say what was meant), ValueError for what is no finite number or is
        finer than a nano-dollar.
        """
        if isinstance(amount, (float, bool)):
            raise TypeError(f"money from a {type(amount).__name__} ({amount!r}): pass a string or a Decimal")
        try:
            value = Decimal(amount.strip()) if isinstance(amount, str) else Decimal(amount)
        except InvalidOperation:
            raise ValueError(f"{amount!r} is not an amount of dollars, e.g. 0.125") from None
        if not value.is_finite():
            raise ValueError(f"{amount!r} is not a finite amount of dollars")
        nanos = Fraction(value) * NANOS_PER_USD
        if nanos.denominator != 1:
            raise ValueError(f"{amount} USD is finer than a nano-dollar")
        return cls(int(nanos))

    @classmethod
    def credits(cls, count: int) -> Money:
        """AI/ML API credits as dollars."""
        return cls(count * NANOS_PER_AIMLAPI_CREDIT)

    @classmethod
    def total(cls, amounts: Iterable[Money]) -> Money:
        """The sum, zero for none."""
        return cls(sum(amount.nanos for amount in amounts))

    def __add__(self, other: Money) -> Money:
        return Money(self.nanos + other.nanos)

    def __sub__(self, other: Money) -> Money:
        return Money(self.nanos - other.nanos)

    def __neg__(self) -> Money:
        return Money(-self.nanos)

    def __mul__(self, factor: int | Fraction | Decimal) -> Money:
        """Times an exact factor; a result between two nano-dollars is rounded up (a bill is never under-estimated)."""
        if isinstance(factor, float):
            raise TypeError("money times a float: pass an int, a Fraction or a Decimal")
        return Money(ceil(self.nanos * Fraction(factor)))

    def __bool__(self) -> bool:
        return self.nanos != 0

    @property
    def dollars(self) -> Decimal:
        """The exact amount in dollars, without trailing zeros: `Decimal('0.125')`."""
        return Decimal(str(self))

    def __str__(self) -> str:
        """The exact amount as a plain decimal string with at least two places: `0.125`, `1.50`, `-0.0000005`."""
        sign = "-" if self.nanos < 0 else ""
        whole, rest = divmod(abs(self.nanos), NANOS_PER_USD)
        places = f"{rest:09d}".rstrip("0").ljust(2, "0")
        return f"{sign}{whole}.{places}"

    def __repr__(self) -> str:
        return f"Money.usd('{self}')"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any) -> Money:
            if isinstance(value, Money):
                return value
            if isinstance(value, (str, int, Decimal)):
                try:
                    return cls.usd(value)
                except TypeError as error:
                    raise ValueError(str(error)) from None
            raise ValueError(f"{value!r} is not an amount of dollars: write it as a string, e.g. '0.125'")

        return core_schema.no_info_plain_validator_function(read, serialization=core_schema.to_string_ser_schema())


ZERO = Money(0)
