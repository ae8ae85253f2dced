"""Nothing that a provider writes brings a key, a signed URL or a whole file into our messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.providers.base import Succeeded
from wan_pipeline.providers.words import MAX_WORDS, message_in, parse_json, redact, shown, url_in, without_query
from wan_pipeline_tests.providers.tiny_server import KEY, MODEL_OF, client_of, says, serving

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cdn.test/a/b.mp4?Expires=1&Signature=x#f", "https://cdn.test/a/b.mp4"),
        ("https://user:pass@cdn.test:8443/a.mp4?x", "https://cdn.test:8443/a.mp4"),
        ("https://cdn.test", "https://cdn.test"),
        ("http://[", "(a URL that cannot be read)"),
    ],
)
def test_a_url_is_shown_without_its_signed_part(url: str, expected: str) -> None:
    assert without_query(url) == expected


def test_words_are_one_short_line_without_secrets() -> None:
    text = (
        f"no\n access\x1b[31m: Bearer {KEY} for https://a.test/x?sig=topsecret and data:image/png;base64,{'A' * 9999}"
    )
    line = shown(text, [KEY])
    assert line == "no access?[31m: Bearer *** for https://a.test/x and data:…"
    assert len(shown("word " * 1000)) == MAX_WORDS
    assert "topsecret" not in redact("postgresql+psycopg2://u:topsecret@host/db")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"message": "no credit", "path": "/v2", "statusCode": 403}, "no credit"),
        ({"error": {"name": "x", "message": "bad"}}, "bad"),
        ({"detail": [{"loc": ["a"], "msg": "too long"}, {"msg": "missing"}]}, "too long; missing"),
        ({"message": "bad", "error": "bad"}, "bad"),
        ({"message": "", "data": 5}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_providers_words_are_found_wherever_they_stand(payload: Any, words: str) -> None:
    assert message_in(payload) == words


@settings(max_examples=300, deadline=None)
@given(key=KEYS, before=st.text(max_size=350), after=st.text(max_size=30))
def test_a_key_is_in_no_words(key: str, before: str, after: str) -> None:
    assert key not in shown(before + key + after, [key]).replace("***", "")
    assert key not in shown(json.dumps({"said": before + key + after}), [key]).replace("***", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [
        "code",
        "message",
        "data",
        "error",
        "status",
        "id",
        "job_id",
        "amount",
        "result",
        "outputs",
        "meta",
        "usage",
        "credits_used",
    ]
)


def _with_key(value: Any, field: str, key: str) -> Any:
    return {
        field: f"near {key} after",
        "data": {"status": f"x {key}", "id": key, field: value},
        "error": {"message": key},
    }


@settings(max_examples=40, deadline=None)
@given(
    provider=st.sampled_from(sorted(MODEL_OF)),
    status=st.sampled_from([200, 200, 200, 400, 401, 404, 429, 500]),
    field=FIELDS,
    value=JSON,
    key=KEYS,
)
def test_a_key_that_a_provider_repeats_is_in_no_outcome(
    provider: str, status: int, field: str, value: Any, key: str
) -> None:
    async def run() -> None:
        body = _with_key(value, field, key)
        async with serving(says(status, body)) as server, client_of(provider, server.url, key) as client:
            for outcome in (
                await client.submit(MODEL_OF[provider], {}, "attempt-1"),
                await client.poll(MODEL_OF[provider], "job-1") if status not in (429, 500) else None,
            ):
                if not isinstance(outcome, Succeeded):  # a result's URL is the provider's own
                    told = " ".join(
                        str(getattr(outcome, name, "")) for name in ("reason", "note", "status", "provider_job_id")
                    )
                    # What is left once the marks of redaction and our own few words are gone.
                    assert key not in told.replace("***", " "), outcome

    asyncio.run(run())


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_a_url_found_is_one_that_can_be_fetched(value: Any) -> None:
    url = url_in({"a": [value, {"b": "https://x.test/v.mp4"}]})
    assert url is not None
    assert url.startswith(("http://", "https://"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_are_json_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_json(data)
