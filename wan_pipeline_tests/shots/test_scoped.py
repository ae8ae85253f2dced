"""The shots of some keys are those of the whole discovery, and cost as many requests as there are keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wan_pipeline.bucket import Bucket, BucketObject, FolderBucket
from wan_pipeline.shots.discovery import YamlCache, discover_whole
from wan_pipeline.shots.inbox import composed
from wan_pipeline.shots.scoped import Namers, UncertainError, discover_some
from wan_pipeline.shots.shot import Shot
from wan_pipeline_tests.shots.inboxes import FLASH, READY, WAN27, Files, ListedBucket, folder_bucket

_STEMS = st.sampled_from(
    ["a", "a/b", "a/b/c", "a.x", "b", "a/é", "a/e\u0301", "d,e", "_defaults", "a/_defaults", "default"]
)
_PATHS = st.sampled_from(
    [
        "a.png",
        "b.png",
        "b.jpg",
        "../a.png",
        "../b.png",
        "a/b.png",
        "é.png",
        "a/é.png",
        "a/e\u0301.png",
        "c.png",
        "../gone.png",
    ]
)
_NO_INPUTS = "inputs: null"
_ROLES = st.sampled_from(["first_frame", "last_frame"])


@st.composite
def _settings(draw: st.DrawFn) -> str:
    lines = draw(
        st.lists(
            st.sampled_from(
                [f"model: {FLASH}", f"model: {WAN27}", "prompt: It moves.", "seed: 7", "seed: x", "inputs: null"]
            ),
            max_size=2,
            unique_by=lambda line: line.partition(":")[0],
        )
    )
    if _NO_INPUTS not in lines and draw(st.booleans()):
        roles = draw(st.dictionaries(_ROLES, _PATHS, min_size=1, max_size=2))
        lines.append("inputs: {" + ", ".join(f"{role}: {path}" for role, path in roles.items()) + "}")
    return "\n".join(lines)


@st.composite
def _yaml(draw: st.DrawFn) -> str:
    text = draw(_settings())
    kind = draw(st.sampled_from(["plain", "plain", "entries", "broken"]))
    if kind == "broken":
        return text + "\nbroken: ["
    if kind == "entries":
        entries = draw(
            st.dictionaries(st.sampled_from(["b", "c", "x/y", "p,q", "é"]), _settings(), min_size=1, max_size=3)
        )
        text += "\nshots:\n"
        for name, inside in entries.items():
            text += f"  {name}:\n" + "".join(f"    {line}\n" for line in (inside or "seed: 1").splitlines())
    return text


@st.composite
def _inbox(draw: st.DrawFn) -> dict[str, str]:
    files = {"_defaults.yaml": READY} if draw(st.booleans()) else {}
    for stem in draw(st.lists(_STEMS, min_size=1, max_size=8)):
        ending = draw(st.sampled_from(["png", "jpg", "JPEG", "yaml", "yaml", "yml", "gif", "txt"]))
        files[f"{stem}.{ending}"] = draw(_yaml()) if ending in ("yaml", "yml") else stem
    return files


def _namers(bucket: Bucket) -> Namers:
    """As the index keeps it: what the whole discovery has seen."""
    named = discover_whole(bucket, None).named

    def namers(keys: Collection[str]) -> list[tuple[str, str]]:
        like = {composed(key) for key in keys}
        return [(file, name) for file, names in named.items() for name in names if composed(name) in like]

    return namers


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=_inbox(), data=st.data())
def test_the_shots_of_some_keys_are_those_of_the_whole_wherever_it_is_certain(
    files: dict[str, str], data: st.DataObject
) -> None:
    bucket = cast(Bucket, ListedBucket(files))
    whole = {shot.key: shot for shot in discover_whole(bucket, WAN27).shots}
    keys = data.draw(st.sets(st.sampled_from([*whole, "gone", "a/gone", "a", "a/b", "a/b/c"]), max_size=4))
    try:
        some = discover_some(bucket, keys, _namers(bucket), WAN27)
    except UncertainError:
        return
    assert some == [whole[key] for key in sorted(keys & whole.keys())]


PLAIN: Files = {
    "_defaults.yaml": READY,
    "s/_Defaults.YML": "seed: 3",
    "s/cat.png": "cat",
    "s/cat.yaml": "shots: {hero: {seed: 1}, teaser: {}}",
    "s/dog.jpg": "dog",
    "s/dog.yaml": f"model: {WAN27}\ninputs: {{last_frame: ends/end.png}}",
    "s/ends/end.png": "end",
    "s/fox.png": "fox",
    "t/owl.png": "owl",
    "t/group.yaml": "inputs: {first_frame: owl.png}",
}


@pytest.mark.parametrize(
    "key", ["s/cat/hero", "s/dog", "s/fox", "s/ends/end", "t/owl", "t/group", "s/cat", "nothing", ""]
)
def test_what_a_large_inbox_is_mostly_made_of_is_certain(key: str, tmp_path: Path) -> None:
    for bucket in (cast(Bucket, ListedBucket(PLAIN)), folder_bucket(tmp_path, PLAIN)):
        whole = discover_whole(bucket, None).shots
        assert discover_some(bucket, [key], _namers(bucket), None) == [shot for shot in whole if shot.key == key]


class Counting(ListedBucket):
    listed = 0

    def list(self, prefix: str = "") -> Iterator[BucketObject]:
        for item in super().list(prefix):
            self.listed += 1
            yield item


def test_objects_listed_and_yamls_read_are_bounded_by_the_keys() -> None:
    files = {f"f{n % 10}/{n:04}.png": "x" for n in range(2_000)} | {f"f{n % 10}/{n:04}.yaml": "" for n in range(2_000)}
    bucket = Counting({"_defaults.yaml": READY, **files})
    cache = YamlCache()
    shots = discover_some(cast(Bucket, bucket), [f"f{n}/{n:04}" for n in range(10)], lambda _: [], None, cache)
    assert len(shots) == 10
    assert bucket.reads == cache.reads == 11
    assert bucket.listed == 21


def test_a_yaml_that_has_changed_since_it_was_indexed_is_believed_as_it_is_now() -> None:
    files = {"_defaults.yaml": READY, "a.png": "a", "group.yaml": "inputs: {first_frame: a.png}"}
    bucket = ListedBucket(files)
    known = _namers(cast(Bucket, bucket))

    def found() -> list[Shot]:
        return discover_some(cast(Bucket, bucket), ["a"], known, None)

    assert found() == []
    bucket.put("group.yaml", "inputs: {first_frame: b.png}")
    assert [shot.key for shot in found()] == ["a"]
    del bucket.contents["inbox/group.yaml"]
    assert [shot.key for shot in found()] == ["a"]


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ({"a.yaml": "inputs: {first_frame: missing.png}", "_defaults.yaml": READY}, "a"),
        ({"é.png": "", "x.yaml": "inputs: {first_frame: e\u0301.png}", "_defaults.yaml": READY}, "é"),
        ({"d,e.png": ""}, "d%2Ce"),
        ({f"a.{n:05}.png": "" for n in range(2_001)} | {"a.png": ""}, "a"),
    ],
)
def test_what_only_the_whole_can_tell_is_not_guessed(files: Files, key: str) -> None:
    bucket = cast(Bucket, ListedBucket(files))
    with pytest.raises(UncertainError):
        discover_some(bucket, [key], _namers(bucket), None)


def test_a_folder_is_read_once_for_all_keys_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = folder_bucket(tmp_path, {"_defaults.yaml": READY} | {f"s/{n}.png": b"x" for n in range(40)})
    read: list[str] = []
    whole = FolderBucket._entries  # pyright: ignore[reportPrivateUsage]

    def counting(self: FolderBucket, root: Path, folder_key: str, beginnings: tuple[str, ...] = ("",)) -> object:
        read.append(folder_key)
        return whole(self, root, folder_key, beginnings)

    monkeypatch.setattr(FolderBucket, "_entries", counting)
    assert len(discover_some(bucket, [f"s/{n}" for n in range(30)], lambda _: [], None)) == 30
    assert sorted(read) == ["inbox", "inbox/s"]
