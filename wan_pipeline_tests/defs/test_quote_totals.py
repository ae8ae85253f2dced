"""The end of a run that quoted shots: one observation with what they cost together, and how long that takes."""

from __future__ import annotations

from typing import Any

import dagster as dg

from wan_pipeline_tests.defs.lab import Lab

KEYS = ["a/one", "a/two", "b"]


def observed(lab: Lab) -> list[dict[str, Any]]:
    """What each run has shown, the newest first; tables as their rows."""
    records = lab.instance.fetch_observations(dg.AssetKey("shot_quotes"), limit=100).records
    found: list[dict[str, Any]] = []
    for record in records:
        assert record.asset_observation is not None
        assert record.asset_observation.partition is None
        found.append(
            {
                name: [dict(row.data) for row in entry.records]
                if isinstance(entry, dg.TableMetadataValue)
                else entry.value
                for name, entry in record.asset_observation.metadata.items()
            }
        )
    return found


def put_shots(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.put("inbox/a/_defaults.yaml", "campaign: spring\n")
    lab.put("inbox/b.yaml", "model: aimlapi/wan-2.6-i2v\nduration: 5\nresolution: 720p\n")


def test_a_run_that_quotes_shows_sums_budgets_prices_and_days_in_one_observation(lab: Lab) -> None:
    put_shots(lab)
    lab.settings = {"daily_budget_usd": "0.06"}
    assert lab.run(KEYS, "quote_shots").success
    (shown,) = observed(lab)
    assert shown["by_model"] == [
        {"model": "aimlapi/wan-2.6-i2v", "shots": "1", "quoted_low_usd": "0.525", "quoted_usd": "0.6825"},
        {"model": "wavespeed/wan-2.6-i2v-flash", "shots": "2", "quoted_low_usd": "0.10", "quoted_usd": "0.10"},
    ]
    assert [(row["campaign"], row["quoted_usd"]) for row in shown["by_campaign"]] == [
        ("(no campaign)", "0.6825"),
        ("spring", "0.10"),
    ]
    assert (shown["shots"], shown["to_be_bought"], shown["quoted_usd"]) == (3, 3, "0.7825")
    assert shown["budgets"][0] == {
        "budget": "WAN_DAILY_BUDGET_USD",
        "left_usd": "0.06",
        "needed_usd": "0.7825",
        "enough": "NO",
    }
    assert shown["days"] == 2
    assert shown["how_long"].startswith("never: 1 shot is beyond WAN_DAILY_BUDGET_USD for good, e.g. b; the others: 2")
    assert {row["shot"]: row["limit"] for row in shown["not_today"]} == dict.fromkeys(
        ["a/two", "b"], "WAN_DAILY_BUDGET_USD"
    )
    assert shown["provider_prices"] == "0.10 USD for 2 shots, the catalog says 0.10 USD"
    assert shown["simulated"] is True
    assert lab.jobs() == []
    assert lab.materialization("shot_quotes", "b").metadata["model"].value == "aimlapi/wan-2.6-i2v"
    metadata = lab.materialization("shot_quotes", "a/one").metadata
    assert {"quoted_low_usd", "quoted_usd", "price_rule", "model", "campaign"} <= set(metadata)


def test_a_run_that_buys_shows_the_sums_alone_even_where_a_shot_failed(lab: Lab) -> None:
    put_shots(lab)
    lab.put("inbox/a/two.yaml", "prompt: '[refuse] me'\n")
    assert not lab.run(KEYS).success
    (shown,) = observed(lab)
    assert shown["quoted_usd"] == "0.7825"
    assert "days" not in shown


def test_nothing_is_shown_where_no_quote_was_asked_for_or_there_is_none(lab: Lab) -> None:
    put_shots(lab)
    lab.run(KEYS, assets="source_images")
    lab.run(KEYS, tags={"wan/collect_only": "true"})
    lab.put("inbox/b.yaml", "model: nobody/nothing\n")
    lab.run(["b"], "quote_shots")
    assert observed(lab) == []
