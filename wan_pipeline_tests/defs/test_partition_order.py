"""Questions about a few partitions are answered as from all of them, whatever was added, deleted and added again."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import DynamicPartitionsTable
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.defs import partition_order
from wan_pipeline.defs.event_log import KeptEventLogStorage
from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.defs.partition_order import GAP, in_order, keys_in_range, places_of, remove_shots
from wan_pipeline.defs.partitions import SHOTS, add_shots, contiguous_pieces
from wan_pipeline.settings import Settings

KEYS = [f"shot{n:02d}" for n in range(12)]


@settings(deadline=None, max_examples=50)  # each makes an instance
@given(
    first=st.lists(st.sampled_from(KEYS), unique=True),
    deleted=st.sets(st.sampled_from(KEYS)),
    then=st.lists(st.sampled_from(KEYS), unique=True),
    wanted=st.sets(st.sampled_from([*KEYS, "not a partition"])),
    size=st.integers(1, 5),
)
def test_pieces_and_ranges_are_those_that_all_partitions_give(
    first: list[str], deleted: set[str], then: list[str], wanted: set[str], size: int
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for key in first:
            instance.add_dynamic_partitions("others", [key])  # of another code location: they take ids of their own
            instance.add_dynamic_partitions(SHOTS, [key])
        for key in deleted:
            instance.delete_dynamic_partition(SHOTS, key)
        instance.add_dynamic_partitions(SHOTS, then)
        order = list(instance.get_dynamic_partitions(SHOTS))

        found = in_order(instance, wanted)

        assert contiguous_pieces(found, wanted, size) == contiguous_pieces(order, wanted, size)
        assert [key for key in found if key != GAP] == [key for key in order if key in wanted]
        places = places_of(instance, wanted)
        assert sorted(places, key=places.__getitem__) == [key for key in order if key in wanted]
        for begin, end in [(0, len(order)), (len(order) // 3, len(order) // 2 + 1)]:
            some = order[begin:end]
            if some:
                assert keys_in_range(instance, some[0], some[-1]) == some
        assert keys_in_range(instance, "not a partition", KEYS[0]) == []


def test_the_table_is_dagsters_own() -> None:
    table = partition_order._TABLE  # pyright: ignore[reportPrivateUsage]
    assert table.name == DynamicPartitionsTable.name
    assert set(table.c.keys()) <= set(DynamicPartitionsTable.c.keys())


def test_the_kept_keys_are_those_that_anybody_has_written(tmp_path: Path) -> None:
    """Another process adds and deletes, the newest too, whose id SQLite gives out again."""
    reader, writer = KeptEventLogStorage(str(tmp_path)), KeptEventLogStorage(str(tmp_path))
    assert reader.get_dynamic_partitions(SHOTS) == []
    writer.add_dynamic_partitions(SHOTS, ["a", "b", "c"])
    assert reader.get_dynamic_partitions(SHOTS) == ["a", "b", "c"]
    writer.delete_dynamic_partition(SHOTS, "c")
    assert reader.get_dynamic_partitions(SHOTS) == ["a", "b"]
    writer.add_dynamic_partitions(SHOTS, ["d"])
    assert reader.get_dynamic_partitions(SHOTS) == ["a", "b", "d"]
    writer.delete_dynamic_partition(SHOTS, "d")
    writer.add_dynamic_partitions(SHOTS, ["e"])
    assert reader.get_dynamic_partitions(SHOTS) == ["a", "b", "e"]
    writer.delete_dynamic_partition(SHOTS, "a")
    writer.add_dynamic_partitions(SHOTS, ["a"])
    reader.add_dynamic_partitions("others", ["x"])
    assert reader.get_dynamic_partitions(SHOTS) == ["b", "e", "a"]
    assert reader.get_dynamic_partitions("others") == ["x"]


def test_keys_that_have_not_changed_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = KeptEventLogStorage(str(tmp_path))
    storage.add_dynamic_partitions(SHOTS, KEYS)
    storage.get_dynamic_partitions(SHOTS)

    def read(*_: object) -> tuple[str, ...]:
        raise AssertionError("read again")

    monkeypatch.setattr("wan_pipeline.defs.kept_keys._read", read)
    mine = storage.get_dynamic_partitions(SHOTS)
    mine[:] = []  # the caller's own
    assert storage.get_dynamic_partitions(SHOTS) == KEYS


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_both_databases_answer_alike(
    database: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> None:
    if database == "postgresql":
        monkeypatch.setenv("WAN_DAGSTER_STORAGE_URL", request.getfixturevalue("postgres_url"))
        monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back afterwards
        prepare_dagster_home(Settings.load(WAN_HOME=str(tmp_path)))
    with dg.DagsterInstance.get() if database == "postgresql" else nullcontext(instance) as asked:
        add_shots(asked, KEYS)
        remove_shots(asked, KEYS[3:5])
        add_shots(asked, [KEYS[4], *KEYS])  # the two that were removed lie at the end, in the order asked for

        order = [*KEYS[:3], *KEYS[5:], KEYS[4], KEYS[3]]
        assert asked.get_dynamic_partitions(SHOTS) == order
        assert in_order(asked, {KEYS[0], KEYS[2], KEYS[3], KEYS[5]}) == [KEYS[0], GAP, KEYS[2], KEYS[5], GAP, KEYS[3]]
        assert keys_in_range(asked, KEYS[11], KEYS[3]) == [KEYS[11], KEYS[4], KEYS[3]]
        remove_shots(asked, [KEYS[0]])
        assert asked.get_dynamic_partitions(SHOTS) == order[1:]
