"""The fingerprint of a key: it tells keys apart, gives none away, and never changes, since ledgers hold it for years."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.providers.account import account_of, another_key
from wan_pipeline.providers.base import ProviderLimits, SearchResult, Sighting
from wan_pipeline.providers.connect import PROVIDERS, connect
from wan_pipeline_tests.providers import tiny_server
from wan_pipeline_tests.providers.accounts import ATTEMPT, Account, AimlApi, WaveSpeed, lost, request

KEY = SecretStr("sk-live-0123456789")
OURS = account_of(SecretStr(tiny_server.KEY))


def test_the_fingerprint_is_the_one_that_earlier_versions_wrote_down() -> None:
    assert account_of(KEY) == "b3695ae40944"


def test_keys_are_told_apart_and_not_given_away_and_what_surrounds_one_is_no_part_of_it() -> None:
    keys = [f"sk-live-{number:010}" for number in range(500)]
    marks = {account_of(SecretStr(key)) for key in keys}
    assert len(marks) == 500
    assert {len(mark) for mark in marks} == {12}
    assert not any(key in mark or mark in key for key, mark in zip(keys, marks, strict=True))
    assert account_of(SecretStr(" sk-live-0123456789\n")) == account_of(KEY)


@pytest.mark.parametrize("key", ["", "schlüssel", "\udcff"])
def test_what_is_no_key_is_a_matter_of_configuration_and_no_crash(key: str) -> None:
    assert len(account_of(SecretStr(key))) == 12
    with pytest.raises(ConfigurationError):
        connect("aimlapi", "http://x.test", SecretStr(key), ProviderLimits(1, 1))


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_client_tells_whose_key_it_uses(provider: str) -> None:
    client = connect(provider, "http://x.test", KEY, ProviderLimits(1, 1))
    assert client.account == account_of(KEY)


def test_only_two_known_keys_can_be_known_to_differ() -> None:
    assert another_key(None, "b") is None
    assert another_key("b", "b") is None
    assert "(fingerprint a)" in (another_key("a", "b") or "")


# --- looking for what was sent with another one ---


def look(provider: str, account: Account, sent_with: str | None) -> SearchResult:
    return account.look(provider, replace(lost(provider), account=sent_with))


@pytest.mark.parametrize(("provider", "empty"), [("aimlapi", AimlApi), ("wavespeed", WaveSpeed)])
def test_what_is_nowhere_is_absent_only_in_the_account_that_it_was_sent_with(
    provider: str, empty: type[Account]
) -> None:
    assert look(provider, empty(), OURS).sighting is Sighting.ABSENT
    assert look(provider, empty(), None).sighting is Sighting.ABSENT
    result = look(provider, empty(), account_of(KEY))
    assert result.sighting is Sighting.UNSURE
    assert [each.sighting for each in result.testimonies] == [Sighting.UNSURE] * 2
    for each in result.testimonies:
        assert f"another key (fingerprint {account_of(KEY)})" in each.detail
        assert "set that key again" in each.detail
        assert "wan-pipeline resolve" in each.detail
        assert tiny_server.KEY not in each.detail


def test_what_is_found_is_found_with_whatever_key_it_was_sent() -> None:
    account = AimlApi(requests=[request("inf-1", ATTEMPT)], jobs={"inf-1": {"id": "inf-1", "status": "generating"}})
    result = look("aimlapi", account, account_of(KEY))
    assert (result.sighting, result.provider_job_id) == (Sighting.FOUND, "inf-1")
    assert "another key" not in str(result.testimonies)


def test_a_witness_that_cannot_be_asked_stays_one_that_may_be_asked_later() -> None:
    account = AimlApi(broken={number: (503, {}) for number in range(1, 9)})
    assert look("aimlapi", account, account_of(KEY)).sighting is Sighting.UNREACHABLE
