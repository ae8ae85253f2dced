"""What can be configured, as Dagster shows it: each field is a variable of settings.py, by its own name in the UI.

A field that is None is not set here: the variable counts, then the default of settings.py. So definitions load, and demo
mode runs, where no variable is set at all; an `EnvVar` of an unset variable would fail both.
"""

# No `from __future__ import annotations`: pydantic and Dagster read these annotations when the classes are made.

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import dagster as dg
from pydantic import Field


class ConfiguredByVariables(dg.ConfigurableResource[Any]):
    """A resource each field of which stands for one environment variable."""

    VARIABLES: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def from_environment(cls) -> Self:
        """With an `EnvVar` for each variable that is set now; its value is read where it is used, and never shown."""
        fields: dict[str, Any] = {}
        for field, variable in cls.VARIABLES.items():
            value = os.environ.get(variable, "")
            if not value:
                continue
            if cls.model_fields[field].annotation == int | None:
                # A number that is none stays out: settings.py reads the variable too, and says what is wrong with it.
                if value.isdecimal():
                    fields[field] = dg.EnvVar.int(variable)
            else:
                fields[field] = dg.EnvVar(variable)
        return cls(**fields)

    def overrides(self) -> dict[str, str]:
        """Variable and value of each field that is set, for `Settings.load`."""
        values = {variable: getattr(self, field) for field, variable in self.VARIABLES.items()}
        return {variable: str(value) for variable, value in values.items() if value is not None}


class SettingsResource(ConfiguredByVariables):
    """Mode, home, budgets, how shots are taken up, how lost answers are found out, and whom alerts are told."""

    VARIABLES: ClassVar[Mapping[str, str]] = {
        "mode": "WAN_MODE",
        "home": "WAN_HOME",
        "daily_budget_usd": "WAN_DAILY_BUDGET_USD",
        "monthly_budget_usd": "WAN_MONTHLY_BUDGET_USD",
        "shot_budget_usd": "WAN_SHOT_BUDGET_USD",
        "campaign_budgets_usd": "WAN_CAMPAIGN_BUDGETS_USD",
        "public_callback_url": "WAN_PUBLIC_CALLBACK_URL",
        "absent_after_seconds": "WAN_ABSENT_AFTER_SECONDS",
        "default_model": "WAN_DEFAULT_MODEL",
        "settle_seconds": "WAN_SETTLE_SECONDS",
        "retire_after_days": "WAN_RETIRE_AFTER_DAYS",
        "alert_webhook_url": "WAN_ALERT_WEBHOOK_URL",
    }

    mode: str | None = Field(None, description="demo: simulated providers, nothing is bought. live: real ones.")
    home: str | None = Field(None, description="The folder of the embedded state. Default: .wan")
    daily_budget_usd: str | None = Field(None, description="Most that may be spent and held per UTC day. Default: 25")
    monthly_budget_usd: str | None = Field(None, description="The same per UTC month. Default: 250")
    shot_budget_usd: str | None = Field(None, description="The same per shot, all its takes together. Default: 5")
    campaign_budgets_usd: str | None = Field(
        None, description="Most for all that is ever bought for a campaign: spring=50,summer=20.50. Default: none"
    )
    public_callback_url: str | None = Field(
        None, description="Where providers reach `wan-pipeline receiver`. Default: none, and no callback is asked for."
    )
    absent_after_seconds: str | None = Field(
        None, description="How long after a lost answer a provider's 'no such job' is believed. Default: 14400"
    )
    default_model: str | None = Field(None, description="For shots that name no model.")
    settle_seconds: str | None = Field(None, description="How long a shot's files must be unchanged first. Default: 5")
    retire_after_days: str | None = Field(
        None,
        description="Shots finished so many days ago leave the partitions. Default: only those whose files are gone",
    )
    alert_webhook_url: str | None = Field(
        None, repr=False, description="Where alerts are posted as JSON; Slack accepts it. A secret. Default: nowhere"
    )


class BucketResource(ConfiguredByVariables):
    """The bucket with `inbox/`, `videos/` and `reports/`: a folder, or S3."""

    VARIABLES: ClassVar[Mapping[str, str]] = {
        "url": "WAN_BUCKET_URL",
        "public_base_url": "WAN_PUBLIC_BASE_URL",
        "events_url": "WAN_BUCKET_EVENTS_URL",
        "listing_at": "WAN_BUCKET_LISTING_AT",
    }

    url: str | None = Field(None, description="s3://bucket/prefix, or a folder. Default: the folder bucket in WAN_HOME")
    public_base_url: str | None = Field(None, description="Where others can fetch the bucket's objects over HTTP.")
    events_url: str | None = Field(
        None, description="The SQS queue of the bucket's event notifications. Default: none, the bucket is listed"
    )
    listing_at: str | None = Field(
        None, description="When (UTC) the bucket is listed although there is a queue. Default: 03:00"
    )


class LedgerResource(ConfiguredByVariables):
    """The SQL record of jobs and money."""

    VARIABLES: ClassVar[Mapping[str, str]] = {"url": "WAN_LEDGER_URL"}

    url: str | None = Field(
        None,
        repr=False,
        description="A SQLAlchemy URL, postgresql+psycopg2://… in production. Default: SQLite in WAN_HOME",
    )


class ProviderResource(ConfiguredByVariables):
    """One provider's account. In demo mode the simulator answers in its place, and key and base URL are not used."""

    NAME: ClassVar[str] = ""

    key: str | None = Field(None, repr=False, description="The API key. Needed in live mode by the models that use it.")
    base_url: str | None = Field(None, description="Default: the documented host.")
    max_in_flight: int | None = Field(None, description="Jobs under way at once. Default: the provider's lowest tier.")
    submits_per_minute: int | None = Field(None, description="Default: the provider's lowest tier.")
    polls_per_minute: int | None = Field(
        None, description="Questions that one process asks. Default: ten for each submission allowed, and at least 200."
    )
    monthly_budget_usd: str | None = Field(
        None, description="Most that may be spent and held at this provider per UTC month. Default: no limit of its own"
    )


class ShortApiResource(ProviderResource):
    """ShortAPI: wan-2.6 image-to-video, wan-2.6 reference-to-video, wan-2.7 image-to-video."""

    NAME: ClassVar[str] = "shortapi"
    VARIABLES: ClassVar[Mapping[str, str]] = {
        "key": "SHORTAPI_KEY",
        "base_url": "SHORTAPI_BASE_URL",
        "max_in_flight": "WAN_SHORTAPI_MAX_IN_FLIGHT",
        "submits_per_minute": "WAN_SHORTAPI_SUBMITS_PER_MINUTE",
        "polls_per_minute": "WAN_SHORTAPI_POLLS_PER_MINUTE",
        "monthly_budget_usd": "WAN_SHORTAPI_MONTHLY_BUDGET_USD",
    }


class AimlApiResource(ProviderResource):
    """AI/ML API: wan-2.6 image-to-video."""

    NAME: ClassVar[str] = "aimlapi"
    VARIABLES: ClassVar[Mapping[str, str]] = {
        "key": "AIMLAPI_KEY",
        "base_url": "AIMLAPI_BASE_URL",
        "max_in_flight": "WAN_AIMLAPI_MAX_IN_FLIGHT",
        "submits_per_minute": "WAN_AIMLAPI_SUBMITS_PER_MINUTE",
        "polls_per_minute": "WAN_AIMLAPI_POLLS_PER_MINUTE",
        "monthly_budget_usd": "WAN_AIMLAPI_MONTHLY_BUDGET_USD",
    }


class WaveSpeedResource(ProviderResource):
    """WaveSpeed: wan-2.6 image-to-video flash."""

    NAME: ClassVar[str] = "wavespeed"
    VARIABLES: ClassVar[Mapping[str, str]] = {
        "key": "WAVESPEED_API_KEY",
        "base_url": "WAVESPEED_BASE_URL",
        "max_in_flight": "WAN_WAVESPEED_MAX_IN_FLIGHT",
        "submits_per_minute": "WAN_WAVESPEED_SUBMITS_PER_MINUTE",
        "polls_per_minute": "WAN_WAVESPEED_POLLS_PER_MINUTE",
        "monthly_budget_usd": "WAN_WAVESPEED_MONTHLY_BUDGET_USD",
    }


class SimulatorResource(ConfiguredByVariables):
    """The simulated providers of demo mode; the same variables as those of `wan-pipeline simulator`."""

    VARIABLES: ClassVar[Mapping[str, str]] = {"latency_s": "WAN_SIMULATOR_LATENCY", "render": "WAN_SIMULATOR_RENDER"}

    latency_s: str | None = Field(None, description="How long a simulated job takes, in seconds, give or take 30 %.")
    render: str | None = Field(None, description="each: every video is rendered. shared: one per size and length.")
