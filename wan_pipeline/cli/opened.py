"""What the settings name, opened for a command: the installation (with Dagster's resources), or the ledger alone."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wan_pipeline.problems import ConfigurationError
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from wan_pipeline.bucket import Bucket
    from wan_pipeline.defs.resources import OpenInstallation
    from wan_pipeline.spend.ledger import Ledger


@contextmanager
def open_installation() -> Generator[OpenInstallation]:
    """Bucket, ledger and providers, the very ones that Dagster's runs have. Raises ConfigurationError."""
    prepare_home(Settings.load())  # every wrong variable at once, before Dagster is imported
    from wan_pipeline.defs.resources import Installation, resources

    installation = resources({})["installation"]
    if not isinstance(installation, Installation):
        raise TypeError(f"the resource `installation` is a {type(installation).__name__}")
    with installation.process_config_and_initialize_cm() as ready, ready.open() as opened:
        yield opened


@contextmanager
def open_ledger(settings: Settings) -> Generator[Ledger]:
    """The ledger alone: quicker by Dagster's import. Raises ConfigurationError."""
    from wan_pipeline.spend.ledger import Ledger

    with Ledger.open(settings.ledger_url) as ledger:
        yield ledger


def prepare_home(settings: Settings) -> None:
    """The folder bucket of `$WAN_HOME` with its `inbox/`, where no other bucket is set: nobody has to make it by hand."""
    if settings.bucket_url_setting is not None:
        return
    inbox = settings.home / "bucket" / "inbox"
    try:
        inbox.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{inbox} cannot be made ({error.strerror or error}): set WAN_HOME to a folder this user may write to"
        ) from error


def settings_bucket(settings: Settings) -> Bucket:
    """The bucket alone. Raises ConfigurationError or BucketError."""
    from wan_pipeline.bucket import open_bucket

    return open_bucket(settings.bucket_url, settings.public_base_url)
