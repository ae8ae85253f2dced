"""Dagster's webserver and daemon as processes of their own, as `dagster dev` starts them, spoken to as the UI does: over
GraphQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import httpx
import pytest

from wan_pipeline.defs.instance import prepare_dagster_home
from wan_pipeline.settings import Settings

T = TypeVar("T")
# The daemon looks after backfills every 30 s, and nothing sets that. Here it does every second, and all else is its own.
DAEMON = (
    "import dagster._daemon.controller as controller, dagster._daemon.cli as cli\n"
    "controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1\n"
    "cli.main()\n"
)
SELECTOR = {"repositoryLocationName": "wan_pipeline.definitions", "repositoryName": "__repository__"}


@dataclass(frozen=True)
class DagsterDev:
    url: str
    log: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A query or mutation; fails on GraphQL errors."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def add_partitions(self, keys: Sequence[str]) -> None:
        mutation = """mutation($key: String!, $repository: RepositorySelector!) {
            addDynamicPartition(partitionsDefName: "shots", partitionKey: $key, repositorySelector: $repository)
            { __typename } }"""
        for key in keys:
            added = self.ask(mutation, key=key, repository=SELECTOR)["addDynamicPartition"]["__typename"]
            assert added in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"), added

    def backfill(self, assets: Sequence[str], keys: Sequence[str]) -> str:
        """Launch a backfill as the UI's dialog does; gives its id."""
        mutation = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        selection = [{"path": [asset]} for asset in assets]
        launched = self.ask(mutation, params={"assetSelection": selection, "partitionNames": list(keys)})
        return launched["launchPartitionBackfill"]["backfillId"]

    def retry(self, backfill: str) -> str:
        """The UI's re-execution of a backfill from its failures; gives the new one's id."""
        mutation = """mutation($params: ReexecutionParams!) { reexecutePartitionBackfill(reexecutionParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        launched = self.ask(mutation, params={"parentRunId": backfill, "strategy": "FROM_FAILURE"})
        return launched["reexecutePartitionBackfill"]["backfillId"]

    def wait_for_backfill(self, backfill: str) -> dict[str, Any]:
        """Its status, runs and counts by asset, when it has ended."""
        query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
            status runs { runId status tags { key value } } assetBackfillData { assetBackfillStatuses {
            ... on AssetPartitionsStatusCounts { assetKey { path } numPartitionsTargeted numPartitionsInProgress
            numPartitionsMaterialized numPartitionsFailed } } } } } }"""

        def ended() -> dict[str, Any] | None:
            found = self.ask(query, id=backfill)["partitionBackfillOrError"]
            return (
                found if found["status"] in ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED") else None
            )

        return until(ended, self.log)

    def catalog(self, asset: str) -> dict[str, int]:
        """Partitions of the asset by state, as its page shows them."""
        query = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            partitionStats { numMaterialized numFailed numMaterializing numPartitions } } } }"""
        return self.ask(query, key={"path": [asset]})["assetNodeOrError"]["partitionStats"]

    def run_status(self, run: str) -> str:
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        return self.ask(query, id=run)["runOrError"]["status"]

    def terminate(self, run: str) -> None:
        mutation = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
        assert self.ask(mutation, id=run)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def launch(self, job: str, config: dict[str, Any] | None = None, assets: Sequence[str] = ()) -> str:
        """Launch a job as the launchpad does, or (`__ASSET_JOB`) materialize assets; gives the run's id."""
        mutation = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
            ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
            ... on RunConfigValidationInvalid { errors { message } } } }"""
        selector = SELECTOR | {"jobName": job, "assetSelection": [{"path": [asset]} for asset in assets] or None}
        launched = self.ask(mutation, params={"selector": selector, "runConfigData": config or {}})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def wait_for_run(self, run: str) -> str:
        """How it ended."""

        def ended() -> str | None:
            status = self.run_status(run)
            return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

        return until(ended, self.log)

    def messages(self, run: str) -> list[str]:
        """What the run's page tells, and the words of its failures."""
        query = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
            ... on MessageEvent { message } ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } }"""
        events = self.ask(query, id=run)["logsForRun"]["events"]
        found = [event["message"] for event in events if event.get("message")]
        return found + [event["failureMetadata"]["description"] for event in events if event.get("failureMetadata")]

    def shown(self, asset: str, kind: str) -> list[dict[str, Any]]:
        """The metadata of the asset's newest events (`assetMaterializations` or `assetObservations`), by label."""
        query = f"""query($key: AssetKeyInput!) {{ assetOrError(assetKey: $key) {{ ... on Asset {{ {kind}(limit: 20) {{
            metadataEntries {{ label ... on TextMetadataEntry {{ text }} ... on IntMetadataEntry {{ intValue }}
            ... on TableMetadataEntry {{ table {{ records }} }} }} }} }} }} }}"""
        events = self.ask(query, key={"path": [asset]})["assetOrError"].get(kind, [])
        return [{entry["label"]: entry for entry in event["metadataEntries"]} for event in events]


def with_run_retries(text: str) -> str:
    """Our dagster.yaml as somebody has it who turns on what we leave off, and asks for all there is of it."""
    begin, end = text.index("run_retries:"), text.index("# Ends runs that hang")
    return f"{text[:begin]}run_retries:\n  enabled: true\n  max_retries: 3\n\n{text[end:]}"


@contextmanager
def dagster_dev(
    home: Path, variables: dict[str, str], change: Callable[[str], str] | None = None
) -> Iterator[DagsterDev]:
    """Both, on one instance below `home`; stopped by their own process ids. `change`: of our dagster.yaml."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")  # so that it is put back afterwards
        target = prepare_dagster_home(Settings.load(WAN_HOME=str(home))) / "dagster.yaml"
        if change is not None:
            target.write_text(change(target.read_text().partition("\n")[2]))
        # As `dagster dev` does: two processes that make Dagster's SQLite files at once get into each other's way.
        dg.DagsterInstance.from_config(str(target.parent)).dispose()
        environment = os.environ | {"WAN_HOME": str(home)} | variables
    location = ["-m", "wan_pipeline.definitions"]
    webserver = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *location]
    daemon = [sys.executable, "-c", DAEMON, "run", *location]
    log = home / "dagster.log"
    with log.open("wb") as output:
        # Started from Python, so that they heed SIGTERM.
        processes = [
            subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=home)
            for command in (webserver, daemon)
        ]
        dev = DagsterDev(f"http://127.0.0.1:{port}", log)
        try:
            until(lambda: _is_up(dev.url, processes), log)
            yield dev
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(60)


def until(condition: Callable[[], T | None], log: Path, timeout_s: float = 240) -> T:
    """What the condition gives as soon as it gives something; the log's end where it never does."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"it has not come after {timeout_s} s:\n{log.read_text()[-6000:]}")


def _is_up(url: str, processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    assert all(process.poll() is None for process in processes), "the webserver or the daemon has ended"
    try:
        query = {"query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"}
        return bool(httpx.post(f"{url}/graphql", json=query, timeout=30).json()["data"]["repositoriesOrError"]["nodes"])
    except (httpx.TransportError, KeyError, ValueError):
        return False
