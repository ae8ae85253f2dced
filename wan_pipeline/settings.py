"""The settings: environment variables, named as in docs/operating.md, read once by who starts (CLI, Dagster's resources).

What belongs here: names, defaults, meanings, and the refusal of what cannot be meant. What does not: opening anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from wan_pipeline.money import Money
from wan_pipeline.problems import ConfigurationError


def _time_of_day(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("write hours and minutes of the UTC day: 03:00")
        return time.fromisoformat(value)
    return value


class Settings(BaseSettings):
    """Every setting of the installation. Raises ConfigurationError through `load`, never a bare ValidationError."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    mode: Literal["demo", "live"] = Field("demo", alias="WAN_MODE")
    home: Path = Field(Path(".wan"), alias="WAN_HOME")
    bucket_url_setting: str | None = Field(None, alias="WAN_BUCKET_URL")
    public_base_url: str | None = Field(None, alias="WAN_PUBLIC_BASE_URL")
    # The SQS queue that the bucket's event notifications come to; and when (UTC) the bucket is listed all the same.
    bucket_events_url: str | None = Field(None, alias="WAN_BUCKET_EVENTS_URL")
    bucket_listing_at: Annotated[time, BeforeValidator(_time_of_day)] = Field(time(3), alias="WAN_BUCKET_LISTING_AT")
    ledger_url_setting: str | None = Field(None, alias="WAN_LEDGER_URL")

    shortapi_key: SecretStr | None = Field(None, alias="SHORTAPI_KEY")
    aimlapi_key: SecretStr | None = Field(None, alias="AIMLAPI_KEY")
    wavespeed_api_key: SecretStr | None = Field(None, alias="WAVESPEED_API_KEY")
    shortapi_base_url: str = Field("https://api.shortapi.ai", alias="SHORTAPI_BASE_URL")
    aimlapi_base_url: str = Field("https://api.aimlapi.com", alias="AIMLAPI_BASE_URL")
    wavespeed_base_url: str = Field("https://api.wavespeed.ai", alias="WAVESPEED_BASE_URL")

    daily_budget: Annotated[Money, NoDecode] = Field(Money.usd(25), alias="WAN_DAILY_BUDGET_USD")
    monthly_budget: Annotated[Money, NoDecode] = Field(Money.usd(250), alias="WAN_MONTHLY_BUDGET_USD")
    shot_budget: Annotated[Money, NoDecode] = Field(Money.usd(5), alias="WAN_SHOT_BUDGET_USD")

    campaign_budgets: Annotated[dict[str, Money], NoDecode] = Field(
        default_factory=dict[str, Money], alias="WAN_CAMPAIGN_BUDGETS_USD"
    )
    shortapi_monthly_budget: Annotated[Money | None, NoDecode] = Field(None, alias="WAN_SHORTAPI_MONTHLY_BUDGET_USD")
    aimlapi_monthly_budget: Annotated[Money | None, NoDecode] = Field(None, alias="WAN_AIMLAPI_MONTHLY_BUDGET_USD")
    wavespeed_monthly_budget: Annotated[Money | None, NoDecode] = Field(None, alias="WAN_WAVESPEED_MONTHLY_BUDGET_USD")

    public_callback_url: str | None = Field(None, alias="WAN_PUBLIC_CALLBACK_URL")
    # How long after a submission "the provider has no such job" is believed: longer than the longest generation, and its
    # bookkeeping's lag.
    absent_after_seconds: float = Field(14_400.0, alias="WAN_ABSENT_AFTER_SECONDS", ge=0, le=2_592_000)

    # Where alerts are posted as JSON. A secret: whoever knows a chat's webhook URL can write there.
    alert_webhook_url: SecretStr | None = Field(None, alias="WAN_ALERT_WEBHOOK_URL")

    shortapi_max_in_flight: int | None = Field(None, alias="WAN_SHORTAPI_MAX_IN_FLIGHT", ge=1)
    shortapi_submits_per_minute: int | None = Field(None, alias="WAN_SHORTAPI_SUBMITS_PER_MINUTE", ge=1)
    shortapi_polls_per_minute: int | None = Field(None, alias="WAN_SHORTAPI_POLLS_PER_MINUTE", ge=1)
    aimlapi_max_in_flight: int | None = Field(None, alias="WAN_AIMLAPI_MAX_IN_FLIGHT", ge=1)
    aimlapi_submits_per_minute: int | None = Field(None, alias="WAN_AIMLAPI_SUBMITS_PER_MINUTE", ge=1)
    aimlapi_polls_per_minute: int | None = Field(None, alias="WAN_AIMLAPI_POLLS_PER_MINUTE", ge=1)
    wavespeed_max_in_flight: int | None = Field(None, alias="WAN_WAVESPEED_MAX_IN_FLIGHT", ge=1)
    wavespeed_submits_per_minute: int | None = Field(None, alias="WAN_WAVESPEED_SUBMITS_PER_MINUTE", ge=1)
    wavespeed_polls_per_minute: int | None = Field(None, alias="WAN_WAVESPEED_POLLS_PER_MINUTE", ge=1)

    default_model: str | None = Field(None, alias="WAN_DEFAULT_MODEL")
    retire_after_days: int | None = Field(None, alias="WAN_RETIRE_AFTER_DAYS", ge=1, le=36_500)
    settle_seconds: float = Field(5.0, alias="WAN_SETTLE_SECONDS", ge=0, le=604_800)  # a week; `run` waits that long

    @field_validator("campaign_budgets", mode="before")
    @classmethod
    def _campaigns(cls, text: object) -> object:
        """`spring=50, summer=20.50`: each campaign's, for all that is ever bought for it."""
        if not isinstance(text, str):
            return text
        amounts: dict[str, str] = {}
        for part in filter(None, (each.strip() for each in text.split(","))):
            name, equals, amount = (piece.strip() for piece in part.partition("="))
            if not equals or not name or not amount:
                raise ValueError("write campaign=USD, and a comma between two: spring=50,summer=20.50")
            if name in amounts:
                raise ValueError(f"the campaign {name!r} has two budgets: leave one")
            amounts[name] = amount
        return amounts

    @field_validator(
        "daily_budget",
        "monthly_budget",
        "shot_budget",
        "shortapi_monthly_budget",
        "aimlapi_monthly_budget",
        "wavespeed_monthly_budget",
    )
    @classmethod
    def _not_negative(cls, amount: Money | None) -> Money | None:
        if amount is not None and amount.nanos < 0:
            raise ValueError("a budget is not negative; 0 buys nothing")
        return amount

    @field_validator("campaign_budgets")
    @classmethod
    def _none_negative(cls, amounts: dict[str, Money]) -> dict[str, Money]:
        for amount in amounts.values():
            cls._not_negative(amount)
        return amounts

    @field_validator(
        "shortapi_base_url",
        "aimlapi_base_url",
        "wavespeed_base_url",
        "public_base_url",
        "public_callback_url",
        "bucket_events_url",
    )
    @classmethod
    def _http_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("write a URL that begins with http:// or https://")
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            raise ValueError("the URL names no host") from None
        if not host:
            raise ValueError("the URL names no host")
        if parts.query or parts.fragment:
            raise ValueError("leave out what follows the ? or # of this URL")
        if parts.username is not None or parts.password is not None:
            raise ValueError("this URL is shown and handed out: leave out the user and password before its @")
        return url.rstrip("/")

    @field_validator("alert_webhook_url")
    @classmethod
    def _secret_url(cls, url: SecretStr | None) -> SecretStr | None:
        try:
            parts = urlsplit(url.get_secret_value()) if url is not None else None
        except ValueError:
            raise ValueError("the URL names no host") from None
        if parts is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("write a URL that begins with http:// or https://")
        return url

    @property
    def bucket_url(self) -> str:
        """`s3://bucket/prefix`, or the path of a folder."""
        return self.bucket_url_setting or str(self.home / "bucket")

    @property
    def ledger_url(self) -> str:
        """A SQLAlchemy URL; may hold a password: never print it (`sqlalchemy.make_url(url)` hides it)."""
        return self.ledger_url_setting or f"sqlite:///{self.home.absolute() / 'ledger.sqlite'}"

    @property
    def provider_budgets(self) -> dict[str, Money]:
        """The monthly budgets of those providers that have one of their own, by their names."""
        own = {
            "shortapi": self.shortapi_monthly_budget,
            "aimlapi": self.aimlapi_monthly_budget,
            "wavespeed": self.wavespeed_monthly_budget,
        }
        return {name: amount for name, amount in own.items() if amount is not None}

    @property
    def dagster_home(self) -> Path:
        return (self.home / "dagster").absolute()

    @classmethod
    def load(cls, **overrides: str) -> Settings:
        """The settings of this process, each `overrides` winning over its variable: `load(WAN_MODE="live")`.

        Raises ConfigurationError that names every wrong variable.
        """
        try:
            return cls(**overrides)  # pyright: ignore[reportArgumentType]
        except ValidationError as error:
            lines = [
                f"{_named(item['loc'])}: "
                + (_remedy(item["type"], item.get("ctx", {})) or item["msg"].removeprefix("Value error, "))
                + ("" if _is_secret(item["loc"], item["input"]) else f" (found: {item['input']!r})")
                for item in error.errors()
            ]
            raise ConfigurationError("wrong setting: " + "; ".join(lines)) from None


def _named(where: tuple[int | str, ...]) -> str:
    """`WAN_DAILY_BUDGET_USD`, or `WAN_CAMPAIGN_BUDGETS_USD (spring)`."""
    if not where:
        return "settings"
    return str(where[0]) + "".join(f" ({inner})" for inner in where[1:])


def _remedy(kind: str, limits: Mapping[str, object]) -> str | None:
    """What to write, where a number is wrong: pydantic only says what it is not."""
    match kind:
        case "int_parsing" | "int_from_float":
            return "write a whole number"
        case "float_parsing":
            return "write a number"
        case "greater_than_equal":
            return f"write {limits['ge']} or more, or leave it out"
        case "less_than_equal":
            return f"write {limits['le']} or less, or leave it out"
        case _:
            return None


def _is_secret(where: tuple[int | str, ...], value: object) -> bool:
    """A key, a chat's webhook, or a URL with a password in it: named, and not shown."""
    return any(word in str(where) for word in ("KEY", "WEBHOOK")) or ("://" in str(value) and "@" in str(value))
