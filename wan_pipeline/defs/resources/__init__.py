"""The outside world as Dagster resources: settings, bucket, ledger, the three providers, and the installation they make.

What belongs here: configuration, and the building of what the engine needs. What does not: the use that is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from wan_pipeline.defs.resources.configured import (
    AimlApiResource,
    BucketResource,
    LedgerResource,
    ProviderResource,
    SettingsResource,
    ShortApiResource,
    SimulatorResource,
    WaveSpeedResource,
)
from wan_pipeline.defs.resources.installation import Installation, OpenInstallation, RunningBatch

__all__ = [
    "AimlApiResource",
    "BucketResource",
    "Installation",
    "LedgerResource",
    "OpenInstallation",
    "ProviderResource",
    "RunningBatch",
    "SettingsResource",
    "ShortApiResource",
    "SimulatorResource",
    "WaveSpeedResource",
    "resources",
]


def resources(overrides: Mapping[str, object]) -> dict[str, object]:
    """Every resource by its name, from the environment but for the overrides; the installation is made of the others."""
    parts: dict[str, object] = {
        "settings": SettingsResource.from_environment(),
        "bucket": BucketResource.from_environment(),
        "ledger": LedgerResource.from_environment(),
        "shortapi": ShortApiResource.from_environment(),
        "aimlapi": AimlApiResource.from_environment(),
        "wavespeed": WaveSpeedResource.from_environment(),
        "simulator": SimulatorResource.from_environment(),
    }
    unknown = sorted(set(overrides) - {*parts, "installation"})
    if unknown:
        raise ValueError(f"no resource is named {', '.join(unknown)}; there are installation, {', '.join(parts)}")
    parts |= {name: resource for name, resource in overrides.items() if name in parts}
    # Made of whatever it is given: pydantic refuses a part of the wrong kind.
    installation = overrides.get("installation") or Installation.model_validate(parts)
    return {**parts, "installation": installation}
