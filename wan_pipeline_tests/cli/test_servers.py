"""The commands that stay: simulator, dev and receiver."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from wan_pipeline.providers.callback import callback_url
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.cli.house import House
from wan_pipeline_tests.spend.samples import job_in, request_for


def first_match(process: subprocess.Popen[str], path: Path, pattern: str) -> str:
    """Waits until the process has written this to the file."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = re.search(pattern, path.read_text())
        if found:
            return found.group(1)
        assert process.poll() is None, path.read_text()
        time.sleep(0.1)
    raise AssertionError(path.read_text())


def start(house: House, output: Path, *arguments: str) -> subprocess.Popen[str]:
    from wan_pipeline_tests.cli.house import COMMAND

    with output.open("w") as file:
        return subprocess.Popen(
            [*COMMAND, *arguments], env=house.environment, text=True, stdout=file, stderr=subprocess.STDOUT
        )


def test_the_simulator_says_how_to_point_the_pipeline_to_it_and_its_books_outlive_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put_shots(["cat"])
    output = tmp_path / "output"
    process = start(house, output, "simulator", "--port", "0", "--key", "k1", "--folder", str(tmp_path / "sim"))
    try:
        first_match(process, output, r"(WAN_PUBLIC_BASE_URL)")
        exports = dict(re.findall(r"^export (\w+)=(\S+)$", output.read_text(), re.MULTILINE))
        assert exports["WAN_MODE"] == "live"
        assert exports["WAVESPEED_API_KEY"] == "k1"
        url = exports["WAVESPEED_BASE_URL"]
        assert {exports["SHORTAPI_BASE_URL"], exports["AIMLAPI_BASE_URL"]} == {url}
        assert httpx.get(f"{url}/simulator/books").json()
        # The pipeline, pointed to it as it says; AI/ML API takes the input as a data URI, so no URL is needed.
        live = House(tmp_path, exports)
        live.put("_defaults.yaml", "model: aimlapi/wan-2.6-i2v\nprompt: It moves.\nduration: 5\n")
        assert live.verdicts() == {"cat": "made"}
        (job,) = live.jobs()
        assert not job["simulated"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    books = house.run("simulator", "--books", "--folder", str(tmp_path / "sim"))
    assert books.returncode == 0
    assert job["provider_job_id"] in books.stdout


def test_a_port_that_is_taken_is_said_to_be_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("simulator", "dev"):
            done = House(tmp_path).run(command, "--port", port)
            assert done.returncode == 2
            assert port in done.stderr
            assert "Traceback" not in done.stderr


def test_dev_makes_what_is_put_into_the_inbox_serves_its_poster_and_leaves_nothing_running(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.put_shots(["cat"])
    output = tmp_path / "output"
    process = start(house, output, "dev", "--port", "0", "--bucket-port", "0")
    family: list[psutil.Process] = []
    try:
        url = first_match(process, output, r"UI: (http://\S+)")
        poster = tmp_path / "bucket/videos/cat/take-1.webp"
        deadline = time.monotonic() + 200
        while not (poster.exists() and (tmp_path / "bucket/videos/cat/take-1.mp4").exists()):
            assert time.monotonic() < deadline, output.read_text()
            assert process.poll() is None, output.read_text()
            time.sleep(0.5)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        query = """{assetNodeOrError(assetKey: {path: ["generated_videos"]}) {... on AssetNode {
            assetMaterializations(limit: 1) {partition metadataEntries {label ... on MarkdownMetadataEntry {mdStr}}}}}}"""
        found: list[dict[str, Any]] = []
        while not found and time.monotonic() < deadline:
            time.sleep(0.5)
            answer = httpx.post(f"{url}/graphql", json={"query": query}, timeout=30).json()
            found = answer["data"]["assetNodeOrError"]["assetMaterializations"]
        assert found, output.read_text()
        markdown = " ".join(entry.get("mdStr") or "" for entry in found[0]["metadataEntries"])
        link = re.search(r"\]\((http://127\.0\.0\.1:\d+/videos/cat/take-1\.webp)\)", markdown)
        assert link, found
        served = httpx.get(link.group(1))
        assert served.status_code == 200
        assert served.content == poster.read_bytes()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    assert process.returncode == 130, output.read_text()
    assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []


def test_the_receiver_writes_genuine_callbacks_down_as_hints_forged_ones_not_and_its_log_has_no_token(
    tmp_path: Path,
) -> None:
    key = "sk-of-shortapi-0123456789"
    house = House(tmp_path, {"WAN_MODE": "live", "SHORTAPI_KEY": key})
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        job = job_in(ledger, JobState.AMBIGUOUS, request_for(provider="shortapi", model="shortapi/wan-2.6-i2v"))
        ledger.record_look(job.id, [], datetime.now(UTC) + timedelta(hours=1))
    output = tmp_path / "output"
    process = start(house, output, "receiver", "--port", "0")
    try:
        base = first_match(process, output, r"callbacks at (http://\S+),")
        assert "WAN_PUBLIC_CALLBACK_URL is not set" in output.read_text()
        url = callback_url(base, SecretStr(key), str(job.attempt_id))
        forged = callback_url(base, SecretStr("another-key-0123456789"), str(job.attempt_id))
        body = {"job_id": "their-id-7", "status": 2}
        assert httpx.post(forged, json=body).status_code == 404
        assert httpx.get(url).status_code in (404, 405)
        assert house.data("jobs", "--state", "ambiguous")[0]["hints"] == []
        assert httpx.post(url, json=body).status_code == 204
        assert httpx.post(url, json=body).status_code == 204
        (said,) = house.data("jobs", "--state", "ambiguous")
        assert said["hints"] == ["their-id-7"]
        assert said["next"].startswith("is looked for by the next")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert process.returncode == 0, output.read_text()
    told = output.read_text()
    assert "Traceback" not in told
    for secret in (key, url.rpartition("/")[2], forged.rpartition("/")[2]):
        assert secret not in told


def test_a_second_receiver_on_the_same_port_says_that_it_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = House(tmp_path, {"SHORTAPI_KEY": "k"}).run("receiver", "--port", port)
    assert done.returncode == 2
    assert port in done.stderr
    assert "WAN_MODE=demo" in done.stderr
    assert "Traceback" not in done.stderr
