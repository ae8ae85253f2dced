"""Takes that lie in the bucket and that the ledger does not know: a ledger that was lost, restored from an old backup, or is
another one than that which paid for them. Nothing is bought over them: that would pay for a video twice, and write over the
first with its manifest, from which the ledger could have been rebuilt.

What does not belong here: bringing them back (rebuilding.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from wan_pipeline.bucket import Bucket, ObjectNotFoundError
from wan_pipeline.generation.places import beside, video_key

_TAKE = re.compile(r"take-(?P<take>[1-9][0-9]{0,8})(\.mp4|\.json|\.unplayable\.json)")


def takes_in(bucket: Bucket, shot: str) -> dict[int, str]:
    """The numbers of the takes that have a video or a manifest in the bucket, each with one of its keys."""
    folder = video_key(shot, 1).rpartition("/")[0]
    found: dict[int, str] = {}
    for item in bucket.list(f"{folder}/take-"):
        match = _TAKE.fullmatch(item.key.removeprefix(f"{folder}/"))
        if match is not None:
            found.setdefault(int(match["take"]), item.key)
    return found


def why_not(bucket: Bucket, shot: str, there: dict[int, str], known: Collection[int]) -> str | None:
    """Why nothing may be bought for the shot. `there`: its takes in the bucket, listed before those of the ledger (`known`)
    were read, since a take is in the ledger before anything of it is in the bucket."""
    newer = [take for take in sorted(there) if take > max(known, default=0)]
    paid = next((take for take in newer if not _is_simulated(bucket, shot, take)), None)
    if paid is None:
        return None
    return (
        f"not bought: {there[paid]} lies in the bucket, and this ledger knows of no take {paid}: it may be paid for already."
        " Look whether this is the right ledger (WAN_LEDGER_URL, WAN_HOME); `wan-pipeline doctor --rebuild-ledger` restores"
        " what a ledger has lost, and tells what it cannot: move that away to have the shot made"
    )


def _is_simulated(bucket: Bucket, shot: str, take: int) -> bool:
    """Whether its manifest says so; what has none, or none that can be read, may have cost money."""
    try:
        text: Any = json.loads(bucket.read(beside(video_key(shot, take), ".json")))
    except (ObjectNotFoundError, ValueError):
        return False
    return isinstance(text, dict) and text.get("simulated") is True  # pyright: ignore[reportUnknownMemberType]
