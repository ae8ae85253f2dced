"""Whatever a shot asks for: either its mistakes are told, or the request is documented, complete and priced."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wan_pipeline.media.info import ImageInfo, VideoInfo
from wan_pipeline.money import ZERO
from wan_pipeline.problems import ProblemsError
from wan_pipeline.providers.base import CommonSettings, MediaInput, Role, Slot, request_hash
from wan_pipeline.providers.catalog import find_model
from wan_pipeline_tests.providers.ordering import (
    AIMLAPI,
    ALL,
    COST_BEARING,
    DOCUMENTED,
    SHORTAPI_R2V,
    check_published_schema,
    shared,
)

TEXTS = st.none() | st.text(max_size=40) | st.sampled_from(["x" * 500, "x" * 501, "@Video1 and @Image9", "videos[0]"])
SETTINGS = st.builds(
    CommonSettings,
    prompt=st.text(min_size=1, max_size=40) | TEXTS,
    negative_prompt=TEXTS,
    duration=st.none() | st.sampled_from([5, 10, 15]) | st.integers(-3, 40),
    resolution=st.sampled_from([None, "720p", "1080p"]),
    audio=st.sampled_from([None, True, False]),
    seed=st.none() | st.integers() | st.integers(-1, 100),
    shot_type=st.sampled_from([None, "single", "multi"]),
    prompt_extend=st.sampled_from([None, True, False]),
)
LIKELY = {model: [Slot(Role.VIDEOS if model == SHORTAPI_R2V else Role.FIRST_FRAME)] for model in ALL}
SLOTS = st.lists(st.builds(Slot, st.sampled_from(Role), st.integers(0, 3)), max_size=6)
EXPLICIT = st.frozensets(st.sampled_from(sorted(CommonSettings.model_fields)), max_size=3)


@settings(max_examples=600, deadline=None)
@given(
    model_id=st.sampled_from(ALL),
    wanted=SETTINGS,
    more=st.just([]) | SLOTS,
    usual=st.booleans(),
    explicit=EXPLICIT,
    seconds=st.floats(0.1, 40),
)
@example(AIMLAPI, CommonSettings(prompt="\ud800"), [], True, frozenset(), 1.0)
def test_any_shot_is_either_told_its_mistakes_or_fully_ordered(
    model_id: str, wanted: CommonSettings, more: list[Slot], usual: bool, explicit: frozenset[str], seconds: float
) -> None:
    model = find_model(model_id)
    slots = [*(LIKELY[model_id] if usual else []), *more]
    try:
        order = model.order(wanted, slots, explicit)
    except ProblemsError as error:
        assert error.problems
        assert str(error).encode()
        for problem in error.problems:
            assert problem.field in {*CommonSettings.model_fields, *Role, "inputs"}
            assert problem.message
            assert problem.remedy
        return

    references = {slot: f"https://bucket.test/{slot}" for slot in order.slots}
    body: dict[str, Any] = model.body(order, references)
    arguments = body["args"] if model.provider == "shortapi" else body
    assert arguments.keys() <= DOCUMENTED[model_id]
    assert arguments.keys() >= COST_BEARING[model_id]
    assert None not in arguments.values()
    if model.provider == "shortapi":
        assert body == {"model": model.upstream_id, "args": arguments}
    sent = [item for value in arguments.values() for item in (value if isinstance(value, list) else [value])]
    assert {value for value in sent if str(value).startswith("https://bucket.test/")} == set(references.values())
    assert arguments["duration"] == order.duration_s
    assert arguments["resolution"].lower() == order.resolution
    for name in explicit & {"duration", "resolution"}:
        assert getattr(order, "duration_s" if name == "duration" else name) == (
            getattr(wanted, name) or {"duration": 5, "resolution": "720p"}[name]
        )

    image, clip = ImageInfo("png", 640, 480, False, 9), VideoInfo("mp4", "h264", 640, 480, seconds, 30.0, False, 9)
    inputs = [
        MediaInput(slot, str(slot), "0" * 64, clip if slot.role in (Role.VIDEOS, Role.CLIP) else image)
        for slot in order.slots
    ]
    quote = model.quote(order, inputs)
    assert ZERO < quote.low <= quote.high
    assert quote == model.quote(order, inputs)
    assert quote.high <= model.quote(order, []).high  # what is not known counts with its worst case
    again = model.order(wanted, list(reversed(slots)), explicit)
    assert again == order
    assert model.body(again, references) == body
    assert request_hash(model, order, inputs) == request_hash(model, again, inputs)


@settings(max_examples=300, deadline=None)
@given(wanted=SETTINGS, with_audio=st.booleans())
def test_every_aimlapi_body_validates_against_the_published_schema(wanted: CommonSettings, with_audio: bool) -> None:
    shared("providers", "aimlapi", "wan2.6-i2v.json")
    slots = [Slot(Role.FIRST_FRAME), *([Slot(Role.AUDIO)] if with_audio else [])]
    try:
        order = find_model(AIMLAPI).order(wanted, slots, frozenset())
    except ProblemsError:
        return
    check_published_schema(find_model(AIMLAPI).body(order, dict.fromkeys(slots, "https://bucket.test/a")))
