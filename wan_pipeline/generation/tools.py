"""What all shots of a batch share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wan_pipeline.generation.completion import Completer
from wan_pipeline.generation.desk import Desk
from wan_pipeline.generation.events import Event, Stage
from wan_pipeline.generation.finding import Finder
from wan_pipeline.generation.inspection import Inspector
from wan_pipeline.generation.lanes import Lanes
from wan_pipeline.generation.results import Shelf
from wan_pipeline.spend.records import ClaimOptions, Job


@dataclass(frozen=True)
class BatchTools:
    """`earlier`: by shot, the jobs that were in flight or ambiguous as the batch began. `put_off`: by shot, how often it was
    put off before this batch."""

    desk: Desk
    lanes: Lanes
    inspector: Inspector
    completer: Completer
    finder: Finder
    shelf: Shelf
    stage: Stage
    options: ClaimOptions
    emit: Callable[[Event], None]
    run_id: str | None
    earlier: Mapping[str, Sequence[Job]]
    put_off: Mapping[str, int]
