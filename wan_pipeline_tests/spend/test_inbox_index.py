"""The inbox as it was last listed: kept in the order of a listing, changed in one step, and found by what is asked of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import event

from wan_pipeline.spend.inbox_index import Changes, ListedObject, Listing
from wan_pipeline.spend.ledger import Ledger
from wan_pipeline.spend.shot_index import SeenShot
from wan_pipeline_tests.spend.samples import NOON

URL = "s3://bucket/prefix"
LATER = NOON + timedelta(minutes=1)
KEYS = [
    "inbox/B.png",
    "inbox/a b.png",
    "inbox/a.png",
    "inbox/a/x.png",
    "inbox/a0.png",
    "inbox/é.png",
    "inbox/\U0001f600.png",
]


def _objects(*keys: str) -> dict[str, ListedObject]:
    return {key: ListedObject(key, f"etag of {key}", 5_000_000_000, NOON) for key in keys}


def test_objects_come_in_the_order_of_a_listing_from_any_of_them_on(ledger: Ledger) -> None:
    inbox = ledger.index.inbox
    inbox.apply(URL, Changes(_objects(*reversed(KEYS)), frozenset()))
    assert sorted(KEYS, key=str.encode) == KEYS
    assert [item.key for item in inbox.objects()] == KEYS
    assert [item.key for item in inbox.objects_behind(KEYS[2])] == KEYS[3:]
    assert next(iter(inbox.objects())) == _objects(KEYS[0])[KEYS[0]]


def test_a_change_replaces_and_removes_and_leaves_the_rest(ledger: Ledger) -> None:
    inbox = ledger.index.inbox
    inbox.apply(URL, Changes(_objects(*KEYS), frozenset()))
    changed = replace(_objects(KEYS[0])[KEYS[0]], etag="another", modified_at=LATER)
    inbox.apply(URL, Changes({changed.key: changed}, frozenset({KEYS[1], "never/there"})), fresh_at=LATER)
    assert inbox.some_objects([*KEYS[:3], "never/there"]) == {KEYS[0]: changed} | _objects(KEYS[2])
    assert inbox.listing(URL) == Listing(fresh_at=LATER)


def test_more_objects_than_one_statement_takes_are_kept_and_come_back(ledger: Ledger) -> None:
    many = _objects(*(f"inbox/{number:05}.png" for number in range(11_000)))
    statements: list[str] = []

    def count(connection: object, cursor: object, statement: str, *more: object) -> None:
        statements.append(statement)

    event.listen(ledger.engine, "before_cursor_execute", count)
    ledger.index.inbox.apply(URL, Changes(many, frozenset()))
    assert len(statements) < 30
    assert {item.key: item for item in ledger.index.inbox.objects()} == many
    ledger.index.inbox.apply(URL, Changes({}, frozenset(many)))
    assert list(ledger.index.inbox.objects()) == []


def test_who_names_a_key_is_found_however_its_letters_are_composed(ledger: Ledger) -> None:
    inbox = ledger.index.inbox
    names = {"inbox/x.yaml": ["inbox/e\u0301.png", "inbox/a.png"], "inbox/y.yaml": ["inbox/é.png"]}
    inbox.replace_names(URL, names, made_by="m")
    assert sorted(inbox.namers(["inbox/é.png"])) == [
        ("inbox/x.yaml", "inbox/e\u0301.png"),
        ("inbox/y.yaml", "inbox/é.png"),
    ]
    assert inbox.namers(["inbox/none.png"]) == []
    assert inbox.names_in(["inbox/x.yaml", "inbox/z.yaml"]) == {"inbox/x.yaml": set(names["inbox/x.yaml"])}
    inbox.apply(URL, Changes({}, frozenset()), {"inbox/x.yaml": ["inbox/b.png"], "inbox/y.yaml": ()})
    assert inbox.namers(["inbox/é.png", "inbox/a.png", "inbox/b.png"]) == [("inbox/x.yaml", "inbox/b.png")]
    inbox.replace_names(URL, {})
    assert inbox.namers(["inbox/b.png"]) == []
    assert inbox.listing(URL).made_by == "m"


def test_what_no_object_can_be_called_is_not_kept(ledger: Ledger) -> None:
    names = {"inbox/x.yaml": ["inbox/a\0.png", "inbox/\ud800.png", "inbox/" + "x" * 2_000, "inbox/a.png"]}
    ledger.index.inbox.replace_names(URL, names)
    assert ledger.index.inbox.names_in(names) == {"inbox/x.yaml": {"inbox/a.png"}}


def test_each_bucket_has_a_listing_of_its_own(ledger: Ledger) -> None:
    inbox = ledger.index.inbox
    inbox.note(URL, made_by="m", listed_at=NOON)
    inbox.note(URL, reached="inbox/a", began_at=LATER)
    assert inbox.listing(URL) == Listing("m", None, NOON, LATER, "inbox/a")
    assert inbox.listing("s3://another") == Listing()


def test_what_a_run_writes_of_a_shot_is_told_from_what_was_listed(ledger: Ledger) -> None:
    index = ledger.index
    seen = [SeenShot(key, "v1", True, modified_at=NOON, origin=f"inbox/{key}.png") for key in ("cat", "dog", "owl")]
    index.save(seen, NOON, listed=True)
    assert index.other_than_listed() == set()
    index.save([replace(seen[0], version="v0")], LATER)  # by a run that had seen it earlier
    index.mark_gone(["dog"], LATER)  # by somebody who has listed another bucket
    index.mark_gone(["owl"], LATER, listed=True)
    assert index.other_than_listed() == {"cat", "dog"}
    index.save([seen[2]], LATER)  # a run brings it back
    assert index.other_than_listed() == {"cat", "dog", "owl"}


def test_shots_are_found_by_the_file_they_come_from(ledger: Ledger) -> None:
    origins = {
        "a": "inbox/a.png",
        "a/b": "inbox/a.yaml",
        "a/c": "inbox/a/c.png",
        "a0": "inbox/a0.png",
        "a.x": "inbox/a.x.png",
    }
    ledger.index.save([SeenShot(key, "v", True, origin=origin) for key, origin in origins.items()], NOON)
    assert dict(ledger.index.of_stems(["inbox/a"])) == {key: origins[key] for key in ("a", "a/b", "a.x")}


def test_what_waits_is_what_the_rule_says(ledger: Ledger) -> None:
    """The same as `is_to_be_taken_up`, asked of the database."""
    cases: dict[str, tuple[str, bool, str | None, bool]] = {
        "new": ("v1", True, None, True),
        "taken": ("v1", True, "v1", False),
        "changed": ("v2", True, "v1", True),
        "broken at first": ("v1!m", False, None, True),
        "broken since": ("v1!m", False, "v1", False),
        "changed and broken": ("v2!m", False, "v1", True),
        "other mistakes": ("v1!n", False, "v1!m", True),
        "mended": ("v1", True, "v1!m", True),
    }
    index = ledger.index
    index.save([SeenShot(key, version, ready) for key, (version, ready, _, _) in cases.items()], NOON)
    taken = {key: version for key, (_, _, version, _) in cases.items() if version is not None}
    index.mark_taken_up(list(taken), list(taken.values()), NOON)
    wanted = {key for key, (_, _, _, waits) in cases.items() if waits}
    assert {shot.key for shot in index.waiting()} == wanted
    index.mark_gone(["new"], LATER)
    assert {shot.key for shot in index.waiting()} == wanted - {"new"}
    assert (index.count(), index.holds_at_least(7), index.holds_at_least(8)) == (7, True, False)
