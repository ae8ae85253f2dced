"""Who is tried again, how often, and who is left alone since a person has said so: nobody is forgotten, nobody for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from wan_pipeline.defs.recovery import Collection, recover
from wan_pipeline.defs.resources import SimulatorResource, WaveSpeedResource
from wan_pipeline.money import Money
from wan_pipeline.spend.records import Deferral
from wan_pipeline.spend.shot_index import SeenShot
from wan_pipeline.spend.tables import jobs
from wan_pipeline_tests.defs.interrupted import interrupted_run, submitted
from wan_pipeline_tests.defs.lab import DEFAULTS, Lab, asked_for, jpeg

KEYS = ["a/one", "a/two"]
LATER = timedelta(minutes=20)


def _recover(lab: Lab, after: timedelta = timedelta(0)) -> tuple[list[Collection], int]:
    with lab.installation.open() as opened:
        return recover(lab.instance, opened, datetime.now(UTC) + after)


def _deferred(lab: Lab) -> list[str]:
    with lab.ledger() as ledger:
        return [each.shot for each in ledger.deferrals.load(simulated=True)]


def _created(lab: Lab, request: dg.RunRequest) -> dg.DagsterRun:
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    return lab.instance.create_run_for_job(lab.defs.resolve_job_def("make_videos"), tags=tags)


# --- collecting ---


def test_no_two_tries_to_collect_have_the_same_key_however_long_nothing_gets_better(lab: Lab) -> None:
    """Dagster launches a key once, and for ever: a repeated one would leave a paid video where it is until it expires."""
    lab.put_shots(KEYS[:1])
    lab.overrides["simulator"] = SimulatorResource(latency_s="60", render="shared")
    interrupted_run(lab, KEYS[:1], submitted(1))
    keys: list[str] = []
    for hours in (0, 1, 2, 7, 8, 14, 30):  # with nights in between of which no run tells any more
        (collection,), _ = _recover(lab, timedelta(hours=hours))
        keys.append(collection.request.run_key or "")
        lab.instance.report_run_failed(_created(lab, collection.request), "the bucket's key has expired")
    assert len(set(keys)) == len(keys)


# --- a person's Terminate ---


def test_what_a_person_cancelled_in_the_queue_is_not_taken_up_by_itself(lab: Lab) -> None:
    lab.put_shots(KEYS)
    first = lab.tick()
    [request] = list(first.run_requests or ())
    cursor = lab.tick(first.cursor).cursor
    lab.instance.report_run_canceled(_created(lab, request))

    for after in (LATER, timedelta(hours=9)):
        assert _recover(lab, after) == ([], 0)
        assert not lab.tick(cursor).run_requests

    lab.put("inbox/a/two.yaml", "prompt: Another one.\n")  # a change is a new request
    assert asked_for(lab.tick(cursor).run_requests) == [("a/two", "a/two")]
    assert lab.run(KEYS[:1]).success  # and a person may ask
    assert lab.charged() == Money.usd("0.05")


def test_what_a_person_cancelled_and_somebody_asked_for_afterwards_is_taken_up_again(lab: Lab) -> None:
    lab.put_shots(KEYS)
    first = lab.tick()
    [request] = list(first.run_requests or ())
    lab.tick(first.cursor)
    lab.instance.report_run_canceled(_created(lab, request))
    lab.instance.report_run_failed(_created(lab, request), "killed")
    assert _recover(lab, LATER) == ([], 2)


def test_a_forced_termination_is_a_persons_too(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.overrides |= {
        "wavespeed": WaveSpeedResource.model_validate({"max_in_flight": 1}),
        "simulator": SimulatorResource(latency_s="1", render="shared"),
    }
    first = lab.tick()
    interrupted_run(lab, KEYS, submitted(1), forced=True)
    cursor = lab.tick(first.cursor).cursor
    for request in lab.recover().run_requests or ():
        assert lab.launch(request).success
    assert len(lab.materialized("generated_videos")) == 1
    assert _recover(lab, LATER) == ([], 0)
    assert not lab.tick(cursor).run_requests


def test_a_deferred_shot_whose_run_a_person_cancelled_is_not_bought_by_itself(lab: Lab) -> None:
    lab.put_shots(KEYS)
    lab.settings["daily_budget_usd"] = "0"
    lab.run(KEYS)
    raised = Lab(lab.home, lab.instance, lab.settings | {"daily_budget_usd": "1"})
    (request,) = raised.due()
    lab.instance.report_run_canceled(_created(lab, request))

    assert raised.due() == []
    assert _deferred(lab) == []
    assert _recover(raised, LATER) == ([], 0)
    assert not raised.tick().run_requests


# --- found to be nowhere ---


@pytest.mark.parametrize("word", ["absent", "not charged", "written off"])
def test_what_was_asked_for_once_more_and_never_taken_is_made_anew_by_itself_and_once(lab: Lab, word: str) -> None:
    """The shot had come to an end before: its first take is stored."""
    lab.put_shots(KEYS[:1])
    assert lab.run(KEYS[:1]).success
    slow = Lab(lab.home, lab.instance, lab.settings, {"simulator": SimulatorResource(latency_s="60", render="shared")})
    interrupted_run(slow, KEYS[:1], submitted(1), tags={"wan/new_take": "true"})
    with lab.ledger() as ledger:
        (job,) = (job for job in ledger.jobs() if job.take == 2)
        with ledger.engine.begin() as connection:
            lost = {"state": "ambiguous", "provider_job_id": None, "owner": None}
            connection.execute(jobs.update().where(jobs.c.id == job.id).values(lost))
        match word:
            case "absent":
                ledger.resolve_absent(job.id, "nowhere to be seen")
            case "not charged":
                ledger.resolve_not_charged(job.id, "a person", duplicate_up_to=Money.usd(1))
            case _:
                ledger.resolve_write_off(job.id, "a person", duplicate_up_to=Money.usd(1))

    cursor = lab.tick().cursor
    assert _recover(lab, LATER) == ([], 1)
    [request] = list(lab.tick(cursor).run_requests or ())
    assert lab.launch(request).success

    assert [job.take for job in lab.jobs() if job.state == "stored"] == [3, 1]
    assert _recover(lab, LATER) == ([], 0)
    assert not lab.tick().run_requests


# --- deferrals ---


def test_a_thousand_that_have_no_room_do_not_hide_one_behind_them_that_has(lab: Lab) -> None:
    lab.put_shots(["z"])
    lab.settings["daily_budget_usd"] = "0"
    lab.run(["z"])
    crowd = [f"crowd/{number}" for number in range(1001)]
    long_ago = datetime.now(UTC) - timedelta(days=3)
    with lab.ledger() as ledger:
        ledger.index.save([SeenShot(key, "v", True) for key in crowd], long_ago)
        ledger.index.mark_taken_up(crowd, ["v"] * len(crowd), long_ago)
        limit, price = "WAN_CAMPAIGN_BUDGETS_USD (spring)", Money.usd("0.05")
        waiting = [
            Deferral(key, True, limit, "no room", price, "wavespeed", "spring", long_ago, None, 1) for key in crowd
        ]
        ledger.deferrals.defer(waiting)

    raised = Lab(lab.home, lab.instance, lab.settings | {"daily_budget_usd": "1", "campaign_budgets_usd": "spring=0"})
    assert asked_for(raised.due()) == [("z", "z")]


def test_a_shot_for_which_the_claim_finds_no_room_where_the_schedule_saw_some_is_not_tried_each_minute(
    lab: Lab,
) -> None:
    """Two shots of one request: the second opens the first one's job again, and that counts in the first one's campaign."""
    lab.put("inbox/_defaults.yaml", "model: wavespeed/wan-2.6-i2v-flash\nduration: 2\nprompt: '[refuse] me'\n")
    for key in KEYS:
        lab.put(f"inbox/{key}.jpg", jpeg(1))
    lab.put("inbox/a/one.yaml", "campaign: spring\n")
    lab.settings["campaign_budgets_usd"] = "spring=0.05"
    assert not lab.run(KEYS[:1]).success
    with lab.ledger() as ledger, ledger.engine.begin() as connection:
        connection.execute(jobs.update().values(retryable=True))  # as where its input could not be fetched
    capped = Lab(lab.home, lab.instance, lab.settings | {"campaign_budgets_usd": "spring=0.01"})
    assert capped.run(KEYS[1:]).success
    assert _deferred(lab) == KEYS[1:]

    (request,) = capped.due()
    assert capped.launch(request).success
    assert _deferred(lab) == KEYS[1:]
    assert capped.due() == []


def test_what_a_person_wants_made_anew_is_made_anew_when_there_is_room(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_pipeline.defs.runs_of_shots._FIRST_WAIT", timedelta(0))  # after runs that failed
    lab.put_shots([*KEYS, "b"], {"b": "[refuse] me"})
    assert not lab.run([*KEYS, "b"]).success
    lab.put("inbox/_defaults.yaml", DEFAULTS.replace("leaves", "snow"))
    lab.run(KEYS)  # says that they are outdated, and buys nothing
    poor = Lab(lab.home, lab.instance, lab.settings | {"daily_budget_usd": "0.10"})
    assert poor.run(KEYS, tags={"wan/outdated": "true", "wan/asked_by": "run"}).success
    assert poor.run(["b"]).success  # a person asks for it by name
    assert set(_deferred(lab)) == {*KEYS, "b"}
    assert poor.due() == []
    poor.run(KEYS, tags={"wan/asked_by": "sensor"})  # leaves them as they are, and forgets nothing
    poor.run(["b"], tags={"wan/asked_by": "sensor"})
    assert set(_deferred(lab)) == {*KEYS, "b"}

    rich = Lab(lab.home, lab.instance, lab.settings | {"daily_budget_usd": "1"})
    requests = rich.due()
    assert sorted(asked_for(requests)) == [("a/one", "a/two"), ("b", "b")]
    for request in requests:
        rich.launch(request)

    assert [len([job for job in lab.jobs() if job.shot == key]) for key in [*KEYS, "b"]] == [2, 2, 2]
    assert lab.charged() == Money.usd("0.20")
    assert _deferred(lab) == []
    assert rich.due() == []


def test_what_a_person_wants_made_anew_and_a_redeployment_has_kept_from_being_bought_is_made_anew_afterwards(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These shots had come to an end: without a word on what was decided, nobody would take them up."""
    monkeypatch.setattr("wan_pipeline.defs.runs_of_shots._FIRST_WAIT", timedelta(0))  # after the run that was ended
    lab.put_shots(KEYS)
    assert lab.run(KEYS).success
    lab.put("inbox/_defaults.yaml", DEFAULTS.replace("leaves", "snow"))
    lab.run(KEYS)
    one_by_one: dict[str, object] = {
        "wavespeed": WaveSpeedResource.model_validate({"max_in_flight": 1}),
        "simulator": SimulatorResource(latency_s="1", render="shared"),
    }
    ended = Lab(lab.home, lab.instance, lab.settings, one_by_one)
    interrupted_run(ended, KEYS, submitted(1), tags={"wan/outdated": "true"})
    for request in lab.recover().run_requests or ():
        assert lab.launch(request).success
    assert lab.charged() == Money.usd("0.15")

    (request,) = lab.due()
    assert request.tags["wan/outdated"] == "true"
    assert lab.launch(request).success

    assert [len([job for job in lab.jobs() if job.shot == key]) for key in KEYS] == [2, 2]
    assert lab.charged() == lab.billed() == Money.usd("0.20")
    assert _deferred(lab) == lab.due() == []


def test_a_new_take_without_room_waits_for_the_person_who_wanted_it(lab: Lab) -> None:
    """Said again by a program, it would buy once more each time."""
    lab.put_shots(KEYS[:1])
    lab.run(KEYS[:1])
    poor = Lab(lab.home, lab.instance, lab.settings | {"daily_budget_usd": "0.05"})
    assert poor.run(KEYS[:1], tags={"wan/new_take": "true"}).success
    assert _deferred(lab) == []
    messages = [entry.user_message for entry in lab.instance.all_logs(lab.instance.get_runs(limit=1)[0].run_id)]
    assert any("a new take is not asked for again by itself" in text for text in messages)
    assert _recover(lab, LATER) == ([], 0)
    assert lab.charged() == Money.usd("0.05")
