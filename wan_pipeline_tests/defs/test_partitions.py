"""A set of shots becomes the fewest ranges that hold these shots and no other."""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.defs.partitions import RANGE_END_TAG, RANGE_START_TAG, SHOTS, add_shots, contiguous_pieces

KEYS = [f"shot{n:02d}" for n in range(40)]


@given(wanted=st.sets(st.sampled_from([*KEYS, "not a partition"])), max_size=st.integers(1, 12))
def test_pieces_hold_each_wanted_partition_once_and_nothing_else(wanted: set[str], max_size: int) -> None:
    pieces = contiguous_pieces(KEYS, wanted, max_size)

    covered = [key for piece in pieces for key in piece.keys]
    assert covered == [key for key in KEYS if key in wanted]
    for piece in pieces:
        first = KEYS.index(piece.keys[0])
        assert list(piece.keys) == KEYS[first : first + len(piece.keys)]
        assert 1 <= len(piece.keys) <= max_size


@given(wanted=st.sets(st.sampled_from(KEYS)), max_size=st.integers(1, 12))
def test_there_are_no_fewer_pieces_than_the_gaps_and_the_size_demand(wanted: set[str], max_size: int) -> None:
    lengths: list[int] = []
    previous = None
    for place, key in enumerate(KEYS):
        if key in wanted:
            if previous == place - 1 and lengths:
                lengths[-1] += 1
            else:
                lengths.append(1)
            previous = place
    fewest = sum(-(-length // max_size) for length in lengths)
    assert len(contiguous_pieces(KEYS, wanted, max_size)) == fewest


def test_ranges_are_written_with_dagsters_own_tags() -> None:
    assert (RANGE_START_TAG, RANGE_END_TAG) == (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)


def test_more_keys_than_sqlite_takes_at_once_are_added_in_order_and_only_once(instance: dg.DagsterInstance) -> None:
    keys = [f"spring/{n:05d}" for n in range(40_000)]

    assert add_shots(instance, keys[:10]) == keys[:10]
    assert add_shots(instance, keys) == keys[10:]
    assert add_shots(instance, keys) == []
    assert list(instance.get_dynamic_partitions(SHOTS)) == keys
