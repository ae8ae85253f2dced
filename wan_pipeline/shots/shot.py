"""A shot as a value: one video to be made, or the reasons why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import CommonSettings, Order, Slot


@dataclass(frozen=True, slots=True)
class Shot:
    """`key` is the partition key: the source's path below `inbox/` without its ending, plus the name in `shots:`.

    A shot with problems is shown with them and costs nothing. `order` is there exactly where there are none: the
    settings, inputs by role and model were checked against the model's document (not the files' contents: inspection
    does that). `sources` are all bucket keys the shot depends on: its yaml, its inputs, every `_defaults.yaml` above.
    `own_settings` are those written in its own yaml (with the `shots:` entry merged in), as canonical JSON text, and
    `own_inputs` the bucket keys of the inputs that its yaml names or that lie beside it: what it does not inherit.
    """

    key: str
    origin: str  # the bucket key it comes from: its yaml, or the image without one
    model_id: str | None
    settings: CommonSettings
    inputs: Mapping[Slot, str]  # bucket keys
    order: Order | None
    own_settings: str
    version: str  # changes when the shot's own yaml or one of its inputs changes in the listing (not _defaults.yaml)
    last_modified: datetime  # of the newest of its sources, _defaults.yaml included
    sources: tuple[str, ...]
    own_inputs: tuple[str, ...] = ()
    campaign: str | None = None
    not_before: datetime | None = None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def ready(self) -> bool:
        return not self.problems


def missing(key: str, bucket: str) -> Shot:
    """A shot whose files are in the bucket no more. It cannot be made, but what was bought for it can be collected."""
    problem = Problem(
        key, "", "", f"no file below inbox/ of {bucket} makes this shot any more", "Put it back, or leave the shot out."
    )
    moment = datetime.now(UTC)
    return Shot(key, "", None, CommonSettings(), {}, None, "", "", moment, (), problems=(problem,))
