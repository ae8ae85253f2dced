"""What the sensor has seen: versions move when they change, and nothing seen is forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.shot_index import IndexedShot, SeenShot
from wan_pipeline_tests.spend.samples import NOON

LATER = NOON + timedelta(minutes=1)
CAT = SeenShot("spring/cat", "v1", True, None, None, "spring", "wavespeed/wan-2.6-i2v-flash")
DOG = SeenShot("dog", "v1", False, "dog.yaml: no prompt", NOON + timedelta(days=1))


def test_a_shot_is_kept_as_it_was_seen(ledger: Ledger) -> None:
    ledger.index.save([CAT, DOG], NOON)
    assert ledger.index.load() == {
        "spring/cat": IndexedShot(
            "spring/cat", "v1", None, True, None, None, CAT.campaign, CAT.model, NOON, NOON, None
        ),
        "dog": IndexedShot("dog", "v1", None, False, DOG.problem, DOG.not_before, None, None, NOON, NOON, None),
    }


def test_only_a_new_version_is_seen_anew(ledger: Ledger) -> None:
    ledger.index.save([CAT, DOG], NOON)
    ledger.index.save([CAT, replace(DOG, version="v2", ready=True, problem=None)], LATER)
    rows = ledger.index.load()
    assert (rows[CAT.key].first_seen_at, rows[CAT.key].version_seen_at) == (NOON, NOON)
    assert (rows[DOG.key].first_seen_at, rows[DOG.key].version_seen_at) == (NOON, LATER)
    assert (rows[DOG.key].ready, rows[DOG.key].problem) == (True, None)
    ledger.index.save([replace(CAT, campaign="summer", problem="x")], LATER)  # the same version, in other words
    row = ledger.index.load()[CAT.key]
    assert (row.campaign, row.problem, row.version_seen_at) == ("summer", "x", NOON)


def test_a_version_is_taken_up_until_it_changes(ledger: Ledger) -> None:
    ledger.index.save([CAT, DOG], NOON)
    ledger.index.mark_taken_up([CAT.key, "never seen"], ["v1", "v1"], NOON)
    rows = ledger.index.load()
    assert (rows[CAT.key].taken_up, rows[DOG.key].taken_up) == (True, False)
    assert set(rows) == {CAT.key, DOG.key}
    ledger.index.save([replace(CAT, version="v2")], LATER)
    row = ledger.index.load()[CAT.key]
    assert (row.taken_up, row.taken_up_version) == (False, "v1")


def test_what_was_taken_up_and_never_ended_can_be_told_and_taken_up_again(ledger: Ledger) -> None:
    ledger.index.save([CAT, DOG], NOON)
    ledger.index.mark_taken_up([CAT.key, DOG.key], ["v1", "v1"], NOON)
    ledger.index.mark_finished([DOG.key], ["v1"], LATER)
    cat, dog = (ledger.index.load()[shot.key] for shot in (CAT, DOG))
    assert (cat.taken_up_at, cat.times_taken_up, cat.finished_version) == (NOON, 1, None)
    assert dog.finished_version == dog.version
    ledger.index.take_up_again([CAT.key, DOG.key])
    rows = ledger.index.load()
    assert [(rows[shot.key].taken_up, rows[shot.key].finished_version) for shot in (CAT, DOG)] == [(False, None)] * 2
    ledger.index.mark_taken_up([CAT.key], ["v1"], LATER)
    cat = ledger.index.load()[CAT.key]
    assert (cat.taken_up_at, cat.times_taken_up) == (LATER, 2), "a run key that counts it is another one"


def test_a_shot_that_is_gone_stays_known_and_may_come_back(ledger: Ledger) -> None:
    ledger.index.save([CAT], NOON)
    ledger.index.mark_taken_up([CAT.key], ["v1"], NOON)
    ledger.index.mark_gone([CAT.key], NOON)
    ledger.index.mark_gone([CAT.key], LATER)
    assert ledger.index.load()[CAT.key].gone_at == NOON
    ledger.index.save([CAT], LATER)
    row = ledger.index.load()[CAT.key]
    assert (row.gone_at, row.first_seen_at, row.taken_up) == (None, NOON, True)


def test_nothing_to_say_says_nothing(ledger: Ledger) -> None:
    ledger.index.save([], NOON)
    ledger.index.mark_gone([], NOON)
    ledger.index.mark_taken_up([], [], NOON)
    ledger.index.mark_finished([], [], NOON)
    ledger.index.take_up_again([])
    assert ledger.index.load() == {}


def test_many_shots_are_written_in_few_statements(ledger: Ledger) -> None:
    """A first listing of a large bucket must fit into a sensor's tick. Counted, not timed."""
    import sqlalchemy as sa

    statements: list[str] = []
    sa.event.listen(ledger.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    many = [SeenShot(f"shot-{n:05}", "v1", True) for n in range(12_000)]
    ledger.index.save(many, NOON)
    ledger.index.mark_taken_up([shot.key for shot in many], ["v1"] * len(many), NOON)
    assert len(statements) < 60
    rows = ledger.index.load()
    assert len(rows) == len(many)
    assert all(row.taken_up for row in rows.values())
