"""Which files make which shots, and what keeps a shot from being ready while those beside it are."""

from __future__ import annotations

import json
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from wan_pipeline.bucket import Bucket
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import CommonSettings
from wan_pipeline.providers.catalog import find_model
from wan_pipeline.shots.discovery import YamlCache, discover
from wan_pipeline.shots.shot import Shot
from wan_pipeline_tests.shots.inboxes import (
    AIML,
    FLASH,
    NOON,
    R2V,
    READY,
    WAN27,
    Files,
    ListedBucket,
    by_key,
    folder_bucket,
    shots_of,
)


def _inputs(shot: Shot) -> dict[str, str]:
    return {str(slot): key for slot, key in shot.inputs.items()}


def _told(shot: Shot) -> list[tuple[str, str]]:
    return [(problem.file, problem.field) for problem in shot.problems]


# --- which files make a shot ---


def test_the_example_of_the_design_makes_its_shots(tmp_path: Path) -> None:
    bucket = folder_bucket(
        tmp_path,
        {
            "spring/_defaults.yaml": f"model: {FLASH}\nprompt: Leaves fall.",
            "spring/cat.png": b"cat",
            "spring/cat.yaml": """
model: wavespeed/wan-2.6-i2v-flash
prompt: The cat looks up at the falling leaves.
negative_prompt: blur
duration: 5                      # seconds of video
resolution: 720p                 # or 1080p
audio: false                     # shall the video have generated sound
seed: 7
shot_type: single                # or multi
prompt_extend: false
inputs: {first_frame: cat.png}
not_before: 2026-12-01T06:00:00Z
campaign: spring
shots:                           # several from one file
  hero: {resolution: 1080p, duration: 10}
  teaser: {}
""",
            "spring/dog.JPEG": b"dog",
            "dance.yaml": f"model: {R2V}\nprompt: '@Video1 dances'\ninputs: {{videos: [clips/b.mp4], images: [a.png]}}",
            "clips/b.mp4": b"b",
            "a.png": b"a",
            "notes.txt": b"",
        },
    )
    shots = by_key(discover(bucket, None))
    assert list(shots) == ["dance", "spring/cat/hero", "spring/cat/teaser", "spring/dog"]
    assert all(shot.ready for shot in shots.values())
    hero = shots["spring/cat/hero"]
    assert hero.order is not None
    assert (hero.order.resolution, hero.order.duration_s, hero.order.has_audio) == ("1080p", 10, False)
    assert (hero.campaign, hero.settings.seed, hero.settings.prompt) == (
        "spring",
        7,
        "The cat looks up at the falling leaves.",
    )
    assert hero.not_before is not None
    assert hero.not_before.isoformat() == "2026-12-01T06:00:00+00:00"
    assert hero.sources == ("inbox/spring/_defaults.yaml", "inbox/spring/cat.png", "inbox/spring/cat.yaml")
    assert hero.last_modified == NOON
    assert _inputs(hero) == {"first_frame": "inbox/spring/cat.png"}
    assert _inputs(shots["spring/dog"]) == {"first_frame": "inbox/spring/dog.JPEG"}
    assert _inputs(shots["dance"]) == {"images[0]": "inbox/a.png", "videos[0]": "inbox/clips/b.mp4"}
    assert shots["dance"].origin == "inbox/dance.yaml"


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        ({}, []),
        ({"a.png": "", "b.jpg": "", "c.jpeg": "", "d.bmp": "", "e.webp": ""}, ["a", "b", "c", "d", "e"]),
        ({"A.PNG": "", "b.JPeG": "", "b.YAML": ""}, ["A", "b"]),
        ({"a.yml": "", "a.png": ""}, ["a"]),
        ({"a.txt": "", "b.mp4": "", "c.mp3": "", "d": "", "e.psd": "", "f.png.part": "", "g.yaml~": ""}, []),
        ({".DS_Store": "", "._a.png": "", ".git/a.png": "", "x/.hidden.yaml": "", "x/.png": ""}, []),
        ({"_Defaults.YAML": "seed: 1"}, []),
        ({"a.png": "", "b.yaml": "inputs: {last_frame: a.png}"}, ["b"]),
        ({"x/a.png": "", "x/y/b.yaml": "inputs: {images: [../a.png]}"}, ["x/y/b"]),
        ({"a.png": "", "x/_defaults.yaml": "inputs: {last_frame: ../a.png}"}, []),
        ({"a.png": "", "a.yaml": "", "b.yaml": "inputs: {last_frame: a.png}"}, ["a", "b"]),
        ({"a.png": "", "b.yaml": "shots: {x: {inputs: {last_frame: a.png}}}"}, ["b/x"]),
        ({"a.png": "", "a.yaml": "shots: {x: {}, 1: {}, on: {}}"}, ["a/1", "a/on", "a/x"]),
        ({"a.b/c.d.png": ""}, ["a.b/c.d"]),
        ({"a b+c%#?é.png": ""}, ["a b+c%#?é"]),
    ],
)
def test_these_files_make_these_shots(files: Files, keys: list[str]) -> None:
    assert list(shots_of(files)) == keys


def test_an_image_that_a_broken_yaml_seems_to_name_is_not_bought_by_itself() -> None:
    files = {
        "_defaults.yaml": READY,
        "a.png": "",
        "my b.png": "",
        "c.png": "",
        "x.yaml": "inputs: {images: [a.png, 'my b.png'",
    }
    shots = shots_of(files)
    assert list(shots) == ["c", "x"]
    assert shots["c"].ready


def test_an_image_makes_first_frame_or_reference_as_its_model_takes_it() -> None:
    shots = shots_of(
        {
            "_defaults.yaml": "prompt: It moves.",
            "r/_defaults.yaml": f"model: {R2V}\ninputs: {{videos: [b.mp4]}}",
            "r/b.mp4": "",
            "r/cat.png": "",
            "q/_defaults.yaml": f"model: {R2V}",
            "q/cat.png": "",
            "s/_defaults.yaml": f"model: {WAN27}",
            "s/cat.png": "",
        }
    )
    assert _inputs(shots["r/cat"]) == {"images[0]": "inbox/r/cat.png", "videos[0]": "inbox/r/b.mp4"}
    assert shots["r/cat"].ready
    assert _inputs(shots["s/cat"]) == {"first_frame": "inbox/s/cat.png"}
    (problem,) = shots["q/cat"].problems
    assert (problem.file, problem.field) == ("inbox/q/cat.png", "inputs.videos")


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ("{}", {"first_frame": "inbox/cat.png"}),
        ("{last_frame: end.png}", {"first_frame": "inbox/cat.png", "last_frame": "inbox/end.png"}),
        ("{first_frame: end.png}", {"first_frame": "inbox/end.png"}),
        ("{last_frame: cat.png, clip: c.mp4}", {"last_frame": "inbox/cat.png", "clip": "inbox/c.mp4"}),
        ("{first_frame: null, clip: c.mp4}", {"clip": "inbox/c.mp4"}),
        ("null", {}),
    ],
)
def test_a_yaml_may_give_its_image_another_part(inputs: str, found: dict[str, str]) -> None:
    files = {"cat.png": "", "end.png": "", "c.mp4": "", "cat.yaml": f"model: {WAN27}\ninputs: {inputs}"}
    assert _inputs(shots_of(files)["cat"]) == found


def test_a_name_that_a_mac_composes_differently_is_found() -> None:
    decomposed = unicodedata.normalize("NFD", "é.png")
    shots = shots_of({"_defaults.yaml": READY, decomposed: "", "x.yaml": "inputs: {first_frame: é.png}"})
    assert list(shots) == ["x"]
    assert _inputs(shots["x"]) == {"first_frame": f"inbox/{decomposed}"}
    assert shots["x"].ready


# --- what keeps a shot from being ready ---

GOOD = {"_defaults.yaml": READY, "good.png": "", "zoo/good.png": ""}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        # an image, or a name, that cannot be meant
        ({"cat.png": "", "cat.jpg": ""}, {"cat": [("inbox/cat.jpg", ""), ("inbox/cat.png", "")]}),
        ({"cat.gif": ""}, {"cat": [("inbox/cat.gif", "")]}),
        ({"cat.HEIC": "", "cat.yaml": ""}, {"cat": [("inbox/cat.HEIC", "")]}),
        ({"a,b.png": ""}, {"a%2Cb": [("inbox/a,b.png", "")]}),
        ({"a\nb.png": ""}, {"a%0Ab": [("inbox/a\nb.png", "")]}),
        ({"a...b.png": ""}, {"a%2E%2E%2Eb": [("inbox/a...b.png", "")]}),
        ({"a\"b'c.png": ""}, {"a%22b%27c": [("inbox/a\"b'c.png", "")]}),
        ({"a,b.png": "", "a%2Cb.png": ""}, {"a%2Cb": [], "a%2Cb~1eb7c54d5283": [("inbox/a,b.png", "")]}),
        ({"x/take-1.mp4.png": ""}, {"x/%74ake-1.mp4": [("inbox/x/take-1.mp4.png", "")]}),
        # settings files
        ({"cat.png": "", "cat.yaml": "", "cat.yml": ""}, {"cat": [("inbox/cat.yaml", ""), ("inbox/cat.yml", "")]}),
        ({"_default.yaml": "seed: 1"}, {"_default": [("inbox/_default.yaml", "")]}),
        ({"cat.yaml": ""}, {"cat": [("inbox/cat.yaml", "inputs.first_frame")]}),
        ({"cat.png": "", "cat.yaml": "prompt: null"}, {"cat": [("inbox/cat.yaml", "prompt")]}),
        ({"cat.png": "", "cat.yaml": "prompt: '  '"}, {"cat": [("inbox/cat.yaml", "prompt")]}),
        ({"cat.png": "", "cat.yaml": "model: null"}, {"cat": [("inbox/cat.yaml", "model")]}),
        ({"cat.png": "", "cat.yaml": "model: wavespeed/wan"}, {"cat": [("inbox/cat.yaml", "model")]}),
        # a setting, a value, an input that the model does not take
        ({"cat.png": "", "cat.yaml": f"model: {WAN27}\nseed: 1"}, {"cat": [("inbox/cat.yaml", "seed")]}),
        ({"cat.png": "", "cat.yaml": f"model: {AIML}\nduration: 7"}, {"cat": [("inbox/cat.yaml", "duration")]}),
        (
            {"cat.png": "", "c.mp4": "", "cat.yaml": "inputs: {clip: c.mp4}"},
            {"cat": [("inbox/cat.yaml", "inputs.clip")]},
        ),
        (
            {"cat.png": "", "c.mp4": "", "cat.yaml": f"model: {WAN27}\ninputs: {{clip: c.mp4}}"},
            {"cat": [("inbox/cat.yaml", "inputs")]},
        ),
        # inputs that are not there
        ({"cat.yaml": "inputs: {first_frame: cta.png}"}, {"cat": [("inbox/cat.yaml", "inputs.first_frame")]}),
        (
            {"v.mp4": "", "cat.yaml": f"model: {R2V}\ninputs: {{videos: [v.mp4, w.mp4]}}"},
            {"cat": [("inbox/cat.yaml", "inputs.videos[1]")]},
        ),
        # entries
        (
            {"cat.png": "", "cat.yaml": "shots: {hero: {}, tail: {}}", "cat/hero.png": ""},
            {"cat/hero": [("inbox/cat.yaml", ""), ("inbox/cat/hero.png", "")], "cat/tail": []},
        ),
        (
            {"cat.png": "", "cat.yaml": "shots: {a/b: {}, c: {}}"},
            {"cat/a%2Fb": [("inbox/cat.yaml", "shots.a/b")], "cat/c": []},
        ),
        (
            {"cat.png": "", "cat.yaml": "shots: {..: {}, '': {}, .x: {}, 'a,b': {}, c: {}}"},
            {
                "cat/%2E.": [("inbox/cat.yaml", "")],
                "cat/%": [("inbox/cat.yaml", "")],
                "cat/%2Ex": [("inbox/cat.yaml", "")],
                "cat/a%2Cb": [("inbox/cat.yaml", "")],
                "cat/c": [],
            },
        ),
        # a folder's settings: everything below, nothing beside
        (
            {"b/_defaults.yaml": "seed: x", "b/cat.png": "", "b/c/dog.png": "", "b/c/dog.yaml": "seed: 1"},
            {"b/cat": [("inbox/b/_defaults.yaml", "seed")], "b/c/dog": [("inbox/b/_defaults.yaml", "seed")]},
        ),
        ({"b/_defaults.yaml": "- a", "b/cat.png": ""}, {"b/cat": [("inbox/b/_defaults.yaml", "")]}),
        ({"b/_defaults.yaml": "shots: {a: {}}", "b/cat.png": ""}, {"b/cat": [("inbox/b/_defaults.yaml", "shots")]}),
        (
            {"b/_defaults.yaml": "", "b/_defaults.yml": "", "b/cat.png": ""},
            {"b/cat": [("inbox/b/_defaults.yaml", ""), ("inbox/b/_defaults.yml", "")]},
        ),
        (
            {"b/_defaults.yaml": "inputs: {first_frame: ../../x.png}", "b/cat.png": ""},
            {"b/cat": [("inbox/b/_defaults.yaml", "inputs.first_frame")]},
        ),
        ({"b/_defaults.yaml": "duration: 99", "b/cat.png": ""}, {"b/cat": [("inbox/b/_defaults.yaml", "duration")]}),
        ({"b/_defaults.yaml": "model: a/b", "b/cat.png": ""}, {"b/cat": [("inbox/b/_defaults.yaml", "model")]}),
        (
            {"b/_defaults.yaml": f"model: {WAN27}\ninputs: {{last_frame: no.png}}", "b/cat.png": ""},
            {"b/cat": [("inbox/b/_defaults.yaml", "inputs.last_frame")]},
        ),
    ],
)
def test_a_mistake_is_told_where_it_stands_and_the_shots_beside_it_are_ready(
    files: dict[str, str], told: dict[str, list[tuple[str, str]]]
) -> None:
    shots = shots_of(GOOD | files)
    assert {key: _told(shot) for key, shot in shots.items()} == told | {"good": [], "zoo/good": []}
    for shot in shots.values():
        for problem in shot.problems:
            assert problem.message
            assert problem.remedy


def test_the_problem_of_two_images_names_both() -> None:
    (first, second) = shots_of({"_defaults.yaml": READY, "cat.png": "", "cat.jpg": ""})["cat"].problems
    assert "inbox/cat.jpg, inbox/cat.png" in first.message
    assert first.message == second.message


def test_two_images_of_a_name_are_no_mistake_where_a_yaml_says_which_is_which() -> None:
    shots = shots_of(
        {
            "_defaults.yaml": f"model: {WAN27}",
            "a.png": "",
            "a.jpg": "",
            "a.yaml": "inputs: {first_frame: a.png, last_frame: a.jpg}",
            "b.png": "",
            "b.jpg": "",
            "c.yaml": "inputs: {first_frame: b.jpg}",
        }
    )
    assert {key: shot.ready for key, shot in shots.items()} == {"a": True, "b": True, "c": True}
    assert _inputs(shots["b"]) == {"first_frame": "inbox/b.png"}


def test_a_setting_of_the_own_yaml_must_be_the_models_and_an_inherited_one_applies_where_it_is() -> None:
    shots = shots_of(
        {
            "_defaults.yaml": "prompt: It moves.\nseed: 7\nshot_type: multi\ninputs: {last_frame: end.png}",
            "end.png": "",
            "a.png": "",
            "a.yaml": f"model: {WAN27}",
            "b.png": "",
            "b.yaml": f"model: {FLASH}",
            "c.png": "",
            "c.yaml": f"model: {WAN27}\nseed: 7",
            "d.png": "",
            "d.yaml": f"model: {FLASH}\ninputs: {{last_frame: end.png}}",
        }
    )
    assert {key: shot.ready for key, shot in shots.items()} == {"a": True, "b": True, "c": False, "d": False}
    assert _inputs(shots["a"]) == {"first_frame": "inbox/a.png", "last_frame": "inbox/end.png"}
    assert _inputs(shots["b"]) == {"first_frame": "inbox/b.png"}


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("cta.png", "Did you mean cat.png?"),
        ("Cat.png", "Did you mean cat.png?"),
        ("inbox/x/cat.png", "Paths are relative to the yaml: write cat.png"),
        ("x/cat.png", "Paths are relative to the yaml: write cat.png"),
        ("voice.mp3", "Did you mean ../sounds/voice.mp3?"),
        ("nothing-like-it.tiff", "Put it there, or correct the path (relative to inbox/x/dog.yaml)"),
    ],
)
def test_a_missing_input_comes_with_what_may_be_meant(path: str, remedy: str) -> None:
    files = {
        "_defaults.yaml": READY,
        "x/cat.png": "",
        "sounds/voice.mp3": "",
        "x/dog.yaml": f"inputs: {{first_frame: {path}}}",
    }
    (problem,) = shots_of(files)["x/dog"].problems
    assert problem.message == "line 1: there is no such file in the bucket"
    assert problem.remedy == remedy


def test_the_default_model_is_for_shots_that_name_none() -> None:
    files = {"cat.png": "", "dog.png": "", "dog.yaml": f"model: {WAN27}"}
    shots = shots_of(files)
    assert _told(shots["cat"]) == [("inbox/cat.png", "model")]
    assert "WAN_DEFAULT_MODEL" in shots["cat"].problems[0].remedy
    shots = shots_of(files, AIML)
    assert (shots["cat"].model_id, shots["dog"].model_id) == (AIML, WAN27)
    (problem,) = shots_of(files, "no/such")["cat"].problems
    assert "WAN_DEFAULT_MODEL" in problem.message
    assert shots_of(files, "no/such")["dog"].ready


def test_the_order_is_the_models_own_for_the_settings_shown() -> None:
    shot = shots_of({"_defaults.yaml": READY, "cat.png": "", "cat.yaml": "seed: 3\nresolution: 1080p"})["cat"]
    wanted = CommonSettings(prompt="It moves.", seed=3, resolution="1080p")
    assert shot.settings == wanted
    assert shot.order == find_model(FLASH).order(wanted, tuple(shot.inputs), frozenset({"seed", "resolution"}))


# --- versions ---


def test_the_version_changes_with_the_own_files_and_with_nothing_else() -> None:
    bucket = ListedBucket(
        {
            "_defaults.yaml": READY + "inputs: {last_frame: end.png}",
            "end.png": "",
            "cat.png": "",
            "cat.yaml": f"model: {WAN27}\nshots: {{a: {{}}, b: {{}}}}",
            "dog.png": "",
            "fox.yaml": "inputs: {first_frame: later.png}",
            "owl.yaml": "inputs: {first_frame: end.png}",
        }
    )

    def versions() -> dict[str, str]:
        return {shot.key: shot.version for shot in discover(cast(Bucket, bucket), None)}

    def changed_by(key: str, content: str) -> set[str]:
        before = versions()
        bucket.put(key, content)
        return {key for key, version in versions().items() if before.get(key) != version}

    assert len(set(versions().values())) == 5
    assert changed_by("_defaults.yaml", READY + "seed: 1") == set()
    assert changed_by("_defaults.yaml", "seed: broken") == set()
    assert changed_by("_defaults.yaml", READY) == set()
    assert changed_by("end.png", "other") == {"owl"}
    assert changed_by("cat.png", "other") == {"cat/a", "cat/b"}
    assert changed_by("cat.yaml", "shots: {a: {}, b: {seed: 1}}") == {"cat/a", "cat/b"}
    assert changed_by("dog.png", "other") == {"dog"}
    assert changed_by("dog.yaml", "seed: 1") == {"dog"}
    assert changed_by("later.png", "there now") == {"fox"}
    assert changed_by("unrelated.txt", "x") == set()


def test_own_settings_and_inputs_are_those_that_no_defaults_file_can_change() -> None:
    def own(defaults: str, yaml: str) -> tuple[object, tuple[str, ...]]:
        files = {"_defaults.yaml": defaults, "end.png": "", "b.mp4": "", "cat.png": "", "cat.yaml": yaml}
        shot = shots_of(files)["cat"]
        return json.loads(shot.own_settings), shot.own_inputs

    plain = own(READY, "seed: 1\ncampaign: null\nnot_before: 2026-12-01T06:00Z")
    assert plain == (
        {
            "campaign": None,
            "image": "inbox/cat.png",
            "not_before": "2026-12-01T06:00:00+00:00",
            "seed": 1,
        },
        ("inbox/cat.png",),
    )
    for defaults in (
        "seed: 9\n" + READY,
        f"model: {R2V}\nprompt: x\ninputs: {{videos: [b.mp4]}}",
        f"model: {WAN27}\ninputs: {{last_frame: end.png}}",
        "broken: [",
        "model: no/such",
    ):
        assert own(defaults, "campaign: null\nseed: 1 # moved\nnot_before: 2026-12-01 07:00+01:00") == plain
    assert own(READY, "inputs: {last_frame: end.png, clip: null}") == (
        {"image": "inbox/cat.png", "inputs": {"clip": None, "last_frame": ["inbox/end.png"]}},
        ("inbox/cat.png", "inbox/end.png"),
    )


def test_the_newest_of_all_sources_counts_defaults_included() -> None:
    bucket = ListedBucket({"_defaults.yaml": READY, "x/_defaults.yaml": "", "x/cat.png": "", "dog.png": ""})
    bucket.modified_at["inbox/x/_defaults.yaml"] = NOON + timedelta(hours=1)
    shots = by_key(discover(cast(Bucket, bucket), None))
    assert shots["dog"].last_modified == NOON
    assert shots["x/cat"].last_modified == NOON + timedelta(hours=1)
    assert shots["x/cat"].sources == ("inbox/_defaults.yaml", "inbox/x/_defaults.yaml", "inbox/x/cat.png")


# --- reading ---


def test_each_version_of_a_yaml_is_read_once_and_gone_ones_are_forgotten() -> None:
    bucket, cache = ListedBucket({"_defaults.yaml": READY, "cat.png": "", "cat.yaml": "seed: 1"}), YamlCache()

    def seed() -> int | None:
        return by_key(discover(cast(Bucket, bucket), None, cache))["cat"].settings.seed

    assert (seed(), bucket.reads) == (1, 2)
    assert (seed(), bucket.reads) == (1, 2)
    bucket.put("cat.yaml", "seed: 2")
    assert (seed(), bucket.reads) == (2, 3)
    del bucket.contents["inbox/cat.yaml"]
    assert (seed(), bucket.reads) == (None, 3)
    bucket.contents["inbox/cat.yaml"] = b"seed: 2"
    assert (seed(), bucket.reads) == (2, 4)


def test_a_yaml_that_goes_away_under_the_reader_leaves_its_shot_unready() -> None:
    class Vanishing(ListedBucket):
        def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            if key == "inbox/cat.yaml":
                self.contents.pop(key, None)
            return super().read(key, start, length)

    bucket = Vanishing({"_defaults.yaml": READY, "cat.png": "", "cat.yaml": "seed: 1", "good.png": ""})
    shots = by_key(discover(cast(Bucket, bucket), None))
    assert {key: shot.ready for key, shot in shots.items()} == {"cat": False, "good": True}


def test_a_file_too_large_for_settings_is_not_even_read() -> None:
    bucket = ListedBucket({"_defaults.yaml": READY, "cat.yaml": "x" * 70_000})
    (problem,) = by_key(discover(cast(Bucket, bucket), None))["cat"].problems
    assert bucket.reads == 1
    assert "64 KiB" in problem.message


def test_ten_thousand_images_ask_the_model_once() -> None:
    asked: list[str] = []

    def counting(model_id: str) -> object:
        asked.append(model_id)
        model = find_model(model_id)

        class Counting:
            id, inputs = model.id, model.inputs

            def order(self, *arguments: object) -> object:
                asked.append("order")
                return model.order(*arguments)  # pyright: ignore

        return Counting()

    files = {f"f{number % 20}/{number:05}.png": b"" for number in range(10_000)}
    bucket = cast(Bucket, ListedBucket({"_defaults.yaml": READY.encode(), **files}))
    shots = discover(bucket, None, find_model=counting)  # pyright: ignore
    assert len(shots) == 10_000
    assert all(shot.ready for shot in shots)
    assert asked == [FLASH, "order"]


def test_a_problem_reads_as_one_sentence_with_file_field_value_and_remedy() -> None:
    shots = shots_of({"_defaults.yaml": READY, "a/cat.png": "", "a/cat.yaml": "prompt: x\nresolution: 720"})
    problem: Problem = shots["a/cat"].problems[0]
    assert str(problem) == (
        "inbox/a/cat.yaml: resolution: line 2: no such option (found: 720). "
        "Did you mean 720p? Write one of: 720p, 1080p"
    )
