"""Checks and warnings that more than one document calls for, each a small function over what a shot wants.

What belongs here: rules between settings and inputs. What does not: limits of one field (the document's pydantic model
has those) and of one file's contents (the input rules have those).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import Role
from wan_pipeline.providers.document import Check, Wanted

_REFERENCE = re.compile(r"@(video|image)[ _]?(\d+)", re.IGNORECASE)


def sound_file_is_not_silenced(wanted: Wanted) -> Iterable[Problem]:
    """A sound file together with `audio: false` contradicts itself.

    Upstream lets `false` win, drops the file and bills a silent video; WaveSpeed's document leaves the price of the
    combination open; AI/ML API's says the switch has no effect beside a file. What would be made and billed is
    therefore unsure, and it is refused (README of the provider documents, trap 12).
    """
    if Role.AUDIO in wanted.roles and wanted.given.audio is False:
        yield Problem(
            "",
            "audio",
            "false",
            f"{wanted.model_id}: a silent video is asked for, and a sound file is given in inputs",
            "Write audio: true (or leave it out) to use the file, or remove audio from inputs for a silent video",
        )


def shot_type_needs_prompt_extend(wanted: Wanted) -> Iterable[str]:
    """ShortAPI wan-2.6 image-to-video and AI/ML API: shot_type "only takes effect when prompt_extend is true"."""
    if wanted.given.shot_type is not None and not wanted.chosen["prompt_extend"]:
        yield (
            f"shot_type: {wanted.given.shot_type} has no effect while prompt_extend is off: "
            "set prompt_extend: true to have it obeyed"
        )


def only_combinations(allowed: Sequence[frozenset[Role]]) -> Check:
    """A check that refuses every set of input roles but these."""

    def check(wanted: Wanted) -> Iterable[Problem]:
        if wanted.roles in allowed:
            return
        found = _joined(wanted.roles) or "none"
        choices = "; ".join(_joined(combination) for combination in allowed)
        yield Problem(
            "",
            "inputs",
            found,
            f"{wanted.model_id} does not take this combination of inputs",
            f"Give one of: {choices}",
        )

    return check


def at_most_together(roles: Sequence[Role], maximum: int) -> Check:
    """A check of the number of files in several roles taken together."""

    def check(wanted: Wanted) -> Iterable[Problem]:
        total = sum(wanted.counts.get(role, 0) for role in roles)
        if total > maximum:
            together = " and ".join(roles)
            yield Problem(
                "",
                roles[0],
                f"{total} files",
                f"{wanted.model_id} takes at most {maximum} {together} together",
                f"Remove {total - maximum} or more",
            )

    return check


def references_exist(wanted: Wanted) -> Iterable[str]:
    """The prompt speaks of its references as `@Video1`, `@Image1`: one that is not given cannot be meant."""
    counts = {"video": wanted.counts.get(Role.VIDEOS, 0), "image": wanted.counts.get(Role.IMAGES, 0)}
    seen: set[str] = set()
    for match in _REFERENCE.finditer(wanted.chosen.get("prompt", "")):
        kind, number = match[1].lower(), int(match[2])
        if not 1 <= number <= counts[kind] and match[0] not in seen:
            seen.add(match[0])
            yield f"the prompt refers to {match[0]}, but the shot gives {counts[kind]} {kind}{'s' * (counts[kind] != 1)}"


def _joined(roles: Iterable[Role]) -> str:
    wanted = set(roles)
    return " + ".join(role for role in Role if role in wanted)
