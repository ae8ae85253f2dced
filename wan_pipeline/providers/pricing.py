"""Price rules: from an order to a quote with a lower and an upper bound, out of dated price records.

What belongs here: the arithmetic that models share. What does not: any model's prices; they stand in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import ceil

from wan_pipeline.media.info import VideoInfo
from wan_pipeline.providers.base import MediaInput, Order, PriceRecord, Quote, Role

WITH_SOUND = " with sound"  # ends the key of a price that holds for a video with sound
MAX_REFERENCE_SECONDS = 5


def price_at(prices: Sequence[PriceRecord], moment: datetime) -> PriceRecord:
    """The newest price that holds at that moment; before the first one, the first (a clock that is wrong buys nothing
    cheaper)."""
    begun = [record for record in prices if record.since <= moment]
    return max(begun, key=lambda record: record.since) if begun else min(prices, key=lambda record: record.since)


@dataclass(frozen=True, slots=True)
class PerSecond:
    """So many dollars for each second of video, by resolution, and by sound where `sound_is_priced`.

    `head_room` (and why): by how much a bill may exceed the list. `more_seconds` (and why): seconds that may be billed
    beside those of the video. Each widens the upper bound only, and its reason is shown with the quote.
    """

    prices: tuple[PriceRecord, ...]
    sound_is_priced: bool = False
    head_room: Fraction = Fraction(1)
    head_room_reason: str = ""
    more_seconds: Callable[[Order, Sequence[MediaInput]], int] | None = None
    more_seconds_reason: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(reason for reason in (self.head_room_reason, self.more_seconds_reason) if reason)

    def kind(self, resolution: str, has_audio: bool | None) -> str:
        """What the price of such a video is called in its records."""
        return resolution + (WITH_SOUND if self.sound_is_priced and has_audio else "")

    def quote(self, order: Order, inputs: Sequence[MediaInput], now: datetime | None = None) -> Quote:
        """The bounds for this order at `now` (default: this moment), and how they came about."""
        record = price_at(self.prices, now or datetime.now(UTC))
        kind = self.kind(order.resolution, order.has_audio)
        rate = record.usd_per_second[kind]
        low = rate * order.duration_s
        more = self.more_seconds(order, inputs) if self.more_seconds else 0
        high = rate * ((order.duration_s + more) * self.head_room)
        rule = f"{order.duration_s} s x {rate} USD/s ({kind})"
        if more:
            rule += f"; at most {more} s more"
        if self.head_room != 1:
            rule += f"; at most {ceil((self.head_room - 1) * 100)} % more"
        return Quote(low, high, f"{rule}; {record.source}, {record.since:%Y-%m-%d}")


def reference_seconds(order: Order, inputs: Sequence[MediaInput]) -> int:
    """Seconds of the reference clips that may be billed: each clip's begun seconds, at most 5 of each.

    Some price lists of upstream add the references to the billed seconds, counting at most 5 s of them (README of the
    provider documents, trap 8, sure: B). 5 s of each is an upper bound under any reading of that; a clip that was not
    probed counts as 5 s.
    """
    known = {item.slot: item.info.duration_s for item in inputs if isinstance(item.info, VideoInfo)}
    clips = [slot for slot in order.slots if slot.role is Role.VIDEOS]
    return sum(min(MAX_REFERENCE_SECONDS, ceil(known.get(slot, MAX_REFERENCE_SECONDS))) for slot in clips)
