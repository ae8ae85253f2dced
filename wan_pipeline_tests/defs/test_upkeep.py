"""The index after any history of the bucket is what a whole discovery would have made of it, in whatever parts it came."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wan_pipeline.bucket import BucketObject, FolderBucket
from wan_pipeline.bucket.siblings import siblings
from wan_pipeline.defs import upkeep
from wan_pipeline.defs.deadline import OutOfTimeError
from wan_pipeline.defs.resources import OpenInstallation, installation
from wan_pipeline.defs.take_up import remember_begun, remember_finished, seen
from wan_pipeline.defs.upkeep import Upkeep
from wan_pipeline.generation.events import Finished, Verdict
from wan_pipeline.shots.discovery import discover
from wan_pipeline.spend.shot_index import IndexedShot, SeenShot
from wan_pipeline_tests.defs.lab import DEFAULTS, Lab, jpeg
from wan_pipeline_tests.shots.inboxes import FLASH, WAN27

NO_DEADLINE = 1e9
_NOT_THERE = "there is no such file"


def keep_up(opened: OpenInstallation) -> bool:
    return Upkeep(opened, time.monotonic() + NO_DEADLINE).by_listing()


def kept(opened: OpenInstallation) -> dict[str, tuple[object, ...]]:
    """What the index says of each shot that is there, but for what is only told to people: what a missing file may be."""
    return {row.key: _told(row) for row in opened.ledger.index.load().values() if row.gone_at is None}


def expected(opened: OpenInstallation) -> dict[str, tuple[object, ...]]:
    found = discover(opened.bucket, opened.settings.default_model)
    return {shot.key: _told(seen(shot, simulated=opened.simulated)) for shot in found}


def _told(of: SeenShot | IndexedShot) -> tuple[object, ...]:
    version = of.version.partition("!")[0]
    return version, of.ready, of.model, of.campaign, of.modified_at, of.origin, _said(of.problem)


def _said(problem: str | None) -> str | None:
    return _NOT_THERE if problem and _NOT_THERE in problem else problem


class Counted:
    """How often all shots were made anew."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        whole = OpenInstallation.discover_whole

        def counting(*given: Any) -> Any:
            self.times += 1
            return whole(*given)

        monkeypatch.setattr(OpenInstallation, "discover_whole", counting)


class Called:
    """In place of a method: how often it is called."""

    times = 0

    def __call__(self, *given: object) -> Iterator[BucketObject]:
        self.times += 1
        return iter(())


@pytest.fixture
def opened(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenInstallation]:
    """An installation for which every inbox is a large one."""
    monkeypatch.setattr(installation, "LARGE_INBOX", 0)
    lab.put_shots(["a/one", "a/two", "b"])
    with lab.installation.open() as it:
        yield it


@pytest.fixture
def wholes(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


# --- any history ---

_NAMES = "a.png a.jpg a.yaml a/b.png a/b.yaml a/b.yml b.png b.yaml c.png é.png é.yaml d,e.png n.txt"
_KEYS = st.sampled_from([*_NAMES.split(), "_defaults.yaml", "a/_defaults.yaml"])
_TEXTS = st.sampled_from(
    [
        DEFAULTS,
        f"model: {FLASH}",
        f"model: {WAN27}\ninputs: {{last_frame: c.png}}",
        "inputs: {first_frame: a.png}",
        "inputs: {first_frame: ../c.png}",
        "inputs: {first_frame: é.png}",
        "inputs: {first_frame: e\u0301.png}",
        "shots: {b: {}, c: {seed: 1, inputs: {first_frame: b.png}}}",
        "shots: {b: {inputs: {first_frame: c.png}}, 'x/y': {}}",
        "campaign: spring",
        "broken: [ a.png, c.png",
        "",
    ]
)
_STEPS = st.lists(st.tuples(_KEYS, st.none() | _TEXTS), min_size=1, max_size=5)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(history=st.lists(_STEPS, min_size=2, max_size=4))
def test_after_any_history_the_index_is_what_a_whole_discovery_makes(
    history: list[list[tuple[str, str | None]]], tmp_path_factory: pytest.TempPathFactory, lab: Lab
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(installation, "LARGE_INBOX", 0)
        shutil.rmtree(lab.home, ignore_errors=True)
        mine = Lab(tmp_path_factory.mktemp("home"), lab.instance)
        mine.put("inbox/_defaults.yaml", DEFAULTS)
        with mine.installation.open() as opened:
            for steps in history:
                for number, (key, text) in enumerate(steps):
                    if text is None:
                        (mine.bucket / "inbox" / key).unlink(missing_ok=True)
                    else:
                        mine.put(f"inbox/{key}", text if key.endswith(("yaml", "yml")) else text + str(number))
                assert keep_up(opened)
                assert kept(opened) == expected(opened)
        shutil.rmtree(mine.home)


# --- what a change costs ---


def test_where_nothing_has_changed_nothing_is_read_and_no_shot_is_made(
    opened: OpenInstallation, wholes: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keep_up(opened)
    assert wholes.times == 1
    read = Called()
    monkeypatch.setattr(FolderBucket, "read", read)
    before = opened.ledger.index.inbox.listing(opened.bucket.url)
    assert keep_up(opened)
    assert (wholes.times, read.times) == (1, 0)
    fresh_at = opened.ledger.index.inbox.listing(opened.bucket.url).fresh_at
    assert fresh_at is not None
    assert before.fresh_at is not None
    assert fresh_at > before.fresh_at


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("a/three.jpg", jpeg(9)),
        ("a/two.jpg", jpeg(9)),
        ("a/two.yaml", b"shots: {x: {}, y: {}}"),
        ("group.yaml", b"inputs: {first_frame: b.jpg}"),
        ("b.jpg", None),
    ],
)
def test_a_change_of_few_objects_makes_few_shots_anew(
    opened: OpenInstallation, lab: Lab, wholes: Counted, key: str, content: bytes | None
) -> None:
    keep_up(opened)
    if content is None:
        (lab.bucket / "inbox" / key).unlink()
    else:
        lab.put(f"inbox/{key}", content)
    assert keep_up(opened)
    assert wholes.times == 1
    assert kept(opened) == expected(opened)


def test_what_settings_or_the_program_change_is_found_without_a_change_in_the_bucket(
    opened: OpenInstallation, lab: Lab, wholes: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.put("inbox/_defaults.yaml", "prompt: It moves.\n")
    keep_up(opened)
    other = replace(opened, settings=opened.settings.model_copy(update={"default_model": FLASH}))
    assert keep_up(other)
    assert kept(other) == expected(other)
    assert {row.ready for row in opened.ledger.index.load().values()} == {True}
    monkeypatch.setattr(upkeep, "_program", lambda: "another version of this program")
    assert keep_up(other)
    assert wholes.times == 3


def test_many_changes_at_once_are_found_at_once_and_none_is_lost(
    opened: OpenInstallation, lab: Lab, wholes: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "MANY", 10)
    keep_up(opened)
    for number in range(35):
        lab.put(f"inbox/c/{number:02}.jpg", jpeg(number))
    (lab.bucket / "inbox/b.jpg").unlink()
    assert keep_up(opened)
    assert wholes.times == 2
    assert kept(opened) == expected(opened)


# --- what else writes to the index ---


def test_what_a_run_has_seen_before_a_change_does_not_hide_the_change(opened: OpenInstallation, lab: Lab) -> None:
    keep_up(opened)
    old = [shot for shot in discover(opened.bucket, None) if shot.key == "a/one"]
    lab.put("inbox/a/one.jpg", jpeg(77))
    assert keep_up(opened)
    now = datetime.now(UTC)
    remember_begun(opened.ledger.index, old, now, simulated=True)
    remember_finished(opened.ledger.index, [Finished(old[0], Verdict.MADE)], now, simulated=True)

    assert "a/one" not in {shot.key for shot in opened.ledger.index.waiting()}
    assert keep_up(opened)
    assert "a/one" in {shot.key for shot in opened.ledger.index.waiting()}
    assert kept(opened) == expected(opened)


def test_what_a_run_has_seen_of_a_shot_that_is_gone_does_not_bring_it_back(opened: OpenInstallation, lab: Lab) -> None:
    keep_up(opened)
    old = [shot for shot in discover(opened.bucket, None) if shot.key == "b"]
    (lab.bucket / "inbox/b.jpg").unlink()
    keep_up(opened)
    remember_begun(opened.ledger.index, old, datetime.now(UTC), simulated=True)
    assert keep_up(opened)
    assert opened.ledger.index.load()["b"].gone_at is not None


# --- a tick's time ---


class SlowBucket(FolderBucket):
    """Its time is up after so many objects of each listing."""

    at_most = 4

    def list(self, prefix: str = "", start_after: str = "") -> Iterator[BucketObject]:
        for number, item in enumerate(super().list(prefix, start_after)):
            if number == self.at_most:
                raise OutOfTimeError
            yield item


@pytest.mark.parametrize("many", [1, 3, 1000])
def test_a_listing_that_takes_several_ticks_is_gone_on_with_and_comes_to_its_end(
    opened: OpenInstallation, lab: Lab, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(upkeep, "MANY", many)
    lab.put_shots([f"c/{number:02}" for number in range(10)])
    slow = replace(opened, bucket=SlowBucket(Path(opened.bucket.url)))

    def finish() -> int:
        for tick in range(1, 10):
            if keep_up(slow):
                return tick
        raise AssertionError("it never ends")

    assert finish() == 4
    assert kept(opened) == expected(opened)
    lab.put("inbox/c/03.jpg", jpeg(99))
    (lab.bucket / "inbox/a/one.jpg").unlink()
    assert finish() == 4
    assert kept(opened) == expected(opened)


def test_what_was_listed_when_the_time_was_up_is_not_listed_again(
    opened: OpenInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patched:

        def no_time(*given: object) -> object:
            raise OutOfTimeError

        patched.setattr(OpenInstallation, "discover_whole", no_time)
        assert not keep_up(opened)
    listed = Called()
    monkeypatch.setattr(FolderBucket, "list", listed)
    assert keep_up(opened)
    assert listed.times == 0
    assert set(kept(opened)) == {"a/one", "a/two", "b"}


def test_a_listing_out_of_order_is_told_and_nothing_is_taken_for_gone(
    opened: OpenInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_up(opened)
    before = kept(opened)
    objects = list(opened.bucket.list("inbox/"))

    def backwards(*given: object) -> Iterator[BucketObject]:
        return iter(objects[::-1])

    monkeypatch.setattr(FolderBucket, "list", backwards)
    with pytest.raises(Exception, match="not listed in the order of its keys"):
        keep_up(opened)
    assert kept(opened) == before


# --- whom it serves ---


def test_a_run_lists_only_what_concerns_its_shots_while_the_index_is_fresh(
    opened: OpenInstallation, wholes: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [shot.key for shot in opened.discover_some(["b", "none"])] == ["b"]
    assert wholes.times == 1, "nobody has listed it yet"
    keep_up(opened)
    times = wholes.times
    assert [shot.key for shot in opened.discover_some(["a/one", "b"])] == ["a/one", "b"]
    assert wholes.times == times
    monkeypatch.setattr(installation, "KNOWN_FOR", type(installation.KNOWN_FOR)(0))
    assert [shot.key for shot in opened.discover_some(["b"])] == ["b"]
    assert wholes.times == times + 1


def test_a_named_image_is_no_shot_for_a_run_that_lists_little(opened: OpenInstallation, lab: Lab) -> None:
    lab.put("inbox/far/group.yaml", "inputs: {first_frame: ../b.jpg}")
    keep_up(opened)
    assert opened.discover_some(["b"]) == []


def test_few_beginnings_give_what_the_listing_has_of_them(opened: OpenInstallation) -> None:
    whole = [item for item in opened.bucket.list("inbox/") if item.key.startswith(("inbox/a/", "inbox/b."))]
    assert siblings(opened.bucket, ["inbox/a/", "inbox/b.", "inbox/b.j", "no/such"], 10) == whole
