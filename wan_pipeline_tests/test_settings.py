"""Settings: the names of the plan, safe defaults, and a refusal that names every wrong variable."""

from __future__ import annotations

import pytest

from wan_pipeline.money import Money
from wan_pipeline.problems import ConfigurationError, Problem
from wan_pipeline.settings import Settings


def test_with_no_variables_at_all_it_is_a_demo_with_everything_below_one_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/elsewhere")
    settings = Settings.load()
    assert settings.mode == "demo"
    assert settings.bucket_url == ".wan/bucket"
    assert settings.ledger_url.endswith("/.wan/ledger.sqlite")
    assert (settings.daily_budget, settings.monthly_budget, settings.shot_budget) == (
        Money.usd(25),
        Money.usd(250),
        Money.usd(5),
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAN_MODE", "production"),
        ("WAN_DAILY_BUDGET_USD", "a lot"),
        ("WAN_DAILY_BUDGET_USD", "-1"),
        ("WAN_SHOT_BUDGET_USD", "nan"),
        ("WAN_SETTLE_SECONDS", "-1"),
        ("WAN_SETTLE_SECONDS", "inf"),
        ("WAN_SETTLE_SECONDS", "nan"),
        ("WAN_SETTLE_SECONDS", "1e18"),
        ("WAN_WAVESPEED_MAX_IN_FLIGHT", "0"),
        ("WAN_AIMLAPI_SUBMITS_PER_MINUTE", "many"),
        ("SHORTAPI_BASE_URL", "api.shortapi.ai"),
        ("WAVESPEED_BASE_URL", "https://"),
        ("AIMLAPI_BASE_URL", "http://[::1"),
        ("WAN_PUBLIC_BASE_URL", "/srv/bucket"),
        ("WAN_PUBLIC_CALLBACK_URL", "receiver.example:8062"),
        ("WAN_PUBLIC_CALLBACK_URL", "https://receiver.example/?to=us"),
        ("WAN_CAMPAIGN_BUDGETS_USD", "spring"),
        ("WAN_CAMPAIGN_BUDGETS_USD", "spring="),
        ("WAN_CAMPAIGN_BUDGETS_USD", "=5"),
        ("WAN_CAMPAIGN_BUDGETS_USD", "spring=5,spring=6"),
        ("WAN_CAMPAIGN_BUDGETS_USD", "spring=-5"),
        ("WAN_SHORTAPI_MONTHLY_BUDGET_USD", "-1"),
        ("WAN_WAVESPEED_MONTHLY_BUDGET_USD", "plenty"),
        ("WAN_ABSENT_AFTER_SECONDS", "-1"),
        ("WAN_ABSENT_AFTER_SECONDS", "nan"),
        ("WAN_ABSENT_AFTER_SECONDS", "1e18"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variable_and_the_value_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as error:
        Settings.load()
    assert variable in str(error.value)
    assert value in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAN_PUBLIC_CALLBACK_URL", "https://us:hidden@receiver.example"),
        ("WAVESPEED_BASE_URL", "http://hidden@proxy.example"),
        ("WAN_ALERT_WEBHOOK_URL", "hooks.example/services/hidden"),
        ("WAN_ALERT_WEBHOOK_URL", "http://[hidden"),
        ("WAN_ALERT_WEBHOOK_URL", "ftp://hooks.example/hidden"),
    ],
)
def test_a_wrong_value_that_may_hold_a_secret_is_refused_by_its_name_alone(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as error:
        Settings.load()
    assert variable in str(error.value)
    assert "hidden" not in str(error.value)


def test_without_their_variables_campaigns_and_providers_have_no_budget_and_absent_is_believed_after_four_hours() -> (
    None
):
    settings = Settings.load()
    assert settings.campaign_budgets == {}
    assert settings.provider_budgets == {}
    assert settings.public_callback_url is None
    assert settings.absent_after_seconds == 4 * 3600


def test_each_campaign_has_its_own_budget_to_the_cent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_CAMPAIGN_BUDGETS_USD", " spring=50, summer sale = 20.50 ,")
    assert Settings.load().campaign_budgets == {"spring": Money.usd(50), "summer sale": Money.usd("20.50")}


def test_a_campaigns_wrong_amount_is_named_with_the_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_CAMPAIGN_BUDGETS_USD", "summer=1,spring=5;autumn=6")
    with pytest.raises(ConfigurationError, match=r"WAN_CAMPAIGN_BUDGETS_USD \(spring\).*5;autumn=6"):
        Settings.load()


def test_a_providers_monthly_budget_is_exact_and_may_be_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_SHORTAPI_MONTHLY_BUDGET_USD", "0")
    monkeypatch.setenv("WAN_WAVESPEED_MONTHLY_BUDGET_USD", "0.30")
    assert Settings.load().provider_budgets == {"shortapi": Money.usd(0), "wavespeed": Money.usd("0.30")}


def test_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORTAPI_KEY", "sk-very-secret")
    monkeypatch.setenv("WAN_MODE", "wrong")
    with pytest.raises(ConfigurationError) as error:
        Settings.load()
    assert "sk-very-secret" not in str(error.value)
    monkeypatch.delenv("WAN_MODE")
    assert "sk-very-secret" not in repr(Settings.load())


def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_BUCKET_URL", "")
    assert Settings.load().bucket_url == ".wan/bucket"


def test_a_problem_names_file_field_value_and_remedy_and_keeps_long_values_short() -> None:
    text = str(Problem("inbox/a.yaml", "prompt", "x" * 5000, "too long", "Shorten it."))
    assert text.startswith("inbox/a.yaml: prompt: too long (found: xxx")
    assert text.endswith("Shorten it.")
    assert len(text) < 200


def test_a_problem_is_one_printable_line_whatever_the_names_and_values_hold() -> None:
    text = str(Problem("inbox/a\x1b[31m\nb\udcff.yaml", "prompt", "é\r\n", "wrong", "Rename it."))
    assert text == "inbox/a\\x1b[31m\\nb\\udcff.yaml: prompt: wrong (found: é\\r\\n). Rename it."
    assert text.isprintable()
