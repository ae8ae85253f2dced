"""Dagster's three layers of retries: what is permanent is tried by none of them, what passes by exactly one.

The layers are the op's own retry, the instance's `run_retries` (on in these tests; ours are off) and automation conditions
(we have none). test_backfill.py has the daemon that retries runs at work.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.bucket_server import bucket_app
from wan_pipeline.defs import failures
from wan_pipeline.defs.failures import told_plainly
from wan_pipeline.defs.resources import BucketResource, LedgerResource, WaveSpeedResource
from wan_pipeline.money import ZERO, Money
from wan_pipeline.simulator.app import create_app
from wan_pipeline.simulator.books import Books
from wan_pipeline.simulator.config import SimulatorConfig
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline_tests.defs.doors import Door, served
from wan_pipeline_tests.defs.lab import DEFAULTS, Lab, jpeg
from wan_pipeline_tests.services.postgres import postgres
from wan_pipeline_tests.services.s3 import S3Server

KEYS = ["a", "b"]
WILL_RETRY = "dagster/will_retry"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Somebody has turned run_retries on, for all that there is."""
    (tmp_path / "dagster").mkdir()
    overrides = {"telemetry": {"enabled": False}, "run_retries": {"enabled": True, "max_retries": 3}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=overrides) as instance:
        assert instance.run_retries_enabled and instance.run_retries_retry_on_asset_or_op_failure
        yield instance


def _layers(lab: Lab, result: dg.ExecuteInProcessResult) -> tuple[int, str | None]:
    """How often the op was put up for a retry, and whether the run is to be retried."""
    ups = [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    run = lab.instance.get_run_by_id(result.run_id)
    assert run is not None
    return len(ups), run.tags.get(WILL_RETRY)


def _posts(lab: Lab) -> Counter[str]:
    with lab.ledger() as ledger:
        return Counter({job.shot: len(ledger.attempts(job.id)) for job in ledger.jobs()})


def _as_a_person(lab: Lab, keys: list[str]) -> dg.ExecuteInProcessResult:
    """As the UI's button "materialize" has it: Dagster's own asset job, which has no tags of ours."""
    from wan_pipeline.defs.partitions import add_shots
    from wan_pipeline_tests.defs.lab import RANGE

    add_shots(lab.instance, keys)
    job = lab.defs.resolve_implicit_global_asset_job_def()
    names = ("source_images", "shot_quotes", "generated_videos")
    return job.get_subset(asset_selection={dg.AssetKey(name) for name in names}).execute_in_process(
        instance=lab.instance, tags={RANGE[0]: keys[0], RANGE[1]: keys[-1]}, raise_on_error=False
    )


# --- permanent: by none ---


@pytest.mark.parametrize("prompt", ["[refuse] me", "[fail] me"])
@pytest.mark.parametrize("by", ["the sensor", "a person"])
def test_what_the_provider_has_rejected_or_failed_is_sent_once(lab: Lab, prompt: str, by: str) -> None:
    lab.put_shots(KEYS, {"b": prompt})

    result = _as_a_person(lab, KEYS) if by == "a person" else lab.run(KEYS, tags={"wan/asked_by": "sensor"})

    assert not result.success
    assert _layers(lab, result) == (0, "false")
    assert _posts(lab) == {"a": 1, "b": 1}


@pytest.mark.parametrize("refusal", ["no credit", "wrong key"])
@pytest.mark.parametrize("by", ["the sensor", "a person"])
def test_where_there_is_no_credit_or_the_key_is_wrong_one_request_goes_out(
    lab: Lab, tmp_path: Path, refusal: str, by: str
) -> None:
    keys = frozenset({"another"}) if refusal == "wrong key" else None
    config = SimulatorConfig(
        folder=tmp_path / "provider", latency_s=0.1, render="shared", opening_balance_usd="0", keys=keys
    )
    lab.put("inbox/_defaults.yaml", DEFAULTS)
    lab.put("inbox/a.jpg", jpeg(1))
    with served(create_app(config)) as provider, served(bucket_app(lab.bucket)) as bucket:
        lab.settings["mode"] = "live"
        lab.overrides |= {
            "wavespeed": WaveSpeedResource(key="a-key", base_url=provider),
            "bucket": BucketResource(public_base_url=bucket),
        }
        result = _as_a_person(lab, ["a"]) if by == "a person" else lab.run(["a"], tags={"wan/asked_by": "sensor"})
        assert not result.success
        assert _layers(lab, result) == (0, "false")
        # nor by the sensors, later on
        lab.recover()
        assert lab.due() == []
        assert not lab.tick(lab.tick().cursor).run_requests

    assert _posts(lab) == {"a": 1}
    assert len(Books(tmp_path / "provider").post_rows()) == 1
    assert Books(tmp_path / "provider").total_nanos() == ZERO.nanos


def test_a_wrong_setting_is_told_and_not_retried(lab: Lab) -> None:
    lab.settings["daily_budget_usd"] = "a lot"
    lab.put_shots(KEYS)

    result = lab.run(KEYS)

    assert "WAN_DAILY_BUDGET_USD" in lab.failure(result)
    assert _layers(lab, result) == (0, "false")


def test_an_error_that_nobody_foresaw_is_told_and_not_retried(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tags: object) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr("wan_pipeline.defs.assets.claim_options", broken)
    lab.put_shots(KEYS)

    result = lab.run(KEYS)

    assert "an error that nobody foresaw: RuntimeError: what nobody thought of" in lab.failure(result)
    assert _layers(lab, result) == (0, "false")


def test_nothing_of_ours_is_automated_by_dagster_and_our_jobs_ask_for_no_run_retries(lab: Lab) -> None:
    assert all(node.automation_condition is None for node in lab.defs.resolve_asset_graph().asset_nodes)
    for name in ("make_videos", "quote_shots", "daily_report", "resolve_job"):
        tags = lab.defs.resolve_job_def(name).tags
        assert (tags["dagster/max_retries"], tags["dagster/retry_on_asset_or_op_failure"]) == ("0", "false")


# --- passing: by the op, and by nobody else ---


def _when_put_up_for_retry(lab: Lab, then: threading.Event) -> threading.Thread:
    """Sets `then` once the op of the newest run waits to be tried again."""

    def watch() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not then.is_set():
            for run in lab.instance.get_runs(limit=1):
                filters = dg.DagsterEventType.STEP_UP_FOR_RETRY
                if lab.instance.get_records_for_run(run.run_id, of_type=filters).records:
                    then.set()
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_ledger_that_is_not_up_yet_is_waited_for_by_the_op_alone_and_the_shots_are_bought_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "RETRY_WAITS_S", [3.0] * 10)
    lab.put_shots(KEYS)
    with postgres() as server, server.database() as url:
        lab.overrides["ledger"] = LedgerResource(url=url)
        server.stop()
        seen = threading.Event()
        watcher = _when_put_up_for_retry(lab, seen)
        starter = threading.Thread(target=lambda: seen.wait(60) and server.start())
        starter.start()

        result = lab.run(KEYS, tags={"wan/asked_by": "sensor"})

        watcher.join()
        starter.join()
        assert result.success
        ups, will_retry = _layers(lab, result)
        assert ups >= 1
        assert will_retry is None
        with Ledger.open(url) as ledger:
            assert [len(ledger.attempts(job.id)) for job in ledger.jobs()] == [1, 1]
    assert len(lab.instance.get_runs()) == 1
    assert lab.charged() == Money.usd("0.10")


def test_a_bucket_that_answers_503_is_waited_for_by_the_op_alone(
    lab: Lab, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "RETRY_WAITS_S", [0.5] * 10)
    host, _, port = moto_server.endpoint_url.rpartition("//")[2].partition(":")
    door = Door((host, int(port)))
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = moto_server.make_bucket()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", door.url)
    for key, content in {"_defaults.yaml": DEFAULTS.encode(), "a.jpg": jpeg(1)}.items():
        moto_server.client().put_object(Bucket=bucket, Key=f"inbox/{key}", Body=content)
    lab.overrides["bucket"] = BucketResource(url=f"s3://{bucket}")
    seen = threading.Event()
    watcher = _when_put_up_for_retry(lab, seen)

    def open_door() -> None:
        seen.wait(60)
        door.shut = False

    opener = threading.Thread(target=open_door)
    opener.start()
    try:
        result = lab.run(["a"], tags={"wan/asked_by": "sensor"})
    finally:
        seen.set()
        watcher.join()
        opener.join()
        door.close()

    assert result.success
    assert door.turned_away > 0
    ups, will_retry = _layers(lab, result)
    assert ups >= 1
    assert will_retry is None
    assert _posts(lab) == {"a": 1}
    assert len(lab.instance.get_runs()) == 1


def test_once_a_batch_has_begun_the_op_is_not_retried_and_recovery_has_the_rest(lab: Lab) -> None:
    """What was asked for on purpose (a new take) would be bought once more by a second try of the op."""
    lab.put_shots(KEYS)
    assert lab.run(KEYS).success
    from wan_pipeline.generation.events import Event, Progress
    from wan_pipeline.generation.listeners import subscribe

    def break_off(event: Event) -> None:
        if isinstance(event, Progress):
            raise ConnectionResetError("Dagster's storage is gone")

    with subscribe(break_off):
        result = lab.run(KEYS, tags={"wan/new_take": "true"})

    assert not result.success
    assert "trouble that passes by itself" in lab.failure(result)
    assert _layers(lab, result) == (0, "false")
    for request in lab.recover().run_requests or ():
        assert lab.launch(request).success
    assert lab.charged() == lab.billed() <= Money.usd("0.20")
    assert max(_posts(lab).values()) == 1


def test_a_dagster_storage_that_is_away_for_a_moment_does_not_end_a_batch(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    monkeypatch.setattr("wan_pipeline.defs.passing._FIRST_PAUSE_S", 0.01)
    lab.put_shots(KEYS)
    original = dg.AssetExecutionContext.log_event
    calls = Counter[str]()

    def log_event(self: dg.AssetExecutionContext, event: dg.AssetMaterialization) -> None:
        calls["all"] += 1
        if calls["all"] % 2:
            error = OperationalError("insert", {}, ConnectionResetError("away"))
            error.connection_invalidated = True
            raise error
        original(self, event)

    monkeypatch.setattr(dg.AssetExecutionContext, "log_event", log_event)

    assert lab.run(KEYS).success
    assert lab.materialized("generated_videos") == set(KEYS)
    assert calls["all"] > 4


def test_a_failure_of_ours_is_left_as_it_is() -> None:
    with pytest.raises(dg.Failure, match="mine"), told_plainly():
        raise dg.Failure("mine")
