"""Whole nano-dollars, and how they are written. The simulator's own arithmetic: it shares none with the pipeline."""

from __future__ import annotations

NANOS_PER_USD = 1_000_000_000
NANOS_PER_CREDIT = 500  # AI/ML API: 2,000,000 credits are 1 USD


def usd(text: str) -> int:
    """The nano-dollars of a plain decimal number of dollars: `usd("0.085") == 85_000_000`."""
    whole, _, places = text.partition(".")
    if not (whole + places).isdigit() or len(places) > 9:
        raise ValueError(f"not a plain amount of dollars: {text!r}")
    return int(whole or "0") * NANOS_PER_USD + int((places or "0").ljust(9, "0"))


def dollars(nanos: int) -> str:
    """The dollars as a plain decimal string without trailing zeros: `0.425`, `1`, `-0.0000005`."""
    whole, places = divmod(abs(nanos), NANOS_PER_USD)
    text = f"{whole}.{places:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if nanos < 0 else text
