"""A whole installation in demo mode in a temporary folder, driven through Dagster as its users drive it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import cast

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from PIL import Image

from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.partitions import SHOTS, add_shots, shot_partitions
from wan_pipeline.defs.recovery import recovery_sensor
from wan_pipeline.defs.resources import Installation, SettingsResource, SimulatorResource
from wan_pipeline.defs.schedules import due_shots
from wan_pipeline.defs.sensors import bucket_sensor
from wan_pipeline.money import Money
from wan_pipeline.simulator.books import Books
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
DEFAULTS = "model: wavespeed/wan-2.6-i2v-flash\nprompt: The leaves fall.\nduration: 2\n"


def jpeg(number: int, width: int = 320, height: int = 240) -> bytes:
    """A picture of which the bytes are different for each number below 256: the same bytes are bought once."""
    data = io.BytesIO()
    Image.new("RGB", (width, height), (number % 16 * 16, number // 16 * 16, 60)).save(data, "JPEG")
    return data.getvalue()


@dataclass
class Lab:
    """`instance` is the throw-away Dagster instance; `settings` are those of the SettingsResource."""

    home: Path
    instance: dg.DagsterInstance
    settings: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, object] = field(default_factory=dict)

    @cached_property
    def defs(self) -> dg.Definitions:
        given = {"mode": "demo", "home": str(self.home), "settle_seconds": "0"} | self.settings
        simulator = SimulatorResource(latency_s="0.1", render="shared")
        return build_defs({"settings": SettingsResource(**given), "simulator": simulator, **self.overrides})

    @property
    def installation(self) -> Installation:
        return self.defs.resources["installation"]

    # --- the bucket ---

    @property
    def bucket(self) -> Path:
        return self.home / "bucket"

    def put(self, key: str, content: bytes | str) -> None:
        path = self.bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def put_shots(self, keys: Sequence[str], prompts: Mapping[str, str] | None = None) -> None:
        """An image for each shot, a `_defaults.yaml` for all, and a yaml for those with a prompt of their own."""
        self.put("inbox/_defaults.yaml", DEFAULTS)
        for number, key in enumerate(keys):
            self.put(f"inbox/{key}.jpg", jpeg(number))
        for key, prompt in (prompts or {}).items():
            self.put(f"inbox/{key}.yaml", f"prompt: '{prompt}'\n")

    # --- Dagster ---

    def run(
        self, keys: Sequence[str], job: str = "make_videos", tags: Mapping[str, str] | None = None, assets: str = ""
    ) -> dg.ExecuteInProcessResult:
        """One run over the range from the first key to the last; `assets`: only these, by name."""
        add_shots(self.instance, keys)
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags={RANGE[0]: keys[0], RANGE[1]: keys[-1], **(tags or {})},
            asset_selection=[dg.AssetKey(name) for name in assets.split()] or None,
            raise_on_error=False,
        )

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        """One tick of the bucket sensor, as Dagster's daemon would have it evaluated."""
        resources = {"installation": self.installation}
        with dg.build_sensor_context(self.instance, cursor, resources=resources) as context:
            return cast(dg.SensorResult, bucket_sensor(context))

    def recover(self, cursor: str | None = None) -> dg.SensorResult:
        """One tick of the recovery sensor."""
        resources = {"installation": self.installation}
        with dg.build_sensor_context(self.instance, cursor, resources=resources) as context:
            return cast(dg.SensorResult, recovery_sensor(context))

    def due(self) -> list[dg.RunRequest]:
        """One tick of the schedule due_shots."""
        resources = {"installation": self.installation}
        moment = datetime.now(UTC)
        with dg.build_schedule_context(self.instance, resources=resources, scheduled_execution_time=moment) as context:
            result = due_shots(context)
        return [] if isinstance(result, dg.SkipReason) else cast(list[dg.RunRequest], result)

    def launch(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """The run that was asked for, carried out."""
        first, last = request.tags[RANGE[0]], request.tags[RANGE[1]]
        keys = self.partitions
        tags = {**request.tags, "dagster/run_key": request.run_key or ""}
        return self.run(keys[keys.index(first) : keys.index(last) + 1], tags=tags)

    def materialized(self, asset: str) -> set[str]:
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))

    def materialization(self, asset: str, partition: str) -> dg.AssetMaterialization:
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
        record = self.instance.fetch_materializations(filters, limit=1).records[0]
        assert record.asset_materialization is not None
        return record.asset_materialization

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        """The description that a failed run shows."""
        event = next(event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
        data = event.step_failure_data
        assert data.user_failure_data is not None, data.error
        return data.user_failure_data.description or ""

    def checks(self, asset: str, check: str) -> dict[str | None, bool]:
        """Of each partition the newest evaluation."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        records = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1000)
        found: dict[str | None, bool] = {}
        for record in records:
            event = record.event.dagster_event if record.event else None
            if event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluation = event.asset_check_evaluation_data
                found.setdefault(evaluation.partition, evaluation.passed)
        return found

    def check_statuses(self, asset: str, check: str) -> dict[str, set[str]]:
        """The partitions by status, as the check's page in the UI has them."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        with partition_loading_context(dynamic_partitions_store=self.instance):
            state = self.instance.event_log_storage.get_asset_check_state([(key, shot_partitions)])[key]
            return {
                status.value: set(subset.subset_value.get_partition_keys())
                for status, subset in state.subsets.items()
                if not subset.is_empty
            }

    @property
    def partitions(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions(SHOTS))

    # --- money ---

    def ledger(self) -> Ledger:
        return Ledger.open(self.installation.load_settings().ledger_url)

    def jobs(self) -> list[Job]:
        with self.ledger() as ledger:
            return ledger.jobs()

    def billed(self) -> Money:
        return Money.total(job.billed for job in self.jobs() if job.billed is not None)

    def charged(self) -> Money:
        """What the simulator says it has charged."""
        return Money(Books(self.home / "simulator").total_nanos())


def asked_for(requests: Sequence[dg.RunRequest] | None) -> list[tuple[str, str]]:
    """First and last shot of each requested run."""
    return [(request.tags[RANGE[0]], request.tags[RANGE[1]]) for request in requests or ()]
