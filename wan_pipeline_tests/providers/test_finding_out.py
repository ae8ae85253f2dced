"""AI/ML API: a lost submission is found by its own id and by nothing else, and absent only where all was read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.money import Money
from wan_pipeline.providers.base import SearchResult, Sighting
from wan_pipeline_tests.providers.accounts import ATTEMPT, NOW, SENT_AT, Account, AimlApi, Answer, charge, lost, request
from wan_pipeline_tests.providers.tiny_server import KEY

GENERATING = {"id": "inf-1", "status": "generating"}
OURS = request("inf-1", ATTEMPT)


def look(account: Account, **about: Any) -> SearchResult:
    return account.look("aimlapi", lost("aimlapi", **about))


def test_a_request_with_our_id_is_found_with_what_it_cost_exactly() -> None:
    account = AimlApi(requests=[request("inf-0", "another"), OURS, request("inf-2")], jobs={"inf-1": GENERATING})
    result = look(account)
    assert result.sighting is Sighting.FOUND
    assert result.provider_job_id == "inf-1"
    assert result.reported == Money.usd("0.7875")
    assert [each.sighting for each in result.testimonies] == [Sighting.FOUND, Sighting.FOUND]


@pytest.mark.parametrize(
    ("cost", "reported"),
    [
        ({"usd": 1.56, "credits": 3_120_000}, Money.usd("1.56")),
        ({"usd": 0.1, "credits": 1}, Money.usd("0.0000005")),  # credits are exact, dollars beside them are rounded
        ({"usd": 1.56}, Money.usd("1.56")),  # through a float this would be 1.5600000000000000533
        ({"usd": "1.56", "credits": "many"}, Money.usd("1.56")),
        ({"usd": 0, "credits": 0}, None),  # unknown is not zero: nobody makes a video for nothing
        ({"usd": -1, "credits": -2_000_000}, None),
        ({"credits": True}, None),
        ("gratis", None),
    ],
)
def test_what_it_cost_is_read_exactly_or_not_at_all(cost: Any, reported: Money | None) -> None:
    result = look(AimlApi(requests=[OURS | {"cost": cost}], jobs={"inf-1": GENERATING}))
    assert result.sighting is Sighting.FOUND
    assert result.reported == reported


def test_nothing_is_absent_that_neither_witness_has_and_both_were_read_to_their_ends() -> None:
    others = [request(f"inf-{number}", f"other-{number}") for number in range(5)]
    account = AimlApi(requests=others, charges=[charge(f"inf-{number}") for number in range(5)])
    result = look(account)
    assert result.sighting is Sighting.ABSENT
    assert not result.candidates
    assert len(account.listed) == 6  # three pages each
    first, last = (parse_qs(urlsplit(account.listed[at].target).query) for at in (0, -1))
    assert first["start"] == ["2026-08-01T08:00:30Z"]  # hours before: clocks differ
    assert first["limit"] == ["100"]
    assert "model" not in first
    assert last["type"] == ["MODEL_USAGE"]
    assert last["from"] == first["start"]
    assert last["to"] == first["end"] == ["2026-08-01T21:00:31Z"]
    assert last["cursor"] == ["at-4"]


def test_a_window_never_exceeds_what_the_logs_allow() -> None:
    account = AimlApi()
    assert look(account, now=NOW + timedelta(days=80)).sighting is Sighting.ABSENT
    query = parse_qs(urlsplit(account.listed[0].target).query)
    assert query["end"] == ["2026-08-03T12:00:31Z"]


def test_what_the_logs_may_have_forgotten_is_never_absent() -> None:
    assert look(AimlApi(), now=NOW + timedelta(days=91)).sighting is Sighting.UNSURE


def test_a_clock_that_was_put_back_asks_for_no_window_that_ends_before_it_begins() -> None:
    account = AimlApi()
    look(account, now=SENT_AT - timedelta(days=3))
    query = parse_qs(urlsplit(account.listed[0].target).query)
    assert query["start"] == ["2026-08-01T08:00:30Z"]
    assert query["end"] == ["2026-08-01T16:00:31Z"]


UNSURE: list[tuple[str, AimlApi, set[str], set[str]]] = [
    ("two requests with our id", AimlApi(requests=[OURS, request("inf-2", ATTEMPT)]), set(), {"inf-1", "inf-2"}),
    ("our id, and the ledger has it as another's", AimlApi(requests=[OURS]), {"inf-1"}, {"inf-1"}),
    ("our id, and no poll knows it", AimlApi(requests=[request("inf-0", ATTEMPT)]), set(), {"inf-0"}),
    (
        "our id, and it is another request's as well",
        AimlApi(requests=[OURS, request("inf-1", "other")]),
        set(),
        {"inf-1"},
    ),
    ("our id, and its inference has none", AimlApi(requests=[request(None, ATTEMPT)]), set(), set()),
    ("a request without any id", AimlApi(requests=[request("inf-9")]), set(), {"inf-9"}),
    ("a request with an id that is none", AimlApi(requests=[request("inf-9", 17)]), set(), {"inf-9"}),
    ("a request without any model", AimlApi(requests=[request("inf-9", model=None)]), set(), {"inf-9"}),
    ("a charge that nobody knows", AimlApi(charges=[charge("inf-9")]), set(), {"inf-9"}),
    ("a charge in other punctuation", AimlApi(charges=[charge("inf-9", "Alibaba/wan2.6-i2v")]), set(), {"inf-9"}),
    ("a charge of no model", AimlApi(charges=[charge("inf-9", None)]), set(), {"inf-9"}),
    ("a charge without a reference", AimlApi(charges=[charge(None)]), set(), set()),
    (
        "our request failed for nothing, and was charged",
        AimlApi(requests=[request("inf-0", ATTEMPT, "failed", 0)], charges=[charge("inf-0")]),
        set(),
        {"inf-0"},
    ),
    (
        "our request failed for nothing, and its inference is another request's as well",
        AimlApi(requests=[request("inf-1", "other"), request("inf-1", ATTEMPT, "failed", 0)]),
        set(),
        {"inf-1"},
    ),
    (
        "our request failed for nothing, and the ledger has it as another's",
        AimlApi(requests=[request("inf-1", ATTEMPT, "failed", 0)]),
        {"inf-1"},
        {"inf-1"},
    ),
]


@pytest.mark.parametrize(("account", "known", "candidates"), [case[1:] for case in UNSURE], ids=[c[0] for c in UNSURE])
def test_what_fits_without_proving_it_is_for_a_person(account: AimlApi, known: set[str], candidates: set[str]) -> None:
    account.jobs |= {"inf-1": GENERATING, "inf-2": GENERATING}  # what keeps it from being found is not the poll
    result = look(account, known=known)
    assert result.sighting is Sighting.UNSURE
    assert set(result.candidates) == candidates
    assert all(each in " ".join(said.detail for said in result.testimonies) for each in candidates)


ABSENT: list[tuple[str, AimlApi]] = [
    ("nothing at all", AimlApi()),
    (
        "a request of the playground",
        AimlApi(requests=[request("inf-9", origin="playground")], charges=[charge("inf-9")]),
    ),
    ("another's that failed", AimlApi(requests=[request("inf-9", None, "failed", 0)])),
    (
        "another model's",
        AimlApi(requests=[request("inf-9", model="openai/gpt-5")], charges=[charge("x", "openai/gpt-5")]),
    ),
    ("money that came in", AimlApi(charges=[charge("pay", direction="TOPUP", type="PAYMENT")])),
    ("ours failed, and cost nothing", AimlApi(requests=[request("inf-0", ATTEMPT, "failed", 0)])),
    ("an id in capitals", AimlApi(requests=[request("inf-1", ATTEMPT.upper())])),
    ("an id that goes on", AimlApi(requests=[request("inf-1", f"{ATTEMPT}2")])),
    ("an id that is cut short", AimlApi(requests=[request("inf-1", ATTEMPT[:-1])])),
    ("ours failed, without an inference", AimlApi(requests=[request(None, ATTEMPT, "failed", 0)])),
]


@pytest.mark.parametrize("account", [case[1] for case in ABSENT], ids=[case[0] for case in ABSENT])
def test_what_is_certainly_not_it_is_no_reason_to_doubt(account: AimlApi) -> None:
    account.jobs = {"inf-1": GENERATING}
    assert look(account).sighting is Sighting.ABSENT


def test_a_failed_request_that_the_poll_knows_is_found_and_left_to_the_poll() -> None:
    account = AimlApi(
        requests=[request("inf-1", ATTEMPT, "failed", 0)], jobs={"inf-1": {"id": "inf-1", "status": "error"}}
    )
    result = look(account)
    assert (result.sighting, result.provider_job_id, result.reported) == (Sighting.FOUND, "inf-1", None)


BROKEN: list[tuple[str, Answer]] = [
    ("500", (500, "oops")),
    ("429", (429, {"message": "Too many requests"})),
    ("403", (403, {"message": "management key required"})),
    ("404", (404, {"message": "Cannot GET /v2/logs"})),
    ("HTML", (200, "<html>back soon</html>")),
    ("no list", (200, {"data": None, "pagination": {"has_more": False, "next_cursor": None}})),
    ("a list of words", (200, {"data": ["a"], "pagination": {"has_more": False, "next_cursor": None}})),
    ("no word of more", (200, {"data": [], "pagination": {}})),
    ("no paging", (200, {"data": []})),
    ("more, and nothing to go on", (200, {"data": [], "pagination": {"has_more": True, "next_cursor": ""}})),
    ("yes and no", (200, {"data": [], "pagination": {"has_more": "false", "next_cursor": 5}})),
]


@pytest.mark.parametrize("answer", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_page_that_cannot_be_read_makes_nothing_absent(answer: Answer, at: int) -> None:
    account = AimlApi(
        requests=[request(f"inf-{number}", f"other-{number}") for number in range(3)],
        charges=[charge(f"inf-{number}") for number in range(3)],
        broken={at: answer, at + 1: answer},  # a 5xx is asked for twice
    )
    result = look(account)
    assert result.sighting is Sighting.UNREACHABLE
    assert result.testimonies[-1].detail


def test_a_log_that_lists_less_than_it_counts_was_not_read_to_its_end() -> None:
    short = {"data": [], "pagination": {"limit": 100, "offset": 0, "total": 3, "has_more": False}}
    assert look(AimlApi(broken={1: (200, short)})).sighting is Sighting.UNREACHABLE


def test_a_cursor_that_leads_in_a_circle_is_no_end() -> None:
    round_and_round = {"data": [charge("inf-0")], "pagination": {"next_cursor": "at-0", "has_more": True}}
    account = AimlApi(
        requests=[request("inf-0", "other")], broken={2: (200, round_and_round), 3: (200, round_and_round)}
    )
    assert look(account).sighting is Sighting.UNREACHABLE


def test_a_found_one_whose_poll_cannot_be_asked_now_is_asked_for_again_later() -> None:
    result = look(AimlApi(requests=[OURS], jobs={"inf-1": {"status": None}}))
    assert result.sighting is Sighting.UNREACHABLE
    assert result.candidates == ("inf-1",)


def test_no_testimony_holds_a_secret_or_the_signed_part_of_a_url() -> None:
    text = f"https://cdn.test/v.mp4?Signature=topsecret Bearer {KEY} /shortapi/a-1/{'ab' * 32}"
    for account in (
        AimlApi(requests=[request("inf-1", ATTEMPT, status=text)]),
        AimlApi(broken={1: (400, {"message": text})}),
        AimlApi(requests=[request("inf-9", model="", status=text)], broken={2: (403, {"message": text})}),
    ):
        said = str(look(account))
        assert "topsecret" not in said
        assert KEY not in said
        assert "abab" not in said


ROWS = st.builds(
    request,
    inference_id=st.sampled_from(["inf-1", "inf-1", "inf-2", "inf-2", "inf-3", "inf-4", None, 5]),
    sent_with=st.sampled_from(["other-1", None, 7, ATTEMPT.upper(), f"{ATTEMPT}-2", ATTEMPT, ATTEMPT, ATTEMPT]),
    status=st.sampled_from(["succeeded", "succeeded", "failed", "running"]),
    credits=st.sampled_from([0, 1_575_000, 1_575_000, None]),
)
CHARGES = st.builds(charge, reference_id=st.sampled_from(["inf-1", "inf-2", "inf-3", "inf-4", "inf-5", None]))


@settings(max_examples=120, deadline=None)
@given(
    requests=st.lists(ROWS, max_size=4),
    charges=st.lists(CHARGES, max_size=5),
    known=st.sets(st.sampled_from(["inf-1", "inf-2", "inf-3", "inf-4", "inf-5"])),
    polled=st.sampled_from([{"inf-1", "inf-2", "inf-3", "inf-4"}, {"inf-2"}]),
    broken=st.one_of(
        st.just({}), st.dictionaries(st.integers(1, 6), st.sampled_from([answer for _, answer in BROKEN]), max_size=2)
    ),
)
def test_whatever_the_books_hold_none_but_ours_is_found_and_nothing_unread_is_absent(
    requests: list[dict[str, Any]],
    charges: list[dict[str, Any]],
    known: set[str],
    polled: set[str],
    broken: dict[int, Answer],
) -> None:
    jobs = {each: {"id": each, "status": "generating"} for each in polled}
    account = AimlApi(requests=requests, charges=charges, jobs=jobs, broken=broken)
    result = look(account, known=known)
    mine = [row for row in requests if row["client_request_id"] == ATTEMPT]
    if result.sighting is Sighting.FOUND:
        found = result.provider_job_id
        came_to_something = [row for row in mine if row["status"] != "failed" or row["cost"]["credits"] != 0]
        assert {str(row["inference_id"]) for row in came_to_something} <= {found}, "there were several"
        assert found in {str(row["inference_id"]) for row in mine}
        assert found not in known
        assert found in polled
        assert all(row["client_request_id"] in (ATTEMPT, None, 7) for row in requests if row["inference_id"] == found)
    if result.sighting is Sighting.ABSENT:
        assert not any(number <= len(account.listed) for number in broken if broken[number][0] not in (429, 500))
        assert all(row["status"] == "failed" and row["cost"]["credits"] == 0 for row in mine)
        others = {row["inference_id"] for row in requests if isinstance(row["client_request_id"], str)} - {None}
        others -= {row["inference_id"] for row in mine}
        assert all(row["reference_id"] in known | others for row in charges)
