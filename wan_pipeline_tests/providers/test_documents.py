"""Each model asks for exactly what its document allows, and says everything that bears on the price."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest

from wan_pipeline.problems import ProblemsError
from wan_pipeline.providers.base import CommonSettings, Role, Slot
from wan_pipeline.providers.catalog import find_model
from wan_pipeline_tests.providers.ordering import (
    AIMLAPI,
    ALL,
    COST_BEARING,
    SHORTAPI_26,
    SHORTAPI_27,
    SHORTAPI_R2V,
    WAVESPEED,
    arguments_of,
    body_of,
    check_published_schema,
    order_of,
    problems_of,
    slots_of,
)

# --- bodies, word for word ---

BODIES: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    (
        SHORTAPI_26,
        "first_frame",
        {},
        {
            "model": "alibaba/wan-2.6/image-to-video",
            "args": {
                "prompt": "A cat looks up.",
                "image_url": "https://bucket.test/first_frame",
                "duration": 5,
                "resolution": "720P",
                "shot_type": "single",
                "prompt_extend": False,
                "audio": False,
            },
        },
    ),
    (
        SHORTAPI_26,
        "first_frame audio",
        {
            "negative_prompt": "blur",
            "duration": 15,
            "resolution": "1080p",
            "shot_type": "multi",
            "prompt_extend": True,
        },
        {
            "model": "alibaba/wan-2.6/image-to-video",
            "args": {
                "prompt": "A cat looks up.",
                "negative_prompt": "blur",
                "image_url": "https://bucket.test/first_frame",
                "audio_url": "https://bucket.test/audio",
                "duration": 15,
                "resolution": "1080P",
                "shot_type": "multi",
                "prompt_extend": True,
                "audio": True,
            },
        },
    ),
    (
        SHORTAPI_27,
        "first_frame last_frame audio",
        {"negative_prompt": "blur", "duration": 2, "resolution": "1080p", "prompt_extend": True},
        {
            "model": "alibaba/wan-2.7/image-to-video",
            "args": {
                "prompt": "A cat looks up.",
                "negative_prompt": "blur",
                "resolution": "1080p",
                "duration": 2,
                "prompt_extend": True,
                "first_frame_image": "https://bucket.test/first_frame",
                "last_frame_image": "https://bucket.test/last_frame",
                "driving_audio_url": "https://bucket.test/audio",
            },
        },
    ),
    (
        SHORTAPI_27,
        "clip",
        {"prompt": None},
        {
            "model": "alibaba/wan-2.7/image-to-video",
            "args": {
                "resolution": "720p",
                "duration": 5,
                "prompt_extend": False,
                "first_clip_video_url": "https://bucket.test/clip",
            },
        },
    ),
    (
        SHORTAPI_R2V,
        "videos*2 images",
        {"prompt": "@Video1 and @Video2 dance together.", "audio": True, "duration": 10, "shot_type": "multi"},
        {
            "model": "alibaba/wan-2.6/reference-to-video",
            "args": {
                "prompt": "@Video1 and @Video2 dance together.",
                "video_urls": ["https://bucket.test/videos[0]", "https://bucket.test/videos[1]"],
                "image_urls": ["https://bucket.test/images[0]"],
                "duration": 10,
                "resolution": "720p",
                "shot_type": "multi",
                "audio": True,
            },
        },
    ),
    (
        AIMLAPI,
        "first_frame",
        {"prompt": "Mona Lisa puts on glasses with her hands."},
        {
            "model": "alibaba/wan-2-6-i2v",
            "prompt": "Mona Lisa puts on glasses with her hands.",
            "image_url": "https://bucket.test/first_frame",
            "resolution": "720p",
            "duration": 5,
            "shot_type": "single",
            "generate_audio": False,
            "enhance_prompt": True,
        },
    ),
    (
        AIMLAPI,
        "first_frame audio",
        {
            "negative_prompt": "blur",
            "seed": 7,
            "prompt_extend": False,
            "resolution": "1080p",
            "duration": 10,
            "audio": True,
        },
        {
            "model": "alibaba/wan-2-6-i2v",
            "prompt": "A cat looks up.",
            "negative_prompt": "blur",
            "image_url": "https://bucket.test/first_frame",
            "audio_url": "https://bucket.test/audio",
            "resolution": "1080p",
            "duration": 10,
            "shot_type": "single",
            "generate_audio": True,
            "seed": 7,
            "enhance_prompt": False,
        },
    ),
    (
        WAVESPEED,
        "first_frame",
        {"audio": True},
        {
            "image": "https://bucket.test/first_frame",
            "prompt": "A cat looks up.",
            "resolution": "720p",  # from here on as in the document's curl sample
            "duration": 5,
            "shot_type": "single",
            "enable_prompt_expansion": False,
            "enable_audio": True,
            "seed": -1,
        },
    ),
    (
        WAVESPEED,
        "first_frame audio",
        {
            "negative_prompt": "blur",
            "duration": 15,
            "resolution": "1080p",
            "shot_type": "multi",
            "prompt_extend": True,
            "seed": 2147483647,
        },
        {
            "image": "https://bucket.test/first_frame",
            "audio": "https://bucket.test/audio",
            "prompt": "A cat looks up.",
            "negative_prompt": "blur",
            "resolution": "1080p",
            "duration": 15,
            "shot_type": "multi",
            "enable_prompt_expansion": True,
            "enable_audio": True,
            "seed": 2147483647,
        },
    ),
]


@pytest.mark.parametrize(("model_id", "inputs", "settings", "expected"), BODIES)
def test_a_body_is_the_documented_one_word_for_word(
    model_id: str, inputs: str, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    body = body_of(model_id, order_of(model_id, inputs, **settings))
    assert body == expected
    assert _kinds(body) == _kinds(expected)  # True is no 1


def _kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kinds(item) for key, item in value.items()}
    return [_kinds(item) for item in value] if isinstance(value, list) else type(value)


def test_aimlapi_bodies_validate_against_the_schema_it_publishes() -> None:
    bodies = [
        body_of(AIMLAPI, order_of(AIMLAPI, inputs, **settings))
        for model_id, inputs, settings, _ in BODIES
        if model_id == AIMLAPI
    ]
    assert len(bodies) == 2
    for body in bodies:
        check_published_schema(body)


@pytest.mark.parametrize("model_id", ALL)
def test_nothing_cost_bearing_is_left_to_the_provider(model_id: str) -> None:
    assert arguments_of(model_id).keys() >= COST_BEARING[model_id]


@pytest.mark.parametrize("model_id", ALL)
def test_a_shot_that_sets_nothing_gets_five_silent_seconds_at_720p(model_id: str) -> None:
    order = order_of(model_id)
    assert (order.duration_s, order.resolution) == (5, "720p")
    assert order.has_audio is (None if model_id == SHORTAPI_27 else False)


def test_a_prompt_that_reads_like_a_slot_stays_a_prompt() -> None:
    assert arguments_of(WAVESPEED, prompt="first_frame")["prompt"] == "first_frame"


# --- options and ranges ---

DURATIONS = {
    SHORTAPI_26: {5, 10, 15},
    SHORTAPI_27: set(range(2, 16)),
    SHORTAPI_R2V: set(range(2, 11)),
    AIMLAPI: {5, 10, 15},
    WAVESPEED: set(range(2, 16)),
}


@pytest.mark.parametrize("model_id", ALL)
def test_exactly_the_documented_durations_are_taken(model_id: str) -> None:
    for duration in range(-1, 32):
        if duration in DURATIONS[model_id]:
            assert arguments_of(model_id, duration=duration)["duration"] == duration
            assert order_of(model_id, duration=duration).duration_s == duration
        else:
            (problem,) = problems_of(model_id, duration=duration)
            assert (problem.field, problem.value) == ("duration", str(duration))
            assert str(min(DURATIONS[model_id])) in problem.remedy
            assert str(max(DURATIONS[model_id])) in problem.remedy


PROMPT_LIMITS = {SHORTAPI_26: 1500, SHORTAPI_27: 5000, SHORTAPI_R2V: 1500, AIMLAPI: None, WAVESPEED: None}


@pytest.mark.parametrize("model_id", ALL)
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_texts_are_taken_up_to_the_documented_length(model_id: str, field: str) -> None:
    limit = PROMPT_LIMITS[model_id]
    if limit is None:
        assert arguments_of(model_id, **{field: "é" * 20_000})[field] == "é" * 20_000
        return
    if field == "negative_prompt":
        limit = 500
    assert arguments_of(model_id, **{field: "é" * limit})[field] == "é" * limit
    (problem,) = problems_of(model_id, **{field: "é" * (limit + 3)})
    assert problem.field == field
    assert str(limit) in problem.message
    assert "3" in problem.remedy


@pytest.mark.parametrize("model_id", ALL)
@pytest.mark.parametrize("prompt", [None, "", "  \n"])
def test_a_prompt_is_required_but_for_wan_2_7(model_id: str, prompt: str | None) -> None:
    if model_id == SHORTAPI_27:
        assert "prompt" not in arguments_of(model_id, prompt=prompt)
        return
    (problem,) = problems_of(model_id, prompt=prompt)
    assert problem.field == "prompt"
    assert "required" in problem.message


@pytest.mark.parametrize(
    ("seed", "taken"), [(-2, False), (-1, True), (0, True), (2147483647, True), (2147483648, False)]
)
def test_wavespeed_takes_the_documented_seeds(seed: int, taken: bool) -> None:
    if taken:
        assert arguments_of(WAVESPEED, seed=seed)["seed"] == seed
    else:
        (problem,) = problems_of(WAVESPEED, seed=seed)
        assert problem.field == "seed"
        assert "-1 to 2147483647" in problem.remedy


def test_aimlapi_sends_a_seed_only_where_one_is_given() -> None:
    assert "seed" not in arguments_of(AIMLAPI)
    assert arguments_of(AIMLAPI, seed=0)["seed"] == 0


# --- what a model does not have ---

LACKING = [
    (SHORTAPI_26, "seed", 7),
    (SHORTAPI_27, "seed", 7),
    (SHORTAPI_27, "audio", True),
    (SHORTAPI_27, "audio", False),
    (SHORTAPI_27, "shot_type", "multi"),
    (SHORTAPI_R2V, "seed", 7),
    (SHORTAPI_R2V, "prompt_extend", True),
]


@pytest.mark.parametrize(("model_id", "setting", "value"), LACKING)
def test_a_setting_the_model_lacks_is_refused_where_written_and_left_out_where_inherited(
    model_id: str, setting: str, value: Any
) -> None:
    (problem,) = problems_of(model_id, **{setting: value})
    assert problem.field == setting
    assert problem.value == str(value).lower()
    assert "resolution" in problem.remedy  # it lists what there is
    inherited = CommonSettings(prompt="A cat looks up.", **{setting: value})
    order = find_model(model_id).order(
        inherited, slots_of("videos" if "r2v" in model_id else "first_frame"), frozenset()
    )
    assert body_of(model_id, order) == body_of(model_id, order_of(model_id))


def test_the_catalog_knows_which_settings_each_model_has() -> None:
    every = set(CommonSettings.model_fields)
    lacking = {model_id: every - find_model(model_id).settings for model_id in ALL}
    assert lacking == {
        SHORTAPI_26: {"seed"},
        SHORTAPI_27: {"seed", "audio", "shot_type"},
        SHORTAPI_R2V: {"seed", "prompt_extend"},
        AIMLAPI: set(),
        WAVESPEED: set(),
    }


# --- inputs ---


def test_wan_2_7_takes_exactly_its_six_combinations() -> None:
    six = [
        {Role.FIRST_FRAME},
        {Role.FIRST_FRAME, Role.AUDIO},
        {Role.FIRST_FRAME, Role.LAST_FRAME},
        {Role.FIRST_FRAME, Role.LAST_FRAME, Role.AUDIO},
        {Role.CLIP},
        {Role.CLIP, Role.LAST_FRAME},
    ]
    roles = [Role.FIRST_FRAME, Role.LAST_FRAME, Role.AUDIO, Role.CLIP]
    every = chain.from_iterable(combinations(roles, count) for count in range(5))
    taken = []
    for chosen in map(set, every):
        try:
            order_of(SHORTAPI_27, " ".join(chosen))
            taken.append(chosen)
        except ProblemsError as error:
            (problem,) = error.problems
            assert problem.field == "inputs"
            assert "first_frame + last_frame + audio" in problem.remedy
    assert sorted(map(sorted, taken)) == sorted(map(sorted, six))


def test_r2v_takes_one_to_three_clips_up_to_five_images_and_five_together() -> None:
    for videos in range(6):
        for images in range(8):
            inputs = f"videos*{videos} images*{images}"
            if 1 <= videos <= 3 and images <= 5 and videos + images <= 5:
                arguments = arguments_of(SHORTAPI_R2V, inputs)
                assert len(arguments["video_urls"]) == videos
                assert len(arguments.get("image_urls", [])) == images
            else:
                assert {problem.field for problem in problems_of(SHORTAPI_R2V, inputs)} <= {"videos", "images"}


@pytest.mark.parametrize("model_id", [SHORTAPI_26, AIMLAPI, WAVESPEED])
def test_image_to_video_needs_its_image(model_id: str) -> None:
    (problem,) = problems_of(model_id, "")
    assert problem.field == "first_frame"
    assert "first_frame" in problem.remedy


@pytest.mark.parametrize("model_id", ALL)
def test_an_input_the_model_does_not_take_is_refused(model_id: str) -> None:
    for role in set(Role) - find_model(model_id).inputs.keys():
        problems = problems_of(model_id, f"{'videos' if model_id == SHORTAPI_R2V else 'first_frame'} {role}")
        (problem,) = (problem for problem in problems if problem.field == role)
        assert "takes no such input" in problem.message
        assert all(known in problem.remedy for known in find_model(model_id).inputs)


def test_two_files_in_one_place_are_refused() -> None:
    model = find_model(SHORTAPI_R2V)
    for slots in ([Slot(Role.VIDEOS), Slot(Role.VIDEOS)], [Slot(Role.VIDEOS, 1)]):
        with pytest.raises(ProblemsError, match="place"):
            model.order(CommonSettings(prompt="x"), slots, frozenset())
    with pytest.raises(ProblemsError, match="2 files"):
        find_model(WAVESPEED).order(CommonSettings(prompt="x"), [Slot(Role.FIRST_FRAME)] * 2, frozenset())


def test_every_mistake_is_told_in_one_go() -> None:
    problems = problems_of(SHORTAPI_26, "clip", prompt="x" * 1501, duration=7, seed=1)
    assert {problem.field for problem in problems} == {"clip", "first_frame", "prompt", "duration", "seed"}
    assert all(problem.message and problem.remedy for problem in problems)


# --- sound ---


@pytest.mark.parametrize("model_id", [SHORTAPI_26, AIMLAPI, WAVESPEED])
def test_a_sound_file_is_never_ordered_together_with_silence(model_id: str) -> None:
    (problem,) = problems_of(model_id, "first_frame audio", audio=False)
    assert (problem.field, problem.value) == ("audio", "false")
    assert order_of(model_id, "first_frame audio").has_audio is True
    assert order_of(model_id, "first_frame audio", audio=True).has_audio is True
    assert order_of(model_id, audio=True).has_audio is True


def test_sound_of_wan_2_7_is_expected_with_a_driving_audio_and_unknown_without() -> None:
    assert order_of(SHORTAPI_27, "first_frame audio").has_audio is True
    assert order_of(SHORTAPI_27, "first_frame last_frame").has_audio is None
    assert order_of(SHORTAPI_27, "clip").has_audio is None


# --- warnings ---


@pytest.mark.parametrize(("model_id", "expansion_default"), [(SHORTAPI_26, False), (AIMLAPI, True)])
def test_a_shot_type_without_effect_is_warned_of(model_id: str, expansion_default: bool) -> None:
    def warned(**settings: Any) -> bool:
        return any("shot_type" in warning for warning in order_of(model_id, **settings).warnings)

    assert warned(shot_type="multi", prompt_extend=False)
    assert not warned(shot_type="multi", prompt_extend=True)
    assert not warned(prompt_extend=False)
    assert warned(shot_type="multi") is not expansion_default


@pytest.mark.parametrize("model_id", [SHORTAPI_R2V, WAVESPEED])
def test_a_shot_type_that_always_works_is_not_warned_of(model_id: str) -> None:
    assert not any("shot_type" in warning for warning in order_of(model_id, shot_type="multi").warnings)


@pytest.mark.parametrize(
    ("prompt", "inputs", "missing"),
    [
        ("@Video1 and @Video2 dance together.", "videos*2", []),
        ("@Video1 and @Video2 dance together.", "videos", ["@Video2"]),
        ("@Video1 wears the hat of @Image1.", "videos", ["@Image1"]),
        ("@Video1 wears the hats of @Image1 and @Image3.", "videos images*2", ["@Image3"]),
        ("@Video0 dances, @Video0 sings", "videos", ["@Video0"]),
        ("@Video10", "videos", ["@Video10"]),
        ("mail me@videostore.com", "videos", []),
    ],
)
def test_a_reference_that_is_not_given_is_warned_of(prompt: str, inputs: str, missing: list[str]) -> None:
    order = order_of(SHORTAPI_R2V, inputs, prompt=prompt)
    said = [warning for warning in order.warnings if "refers to" in warning]
    assert [warning.split("refers to ")[1].split(",")[0] for warning in said] == missing


# --- limits on files ---


def test_the_documents_limits_on_files_are_stated_with_their_source() -> None:
    first_frame = find_model(SHORTAPI_27).inputs[Role.FIRST_FRAME]
    assert first_frame.limits.formats == {"jpeg", "png", "bmp", "webp"}
    assert (first_frame.limits.min_side_px, first_frame.limits.max_side_px, first_frame.limits.max_aspect) == (
        240,
        8000,
        8,
    )
    assert first_frame.limits.max_bytes == 20_000_000
    assert first_frame.limits.alpha_allowed is False
    assert find_model(SHORTAPI_27).inputs[Role.LAST_FRAME].limits == first_frame.limits
    audio = find_model(SHORTAPI_27).inputs[Role.AUDIO].limits
    assert (audio.formats, audio.min_duration_s, audio.max_duration_s) == ({"wav", "mp3"}, 2, 30)
    assert audio.max_bytes == 15_000_000
    clip = find_model(SHORTAPI_27).inputs[Role.CLIP].limits
    assert (clip.containers, clip.min_duration_s, clip.max_duration_s) == ({"mp4", "mov"}, 2, 10)
    assert (clip.min_side_px, clip.max_side_px, clip.max_aspect, clip.max_bytes) == (240, 4096, 8, 100_000_000)

    image = find_model(SHORTAPI_R2V).inputs[Role.IMAGES].limits
    assert (image.min_side_px, image.max_side_px, image.max_aspect, image.max_bytes) == (240, 5000, None, 10_000_000)
    assert image.alpha_allowed is False
    video = find_model(SHORTAPI_R2V).inputs[Role.VIDEOS].limits
    assert (video.containers, video.min_duration_s, video.max_duration_s) == ({"mp4", "mov"}, 1, 30)
    assert (video.min_side_px, video.max_side_px, video.max_bytes) == (None, None, 100_000_000)

    for model_id in (SHORTAPI_27, SHORTAPI_R2V):
        assert all(rule.source.startswith("ShortAPI wan-2.") for rule in find_model(model_id).inputs.values())


@pytest.mark.parametrize("model_id", [SHORTAPI_26, AIMLAPI, WAVESPEED])
def test_where_a_document_is_silent_the_house_guards_and_says_so(model_id: str) -> None:
    for rule in find_model(model_id).inputs.values():
        assert rule.source == "house"
        assert rule.limits.max_bytes
        assert rule.limits.formats
    assert find_model(model_id).inputs[Role.FIRST_FRAME].limits.alpha_allowed


def test_only_aimlapis_image_may_be_a_data_uri() -> None:
    taking = {
        (model_id, role)
        for model_id in ALL
        for role, rule in find_model(model_id).inputs.items()
        if rule.accepts_data_uri
    }
    assert taking == {(AIMLAPI, Role.FIRST_FRAME)}
    assert {model_id for model_id in ALL if find_model(model_id).accepts_data_uri} == {AIMLAPI}
