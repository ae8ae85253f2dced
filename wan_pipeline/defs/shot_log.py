"""The engine's events into Dagster's event log: each shot's materializations and checks, as it gets there.

An event takes milliseconds of the calling thread (event_log.py), so a shot has few, and none is logged from the engine's
loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import dagster as dg

# not exported, though AssetCheckEvaluation takes it
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from wan_pipeline.defs import names
from wan_pipeline.defs.metadata import (
    Metadata,
    check_metadata,
    inspected_metadata,
    problems_metadata,
    quoted_metadata,
    video_metadata,
)
from wan_pipeline.defs.passing import patiently
from wan_pipeline.defs.quote_totals import QuoteTotals
from wan_pipeline.generation.events import GOOD_VERDICTS, Event, Finished, Inspected, Progress, Quoted, Verdict

if TYPE_CHECKING:
    from wan_pipeline.defs.event_log import KeptEventLogStorage

DATA_VERSION_TAG = "dagster/data_version"  # what Dagster reads; a test compares it with Dagster's own

P = ParamSpec("P")
T = TypeVar("T")


class ShotLog:
    """Logs what the run has selected, and nothing else; remembers what it has said of each shot."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        assets: Collection[dg.AssetKey],
        checks: Collection[dg.AssetCheckKey],
        public_base_url: str | None,
        totals: QuoteTotals | None = None,
    ) -> None:
        self._context = context
        self._assets = frozenset(assets)
        self._checks = frozenset(checks)
        self._public_base_url = public_base_url
        self._totals = totals
        self._inspected: set[str] = set()
        self._call = patiently  # within a transaction it is the whole that is tried again
        self._within: KeptEventLogStorage | None = None  # the storage, while there is a transaction

    def log(self, events: Sequence[Event]) -> None:
        """Log what is to be shown of these events: in one transaction where Dagster's storage has one."""
        if self._totals is not None:
            for event in events:
                self._totals.note(event)
        from wan_pipeline.defs.event_log import (
            KeptEventLogStorage,
        )  # an instance has it loaded; the definitions need none

        storage = self._context.instance.event_log_storage
        if isinstance(storage, KeptEventLogStorage):
            patiently(self._log_together, storage, events)
        else:
            for event in events:
                self._log_one(event)
        # They are stored; the step would hand each of them on once more at its end, and keep them all until then.
        for _ in self._context.op_execution_context.consume_events():
            pass

    def _log_together(self, storage: KeptEventLogStorage, events: Sequence[Event]) -> None:
        with storage.together():
            self._call, self._within = _at_once, storage
            try:
                for event in events:
                    self._log_one(event)
            finally:
                self._call, self._within = patiently, None

    def _log_one(self, event: Event) -> None:
        match event:
            case Inspected():
                self._log_inspected(event)
            case Quoted():
                self._materialize(names.SHOT_QUOTES, event.shot.key, quoted_metadata(event), event.digest)
            case Finished():
                self._log_finished(event)
            case Progress():
                pass  # for those who watch; not for the event log

    def _log_inspected(self, event: Inspected) -> None:
        key, passed = event.shot.key, not event.problems
        self._inspected.add(key)
        target = None
        if passed:
            target = self._materialize(names.SOURCE_IMAGES, key, inspected_metadata(event), event.digest)
        results = {names.WITHIN_LIMITS: (passed, problems_metadata(event.problems))}
        self._check(names.SOURCE_IMAGES, key, results, target)

    def _log_finished(self, event: Finished) -> None:
        key = event.shot.key
        if event.verdict is Verdict.NOT_READY and key not in self._inspected:
            # Its files were not even looked at: the check says why, so that the partition does.
            metadata = problems_metadata(event.shot.problems) or {"reason": dg.MetadataValue.text(event.reason)}
            self._check(names.SOURCE_IMAGES, key, {names.WITHIN_LIMITS: (False, metadata)})
        video = event.video
        if video is None:
            return
        target = None
        if event.verdict in GOOD_VERDICTS:
            metadata = video_metadata(event, video, self._public_base_url)
            target = self._materialize(names.GENERATED_VIDEOS, key, metadata, video.sha256)
        results = {result.name: (result.passed, check_metadata(result)) for result in video.checks}
        self._check(names.GENERATED_VIDEOS, key, results, target)

    def _materialize(self, asset: dg.AssetKey, shot: str, metadata: Metadata, digest: str) -> Target | None:
        """Gives what a check of it refers to, where that is known without asking."""
        if asset not in self._assets:
            return None
        # Events logged this way get no data version from Dagster: the content's hash is it.
        tags = {DATA_VERSION_TAG: digest}
        event = dg.AssetMaterialization(asset, partition=shot, metadata=metadata, tags=tags)
        self._call(self._context.log_event, event)
        if self._within is None:
            return None
        storage_id, timestamp = self._within.newest()
        return Target(storage_id=storage_id, run_id=self._context.run_id, timestamp=timestamp)

    def _check(
        self, asset: dg.AssetKey, shot: str, results: Mapping[str, tuple[bool, Metadata]], target: Target | None = None
    ) -> None:
        """Log these checks of one shot, where they are selected, as checks of its newest materialization.

        A check that names another one, or none where there is one, counts as not executed on the check's page.
        """
        wanted = {name: result for name, result in results.items() if dg.AssetCheckKey(asset, name) in self._checks}
        if not wanted:
            return
        target = target or self._newest_materialization(asset, shot)
        for name, (passed, metadata) in wanted.items():
            evaluation = dg.AssetCheckEvaluation(
                asset_key=asset,
                check_name=name,
                passed=passed,
                partition=shot,
                metadata=metadata,
                target_materialization_data=target,
            )
            # Dagster logs it (a test sees it), but its annotation does not say so.
            self._call(self._context.log_event, cast(Any, evaluation))

    def _newest_materialization(self, asset: dg.AssetKey, shot: str) -> Target | None:
        filters = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[shot])
        records = self._call(self._context.instance.fetch_materializations, filters, limit=1).records
        if not records:
            return None
        newest = records[0]
        return Target(storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp)


def _at_once(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    return call(*arguments, **named)
