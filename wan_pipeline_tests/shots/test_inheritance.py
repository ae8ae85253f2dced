"""The nearer level wins, name by name and role by role, and a null un-sets: for any tree of settings."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline_tests.shots.inboxes import WAN27, shots_of

# what a level may set here: values that wan-2.7 takes, or null, or nothing
VALUES: dict[str, st.SearchStrategy[object]] = {
    "prompt": st.sampled_from(["It moves.", "It rests."]),
    "duration": st.integers(2, 15),
    "resolution": st.sampled_from(["720p", "1080p"]),
    "prompt_extend": st.booleans(),
    "campaign": st.sampled_from(["spring", "autumn"]),
}
LEVEL = st.fixed_dictionaries({}, optional={name: st.none() | value for name, value in VALUES.items()})
ROLES = st.none() | st.fixed_dictionaries(
    {},
    optional={role: st.none() | st.sampled_from(["x.bin", "y.bin"]) for role in ("first_frame", "last_frame", "audio")},
)
UNSAID = object()
LEVELS = ("", "a/", "a/b/", "file", "entry")


def _yaml(level: dict[str, object], roles: object) -> str:
    # JSON is YAML
    return json.dumps(level if roles is UNSAID else level | {"inputs": roles})


@given(
    st.tuples(*[LEVEL] * len(LEVELS)),
    st.tuples(*[st.just(UNSAID) | ROLES] * len(LEVELS)),
)
@settings(max_examples=150, deadline=None)
def test_the_nearest_level_that_says_something_about_a_name_decides(
    levels: tuple[dict[str, object], ...], roles: tuple[object, ...]
) -> None:
    written = dict(zip(LEVELS, zip(levels, roles, strict=True), strict=True))
    files = {f"{folder}_defaults.yaml": _yaml(*written[folder]) for folder in LEVELS[:3]}
    files |= {f"{folder}{name}": "" for folder in LEVELS[:3] for name in ("x.bin", "y.bin")}
    top, entry = (json.loads(_yaml(*written[name])) for name in LEVELS[3:])
    files["a/b/cat.yaml"] = json.dumps(top | {"shots": {"hero": entry}})
    (shot,) = shots_of(files, WAN27).values()

    expected: dict[str, object] = {}
    files_by_role: dict[str, str] = {}
    for name, level, given_roles in zip(LEVELS, levels, roles, strict=True):
        expected |= level
        folder = name if name in LEVELS[:3] else "a/b/"
        if given_roles is None:
            files_by_role = {}
        elif isinstance(given_roles, dict):
            for role, path in given_roles.items():
                files_by_role.pop(role, None)
                if path is not None:
                    files_by_role[role] = f"inbox/{folder}{path}"
    assert shot.settings.model_dump(exclude_none=True) | ({"campaign": shot.campaign} if shot.campaign else {}) == {
        name: value for name, value in expected.items() if value is not None
    }
    assert {str(slot): key for slot, key in shot.inputs.items()} == files_by_role
