"""What a bucket on S3 promises beyond the contract: presigned URLs, errors that say what to set, nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from s3fs import S3FileSystem

from wan_pipeline.bucket import Bucket, BucketError, S3Bucket, open_bucket
from wan_pipeline.bucket.s3_writing import SLOTS
from wan_pipeline_tests.services.s3 import S3Server


@pytest.fixture(params=["moto", "rgw"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    return _use(request.getfixturevalue(f"{request.param}_server"), monkeypatch)


@pytest.fixture
def rgw(rgw_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    return _use(rgw_server, monkeypatch)


@pytest.fixture
def moto(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    return _use(moto_server, monkeypatch)


def _use(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server


def _keys(bucket: Bucket, prefix: str = "") -> list[str]:
    return [each.key for each in bucket.list(prefix)]


def test_a_folders_marker_is_no_object(server: S3Server) -> None:
    name = server.make_bucket()
    for key in ("inbox/", "inbox/spring/", "inbox/cat.png", ".wan-tmp/x"):
        server.client().put_object(Bucket=name, Key=key, Body=b"")
    bucket = open_bucket(f"s3://{name}")
    assert _keys(bucket) == ["inbox/cat.png"]
    assert not bucket.exists("inbox/") and not bucket.exists("inbox")


def test_the_prefix_is_a_folder_of_its_own(server: S3Server) -> None:
    name = server.make_bucket()
    one, other, whole = (open_bucket(f"s3://{name}{path}") for path in ("/a", "/ab/", ""))
    one.write("x", b"1", "text/plain")
    other.write("x", b"2", "text/plain")
    assert _keys(one) == _keys(other) == ["x"]
    assert _keys(whole) == ["a/x", "ab/x"]
    assert one.read("x") == b"1"
    one.copy("x", "y")
    assert _keys(other) == ["x"]
    assert (one.url, other.url, whole.url) == (f"s3://{name}/a", f"s3://{name}/ab", f"s3://{name}")


def test_all_pages_of_a_listing_come(moto: S3Server) -> None:
    name = moto.make_bucket()
    keys = [f"p/{number:05}" for number in range(1103)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: moto.client().put_object(Bucket=name, Key=key, Body=b""), keys))
    assert _keys(open_bucket(f"s3://{name}"), "p/") == keys


@pytest.mark.parametrize("key", ["inbox/a b+c%20#?.png", "ü/猫&=.png", "plain"])
def test_anybody_gets_the_object_by_its_presigned_url(server: S3Server, key: str) -> None:
    bucket = open_bucket(f"s3://{server.make_bucket()}/pre fix")
    bucket.write(key, b"0123456789", "image/png")
    url = bucket.fetch_url(key, 60)
    assert url is not None and "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url and "testsecret" not in url
    answer = httpx.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"0123456789", "image/png")
    part = httpx.get(url, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")


def test_a_presigned_url_is_for_one_object_and_for_reading(rgw: S3Server) -> None:
    bucket = open_bucket(f"s3://{rgw.make_bucket()}")
    for key in ("one", "two"):
        bucket.write(key, key.encode(), "text/plain")
    url = bucket.fetch_url("one", 60)
    assert url is not None
    assert httpx.get(url).text == "one"
    assert httpx.get(url.replace("/one?", "/two?")).status_code == 403
    assert httpx.get(url.replace("Expires=60", "Expires=6000")).status_code == 403
    assert httpx.get(url.partition("?")[0]).status_code == 403
    assert httpx.put(url, content=b"x").status_code == 403
    assert bucket.read("one") == b"one"


def test_a_presigned_url_ends(rgw: S3Server) -> None:
    bucket = open_bucket(f"s3://{rgw.make_bucket()}")
    bucket.write("x", b"x", "text/plain")
    url = bucket.fetch_url("x", 1)
    assert url is not None
    give_up = time.monotonic() + 20
    while (status := httpx.get(url).status_code) == 200 and time.monotonic() < give_up:
        time.sleep(0.2)
    assert status == 403


def test_a_presigned_url_lasts_no_longer_than_sigv4_allows(moto: S3Server) -> None:
    bucket = open_bucket(f"s3://{moto.make_bucket()}")
    for seconds in (0, 7 * 24 * 3600 + 1):
        with pytest.raises(ValueError, match="lasts 1 to 604800 s"):
            bucket.fetch_url("x", seconds)


def test_the_content_type_is_kept(server: S3Server) -> None:
    name = server.make_bucket()
    bucket = open_bucket(f"s3://{name}")
    bucket.write("small", b"x", "image/webp")
    with bucket.writer("large", "video/mp4") as writer:
        writer.write(b"x" * 9_000_000)
    bucket.copy("large", "copy")
    for key, kind in [("small", "image/webp"), ("large", "video/mp4"), ("copy", "video/mp4")]:
        assert server.client().head_object(Bucket=name, Key=key)["ContentType"] == kind


# --- errors that say what to do ---


def _error(action) -> str:
    with pytest.raises(BucketError) as error:
        action()
    text = str(error.value)
    for secret in ("testsecret", "guestsecret", "notthesecret", "Signature="):
        assert secret not in text
    return text


def test_a_missing_bucket_is_told_from_a_missing_object(server: S3Server) -> None:
    bucket = open_bucket("s3://no-such-bucket-here/x")
    for action in (bucket.check, lambda: bucket.stat("x"), lambda: bucket.exists("x"), lambda: bucket.read("x")):
        text = _error(action)
        assert f"there is no bucket 'no-such-bucket-here' at {server.endpoint_url}" in text
        assert "WAN_BUCKET_URL" in text
    for action in (lambda: next(bucket.list()), lambda: bucket.write("x", b"", "a/b"), lambda: bucket.copy("x", "y")):
        assert "there is no bucket" in _error(action)


def test_wrong_keys_are_said_to_be_wrong(rgw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = rgw.make_bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "notthesecret")
    assert "AWS_SECRET_ACCESS_KEY" in _error(open_bucket(f"s3://{name}").check)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unknownkey")
    assert "correct AWS_ACCESS_KEY_ID" in _error(open_bucket(f"s3://{name}").check)
    assert "AWS_ACCESS_KEY_ID" in _error(lambda: open_bucket(f"s3://{name}").stat("x"))  # a HEAD says nothing but 403


def test_keys_without_the_right_are_found_by_the_check(rgw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = rgw.make_bucket()
    rgw.client().put_object(Bucket=name, Key="inbox/x", Body=b"x")
    assert rgw.guest is not None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.guest[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.guest[1])
    assert "Allow these keys to list, read and write" in _error(open_bucket(f"s3://{name}").check)
    rgw.client().put_bucket_acl(Bucket=name, ACL="public-read")  # lists, but reads no object and does not write
    assert "Allow these keys" in _error(open_bucket(f"s3://{name}").check)
    rgw.client().put_object_acl(Bucket=name, Key="inbox/x", ACL="public-read")
    reader = open_bucket(f"s3://{name}")
    assert reader.read("inbox/x") == b"x"
    assert "Allow these keys" in _error(reader.check)  # cannot write
    assert "Allow these keys" in _error(lambda: reader.write("y", b"", "text/plain"))
    rgw.client().put_bucket_acl(Bucket=name, ACL="public-read-write")
    reader.check()


def test_no_server_no_keys_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert "there are no keys for S3. Set AWS_ACCESS_KEY_ID" in _error(open_bucket("s3://bucket").check)
    assert "there are no keys for S3" in _error(lambda: open_bucket("s3://bucket").fetch_url("x", 60))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testkey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
    text = _error(open_bucket("s3://bucket").check)
    assert "no answer from S3 at http://127.0.0.1:1" in text and "AWS_ENDPOINT_URL_S3" in text
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "AWS_PROFILE" in _error(open_bucket("s3://bucket").check)


# --- processes ---


def _read_in_child(bucket: S3Bucket, answers) -> None:
    answers.put(bucket.read("x"))


def test_a_bucket_outlives_a_fork(moto: S3Server) -> None:
    """s3fs' loop and its thread do not: the child connects anew."""
    bucket = open_bucket(f"s3://{moto.make_bucket()}")
    bucket.write("x", b"x", "text/plain")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_read_in_child, args=(bucket, answers))
    child.start()
    assert answers.get(timeout=30) == b"x"
    child.join(30)
    assert child.exitcode == 0
    assert bucket.read("x") == b"x"


_SLOW_WRITER = """
import sys, time
from wan_pipeline.bucket import open_bucket
with open_bucket(sys.argv[1]).writer("videos/a.mp4", "video/mp4") as writer:
    writer.write(b"x" * 9_000_000)
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_leaves_is_never_seen(server: S3Server) -> None:
    url = f"s3://{server.make_bucket()}"
    command = [sys.executable, "-c", _SLOW_WRITER, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    bucket = open_bucket(url)
    assert _keys(bucket) == [] and not bucket.exists("videos/a.mp4")
    bucket.write("videos/a.mp4", b"again", "video/mp4")
    assert bucket.read("videos/a.mp4") == b"again"


def test_a_publication_whose_answer_was_lost_counts(rgw: S3Server) -> None:
    """The call is repeated by s3fs, and the repetition finds no upload."""
    name = rgw.make_bucket()
    client = rgw.client()
    bucket = open_bucket(f"s3://{name}")

    def upload() -> dict[str, str]:
        (found,) = client.list_multipart_uploads(Bucket=name)["Uploads"]
        return {"Bucket": name, "Key": found["Key"], "UploadId": found["UploadId"]}

    with bucket.writer("x", "video/mp4") as writer:
        writer.write(b"x" * 8_500_000)
        first = upload()
        tail = client.upload_part(**first, PartNumber=2, Body=b"x" * (8_500_000 - (8 << 20)))["ETag"]
        parts = [*client.list_parts(**first)["Parts"]]
        assert tail == parts[1]["ETag"]
        listed = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
        # the writer's own last part goes to the same number; then the upload is completed before it asks for that
        complete = client.complete_multipart_upload
        bucket_call = bucket._call  # type: ignore[attr-defined]

        def answer_lost(method, key=None, **arguments):
            if method == "complete_multipart_upload":
                complete(**first, MultipartUpload={"Parts": listed})
            return bucket_call(method, key, **arguments)

        bucket._call = answer_lost  # type: ignore[attr-defined]
    assert bucket.stat("x").size_bytes == 8_500_000

    bucket = open_bucket(f"s3://{name}")
    with pytest.raises(BucketError, match="NoSuchUpload"):
        with bucket.writer("y", "video/mp4") as writer:
            writer.write(b"x" * 8_500_000)
            client.abort_multipart_upload(**upload())
    assert not bucket.exists("y")


def test_so_many_bodies_are_on_their_way_at_once_and_no_more(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is in memory meanwhile: however many objects are written, and however large they are."""
    bucket = open_bucket(f"s3://{moto.make_bucket()}")
    bucket.write("first", b"", "text/plain")
    calls = S3FileSystem._call_s3  # type: ignore[attr-defined]
    now = most = 0

    async def counted(self, method, *arguments, **named):
        nonlocal now, most
        now += "Body" in named
        most = max(most, now)
        try:
            return await calls(self, method, *arguments, **named)
        finally:
            now -= "Body" in named

    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    data = bytes(17_000_000)

    def write(number: int) -> None:
        with ExitStack() as stack, bucket.writer(f"x{number}", "video/mp4") as writer:
            stack.enter_context(writer.landed())
            writer.write(data)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert {each.size_bytes for each in bucket.list("x")} == {17_000_000}
    assert 1 < most <= SLOTS


_MEASURE = """
import resource, sys
from wan_pipeline.bucket import open_bucket
bucket = open_bucket(sys.argv[1])
def write(megabytes):
    with bucket.writer("x", "video/mp4") as writer:
        for _ in range(megabytes):
            writer.write(bytes(1_000_000))
    with bucket.open("x") as stream:
        while stream.read(1_000_000):
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = write(40)
print(write(100) - before)
"""


@pytest.mark.parametrize("kind", ["folder", "moto"])
def test_memory_does_not_grow_with_the_size(kind: str, request: pytest.FixtureRequest, tmp_path) -> None:
    environment, url = dict(os.environ), str(tmp_path / "bucket")
    if kind == "moto":
        server: S3Server = request.getfixturevalue("moto_server")
        environment |= server.environment()
        url = f"s3://{server.make_bucket()}"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, url], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000, f"{done.stdout} KB more for 60 MB more"
