"""Keys keep the rule, whatever files are called, and no path leads out of the inbox."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wan_pipeline.shots.keys import encoded_key, input_key, key_fault
from wan_pipeline_tests.shots.inboxes import READY, shots_of

NAMES = st.text(alphabet="ab.,/%'\"\\\n\x00\u2028é😀~ -", min_size=1, max_size=30) | st.text(min_size=1, max_size=60)


def keeps_the_rule(key: str) -> bool:
    """The contract's words, written once more."""
    return (
        0 < len(key) <= 200
        and not any(bad in key for bad in (",", "...", "'", '"', "\\"))
        and len(key.splitlines()) == 1
        and not any(ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 for char in key)
        and all(part and not part.startswith(".") and len(part.encode()) <= 255 for part in key.split("/"))
        and posixpath.normpath(f"videos/{key}/take-1.mp4") == f"videos/{key}/take-1.mp4"
    )


@given(NAMES)
@example("take-1.mp4/a")
@example("é" * 150)
@example("x" * 201)
@example("%,%" * 60)
@example("../..")
@example("/a//b/")
@example("\udcff")
def test_every_name_gets_a_key_that_keeps_the_rule_and_a_good_name_is_its_own(name: str) -> None:
    key = encoded_key(name)
    assert keeps_the_rule(key)
    assert key_fault(key) is None
    assert (key == name) == (key_fault(name) is None)


@given(st.lists(NAMES, unique=True, min_size=2, max_size=20))
@example([",", "%2C", "%252C", ",,", "..", "%2E.", "a//b", "a/%/b", "a/%2F/b"])
def test_bad_names_get_different_keys(names: list[str]) -> None:
    bad = [name for name in names if key_fault(name) is not None]
    assert len({encoded_key(name) for name in bad}) == len(bad)


@given(st.lists(st.text(alphabet="ab,%.'2C", min_size=1, max_size=6), unique=True, min_size=1, max_size=12))
def test_every_image_is_one_shot_whatever_the_others_are_called(names: list[str]) -> None:
    shown = [name for name in names if not name.startswith(".")]
    shots = shots_of({"_defaults.yaml": READY} | {f"{name}.png": "" for name in names})
    assert sorted(shot.origin for shot in shots.values()) == sorted(f"inbox/{name}.png" for name in shown)
    for shot in shots.values():
        name = shot.origin.removeprefix("inbox/").removesuffix(".png")
        assert shot.ready == (shot.key == name) == (key_fault(name) is None)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("a,b", "a comma"),
        ("a...b", '"..."'),
        ("a\nb", "a newline"),
        ("a\tb", "a tab"),
        ("a\x7fb", "U+007F"),
        ("a\u2028b", "U+2028"),
        ("a'b", "a quote"),
        ('a"b', "a quote"),
        ("a\\b", "a backslash"),
        ("\udcff", "U+DCFF"),
        ("x" * 201, "longer than 200 characters"),
        ("é" * 130, "longer than 255 bytes"),
        ("a//b", "an empty part"),
        ("a/../b", "begins with a dot"),
        ("a/take-12.webp", "take-12.webp"),
        ("", "empty"),
    ],
)
def test_a_bad_key_is_told_why(key: str, fault: str) -> None:
    found = key_fault(key)
    assert found is not None
    assert fault in found


@pytest.mark.parametrize(
    "key", ["a", "spring/cat/hero", "a b", "ä/😀", "100%", "a..b", "take-1", "x" * 200, "a+b#?&=~(1)"]
)
def test_a_good_key_is_let_be(key: str) -> None:
    assert key_fault(key) is None
    assert encoded_key(key) == key


@given(
    st.lists(
        st.sampled_from(["", ".", "..", "a", "b.png", "inbox", "...", "~", "C:", "s3:", "\\", " "]), max_size=8
    ).map("/".join)
    | st.text(max_size=30)
)
def test_no_path_leads_out_of_the_inbox(path: str) -> None:
    key = input_key("inbox/spring/cat.yaml", path)
    if isinstance(key, str):
        assert key.startswith("inbox/")
        assert posixpath.normpath(key) == key
        assert ".." not in key.split("/")
    else:
        assert key.message
        assert key.remedy


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a.png", "inbox/spring/a.png"),
        ("./a.png", "inbox/spring/a.png"),
        ("../a.png", "inbox/a.png"),
        ("x//y/../a.png", "inbox/spring/x/a.png"),
        ("../../inbox/a.png", "inbox/a.png"),
        ("a b.png", "inbox/spring/a b.png"),
    ],
)
def test_a_path_is_relative_to_its_yaml(path: str, key: str) -> None:
    assert input_key("inbox/spring/cat.yaml", path) == key
