"""What the folder's server gives: the bucket's objects, read-only, and nothing else. Over a real connection."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import uvicorn

from wan_pipeline.bucket import FolderBucket
from wan_pipeline.bucket_server import bucket_app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bucket = FolderBucket(tmp_path / "bucket")
    bucket.write("inbox/a b+ü#?%.png", b"0123456789", "image/png")
    bucket.write("videos/x/take-1.mp4", b"mp4" * 100, "video/mp4")
    bucket.write("videos/x/take-1.webp", b"webp", "image/webp")
    bucket.write("inbox/page.html", b"<script>alert(1)</script>", "text/html")
    bucket.write("inbox/evil.svg", b"<svg/>", "image/svg+xml")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "bucket" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "bucket" / ".wan-tmp").mkdir(exist_ok=True)
    (tmp_path / "bucket" / ".wan-tmp" / "x.part").write_text("secret")
    return tmp_path / "bucket"


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(bucket_app(folder), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_an_object_is_where_the_public_base_url_says(served: str, folder: Path) -> None:
    key = "inbox/a b+ü#?%.png"
    url = FolderBucket(folder, served).fetch_url(key, 60)
    assert url is not None
    answer = httpx.get(url)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"0123456789", "image/png")
    head = httpx.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")


def test_kinds_are_told_by_the_ending(served: str) -> None:
    assert httpx.get(f"{served}/videos/x/take-1.mp4").headers["content-type"] == "video/mp4"
    assert httpx.get(f"{served}/videos/x/take-1.webp").headers["content-type"] == "image/webp"


def test_ranges_as_players_ask_for_them(served: str) -> None:
    url = f"{served}/inbox/{quote('a b+ü#?%.png')}"
    for asked, expected, shown in [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ]:
        answer = httpx.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, expected, shown)
    assert httpx.get(url, headers={"Range": "bytes=20-"}).status_code == 416


def test_an_unchanged_object_is_not_sent_again(served: str, folder: Path) -> None:
    url = f"{served}/videos/x/take-1.webp"
    etag = httpx.get(url).headers["etag"]
    assert httpx.get(url, headers={"If-None-Match": etag}).status_code == 304
    FolderBucket(folder).write("videos/x/take-1.webp", b"another", "image/webp")
    assert httpx.get(url, headers={"If-None-Match": etag}).content == b"another"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/inbox",
        "/inbox/",
        "/nothing",
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/inbox/../../secret",
        "/inbox/%2e%2e/%2e%2e/secret",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/link",
        "/.wan-tmp/x.part",
        "/%00",
        "/inbox/..",
        "/%ff",
    ],
)
def test_nothing_else_is_to_be_had(served: str, path: str) -> None:
    connection = http.client.HTTPConnection(served.removeprefix("http://"), timeout=10)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)  # as it is, not tidied by a client
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert answer.status == 404
    assert b"secret" not in body and b"png" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(served: str, folder: Path, method: str) -> None:
    before = {each.key: each.etag for each in FolderBucket(folder).list()}
    assert (
        httpx.request(method, f"{served}/inbox/page.html", content=b"x" if method != "DELETE" else None).status_code
        == 405
    )
    assert {each.key: each.etag for each in FolderBucket(folder).list()} == before


def test_what_lies_in_the_bucket_runs_no_scripts(served: str) -> None:
    for name in ("page.html", "evil.svg"):
        answer = httpx.get(f"{served}/inbox/{name}")
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_it_serves_in_process_too(folder: Path) -> None:
    """As demo mode's simulator fetches its inputs."""
    import asyncio

    async def get() -> bytes:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(bucket_app(folder))) as client:
            return (await client.get("http://bucket.invalid/videos/x/take-1.webp")).content

    assert asyncio.run(get()) == b"webp"
