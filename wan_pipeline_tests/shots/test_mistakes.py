"""Each mistake in a yaml is told once, with its file, line, field, value and remedy, and never raised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.problems import Problem
from wan_pipeline.shots.spec import parse_sidecar
from wan_pipeline_tests.shots.inboxes import READY, shots_of

FIELDS = (
    "prompt, negative_prompt, duration, resolution, audio, seed, shot_type, prompt_extend, model, inputs, "
    "not_before, campaign, shots"
)
ROLES = "first_frame, last_frame, audio, clip, images, videos"

# yaml, then of the one problem: field, value, words of its message, words of its remedy
VALUES = [
    ("resolution: 720", "resolution", "720", "line 1: no such option", "Did you mean 720p? Write one of: 720p, 1080p"),
    ("resolution: 1080P", "resolution", "1080P", "no such option", "Did you mean 1080p?"),
    ("resolution: 4k", "resolution", "4k", "no such option", "Write one of: 720p, 1080p"),
    ("shot_type: multy", "shot_type", "multy", "no such option", "Did you mean multi?"),
    ("seed: 1e3", "seed", "1e3", "a whole number", "Write 1000"),
    ("seed: 1.5", "seed", "1.5", "a whole number", "e.g. 7"),
    ("seed: 010", "seed", "010", "a whole number", "Write 10, without quotes or unit"),
    ("seed: 99999999999999999999", "seed", "99999999999999999999", "a whole number", "Write a whole number"),
    ("seed: yes", "seed", "yes", "a whole number", "Write a whole number"),
    ('duration: "5"', "duration", "5", "a whole number", "Write 5, without quotes"),
    ("duration: 5s", "duration", "5s", "a whole number", "Write 5, without quotes or unit"),
    ("duration: 0:05", "duration", "0:05", "a whole number", "5 (seconds of video)"),
    ("duration: [5]", "duration", "", "a whole number", "5 (seconds of video)"),
    ("audio: 'yes'", "audio", "yes", "true or false", "Write true, without quotes"),
    ("audio: 1", "audio", "1", "true or false", "Write true or false"),
    ("prompt: 5", "prompt", "5", "a text is expected", 'Put it in quotes: "5"'),
    ("campaign: 2026", "campaign", "2026", "a text is expected", 'Put it in quotes: "2026"'),
    ('campaign: ""', "campaign", "", "nothing stands here", "null to un-set"),
    ('campaign: "a\\nb"', "campaign", "a\nb", "line break", "on one line"),
    (f"campaign: {'x' * 101}", "campaign", "x" * 101, "longer than 100", "Shorten it by 1"),
    ("prompt: look at item #1", "prompt", "look at item", "begins a comment", 'quotes: "look at item #1"'),
    ("not_before: 2026-12-01", "not_before", "2026-12-01", "a day without a time", "2026-12-01T00:00:00Z"),
    (
        "not_before: 2026-12-01 06:00",
        "not_before",
        "2026-12-01 06:00",
        "without its zone",
        "Add Z for UTC: 2026-12-01T06:00Z",
    ),
    ('not_before: "2026-12-01T06:00:00"', "not_before", "2026-12-01T06:00:00", "without its zone", "06:00:00Z"),
    ("not_before: 2026-13-01T06:00:00Z", "not_before", "2026-13-01T06:00:00Z", "not a time", "Write it like"),
    ("not_before: 0001-01-01T00:00:00+14:00", "not_before", "0001-01-01T00:00:00+14:00", "not a time", "Write it like"),
    ("not_before: tomorrow", "not_before", "tomorrow", "not a time", "Write it like 2026-12-01T06:00:00Z"),
    ("not_before: 20261201", "not_before", "20261201", "not a time", "Write it like"),
    ("promt: x", "promt", "x", "no such setting", f"Did you mean prompt? There are: {FIELDS}"),
    ("negative-prompt: x", "negative-prompt", "x", "no such setting", "Did you mean negative_prompt?"),
    ("generate_audio: true", "generate_audio", "true", "no such setting", "Did you mean audio?"),
    ("image: cat.png", "image", "cat.png", "no such setting", "Did you mean inputs: {first_frame: …}?"),
    ("prompt: a\nprompt: b", "prompt", "prompt", "line 2: this stands on line 1 already", "Keep one of the two"),
    ("inputs: cat.png", "inputs", "cat.png", "roles with paths", "Write {first_frame: cat.png}"),
    ("inputs: {images: a.png}", "inputs.images", "a.png", "a list of paths", "Write [a.png]"),
    ("inputs: {images: [a.png, 5]}", "inputs.images[1]", "5", "a text is expected", "in quotes"),
    (
        "inputs: {first: a.png}",
        "inputs.first",
        "a.png",
        "no such input",
        f"Did you mean first_frame? There are: {ROLES}",
    ),
    ("inputs: {first_frame: ''}", "inputs.first_frame", "", "nothing stands here", "null to un-set"),
    ("inputs: {first_frame: /a.png}", "inputs.first_frame", "/a.png", "absolute", "relative to this yaml"),
    (
        "inputs: {first_frame: ../../a.png}",
        "inputs.first_frame",
        "../../a.png",
        "leads out of inbox/",
        "stay below inbox/",
    ),
    ("inputs: {first_frame: ..}", "inputs.first_frame", "..", "leads out of inbox/", "stay below inbox/"),
    ("inputs: {first_frame: 's3://b/a.png'}", "inputs.first_frame", "s3://b/a.png", "a URL", "name it from this yaml"),
    (
        "inputs: {first_frame: 'C:\\a.png'}",
        "inputs.first_frame",
        "C:\\a.png",
        "a URL or a drive",
        "name it from this yaml",
    ),
    ("inputs: {first_frame: 'x\\a.png'}", "inputs.first_frame", "x\\a.png", "a backslash", "Write x/a.png"),
    (
        "\n\ninputs:\n  images:\n    - ok.png\n    - /b.png",
        "inputs.images[1]",
        "/b.png",
        "line 6: the path is abs",
        "relative",
    ),
]
FILES = [
    (b"prompt: a\n\tseed: 1", "", "seed: 1", "line 2: this is not YAML", "indent with spaces"),
    (b"prompt: The cat: a hero", "", "prompt: The cat: a hero", "line 1: this is not YAML", "colon in quotes"),
    (
        b"seed: 1\nprompt: @Video1 dances",
        "",
        "prompt: @Video1 dances",
        "line 2: this is not YAML",
        "begins with @ in quotes",
    ),
    (b'prompt: "a', "", 'prompt: "a', "this is not YAML", "Close the quotes"),
    (b"inputs: {a: [", "", "inputs: {a: [", "this is not YAML", "Check quotes, brackets"),
    (b"- a\n- b", "", "a", "line 1: a list stands at the top", "`name: value` lines"),
    (b"just words", "", "just words", "a single text stands at the top", "`name: value` lines"),
    (b"prompt: \xe4\xf6\xfc", "", "bytes e4 f6 fc", "line 1: the file is not UTF-8", "Save it as UTF-8"),
    (b"\xff\xfep\x00", "", "bytes ff fe 70 00", "not UTF-8", "Save it as UTF-8"),
    (b"seed: 1\nprompt: a\x07b", "", "", "line 2: a control character", "Remove it"),
    (b"a: &x [1]\nprompt: *x", "prompt", "*x", "line 2: an alias", "_defaults.yaml"),
    (b"prompt: !!python/name:os.system x", "prompt", "tag:yaml.org,2002:python/name:os.system", "a tag", "bare value"),
    (b"---\nseed: 1\n---\nseed: 2", "", "---", "line 3: a second document", "one document"),
    (b"? [a]\n: 1", "", "", "line 1: a name is expected", "`name: value`"),
    (b"[" * 20_000, "", "", "nested too deeply", "nested"),
    (b"{a: " * 1_000, "a", "", "nested too deeply", "nested"),
    (b"# " + b"x" * 70_000, "", "70002 bytes", "larger than the 64 KiB", "divide it"),
    (b"shots:", "shots", "", "line 1: `shots:` names no shot", "remove `shots:`"),
    (b"shots: {}", "shots", "", "`shots:` names no shot", "remove `shots:`"),
    (b"seed: 1\nshots: [hero]", "shots", "", "line 2: `shots:` names no shot", "`name: {setting: value}`"),
]


def _problems(yaml: str | bytes) -> tuple[Problem, ...]:
    shots = shots_of({"_defaults.yaml": READY, "a/cat.png": "", "a/ok.png": "", "a/cat.yaml": yaml, "good.png": ""})
    assert shots["good"].ready
    return shots["a/cat"].problems


@pytest.mark.parametrize(("yaml", "field", "value", "message", "remedy"), VALUES)
def test_a_wrong_value_is_the_one_problem_of_its_shot(
    yaml: str, field: str, value: str, message: str, remedy: str
) -> None:
    (problem,) = _problems(yaml)
    assert (problem.file, problem.field, problem.value) == ("inbox/a/cat.yaml", field, value)
    assert message in problem.message
    assert problem.message.startswith("line ")
    assert remedy in problem.remedy


@pytest.mark.parametrize(("yaml", "field", "value", "message", "remedy"), FILES)
def test_a_broken_file_is_the_one_problem_of_its_shot(
    yaml: bytes, field: str, value: str, message: str, remedy: str
) -> None:
    (problem,) = _problems(yaml)
    assert (problem.file, problem.field, problem.value) == ("inbox/a/cat.yaml", field, value)
    assert message in problem.message
    assert remedy in problem.remedy


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    problems = _problems("resolution: 4k\nseed: x\npromt: a\ninputs: {first_frame: ../../x.png, last: a}\naudio: 3\n")
    assert {problem.field for problem in problems} == {
        "resolution",
        "seed",
        "promt",
        "inputs.first_frame",
        "inputs.last",
        "audio",
    }


def test_a_mistake_in_an_entry_leaves_the_other_entries_ready() -> None:
    shots = shots_of(
        {
            "_defaults.yaml": READY,
            "cat.png": "",
            "cat.yaml": "shots:\n  hero:\n    seed: x\n  list: []\n  deep: {shots: {}}\n  twice: {seed: 1, seed: 2}\n"
            "  teaser:\n",
        }
    )
    told = {key: [(p.field, p.value) for p in shot.problems] for key, shot in shots.items()}
    assert told == {
        "cat/hero": [("shots.hero.seed", "x")],
        "cat/list": [("shots.list", "")],
        "cat/deep": [("shots.deep.shots", "")],
        "cat/twice": [("shots.twice.seed", "seed")],
        "cat/teaser": [],
    }


def test_a_mistake_above_the_entries_is_theirs_all() -> None:
    shots = shots_of({"_defaults.yaml": READY, "cat.png": "", "cat.yaml": "seed: x\nshots: {a: {}, b: {seed: 1}}"})
    assert {key: [p.field for p in shot.problems] for key, shot in shots.items()} == {
        "cat/a": ["seed"],
        "cat/b": ["seed"],
    }


GOOD = [
    ("", {}),
    ("# only a comment", {}),
    ("\ufeffseed: 3", {"seed": 3}),
    ("seed: 3\r\naudio: yes\r\n", {"seed": 3, "audio": True}),
    ("audio: off", {"audio": False}),
    ("prompt: >\n  The cat\n  looks up. # not a comment\n", {"prompt": "The cat looks up. # not a comment"}),
    ("prompt: Schöne Grüße 🐈 # a comment", {"prompt": "Schöne Grüße 🐈"}),
    ('prompt: "yes"', {"prompt": "yes"}),
    ("prompt: 2026-12-01 is the day", {"prompt": "2026-12-01 is the day"}),
    ("prompt: 2026-12-01", {"prompt": "2026-12-01"}),
    ("duration: 7   # seconds of video", {"duration": 7}),
]


@pytest.mark.parametrize(("yaml", "settings"), GOOD)
def test_what_a_person_may_well_write_is_taken(yaml: str, settings: dict[str, object]) -> None:
    files = {"_defaults.yaml": READY, "cat.png": "", "cat.yaml": yaml}
    shot = shots_of(files)["cat"]
    assert shot.problems == ()
    assert {"prompt": "It moves."} | settings == shot.settings.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-01T06:00:00Z",
        '"2026-12-01T06:00:00Z"',
        "2026-12-01 06:00Z",
        "2026-12-01 06:00:00 Z",
        "2026-12-01T07:00:00.000+01:00",
        "2026-12-01T04:00:00-0200",
        "2026-12-01t06:00:00z",
    ],
)
def test_a_time_is_the_same_however_it_is_written(text: str) -> None:
    shots = shots_of({"_defaults.yaml": READY, "cat.png": "", "cat.yaml": f"not_before: {text}"})
    not_before = shots["cat"].not_before
    assert not_before is not None
    assert not_before.isoformat() == "2026-12-01T06:00:00+00:00"


@given(
    st.binary(max_size=300) | st.text(alphabet="ab:#-[]{}'\"\n\t &*!|>%@`,?0.ée\u2028\x85", max_size=80).map(str.encode)
)
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    sidecar = parse_sidecar("inbox/a.yaml", data)
    assert all(problem.file == "inbox/a.yaml" for problem in sidecar.broken)
