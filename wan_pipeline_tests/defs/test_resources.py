"""An installation opens as configured, or says which setting is wrong; nothing falls back to the simulator."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from wan_pipeline.defs import failures
from wan_pipeline.defs.resources import (
    BucketResource,
    LedgerResource,
    ShortApiResource,
    SimulatorResource,
    WaveSpeedResource,
)
from wan_pipeline.money import Money
from wan_pipeline.providers.base import ProviderLimits
from wan_pipeline_tests.defs.lab import Lab


def _live(lab: Lab) -> Lab:
    lab.settings["mode"] = "live"
    lab.put_shots(["a", "b"])
    return lab


def test_live_mode_without_any_key_fails_before_anything_and_names_the_variables(lab: Lab) -> None:
    result = _live(lab).run(["a", "b"])

    told = lab.failure(result)
    assert all(name in told for name in ("WAN_MODE", "SHORTAPI_KEY", "AIMLAPI_KEY", "WAVESPEED_API_KEY"))
    assert lab.jobs() == []
    assert not (lab.home / "simulator").exists()


def test_live_mode_without_the_key_that_a_shot_needs_fails_that_shot_and_names_the_variable(lab: Lab) -> None:
    lab.overrides["shortapi"] = ShortApiResource(key="a-key-of-another-provider")
    lab.overrides["bucket"] = BucketResource(public_base_url="http://127.0.0.1:1")

    result = _live(lab).run(["a", "b"])

    assert "a: failed: not bought: WAVESPEED_API_KEY is not set: set it to your key of WaveSpeed" in lab.failure(result)
    assert "a-key-of-another-provider" not in lab.failure(result)
    assert lab.jobs() == []


def test_an_unreachable_ledger_fails_without_its_password(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "RETRY_WAITS_S", [0.0])
    url = "postgresql+psycopg2://somebody:s3cret@127.0.0.1:1/ledger"
    lab.overrides["ledger"] = LedgerResource(url=url)

    told = lab.failure(_live(lab).run(["a", "b"]))

    assert "WAN_LEDGER_URL" in told
    assert "s3cret" not in told


def test_a_bucket_that_is_not_there_fails_in_live_mode(lab: Lab, tmp_path: Path) -> None:
    lab.overrides["bucket"] = BucketResource(url=str(tmp_path / "not mounted"))

    assert "WAN_BUCKET_URL" in lab.failure(_live(lab).run(["a", "b"]))


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"daily_budget_usd": "a lot"}, "WAN_DAILY_BUDGET_USD"),
        ({"mode": "production"}, "WAN_MODE"),
        ({"settle_seconds": "-1"}, "WAN_SETTLE_SECONDS"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(lab: Lab, settings: dict[str, str], variable: str) -> None:
    lab.settings.update(settings)
    lab.put_shots(["a"])

    assert variable in lab.failure(lab.run(["a"]))


def test_a_simulator_that_cannot_be_meant_is_named(lab: Lab) -> None:
    lab.overrides["simulator"] = SimulatorResource(latency_s="soon")
    lab.put_shots(["a"])

    assert "WAN_SIMULATOR_LATENCY" in lab.failure(lab.run(["a"]))


def test_limits_are_the_settings_then_the_lowest_tier_in_live_mode_and_generous_in_demo_mode(lab: Lab) -> None:
    with lab.installation.open() as opened:
        assert opened.connect("wavespeed").limits == ProviderLimits(20, 600)
    lab.home.joinpath("bucket").mkdir(parents=True, exist_ok=True)
    live = Lab(lab.home, lab.instance, {"mode": "live"})
    live.overrides["wavespeed"] = WaveSpeedResource(key="k", max_in_flight=7)
    with live.installation.open() as opened:
        assert opened.connect("wavespeed").limits == ProviderLimits(7, 2)


def test_live_mode_never_reaches_the_simulator(lab: Lab) -> None:
    lab.overrides["wavespeed"] = WaveSpeedResource(key="k")

    with _live(lab).installation.open() as opened:
        parts = opened.parts()
        assert not parts.simulated
        assert parts.download_transport is None
        opened.connect("wavespeed")
    assert not (lab.home / "simulator").exists()


def test_no_key_is_shown_by_a_resource() -> None:
    shown = [repr(WaveSpeedResource(key="s3cret")), repr(LedgerResource(url="postgresql://u:s3cret@h/d"))]
    assert all("s3cret" not in text for text in shown)


def test_a_resource_that_there_is_not_cannot_be_swapped() -> None:
    from wan_pipeline.definitions import build_defs

    with pytest.raises(ValueError, match="no resource is named ledgers"):
        build_defs({"ledgers": LedgerResource()})


def test_every_setting_of_finding_out_and_of_budgets_is_the_resources_too(lab: Lab) -> None:
    lab.settings |= {"campaign_budgets_usd": "spring=50, summer=20.50", "absent_after_seconds": "90"}
    lab.settings["public_callback_url"] = "https://callbacks.example"
    lab.overrides["wavespeed"] = WaveSpeedResource(monthly_budget_usd="7")

    with lab.installation.open() as opened:
        assert opened.budgets.campaigns == {"spring": Money.usd(50), "summer": Money.usd("20.50")}
        assert opened.budgets.providers == {"wavespeed": Money.usd(7)}
        assert opened.parts().absent_after == opened.absent_after == timedelta(seconds=90)
        assert opened.settings.public_callback_url == "https://callbacks.example"
