"""`doctor --rebuild-ledger`: a lost ledger comes back from the manifests, buys nothing, and says what it cannot know."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.bucket import open_bucket
from wan_pipeline.generation.events import Verdict
from wan_pipeline.generation.manifest import kept_manifest
from wan_pipeline.generation.rebuilding import rebuild
from wan_pipeline.money import Money
from wan_pipeline.spend.claim import fingerprint
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState
from wan_pipeline_tests.cli.house import House as CommandLine
from wan_pipeline_tests.generation.house import House, png


@pytest.fixture
def made(tmp_path: Path) -> House:
    """Three shots, made and stored."""
    house = House(tmp_path)
    house.shots(3)
    assert {result.verdict for result in house.make().values()} == {Verdict.MADE}
    return house


def lose_ledger(house: House) -> None:
    for path in house.folder.glob("ledger.sqlite*"):
        path.unlink()


def rows(house: House) -> dict[str, Job]:
    with house.ledger() as ledger:
        return {job.id: job for job in ledger.jobs()}


def rebuilt(house: House, *options: str, status: int = 0) -> dict[str, Any]:
    return CommandLine(house.folder).data("doctor", "--rebuild-ledger", *options, status=status)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_lost_ledger_is_restored_with_jobs_takes_and_bills_and_a_run_buys_nothing(made: House) -> None:
    before = rows(made)
    lose_ledger(made)
    told = rebuilt(made, "--verify-hashes")
    assert (told["restored"], told["there_already"], told["not_restored"], told["missing_takes"]) == (3, 0, [], [])
    after = rows(made)
    assert after.keys() == before.keys()
    for job_id, job in after.items():
        for name in (
            "shot",
            "take",
            "state",
            "provider_job_id",
            "billed",
            "basis",
            "video_uri",
            "video_sha256",
            "claimed_at",
        ):
            assert getattr(job, name) == getattr(before[job_id], name), name
    line = CommandLine(made.folder)
    assert set(line.verdicts().values()) == {"reused"}
    assert len(made.books.charges()) == 3
    with made.ledger() as ledger:
        assert ledger.verify() == []
        assert Money.total(job.billed for job in ledger.jobs() if job.billed).nanos == made.books.total_nanos()


def test_said_again_it_adds_nothing_and_changes_nothing(made: House) -> None:
    lose_ledger(made)
    rebuilt(made)
    before = rows(made)
    again = rebuilt(made)
    assert (again["restored"], again["there_already"]) == (0, 3)
    assert rows(made) == before
    with made.ledger() as ledger:
        assert len(ledger.entries()) == 3


def test_an_old_backup_gets_what_it_lacks_and_what_it_has_stays_as_it_is(made: House) -> None:
    with made.ledger() as ledger:
        ledger.engine.dispose()
    backup = made.folder / "backup.sqlite"
    with sqlite3.connect(made.folder / "ledger.sqlite") as now, sqlite3.connect(backup) as copy:
        now.backup(copy)
    entries = made.ledger().entries()
    made.put("inbox/later.png", png("gold"))
    assert made.make(keys=["later"])["later"].verdict is Verdict.MADE
    lose_ledger(made)
    shutil.move(backup, made.folder / "ledger.sqlite")
    told = rebuilt(made)
    assert (told["restored"], told["there_already"]) == (1, 3)
    with made.ledger() as ledger:
        assert ledger.entries()[: len(entries)] == entries
        assert ledger.verify() == []
    assert {each.verdict for each in made.make().values()} == {Verdict.REUSED}
    assert len(made.books.charges()) == 4


def test_each_file_that_cannot_be_restored_is_told_with_its_reason_and_the_others_are(made: House) -> None:
    videos = made.folder / "bucket/videos"
    good = videos / "shot000/take-1.json"
    text = good.read_text()

    def manifest(shot: str, content: str) -> None:
        (videos / shot).mkdir(exist_ok=True)
        (videos / shot / "take-1.json").write_text(content)

    manifest("broken", '{"manifest_version": 1, "job"')
    manifest("elsewhere", text)
    manifest("a-list", "[]")
    manifest("newer", text)
    edit(videos / "newer/take-1.json", lambda each: each.update(shot="newer", manifest_version=99))
    edit(videos / "shot001/take-1.json", lambda each: each["job"].update(claimed_at="yesterday"))
    (videos / "no-manifest").mkdir()
    shutil.copy(videos / "shot000/take-1.mp4", videos / "no-manifest/take-1.mp4")
    lose_ledger(made)
    told = rebuilt(made, status=2)
    assert told["restored"] == 2
    reasons = {item["key"].removeprefix("videos/"): item["reason"] for item in told["not_restored"]}
    assert reasons.keys() == {
        "broken/take-1.json",
        "elsewhere/take-1.json",
        "a-list/take-1.json",
        "newer/take-1.json",
        "shot001/take-1.json",
        "no-manifest/take-1.mp4",
    }
    assert "no JSON" in reasons["broken/take-1.json"]
    assert "shot000, take 1, and lies elsewhere" in reasons["elsewhere/take-1.json"]
    assert "version 99" in reasons["newer/take-1.json"]
    assert "job.claimed_at" in reasons["shot001/take-1.json"]
    assert "without its manifest" in reasons["no-manifest/take-1.mp4"]
    done = CommandLine(made.folder).run("doctor", "--rebuild-ledger")
    assert done.returncode == 2
    for key in reasons:
        assert key in done.stdout


def test_a_paid_video_whose_file_is_gone_is_restored_as_stored_told_and_not_bought_again(made: House) -> None:
    before = rows(made)
    videos = made.folder / "bucket/videos"
    (videos / "shot001/take-1.mp4").unlink()
    lose_ledger(made)
    told = rebuilt(made, status=2)
    assert (told["restored"], told["not_restored"]) == (3, [])
    assert [(each["key"], each["reason"]) for each in told["wrong_files"]] == [
        ("videos/shot001/take-1.json", "videos/shot001/take-1.mp4 is not in the bucket")
    ]
    assert {job.id: (job.state, job.billed) for job in rows(made).values()} == {
        job.id: (JobState.STORED, job.billed) for job in before.values()
    }
    made_again = made.make(retry_failed=True)
    assert made_again["shot001"].verdict is Verdict.FAILED
    assert "is gone from the bucket" in made_again["shot001"].reason
    assert len(made.books.charges()) == 3
    done = CommandLine(made.folder).run("doctor", "--rebuild-ledger")
    assert done.returncode == 2
    assert "take-1.mp4 is not in the bucket" in done.stdout
    assert "--new-take" in done.stdout
    assert made.make(keys=["shot001"], new_take=True)["shot001"].verdict is Verdict.MADE


def test_another_file_in_a_videos_place_is_told_of_and_what_was_paid_is_restored(made: House) -> None:
    video = made.folder / "bucket/videos/shot001/take-1.mp4"
    content = bytearray(video.read_bytes())
    content[-1] ^= 1
    video.write_bytes(content)
    lose_ledger(made)
    assert rebuilt(made)["restored"] == 3, "of the same size, it is found out by its hash only, when asked"
    lose_ledger(made)
    told = rebuilt(made, "--verify-hashes", status=2)
    assert told["restored"] == 3
    assert "SHA-256" in told["wrong_files"][0]["reason"]
    (video.parent / "take-1.mp4").write_bytes(bytes(content) + b"longer")
    lose_ledger(made)
    assert "bytes" in rebuilt(made, status=2)["wrong_files"][0]["reason"]
    assert {each.verdict for each in made.make().values()} == {Verdict.REUSED}
    assert len(made.books.charges()) == 3


def test_a_hole_in_a_shots_takes_is_told_with_where_and_when_to_look(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shots(1)
    house.make()
    house.put("inbox/shot000.yaml", 'prompt: "[fail] no"\n')
    assert house.make()["shot000"].verdict is Verdict.FAILED
    house.put("inbox/shot000.yaml", "prompt: All is well.\n")
    assert house.make()["shot000"].verdict is Verdict.MADE
    moments = {job.take: job.claimed_at.isoformat().replace("+00:00", "Z") for job in rows(house).values()}
    assert rebuilt(house)["missing_takes"] == []  # the whole ledger knows it
    lose_ledger(house)
    told = rebuilt(house)
    assert told["restored"] == 2
    assert told["missing_takes"] == [
        {"shot": "shot000", "take": 2, "since": moments[1], "until": moments[3], "providers": ["wavespeed"]}
    ]
    assert told["newest_job_at"] == moments[3]
    assert "in flight or ambiguous" in told["unknown"]
    text = CommandLine(tmp_path).run("doctor", "--rebuild-ledger").stdout
    assert "shot000, take 2" in text
    assert "account at wavespeed" in text


def test_a_video_that_another_shot_reuses_is_restored_as_theirs_even_if_its_own_files_are_gone(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shots(1)
    house.make()
    house.put("inbox/twin.png", (tmp_path / "bucket/inbox/shot000.png").read_bytes())
    assert house.make()["twin"].verdict is Verdict.REUSED
    shutil.rmtree(tmp_path / "bucket/videos/shot000")
    (tmp_path / "bucket/inbox/shot000.png").unlink()
    lose_ledger(house)
    assert rebuilt(house)["restored"] == 1
    (job,) = rows(house).values()
    assert (job.shot, job.state) == ("shot000", JobState.STORED)
    assert {each.verdict for each in house.make().values()} == {Verdict.REUSED}
    assert len(house.books.charges()) == 1


def test_what_was_kept_for_inspection_is_restored_as_lost_and_not_bought_again(made: House) -> None:
    job = next(job for job in rows(made).values() if job.shot == "shot000")
    folder = made.folder / "bucket/videos/shot000"
    content = b"no video"
    (folder / "take-1.unplayable").write_bytes(content)
    key, digest = "videos/shot000/take-1.unplayable", "ab" * 32
    at = job.stored_at or job.claimed_at
    text = kept_manifest(job, key=key, size_bytes=len(content), sha256=digest, reason="no video", now=at)
    (folder / "take-1.unplayable.json").write_bytes(text)
    edit(folder / "take-1.unplayable.json", lambda each: each["job"].update(billed=None, basis=None))
    for name in ("take-1.mp4", "take-1.json", "take-1.webp"):
        (folder / name).unlink()
    lose_ledger(made)
    assert rebuilt(made)["restored"] == 3
    lost = rows(made)[job.id]
    assert (lost.state, lost.billed, lost.kept_key) == (JobState.LOST, job.quoted_high, key)
    assert made.make()["shot000"].verdict is Verdict.FAILED
    assert len(made.books.charges()) == 3
    with made.ledger() as ledger:
        assert ledger.verify() == []


def test_live_and_simulated_jobs_are_restored_as_what_they_were(made: House) -> None:
    def live(manifest: dict[str, Any]) -> None:
        manifest["simulated"] = manifest["job"]["simulated"] = False

    edit(made.folder / "bucket/videos/shot000/take-1.json", live)
    lose_ledger(made)
    assert rebuilt(made)["restored"] == 3
    assert sorted((job.shot, job.simulated) for job in rows(made).values()) == [
        ("shot000", False),
        ("shot001", True),
        ("shot002", True),
    ]


@pytest.mark.parametrize("damage", ["another file", "torn pages"])
def test_a_damaged_ledger_is_not_touched_and_its_owner_told_to_move_it_away(made: House, damage: str) -> None:
    path = made.folder / "ledger.sqlite"
    if damage == "another file":
        lose_ledger(made)
        path.write_bytes(b"this was a ledger once, before the disk went bad\n" * 200)
    else:
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        for beside in made.folder.glob("ledger.sqlite-*"):
            beside.unlink()
        path.write_bytes(content)
    before = path.read_bytes()
    done = CommandLine(made.folder).run("doctor", "--rebuild-ledger")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "move it away yourself" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before
    assert len(made.books.charges()) == 3


def test_a_ledger_on_postgresql_is_restored_like_one_in_a_file(made: House, postgres_url: str) -> None:
    before = rows(made)
    with Ledger.open(postgres_url) as ledger:
        for added in (3, 0):
            done = rebuild(ledger, made.bucket, verify_hashes=True)
            assert (done.restored, done.there_already, done.unrestored) == (added, 3 - added, ())
        assert {job.id: job.billed for job in ledger.jobs()} == {job.id: job.billed for job in before.values()}
        assert ledger.verify() == []


def test_a_thousand_manifests_are_restored_piece_by_piece(made: House, tmp_path: Path) -> None:
    count = 1000
    videos = made.folder / "bucket/videos"
    template = json.loads((videos / "shot000/take-1.json").read_text())
    video = (videos / "shot000/take-1.mp4").read_bytes()
    for number in range(count):
        shot, request = f"many/{number:05}", f"{number:064x}"
        row = template["job"] | {"id": f"jmany{number:07}", "shot": shot, "attempt_id": f"{number:032x}"}
        row |= {"request_hash": request, "fingerprint": fingerprint(request, 1), "provider_job_id": f"p{number}"}
        text = template | {"shot": shot, "job": row, "video": template["video"] | {"key": f"videos/{shot}/take-1.mp4"}}
        (videos / shot).mkdir(parents=True)
        (videos / shot / "take-1.json").write_text(json.dumps(text))
        (videos / shot / "take-1.mp4").write_bytes(video)
    told: list[int] = []
    with Ledger.open(f"sqlite:///{tmp_path / 'fresh.sqlite'}") as ledger:
        done = rebuild(ledger, open_bucket(str(made.folder / "bucket")), tell=told.append)
        assert (done.restored, done.unrestored) == (count + 3, ())
        assert len(ledger.jobs()) == count + 3
    assert told[-1] == count + 3
    assert told == sorted(told)
    assert len(told) > 3
