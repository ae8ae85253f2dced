"""What holds for every kind of bucket: a folder, moto's S3 and Ceph's."""

from __future__ import annotations

import asyncio
import io
import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from wan_pipeline.bucket import Bucket, BucketError, ObjectNotFoundError
from wan_pipeline_tests.bucket.conftest import Ground

ODD_KEYS = [
    "inbox/a b.png",
    "inbox/a+b.png",
    "inbox/100%.png",
    "inbox/%41.png",
    "inbox/a#b.png",
    "inbox/a?b.png",
    "inbox/a?versionId=3",
    "inbox/a&b=c;d.png",
    "inbox/'quoted' \"twice\" (and) [more] {so} <on>.png",
    "inbox/größe 猫 🐈.png",
    "inbox/nu\u0308.png",  # decomposed, and composed: two keys
    "inbox/n\u00fc.png",
    "inbox/back\\slash.png",
    "inbox/*.png",
    "inbox/~tilde.png",
    "inbox/ leading and trailing ",
    "inbox/.hidden",
    "inbox/a,b...c.png",
    "-dash",
    "x",
    "a:b|c^d`e",
]


def _fill(bucket: Bucket, keys: list[str]) -> None:
    for key in keys:
        bucket.write(key, key.encode(), "text/plain")


def _keys(bucket: Bucket, prefix: str = "") -> list[str]:
    return [each.key for each in bucket.list(prefix)]


def test_any_key_can_be_written_found_and_read(bucket: Bucket) -> None:
    for key in ODD_KEYS:
        bucket.write(key, key.encode(), "image/png")
        assert _keys(bucket, key) == [key]
    assert _keys(bucket) == sorted(ODD_KEYS, key=str.encode)
    for key in ODD_KEYS:
        assert bucket.read(key) == key.encode()
        assert bucket.exists(key)
        assert bucket.stat(key).key == key
        with bucket.open(key) as stream:
            assert stream.read() == key.encode()
        bucket.copy(key, "copies/" + key)
        assert bucket.read("copies/" + key) == key.encode()


def test_a_listing_is_in_the_order_of_the_bytes(bucket: Bucket) -> None:
    keys = [
        *ODD_KEYS,
        "a/b",
        "a-b",
        "a.b",
        "a0",
        "a/b/c/d",
        "a/c",
        "A",
        "Ω/x",
        "Ω-",
        "\U0001f408",
        "\uffee",
        "é/1",
        "e",
    ]
    keys = [key for key in keys if key not in ("a/b",)]  # "a/b/c/d" makes it a folder
    random.Random(3).shuffle(keys)
    _fill(bucket, keys)
    assert _keys(bucket) == sorted(keys, key=lambda key: key.encode())


def test_a_prefix_is_of_the_key_not_of_the_folder(bucket: Bucket) -> None:
    _fill(bucket, ["inbox/cat.png", "inbox/cat/one.png", "inbox/catalog/x.png", "inbox/dog.png", "inboxes/y", "a"])
    assert _keys(bucket, "inbox/") == ["inbox/cat.png", "inbox/cat/one.png", "inbox/catalog/x.png", "inbox/dog.png"]
    assert _keys(bucket, "inbox/cat") == ["inbox/cat.png", "inbox/cat/one.png", "inbox/catalog/x.png"]
    assert _keys(bucket, "inbox/cat/") == ["inbox/cat/one.png"]
    assert _keys(bucket, "inbox") == [*_keys(bucket, "inbox/"), "inboxes/y"]
    for none in ("nothing/", "inbox/cat.png/", "../", "inbox/../", "/", "inbox//"):
        assert _keys(bucket, none) == []


def test_what_the_listing_says_is_what_stat_says(ground: Ground) -> None:
    written = ground.bucket.write("a/b.png", b"12345", "image/png")
    listed = next(ground.bucket.list())
    assert written == ground.bucket.stat("a/b.png")
    assert (listed.key, listed.size_bytes, listed.etag) == ("a/b.png", 5, written.etag)
    assert abs(listed.modified_at - written.modified_at) < timedelta(seconds=1)  # a HEAD may leave the milliseconds out
    for moment in (listed.modified_at, written.modified_at):
        assert moment.tzinfo is UTC
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def test_the_etag_changes_with_the_content(bucket: Bucket) -> None:
    first = bucket.write("x", b"one", "text/plain").etag
    second = bucket.write("x", b"two", "text/plain").etag
    assert first != second


def test_the_present_state_is_always_seen(ground: Ground) -> None:
    """s3fs caches listings; what somebody else has just written must be there."""
    ours, theirs = ground.bucket, ground.beside()
    ours.write("a/1", b"1", "text/plain")
    assert _keys(ours, "a/") == ["a/1"]
    assert not ours.exists("a/2")
    theirs.write("a/2", b"2", "text/plain")
    theirs.write("a/1", b"new", "text/plain")
    assert _keys(ours, "a/") == ["a/1", "a/2"]
    assert ours.exists("a/2")
    assert ours.read("a/1") == b"new"
    assert [each.size_bytes for each in ours.list("a/")] == [3, 1]


def test_a_missing_object_is_said_to_be_missing(bucket: Bucket) -> None:
    bucket.write("there/is", b"x", "text/plain")
    for key in (
        "nix",
        "there",
        "there/",
        "there/is/not",
        "",
        "/there/is",
        "there//is",
        "../x",
        ".wan-tmp/x",
        "n" * 300,
    ):
        assert not bucket.exists(key)
        for action in (bucket.stat, bucket.read, bucket.open, lambda key: bucket.copy(key, "target")):
            with pytest.raises(ObjectNotFoundError, match="Upload it, or correct the name"):
                action(key)
    assert _keys(bucket) == ["there/is"]


def test_a_key_that_could_not_be_everywhere_is_not_written_anywhere(ground: Ground) -> None:
    bucket = ground.bucket
    for key in (
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "./a",
        "a/.",
        "a\0b",
        "a\ud800",
        ".wan-tmp/x",
        "a/" + "b" * 256,
    ):
        for action in (
            lambda: bucket.write(key, b"x", "text/plain"),  # noqa: B023
            lambda: bucket.copy("source", key),  # noqa: B023
            lambda: bucket.writer(key, "text/plain").__enter__(),  # noqa: B023
        ):
            with pytest.raises(BucketError, match="cannot be written"):
                action()
    assert _keys(bucket) == []
    assert ground.remnants() == []


def test_ranges(bucket: Bucket) -> None:
    data = bytes(range(256)) * 40
    bucket.write("x", data, "application/octet-stream")
    for start, length in [
        (0, None),
        (0, 0),
        (0, 1),
        (5, 10),
        (10_000, 1000),
        (10_239, 1),
        (10_240, 5),
        (99_999, None),
        (3, None),
    ]:
        expected = data[start:] if length is None else data[start : start + length]
        assert bucket.read("x", start, length) == expected
    for start, length in [(-1, None), (0, -1)]:
        with pytest.raises(ValueError, match="range"):
            bucket.read("x", start, length)


def test_an_empty_object(bucket: Bucket) -> None:
    bucket.write("empty", b"", "text/plain")
    assert bucket.stat("empty").size_bytes == 0
    assert bucket.read("empty") == bucket.read("empty", 0, 10) == bucket.read("empty", 5) == b""
    with bucket.open("empty") as stream:
        assert stream.read() == b""
    assert _keys(bucket) == ["empty"]


def test_an_opened_object_reads_like_a_file(bucket: Bucket) -> None:
    data = random.Random(5).randbytes(1_500_000)
    bucket.write("x", data, "application/octet-stream")
    same = io.BytesIO(data)
    rng = random.Random(7)
    with bucket.open("x") as stream:
        assert stream.seekable() and stream.readable() and not stream.writable()
        for _ in range(60):
            whence = rng.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
            offset = {
                os.SEEK_SET: rng.randrange(1_600_000),
                os.SEEK_CUR: rng.randrange(0, 1000),
                os.SEEK_END: -rng.randrange(1_500_000),
            }[whence]
            assert stream.seek(offset, whence) == same.seek(offset, whence)
            size = rng.choice([0, 1, 10, 5_000, 300_000])
            assert stream.read(size) == same.read(size)
            assert stream.tell() == same.tell()
        stream.seek(0)
        assert b"".join(iter(lambda: stream.read(65_536), b"")) == data


def test_an_opened_object_gives_one_version_or_an_error(ground: Ground) -> None:
    """Never the head of one and the tail of another."""
    old, new = b"a" * 1_000_000, b"b" * 1_000_000
    ground.bucket.write("x", old, "application/octet-stream")
    with ground.bucket.open("x") as stream:
        head = stream.read(10)
        ground.beside().write("x", new, "application/octet-stream")
        try:
            tail = stream.read()
        except BucketError as error:
            assert "was changed while it was being read" in str(error)
        else:
            assert head + tail == old


def test_nothing_shows_before_the_writer_ends(ground: Ground) -> None:
    piece = random.Random(1).randbytes(6_000_000)
    beside = ground.beside()
    with ground.bucket.writer("videos/a.mp4", "video/mp4") as writer:
        for _ in range(3):  # three parts on S3
            assert writer.write(piece) == len(piece)
            assert _keys(beside) == []
            assert not beside.exists("videos/a.mp4")
        assert writer.size_bytes == 18_000_000
    assert ground.bucket.stat("videos/a.mp4").size_bytes == 18_000_000
    assert ground.bucket.read("videos/a.mp4") == piece * 3
    assert ground.remnants() == []


def test_the_old_content_stays_until_the_new_one_is_whole(ground: Ground) -> None:
    ground.bucket.write("x", b"old", "text/plain")
    with ground.bucket.writer("x", "text/plain") as writer:
        writer.write(b"n" * 9_000_000)
        assert ground.beside().read("x") == b"old"
    assert ground.bucket.stat("x").size_bytes == 9_000_000


def test_an_exception_leaves_nothing(ground: Ground) -> None:
    """Any exception: those that stop a run are no `Exception`."""
    for error, size in [
        (ValueError, 0),
        (SystemExit, 10),
        (asyncio.CancelledError, 9_000_000),
        (KeyboardInterrupt, 10_000_000),
    ]:
        with pytest.raises(error):
            with ground.bucket.writer("videos/a.mp4", "video/mp4") as writer:
                writer.write(b"x" * size)
                raise error
        assert _keys(ground.bucket) == []
        assert ground.remnants() == []


def test_the_borders_of_the_parts(bucket: Bucket) -> None:
    part = 8 << 20
    for total in (part - 1, part, part + 1, 2 * part):
        data = random.Random(total).randbytes(total)
        with bucket.writer("x", "video/mp4") as writer:
            for start in range(0, total, 5_234_567):
                writer.write(memoryview(data)[start : start + 5_234_567])
        assert bucket.read("x") == data


def test_what_is_written_can_be_read_back_before_it_is_published(ground: Ground) -> None:
    part = 8 << 20
    for total in (0, 3, part, part + 1, 2 * part + 1):
        data = random.Random(total).randbytes(total)
        with ExitStack() as stack, ground.bucket.writer("videos/a.mp4", "video/mp4") as writer:
            landed = stack.enter_context(writer.landed())
            for start in range(0, total, 1_234_567):
                writer.write(memoryview(data)[start : start + 1_234_567])
            assert ground.beside().exists("videos/a.mp4") == (total > 0), "that of the turn before, no more"
            landed.seek(0)
            assert landed.read() == data
            landed.seek(total // 2)
        assert ground.bucket.read("videos/a.mp4") == data
        assert ground.bucket.stat("videos/a.mp4").size_bytes == total
    assert ground.remnants() == []


def test_what_was_read_back_and_not_published_leaves_nothing(ground: Ground) -> None:
    for error, size in [(ValueError, 10), (asyncio.CancelledError, 9_000_000), (KeyboardInterrupt, 30_000_000)]:
        with pytest.raises(error):
            with ExitStack() as stack, ground.bucket.writer("videos/a.mp4", "video/mp4") as writer:
                landed = stack.enter_context(writer.landed())
                for start in range(0, size, 1_000_000):
                    writer.write(b"x" * min(1_000_000, size - start))
                landed.seek(0)
                assert len(landed.read()) == size
                raise error
        assert _keys(ground.bucket) == []
        assert ground.remnants() == []


def test_many_threads_share_one_bucket(bucket: Bucket) -> None:
    def work(number: int) -> bytes:
        key = f"t/{number}"
        bucket.write(key, key.encode(), "text/plain")
        bucket.copy(key, f"c/{number}")
        return bucket.read(f"c/{number}")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(32))) == [f"t/{number}".encode() for number in range(32)]
    assert len(_keys(bucket, "c/")) == 32


def test_it_works_from_event_loops_threads(bucket: Bucket) -> None:
    """As the engine calls it: from threads of a loop, and of another loop after that one is closed."""

    async def batch(number: int) -> list[bytes]:
        await asyncio.to_thread(bucket.write, f"{number}", b"x", "text/plain")
        return list(await asyncio.gather(*(asyncio.to_thread(bucket.read, f"{number}") for _ in range(8))))

    assert asyncio.run(batch(1)) == asyncio.run(batch(2)) == [b"x"] * 8


def test_copying_to_itself_changes_nothing(bucket: Bucket) -> None:
    bucket.write("x", b"x", "text/plain")
    bucket.copy("x", "x")
    assert bucket.read("x") == b"x"


def test_a_listing_begins_before_it_is_complete(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(ground.bucket, [f"p/{number:02}/x" for number in range(20)])
    listing = ground.bucket.list("p/")
    first = next(listing)
    assert first.key == "p/00/x"
    assert len(list(listing)) == 19


def test_the_check_passes_and_leaves_nothing(ground: Ground) -> None:
    if ground.folder is not None:
        ground.folder.mkdir()
    ground.bucket.write("inbox/x", b"x", "text/plain")
    ground.bucket.check()
    assert _keys(ground.bucket) == ["inbox/x"]
    assert ground.remnants() == []


def test_the_public_base_url_wins(ground: Ground) -> None:
    public = ground.beside("https://cdn.example/wan/")
    key = "inbox/a b+ü#?%.png"
    url = public.fetch_url(key, 60)
    assert url == "https://cdn.example/wan/inbox/a%20b%2B%C3%BC%23%3F%25.png"
    assert unquote(url) == f"https://cdn.example/wan/{key}"


def test_uris_name_the_object(ground: Ground) -> None:
    uri = ground.bucket.uri("videos/a b/take-1.mp4")
    if ground.folder is not None:
        assert uri == (ground.folder / "videos/a b/take-1.mp4").as_uri()
        assert uri.startswith("file:///") and " " not in uri
    else:
        assert uri == f"{ground.url}/videos/a b/take-1.mp4"


def test_nothing_shows_a_secret(ground: Ground) -> None:
    assert "testsecret" not in repr(ground.bucket) + ground.bucket.url
    with pytest.raises(BucketError) as error:
        ground.bucket.read("nix")
    assert "testsecret" not in str(error.value) and "Signature=" not in str(error.value)


def test_all_kinds_behave_as_one_under_random_use(ground: Ground) -> None:
    """Random operations against a dict."""
    rng = random.Random(11)
    model: dict[str, bytes] = {}
    names = ["a", "b c", "d/e", "d/f", "d/g/h", "ü/ß", "x+y", "d-e"]
    for _ in range(80):
        key, other = rng.choice(names), rng.choice(names)
        match rng.randrange(5):
            case 0:
                data = rng.randbytes(rng.choice([0, 3, 100]))
                ground.bucket.write(key, data, "text/plain")
                model[key] = data
            case 1 if key in model:
                ground.bucket.copy(key, other)
                model[other] = model[key]
            case 2:
                prefix = key[: rng.randrange(len(key) + 1)]
                expected = sorted((k for k in model if k.startswith(prefix)), key=str.encode)
                assert _keys(ground.bucket, prefix) == expected
            case 3:
                assert ground.bucket.exists(key) == (key in model)
            case _ if key in model:
                start, length = rng.randrange(5), rng.choice([None, 0, 2, 1000])
                whole = SimpleNamespace(data=model[key])
                expected_bytes = whole.data[start:] if length is None else whole.data[start : start + length]
                assert ground.bucket.read(key, start, length) == expected_bytes
            case _:
                assert not ground.bucket.exists(key)
    assert {each.key: each.size_bytes for each in ground.bucket.list()} == {k: len(v) for k, v in model.items()}
