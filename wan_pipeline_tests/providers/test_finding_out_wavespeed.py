"""WaveSpeed: a lost submission is found where settings, inputs and time all agree, and absent only where all was read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.providers.base import SearchResult, Sighting
from wan_pipeline.providers.wavespeed_match import Likeness, compare
from wan_pipeline_tests.providers.accounts import (
    FLASH,
    INPUT_KEYS,
    SENT,
    SENT_AT,
    Account,
    Answer,
    WaveSpeed,
    deduction,
    in_progress,
    inputs,
    lost,
    prediction,
)

OURS = prediction("p-1", inputs())
OTHER = prediction("p-8", inputs(prompt="A dog barks at the moon.", duration=10))


def look(account: Account, **about: Any) -> SearchResult:
    return account.look("wavespeed", lost("wavespeed", **about))


def test_the_only_prediction_with_our_settings_and_inputs_is_found() -> None:
    account = WaveSpeed(predictions=[OTHER, OURS, prediction("p-9", inputs())], jobs={"p-1": in_progress("p-1")})
    result = look(account, known={"p-9"})
    assert (result.sighting, result.provider_job_id) == (Sighting.FOUND, "p-1")
    assert result.reported is None
    assert "topsecret" not in str(result)
    asked = [json.loads(each.body) for each in account.listed]
    assert asked[0] == {
        "created_after": "2026-08-01T08:00:30Z",
        "created_before": "2026-08-01T17:00:31Z",
        "page": 1,
        "page_size": 100,
    }
    assert [each["page"] for each in asked] == [1, 2, 3]  # until one is empty: there is no other word of the end


def test_nothing_is_absent_that_neither_witness_has_and_both_were_read_to_their_ends() -> None:
    account = WaveSpeed(
        predictions=[OTHER, prediction("p-9", inputs()), prediction("p-7", model="wavespeed-ai/flux-dev")],
        billings=[deduction("p-8"), deduction("p-9"), deduction("p-9", 2, billing_type="refund")],
    )
    result = look(account, known={"p-9"})
    assert result.sighting is Sighting.ABSENT
    assert not result.candidates
    asked = [json.loads(each.body) for each in account.listed if each.target == "/api/v3/billings/search"]
    assert asked[0]["start_time"] == "1785571230000"  # milliseconds since the epoch, as documented
    assert asked[0]["end_time"] == "1785603631000"


SHAPES: list[Callable[[list[Any], int, int, bool], Any]] = [
    lambda rows, page, total, more: {"page": page, "total": total, "items": rows},
    lambda rows, page, total, more: {"page": page, "total": total, "items": rows or None},
    lambda rows, page, total, more: {"page": page, "items": rows or None},
    lambda rows, page, total, more: {"page": page, "has_more": more, "items": rows or None},
    lambda rows, page, total, more: {"page": page, "has_more": more, "total": total, "list": rows},
    lambda rows, page, total, more: rows,
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [0, 1, 2, 4, 5])
def test_pages_are_read_in_every_shape(shape: Callable[..., Any], count: int) -> None:
    others = [prediction(f"p-{number}", inputs(duration=9)) for number in range(2, count + 2)]
    account = WaveSpeed(predictions=others, billings=[deduction(row["id"]) for row in others], shape=shape)
    assert look(account).sighting is Sighting.ABSENT
    account = WaveSpeed(predictions=[*others, OURS], shape=shape, jobs={"p-1": in_progress("p-1")})
    assert look(account).provider_job_id == "p-1"


def test_inputs_that_the_list_leaves_out_are_asked_for_one_by_one() -> None:
    rows = [prediction("p-1"), prediction("p-2"), prediction("p-3")]
    told = {"p-1": in_progress("p-1", input=inputs()), "p-2": in_progress("p-2", inputs=inputs(duration=9))}
    account = WaveSpeed(predictions=rows, jobs=told | {"p-3": in_progress("p-3")})
    result = look(account)
    assert result.sighting is Sighting.UNSURE  # p-3 may be it as well
    assert set(result.candidates) == {"p-1", "p-3"}
    assert (look(account, known={"p-3"}).sighting, look(account, known={"p-3"}).provider_job_id) == (
        Sighting.FOUND,
        "p-1",
    )


LATER = "2026-08-01T12:00:40.5Z"
UNSURE: list[tuple[str, WaveSpeed, set[str]]] = [
    ("two alike", WaveSpeed(predictions=[OURS, prediction("p-2", inputs(), created_at=LATER)]), {"p-1", "p-2"}),
    ("no inputs told", WaveSpeed(predictions=[prediction("p-1")]), {"p-1"}),
    (
        "a copy of the image",
        WaveSpeed(predictions=[prediction("p-1", inputs(image="https://cdn.test/x.png"))]),
        {"p-1"},
    ),
    ("no date", WaveSpeed(predictions=[OURS | {"created_at": ""}]), {"p-1"}),
    ("no model", WaveSpeed(predictions=[OURS | {"model": None}]), {"p-1"}),
    ("its model in other punctuation", WaveSpeed(predictions=[OURS | {"model": FLASH.upper()}]), {"p-1"}),
    ("alike, and no poll knows it", WaveSpeed(predictions=[prediction("p-3", inputs())]), {"p-3"}),
    ("a deduction that nobody knows", WaveSpeed(billings=[deduction("p-9")]), {"p-9"}),
    ("a deduction of no model", WaveSpeed(billings=[deduction("p-9", prediction={"uuid": "p-9"})]), {"p-9"}),
    ("a deduction for nothing named", WaveSpeed(billings=[deduction(None)]), set()),
    ("a deduction of an unknown kind", WaveSpeed(billings=[deduction("p-9", billing_type="usage")]), {"p-9"}),
]


@pytest.mark.parametrize(("account", "candidates"), [case[1:] for case in UNSURE], ids=[case[0] for case in UNSURE])
def test_what_fits_without_proving_it_is_for_a_person(account: WaveSpeed, candidates: set[str]) -> None:
    account.jobs = {"p-1": in_progress("p-1"), "p-2": in_progress("p-2")}
    result = look(account)
    assert result.sighting is Sighting.UNSURE
    assert set(result.candidates) == candidates


ABSENT: list[tuple[str, WaveSpeed]] = [
    ("made a day before", WaveSpeed(predictions=[OURS | {"created_at": "2026-07-31T12:00:31Z"}])),
    ("made hours later", WaveSpeed(predictions=[OURS | {"created_at": "2026-08-01T18:00:31Z"}])),
    ("of another model", WaveSpeed(predictions=[OURS | {"model": "openai/sora"}])),
    ("longer", WaveSpeed(predictions=[prediction("p-1", inputs(duration=10))], billings=[deduction("p-1")])),
    ("money that came in", WaveSpeed(billings=[deduction(None, billing_type="recharge")])),
    (
        "another model's deduction",
        WaveSpeed(billings=[deduction("p-9", prediction={"uuid": "p", "model_uuid": "a/b"})]),
    ),
]


@pytest.mark.parametrize("account", [case[1] for case in ABSENT], ids=[case[0] for case in ABSENT])
def test_what_is_certainly_not_it_is_no_reason_to_doubt(account: WaveSpeed) -> None:
    assert look(account).sighting is Sighting.ABSENT


def test_what_wavespeed_may_have_forgotten_is_never_absent() -> None:
    for days, sighting in ((6.8, Sighting.ABSENT), (7, Sighting.UNSURE), (60, Sighting.UNSURE)):
        assert look(WaveSpeed(), now=SENT_AT + timedelta(days=days)).sighting is sighting


BROKEN: list[tuple[str, Answer]] = [
    ("500", (500, "oops")),
    ("429", (429, {"code": 429, "message": "Too many requests"})),
    ("401", (401, {"code": 401, "message": "no key"})),
    ("404", (404, "not found")),
    ("an error inside", (200, {"code": 500, "message": "busy", "data": {"items": []}})),
    ("nothing", (200, {"code": 200, "data": None})),
    ("no list", (200, {"code": 200, "data": {"page": 1, "total": 0}})),
    ("words", (200, {"code": 200, "data": {"items": ["p-1"]}})),
    ("fewer than it counts", (200, {"code": 200, "data": {"items": [], "total": 50, "has_more": False}})),
    ("rows without ids", (200, {"code": 200, "data": {"items": [{"status": "completed"}]}})),
]


@pytest.mark.parametrize("answer", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
@pytest.mark.parametrize("at", [1, 2, 4, 5])
def test_a_page_that_cannot_be_read_makes_nothing_absent(answer: Answer, at: int) -> None:
    account = WaveSpeed(
        predictions=[OTHER, prediction("p-6", inputs(duration=9)), prediction("p-7", inputs(seed=8))],
        billings=[deduction("p-6"), deduction("p-7"), deduction("p-8")],
        broken={at: answer, at + 1: answer},
    )
    assert look(account).sighting is Sighting.UNREACHABLE


def test_a_list_that_shows_the_same_page_for_ever_has_no_end() -> None:
    same = (200, {"code": 200, "data": {"page": 1, "items": [OTHER]}})
    account = WaveSpeed(broken=dict.fromkeys(range(1, 10), same))
    assert look(account).sighting is Sighting.UNREACHABLE
    assert len(account.listed) == 2


# --- likeness ---

LIKENESS: list[tuple[str, dict[str, Any], Likeness]] = [
    ("the same", {}, Likeness.MATCH),
    ("a mode that is off", {"enable_sync_mode": False, "webhook": "", "audio": None}, Likeness.MATCH),
    ("another place of the same key", {"image": "http://h/inbox/spring/cat%20é.png"}, Likeness.MATCH),
    ("longer", {"duration": 10}, Likeness.OTHER),
    ("larger", {"resolution": "1080p"}, Likeness.OTHER),
    ("with sound", {"enable_audio": True}, Likeness.OTHER),
    ("another prompt", {"prompt": "A dog."}, Likeness.OTHER),
    ("another seed", {"seed": 8}, Likeness.OTHER),
    ("a setting less", {"seed": None}, Likeness.UNCLEAR),
    ("a setting more", {"negative_prompt": "blur"}, Likeness.UNCLEAR),
    ("the prompt in other spacing", {"prompt": " the cat looks up  at the falling leaves."}, Likeness.UNCLEAR),
    ("the prompt cut short", {"prompt": "The cat looks up at the fall…"}, Likeness.UNCLEAR),
    ("a number as a word", {"duration": "5"}, Likeness.UNCLEAR),
    ("true as one", {"enable_audio": 0}, Likeness.UNCLEAR),
    ("another image", {"image": "https://bucket.test/team/inbox/spring/dog.png"}, Likeness.UNCLEAR),
    ("an image deeper down", {"image": "https://b.test/inbox/x/inbox/spring/cat%20é.png"}, Likeness.UNCLEAR),
    ("an image whose name ends so", {"image": "https://b.test/outbox/inbox/spring/a-cat%20é.png"}, Likeness.UNCLEAR),
    ("the key in a query", {"image": "https://b.test/x?k=/inbox/spring/cat é.png"}, Likeness.UNCLEAR),
    ("an image written out", {"image": "data:image/png;base64,aaaa"}, Likeness.UNCLEAR),
    ("no image", {"image": None}, Likeness.UNCLEAR),
]


@pytest.mark.parametrize(("changed", "likeness"), [case[1:] for case in LIKENESS], ids=[case[0] for case in LIKENESS])
def test_only_what_is_sure_is_sure(changed: dict[str, Any], likeness: Likeness) -> None:
    listed = {
        name: value for name, value in inputs(**changed).items() if name not in changed or changed[name] is not None
    }
    assert compare(SENT, INPUT_KEYS, listed) is likeness


def test_what_a_provider_may_rewrite_is_no_proof_of_another_request() -> None:
    expanded = SENT | {"enable_prompt_expansion": True}
    assert compare(expanded, INPUT_KEYS, inputs(enable_prompt_expansion=True, prompt="A dog.")) is Likeness.UNCLEAR
    assert compare(SENT | {"seed": -1}, INPUT_KEYS, inputs(seed=481516)) is Likeness.UNCLEAR


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "prompt": st.sampled_from([SENT["prompt"], "A dog.", "The cat looks up at the…", None]),
        "duration": st.sampled_from([5, 10, "5"]),
        "seed": st.sampled_from([7, 8, None]),
        "image": st.sampled_from(["https://b.test/inbox/spring/dog.png", "https://cdn.test/copy.png", None]),
        "negative_prompt": st.sampled_from(["blur", ""]),
    },
)
PREDICTIONS = st.builds(
    lambda prediction_id, shown, changed, row: prediction(prediction_id, inputs(**changed) if shown else None, **row),
    st.sampled_from(["p-1", "p-2", "p-3", "p-4", "p-5"]),
    st.booleans(),
    SETTINGS,
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from([FLASH, "openai/sora", None]),
            "created_at": st.sampled_from(["2026-08-01T12:00:31Z", "2026-08-01T02:00:31Z", "soon"]),
        },
    ),
)


@settings(max_examples=120, deadline=None)
@given(
    predictions=st.lists(PREDICTIONS, max_size=5, unique_by=lambda row: row["id"]),
    billed=st.sets(st.sampled_from(["p-1", "p-2", "p-3", "p-4", "p-5", "p-6"])),
    known=st.sets(st.sampled_from(["p-1", "p-2", "p-3", "p-4", "p-5", "p-6"])),
    polled=st.sets(st.sampled_from(["p-1", "p-2", "p-3", "p-4", "p-5"])),
    broken=st.dictionaries(st.integers(1, 6), st.sampled_from([answer for _, answer in BROKEN]), max_size=2),
    shape=st.sampled_from(SHAPES),
)
def test_whatever_the_books_hold_none_but_ours_is_found_and_nothing_unread_is_absent(
    predictions: list[dict[str, Any]],
    billed: set[str],
    known: set[str],
    polled: set[str],
    broken: dict[int, Answer],
    shape: Callable[..., Any],
) -> None:
    account = WaveSpeed(
        predictions=predictions,
        billings=[deduction(each) for each in sorted(billed)],
        jobs={each: in_progress(each) for each in polled},
        broken=broken,
        shape=shape,
    )
    result = look(account, known=known)
    open_ = [row for row in predictions if row["id"] not in known]
    exact = [
        row
        for row in open_
        if {**row.get("inputs", {}), "negative_prompt": None} == {**inputs(), "negative_prompt": None}
        and not row["inputs"].get("negative_prompt")
        and row["model"] == FLASH
        and row["created_at"].startswith("2026-08-01T12:00:31")
    ]
    if result.sighting is Sighting.FOUND:
        assert [row["id"] for row in exact] == [result.provider_job_id]
        assert result.provider_job_id in polled
    if result.sighting is Sighting.ABSENT:
        assert not exact
        assert not any(at <= len(account.listed) for at in broken if broken[at][0] not in (429, 500))
        assert billed <= known | {row["id"] for row in predictions}
