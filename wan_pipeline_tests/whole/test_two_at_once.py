"""Two at once: daemons and engines that want the same shots, or the same provider. One charge each, and never a 429."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import JobState
from wan_pipeline_tests.generation.house import png
from wan_pipeline_tests.whole.chaos import Chaos, beside, chaos
from wan_pipeline_tests.whole.installation import Installation, served_folder, simulator_server

EIGHT, HUNDRED = 8, 100
FIVE, IN_FLIGHT, PER_MINUTE, MINUTE_S = 5, 4, 10, 8


def _launch(it: Chaos, keys: Sequence[str]) -> str:
    """A run over all of them, as the UI's launchpad starts it."""
    add = """mutation($key: String!, $repository: RepositorySelector!) {
        addDynamicPartition(partitionsDefName: "shots", partitionKey: $key, repositorySelector: $repository)
        { __typename } }"""
    repository = {"repositoryLocationName": "wan_pipeline", "repositoryName": "__repository__"}
    for key in keys:
        it.ask(add, key=key, repository=repository)
    launch = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
        ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
    ends = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    params = {
        "selector": {**repository, "jobName": "make_videos"},
        "executionMetadata": {"tags": [{"key": name, "value": value} for name, value in ends.items()]},
    }
    launched = it.ask(launch, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return launched["run"]["runId"]


@pytest.mark.timeout(600)
@pytest.mark.long
def test_two_daemons_over_one_bucket_and_ledger_make_each_shot_once(tmp_path: Path, postgres_url: str) -> None:
    with (
        chaos(tmp_path / "one", variables={"WAN_LEDGER_URL": postgres_url}) as one,
        beside(one, tmp_path / "two") as two,
    ):
        keys = sorted(one.put("both", 12, ["wavespeed"]))
        runs = [_launch(each, keys) for each in (one, two)]  # beside those that the two sensors ask for
        one.wait_until_stored()
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
        for each, run in zip((one, two), runs, strict=True):
            each.until(
                lambda each=each, run=run: each.ask(query, id=run)["runOrError"]["status"] == "SUCCESS",
                "its own run over them has ended well",
            )
        one.assert_the_books_agree()
        for each in (one, two):
            each.assert_it_was_told_plainly()


def _bucket(folder: Path, prefixes: Sequence[str], number: int) -> None:
    for index, prefix in enumerate(prefixes):
        (folder / "inbox" / prefix).mkdir(parents=True)
        for shot in range(number):
            picture = png(f"#{index:02x}{shot:02x}70", (320, 240))
            (folder / "inbox" / prefix / f"{shot:03d}.png").write_bytes(picture)
    text = "model: wavespeed/wan-2.6-i2v-flash\nprompt: It moves.\nduration: 2\n"
    (folder / "inbox/_defaults.yaml").write_text(text)


def _engines(house: Installation, commands: Sequence[Sequence[str]]) -> list[Counter[str]]:
    """So many engines at once, each a process; gives how the shots of each ended."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "wan_pipeline_tests.whole.engine_process", *arguments],
            env=house.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in commands
    ]
    answers = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [error for _, error in answers]
    return [Counter(json.loads(output)) for output, _ in answers]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_eight_processes_that_want_the_same_hundred_shots_are_charged_once_for_each(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    _bucket(tmp_path / "bucket", ["same"], HUNDRED)
    url = request.getfixturevalue("postgres_url") if database == "postgres" else f"sqlite:///{tmp_path}/ledger.sqlite"
    house = Installation(tmp_path / "home", tmp_path / "simulator")
    with (
        simulator_server(tmp_path / "simulator", "--latency", "1", "--render", "shared") as simulator,
        served_folder(tmp_path / "bucket") as public,
    ):
        house.live(simulator, str(tmp_path / "bucket"), public)
        house.variables["WAN_LEDGER_URL"] = url
        ended = _engines(house, [["same/", "30", "6000", "60"]] * EIGHT)
        charges = house.books.charges()
        posts = house.books.post_rows()
    with Ledger.open(url) as ledger:
        jobs = ledger.jobs()
        assert ledger.verify() == []
    assert sum(each["made"] for each in ended) >= HUNDRED
    assert all(each["made"] + each["reused"] == HUNDRED for each in ended), ended
    assert Counter(job.state for job in jobs) == {JobState.STORED: HUNDRED}
    assert Counter(charge.job_id for charge in charges) == {job.provider_job_id: 1 for job in jobs}
    assert len(posts) == HUNDRED


def test_five_processes_on_one_providers_limits_never_meet_a_refusal(tmp_path: Path) -> None:
    prefixes = [f"p{number}" for number in range(FIVE)]
    _bucket(tmp_path / "bucket", prefixes, 5)
    house = Installation(tmp_path / "home", tmp_path / "simulator")
    options = ["--latency", "0.8", "--render", "shared", "--max-in-flight", str(IN_FLIGHT)]
    with (
        simulator_server(tmp_path / "simulator", *options) as simulator,
        served_folder(tmp_path / "bucket") as public,
    ):
        house.live(simulator, str(tmp_path / "bucket"), public)
        house.variables["WAN_LEDGER_URL"] = f"sqlite:///{tmp_path}/ledger.sqlite"
        ended = _engines(house, [[f"{p}/", str(IN_FLIGHT), str(PER_MINUTE), str(MINUTE_S)] for p in prefixes])
        jobs, posts = house.books.jobs(), house.books.post_rows()
    assert ended == [Counter(made=5)] * FIVE
    assert Counter(post.outcome for post in posts) == {"accepted": FIVE * 5}, "the provider had to refuse something"
    at_once = [sum(job.created_at <= each.created_at < job.ready_at for job in jobs) for each in jobs]
    assert max(at_once) <= IN_FLIGHT
    # From the attempt's beginning to the post's arrival some milliseconds pass, not always as many.
    arrived = [post.received_at.timestamp() for post in posts]
    a_minute = MINUTE_S - 0.5
    assert max(sum(begin <= each < begin + a_minute for each in arrived) for begin in arrived) <= PER_MINUTE
