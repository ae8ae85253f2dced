"""Live mode over real HTTP: the simulator as a server, the bucket on S3, keys and base URLs by the variables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import ZERO, Money
from wan_pipeline.shots.samples import write_samples
from wan_pipeline_tests.services.s3 import S3Server
from wan_pipeline_tests.whole.installation import Installation, served_folder, simulator_server


@pytest.fixture(params=["moto", "rgw", "folder"])
def live(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """A live installation whose bucket holds the samples, on each kind of bucket."""
    house = Installation(tmp_path / "home", tmp_path / "simulator")
    with simulator_server(tmp_path / "simulator", "--latency", "0.5", "--render", "shared") as url:
        if request.param == "folder":
            folder = tmp_path / "bucket"
            write_samples(open_bucket(str(folder)))
            with served_folder(folder) as public:
                house.live(url, str(folder), public)
                yield house
            return
        server: S3Server = request.getfixturevalue(f"{request.param}_server")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        bucket_url = f"s3://{server.make_bucket()}/content"
        write_samples(open_bucket(bucket_url))
        house.live(url, bucket_url)
        yield house


def test_the_samples_are_made_live_and_the_simulator_fetched_every_input_by_the_url_it_was_given(
    live: Installation,
) -> None:
    done = live.run("run", "--json")
    assert done.returncode == 0, done.stderr
    jobs = live.jobs()
    assert len({job["model"] for job in jobs}) == 5
    assert {job["state"] for job in jobs} == {"stored"}
    assert not any(job["simulated"] for job in jobs), "bought in live mode"
    total = Money.total(Money.usd(job["billed_usd"]) for job in jobs)
    assert total.nanos == live.books.total_nanos() > ZERO.nanos
    bucket = open_bucket(live.variables["WAN_BUCKET_URL"])
    wanted: set[str] = set()
    for job in jobs:
        manifest = json.loads(bucket.read(f"videos/{job['shot']}/take-{job['take']}.json"))
        wanted |= {item["sha256"] for item in manifest["job"]["inputs"]}
        assert bucket.stat(f"videos/{job['shot']}/take-{job['take']}.mp4").size_bytes > 0
    assert {fetch.sha256 for fetch in live.books.fetches()} == wanted
    again = live.run("run", "--json")
    assert again.returncode == 0, again.stderr
    assert live.books.total_nanos() == total.nanos


def test_live_mode_without_what_it_needs_fails_at_once_names_it_and_never_falls_back_to_the_simulator(
    tmp_path: Path,
) -> None:
    house = Installation(tmp_path / "home", tmp_path / "home" / "simulator")
    (tmp_path / "bucket" / "inbox").mkdir(parents=True)
    write_samples(open_bucket(str(tmp_path / "bucket" / "x")))
    house.live("http://127.0.0.1:9", str(tmp_path / "bucket" / "x"))
    for missing, names in {
        "WAVESPEED_API_KEY": ("WAVESPEED_API_KEY",),
        "WAN_BUCKET_URL": ("nothing-here",),
        "WAN_LEDGER_URL": ("WAN_LEDGER_URL",),
    }.items():
        variables = dict(house.variables)
        wrong = {
            "WAN_BUCKET_URL": "s3://nothing-here",
            "WAN_LEDGER_URL": "postgresql+psycopg2://u:secret@127.0.0.1:9/x",
        }
        variables[missing] = wrong.get(missing, "")
        variables |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
        done = Installation(house.home, house.simulator_folder, variables).run("run")
        assert done.returncode == 2, (missing, done.stdout, done.stderr)
        assert all(name in done.stderr for name in names), done.stderr
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr
    assert not house.simulator_folder.exists()
