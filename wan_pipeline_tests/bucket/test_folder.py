"""What a bucket in a folder promises beyond the contract: nothing outside is in it, and publishing lasts."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wan_pipeline.bucket import BucketError, FolderBucket, ObjectNotFoundError, open_bucket
from wan_pipeline.problems import ConfigurationError


def _keys(bucket: FolderBucket, prefix: str = "") -> list[str]:
    return [each.key for each in bucket.list(prefix)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


def test_what_lies_outside_is_not_in_the_bucket(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (tmp_path / "bucket-beside").write_text("s")  # a sibling whose name begins alike
    bucket = FolderBucket(folder)
    (folder / "file").symlink_to(outside / "secret")
    (folder / "folder").symlink_to(outside)
    (folder / "up").symlink_to("..")
    (folder / "sibling").symlink_to(tmp_path / "bucket-beside")
    assert _keys(bucket) == []
    for key in (
        "file",
        "folder/secret",
        "up/outside/secret",
        "../outside/secret",
        "folder/../../outside/secret",
        "sibling",
    ):
        assert not bucket.exists(key)
        with pytest.raises(ObjectNotFoundError):
            bucket.read(key)
    assert _keys(bucket, "folder/") == []
    with pytest.raises(BucketError, match="Links to folders are not followed"):
        bucket.write("folder/new", b"x", "text/plain")
    with pytest.raises(BucketError, match="Links to folders are not followed"):
        bucket.write("folder/deep/new", b"x", "text/plain")
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_writing_over_a_link_replaces_the_link(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("old")
    (folder / "x").symlink_to(victim)
    FolderBucket(folder).write("x", b"new", "text/plain")
    assert victim.read_text() == "old"
    assert (folder / "x").read_bytes() == b"new" and not (folder / "x").is_symlink()


def test_a_link_to_a_file_inside_is_an_object(folder: Path) -> None:
    bucket = FolderBucket(folder)
    bucket.write("a/real", b"12", "text/plain")
    (folder / "link").symlink_to("a/real")
    assert [(each.key, each.size_bytes) for each in bucket.list()] == [("a/real", 2), ("link", 2)]
    assert bucket.read("link") == b"12"


def test_links_in_a_circle_and_to_nothing_harm_nobody(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    (folder / "gone").symlink_to("nothing")
    (folder / "here").symlink_to(".")
    bucket = FolderBucket(folder)
    assert _keys(bucket) == []
    assert not any(bucket.exists(key) for key in ("one", "gone", "here", "here/one"))


def test_only_regular_files_are_objects(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "empty folder").mkdir()
    bucket = FolderBucket(folder)
    assert _keys(bucket) == []
    with pytest.raises(ObjectNotFoundError):
        bucket.open("pipe")  # would wait for ever


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    bucket = FolderBucket(tmp_path / "link")
    bucket.write("a/x", b"x", "text/plain")
    assert _keys(bucket) == ["a/x"]
    assert (folder / "a/x").exists()


def test_a_name_that_is_no_text_is_left_out_and_told_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / os.fsdecode(b"bad\xff.png")).write_text("x")
    bucket = FolderBucket(folder)
    bucket.write("good.png", b"x", "image/png")
    with caplog.at_level(logging.WARNING):
        assert _keys(bucket) == ["good.png"]
        assert _keys(bucket) == ["good.png"]
    assert [record.message for record in caplog.records if "is left out of the listing" in record.message] == [
        f"{folder}: 'bad\\udcff.png' is left out of the listing: it is no valid Unicode text. Rename it."
    ]


def test_a_missing_folder_is_empty_until_it_is_written_to_and_the_check_says_so(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path / "a" / "b")
    assert _keys(bucket) == [] and not bucket.exists("x")
    with pytest.raises(
        BucketError, match=r"does not exist. Make it \(mkdir -p\), or correct the setting WAN_BUCKET_URL"
    ):
        bucket.check()
    bucket.write("inbox/x", b"x", "text/plain")
    bucket.check()
    assert _keys(bucket) == ["inbox/x"]


def test_the_check_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BucketError, match="is no folder"):
        FolderBucket(tmp_path / "file").check()
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / ".wan-tmp").write_text("in the way")
    with pytest.raises(BucketError, match="cannot be read and written: File exists"):
        FolderBucket(tmp_path / "bucket").check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_the_check_finds_a_folder_that_cannot_be_written(folder: Path) -> None:
    folder.chmod(0o500)
    with pytest.raises(BucketError, match="Give this user the right"):
        FolderBucket(folder).check()


def test_a_file_and_a_folder_cannot_have_one_name(folder: Path) -> None:
    bucket = FolderBucket(folder)
    bucket.write("a/b", b"x", "text/plain")
    for key in ("a", "a/b/c"):
        with pytest.raises(BucketError, match=r"cannot be written.*choose another"):
            bucket.write(key, b"x", "text/plain")
    assert _keys(bucket) == ["a/b"]
    assert list((folder / ".wan-tmp").iterdir()) == []


def test_what_is_published_is_on_the_disk_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, then name, then the folder that holds the name, also of new folders: or a power cut shows an empty file."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(handle: int) -> None:
        what = os.fstat(handle)
        done.append("folder" if stat.S_ISDIR(what.st_mode) else f"file of {what.st_size}")
        fsync(handle)

    def spy_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    FolderBucket(folder).write("new/deep/x", b"12345", "text/plain")
    assert done == ["folder", "folder", "file of 5", "rename", "folder"]


def test_others_may_read_what_was_written(folder: Path) -> None:
    """By the umask, as with any file: the web server may be another user."""
    old = os.umask(0o022)
    try:
        FolderBucket(folder).write("x", b"x", "text/plain")
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "x").stat().st_mode) == 0o644


_SLOW_WRITER = """
import sys, time
from pathlib import Path
from wan_pipeline.bucket import FolderBucket
with FolderBucket(Path(sys.argv[1])).writer("videos/a.mp4", "video/mp4") as writer:
    writer.write(b"x" * 100_000)
    print("writing", flush=True)
    time.sleep(60)
"""


@contextmanager
def _writing_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", _SLOW_WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        yield process
    finally:
        process.kill()
        process.wait()


def _make_old(folder: Path) -> list[Path]:
    parts = list((folder / ".wan-tmp").iterdir())
    for path in parts:
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    return parts


def test_what_a_killed_writer_leaves_is_never_seen_and_is_swept(folder: Path) -> None:
    with _writing_process(folder) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    bucket = FolderBucket(folder)
    assert _keys(bucket) == [] and not bucket.exists("videos/a.mp4")
    (left,) = _make_old(folder)
    assert not bucket.exists(f".wan-tmp/{left.name}") and _keys(bucket, ".wan-tmp/") == []
    bucket.write("x", b"x", "text/plain")
    assert not left.exists()
    assert _keys(bucket) == ["x"]


def test_a_slow_writers_file_is_not_swept(folder: Path) -> None:
    """However old: its writer lives, and holds it locked."""
    with _writing_process(folder):
        (part,) = _make_old(folder)
        FolderBucket(folder).write("x", b"x", "text/plain")
        FolderBucket(folder).check()
        assert part.exists()


def test_listing_goes_no_further_than_it_is_asked(folder: Path) -> None:
    bucket = FolderBucket(folder)
    for key in ("a/1", "b/1"):
        bucket.write(key, b"x", "text/plain")
    listing = bucket.list()
    assert next(listing).key == "a/1"
    bucket.write("b/0", b"x", "text/plain")  # behind the place where the listing stands
    assert [each.key for each in listing] == ["b/0", "b/1"]


def test_a_file_that_vanishes_during_the_listing_is_not_an_error(folder: Path) -> None:
    bucket = FolderBucket(folder)
    for key in ("a/1", "a/2", "b/1", "c"):
        bucket.write(key, b"x", "text/plain")
    listing = bucket.list()
    next(listing)
    (folder / "a/2").unlink()
    (folder / "b/1").unlink()
    (folder / "b").rmdir()
    assert [each.key for each in listing] == ["c"]


def test_there_is_no_url_to_fetch_from_without_a_public_one(folder: Path) -> None:
    assert FolderBucket(folder).fetch_url("x", 60) is None


def test_a_bucket_is_opened_by_path_and_by_url(tmp_path: Path) -> None:
    place = tmp_path / "a b#c%20"
    FolderBucket(place).write("x", b"x", "text/plain")
    for url in (str(place), place.as_uri(), place.as_uri().replace("file://", "file://localhost")):
        assert open_bucket(url).read("x") == b"x"


@pytest.mark.parametrize(
    "url", ["", "  ", "gs://user:secret@b/x", "http://h/?token=secret", "file://host/x", "file://", "s3://", "s3:///x"]
)
def test_what_is_no_bucket_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError, match="WAN_BUCKET_URL") as error:
        open_bucket(url)
    assert "secret" not in str(error.value)
