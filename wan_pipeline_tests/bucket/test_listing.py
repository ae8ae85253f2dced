"""Listings in part, and read quickly: what is found is what the whole listing, and botocore's own reading, would show."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from wan_pipeline.bucket import Bucket
from wan_pipeline.bucket.s3_listing import read_objects
from wan_pipeline.bucket.siblings import TooManyError, find_objects, siblings
from wan_pipeline_tests.bucket.conftest import PREFIX, Ground

KEYS = ["a-b.png", "a.png", "a.x.png", "a/b.png", "a/b/c.png", "a0.png", "e/&<é>\"'.png", "z.png"]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for key in KEYS:
        bucket.write(key, b"x", "image/png")
    return bucket


@pytest.mark.parametrize("last", ["", "a", "a.png", "a/b", "a/b.png", "a/b/c.png", "a1", "zz"])
def test_a_listing_goes_on_behind_any_key(filled: Bucket, last: str) -> None:
    assert [item.key for item in filled.list("", last)] == [key for key in KEYS if key > last]
    assert [item.key for item in filled.list("a/", last)] == [k for k in KEYS if k > last and k.startswith("a/")]


def test_siblings_are_what_the_listing_shows_of_those_beginnings_without_folders_below(filled: Bucket) -> None:
    whole = {item.key: item for item in filled.list()}
    assert siblings(filled, ["a.", "a.p", "none"], 10) == [whole["a.png"], whole["a.x.png"]]
    assert siblings(filled, ["a/"], 10) == [whole["a/b.png"]]
    assert find_objects(filled, ["a.png", "a", "z.png", "a/b/c.png"], 10) == {
        key: whole[key] for key in ("a.png", "a/b/c.png", "z.png")
    }
    with pytest.raises(TooManyError):
        siblings(filled, ["a"], 2)


def test_a_page_read_quickly_is_the_page_that_botocore_reads(ground: Ground) -> None:
    if ground.server is None:
        pytest.skip("S3 alone has pages")
    for key in KEYS:
        ground.bucket.write(key, key.encode(), "image/png")
    pages = ground.server.client().get_paginator("list_objects_v2").paginate(Bucket=ground.name, Prefix=PREFIX)
    known = [
        (item["Key"].removeprefix(f"{PREFIX}/"), item["Size"], item["LastModified"], item["ETag"].strip('"'))
        for page in pages
        for item in page["Contents"]
    ]
    found = [(item.key, item.size_bytes, item.modified_at, item.etag) for item in ground.bucket.list()]
    assert found == known


_PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated>
<NextContinuationToken>t&amp;t</NextContinuationToken>{objects}<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>
</ListBucketResult>"""
_TIMES = "<LastModified>{at}</LastModified><ETag>&quot;e&quot;</ETag><Size>{size}</Size>"
_OBJECT = f"<Contents><Key>a%20b</Key>{_TIMES}</Contents>"
_GOOD = _OBJECT.format(at="2026-11-20T12:00:00.250Z", size=3)


def _read(objects: str, status: int = 200) -> tuple[str, dict[str, Any]]:
    answer = {"status_code": status, "body": _PAGE.format(objects=objects).encode()}
    found: dict[str, Any] = {}
    read_objects(answer, found)
    return bytes(answer["body"]).decode(), found  # pyright: ignore


def test_the_rest_of_a_page_is_left_to_botocore() -> None:
    body, found = _read(_GOOD * 2)
    assert [item["Key"] for item in found["Contents"]] == ["a%20b"] * 2
    assert "Contents" not in body
    for kept in ("t&amp;t", "p/", "true"):
        assert kept in body


@pytest.mark.parametrize(
    ("objects", "status"),
    [
        (_GOOD + _OBJECT.format(at="yesterday", size=3), 200),
        (_GOOD + _OBJECT.format(at="2026-11-20T12:00:00", size=3), 200),
        (_GOOD + _OBJECT.format(at="2026-11-20T12:00:00Z", size="many"), 200),
        (_GOOD + "<Contents><Key>a</Key></Contents>", 200),
        (_GOOD + "<Contents>", 200),
        (_GOOD, 503),
        ("", 200),
    ],
)
def test_a_page_with_anything_unusual_in_it_is_left_as_it_is(objects: str, status: int) -> None:
    body, found = _read(objects, status)
    assert found == {}
    assert body == _PAGE.format(objects=objects)


def test_a_listing_is_read_as_far_as_it_is_asked_for(filled: Bucket) -> None:
    assert [item.key for item in islice(filled.list(), 2)] == KEYS[:2]
