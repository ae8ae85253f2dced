"""`jobs --state ambiguous`: what is known, since when, how much money hangs on it, and what happens next."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.records import Job, JobState, Look
from wan_pipeline_tests.cli.house import House
from wan_pipeline_tests.spend.samples import PRICE, job_in, request_for

ABSENT_AFTER = timedelta(hours=4)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def ledger_of(house: House) -> Ledger:
    return Ledger.open(f"sqlite:///{house.home / 'ledger.sqlite'}")


def ambiguous(house: House, shot: str = "cat", *, simulated: bool = True, provider: str = "wavespeed") -> Job:
    request = request_for(shot, f"a {shot}", simulated=simulated, provider=provider)
    with ledger_of(house) as ledger:
        return job_in(ledger, JobState.AMBIGUOUS, request)


def looked(house: House, job: Job, *verdicts: str, again: timedelta | None = timedelta(minutes=2)) -> Job:
    now = datetime.now(UTC)
    looks = [Look(f"witness {number}", verdict, f"said {verdict}", now) for number, verdict in enumerate(verdicts)]
    with ledger_of(house) as ledger:
        return ledger.record_look(job.id, looks, None if again is None else now + again)


def shown(house: House) -> str:
    done = house.run("jobs", "--state", "ambiguous")
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_json(house: House) -> dict[str, Any]:
    (job,) = house.data("jobs", "--state", "ambiguous")
    return job


def words(text: str) -> str:
    """Without the lines' ends, which fall anywhere."""
    return " ".join(text.split())


def test_each_ambiguous_job_is_a_block_of_at_most_80_columns_with_what_is_known_and_what_comes(house: House) -> None:
    job = looked(house, ambiguous(house, "spring/" + "cat" * 20), "absent", "unreachable")
    other = ambiguous(house, "dog")
    text = shown(house)
    assert max(len(line) for line in text.splitlines() if job.shot not in line) <= 80
    for part in (
        job.id,
        job.shot,
        job.model,
        str(job.attempt_id),
        f"{PRICE} USD held",
        "witness 0: absent: said absent",
    ):
        assert part in words(text)
    assert "witness 1: unreachable" in text
    assert "looked for once" in text
    assert "not looked for yet" in text
    assert other.id in text
    assert f"2 jobs, {PRICE + PRICE} simulated USD held." in text


def test_json_says_when_it_was_sent_and_doubted_what_was_seen_and_from_when_absent_counts(house: House) -> None:
    job = looked(house, ambiguous(house), "absent", "unsure")
    said = as_json(house)
    assert job.sent_at is not None
    assert job.next_look_at is not None
    assert datetime.fromisoformat(said["sent_at"]) == job.sent_at
    assert datetime.fromisoformat(said["doubted_at"]) == job.doubted_at
    assert datetime.fromisoformat(said["absent_from"]) == job.sent_at + ABSENT_AFTER
    assert datetime.fromisoformat(said["next_look_at"]) == job.next_look_at
    assert [(look["witness"], look["verdict"], look["detail"]) for look in said["looks"]] == [
        ("witness 0", "absent", "said absent"),
        ("witness 1", "unsure", "said unsure"),
    ]
    assert (said["held_usd"], said["wasted_usd"], said["duplicate_allowed_usd"]) == (str(PRICE), "0.00", None)
    assert (said["fetches"], said["kept_key"], said["result_expires_at"], said["hints"]) == (0, None, None, [])


def test_what_was_never_looked_for_is_looked_for_next(house: House) -> None:
    ambiguous(house)
    assert "is looked for by the next `wan-pipeline run`, or by Dagster's recovery" in as_json(house)["next"]


def test_what_is_absent_everywhere_says_when_it_is_looked_for_again_and_from_when_that_counts(house: House) -> None:
    job = looked(house, ambiguous(house), "absent", "absent")
    assert job.next_look_at is not None
    assert job.sent_at is not None
    coming = as_json(house)["next"]
    assert (
        f"again at {job.next_look_at:%H:%M:%S} UTC" in coming or f"{job.next_look_at:%Y-%m-%d %H:%M:%S} UTC" in coming
    )
    assert f"{job.sent_at + ABSENT_AFTER:%H:%M:%S} UTC, it counts as not charged" in coming
    assert "waits for you" not in coming


def test_what_the_witnesses_cannot_decide_waits_for_a_person_with_the_command_for_it(house: House) -> None:
    job = looked(house, ambiguous(house), "absent", "unsure")
    coming = as_json(house)["next"]
    assert coming.startswith(f"waits for you: `wan-pipeline resolve {job.id} --found ID | --not-charged | --write-off`")
    assert "counts as not charged" not in coming
    assert f"wan-pipeline resolve {job.id}" in shown(house)


def test_only_the_last_word_of_each_witness_counts(house: House) -> None:
    job = ambiguous(house)
    looked(house, job, "absent", "unsure")
    looked(house, job, "absent", "absent")
    text = words(shown(house))
    assert "waits for you" not in text
    assert "said unsure" not in text
    assert "looked for 2 times" in text
    assert len(as_json(house)["looks"]) == 4


def test_what_a_callback_named_is_shown_as_a_hint(house: House) -> None:
    job = ambiguous(house, provider="shortapi")
    with ledger_of(house) as ledger:
        assert ledger.add_callback(str(job.attempt_id), ["their-id-7"])
    assert as_json(house)["hints"] == ["their-id-7"]
    assert "a callback has named their-id-7" in words(shown(house))


def test_live_money_and_simulated_are_never_one_sum(house: House) -> None:
    ambiguous(house)
    ambiguous(house, "dog", simulated=False)
    text = shown(house)
    assert f"1 job, {PRICE} USD held." in text
    assert f"1 job, {PRICE} simulated USD held." in text


def test_other_states_keep_their_table_and_what_was_wasted_is_summed_under_it(house: House) -> None:
    ambiguous(house)
    with ledger_of(house) as ledger:
        job_in(ledger, JobState.FAILED, request_for("dog", "a dog", simulated=True), billed=PRICE)
        job_in(ledger, JobState.WRITTEN_OFF, request_for("owl", "an owl", simulated=True))
        job_in(ledger, JobState.STORED, request_for("hen", "a hen", simulated=True))
    done = house.run("jobs")
    rows = [line for line in done.stdout.splitlines() if "wavespeed/wan-2.6-i2v-flash" in line]
    assert len(rows) == 4
    assert f"Wasted: {PRICE + PRICE} simulated USD, billed for 2 jobs that no video came of." in done.stdout
    assert f"Ambiguous: 1 job, {PRICE} simulated USD held" in done.stdout
    stored = house.run("jobs", "--state", "stored")
    assert "Wasted" not in stored.stdout
    wasted = {job["shot"]: job["wasted_usd"] for job in json.loads(house.run("jobs", "--json").stdout)}
    assert wasted == {"cat": "0.00", "dog": str(PRICE), "owl": str(PRICE), "hen": "0.00"}
