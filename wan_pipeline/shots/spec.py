"""The sidecar file: its schema, and from a file's bytes to what it sets, each mistake told with file, line and remedy.

What belongs here: the fields of a sidecar file (docs/operating.md, "A shot's file") and their types. What does not: which
of them a model takes (its document's business), and how levels inherit from each other (inheritance.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import CommonSettings, Role
from wan_pipeline.shots.keys import PathFault, input_key, is_image
from wan_pipeline.shots.wording import NO_ENTRY, explained, unknown_setting
from wan_pipeline.shots.yaml_reading import Document, Flaw, Path, UnreadableYamlError, read_yaml

_TIME_AS_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?( ?([Zz]|[-+]\d\d(:?\d\d)?))?")
_BETWEEN_PATHS = re.compile(r"""[,:#\[\]{}"'\n\r]""")


def _time(value: object) -> object:
    """An aware time in UTC, from its text; YAML's plain and quoted times are the same here."""
    if value is None:
        return None
    if not isinstance(value, str) or not _TIME_AS_WRITTEN.fullmatch(value.strip()):
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip()):
            raise PydanticCustomError("date_only", "a day without a time")
        raise PydanticCustomError("no_time", "not a time")
    text = value.strip()
    if text[-1] not in "Zz" and not re.search(r"[-+]\d\d(:?\d\d)?$", text[11:]):
        raise PydanticCustomError("naive_time", "a time without its zone")
    try:
        return datetime.fromisoformat(text.upper().replace(" ", "T", 1).replace(" ", "")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("no_time", "not a time: {reason}", {"reason": str(error)}) from None


def _label(value: str | None) -> str | None:
    if value is not None and not value.isprintable():
        raise PydanticCustomError("unprintable", "holds a line break or a control character")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "empty")
    return value


_Path = Annotated[str, AfterValidator(_not_blank)]


class InputPaths(BaseModel):
    """`inputs`: paths relative to the yaml, by role."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    first_frame: _Path | None = None
    last_frame: _Path | None = None
    audio: _Path | None = None
    clip: _Path | None = None
    images: list[_Path] | None = None
    videos: list[_Path] | None = None


class SidecarSettings(CommonSettings):
    """What a sidecar file may set, at its top and in each entry of `shots:`. A field given as null un-sets."""

    model: Annotated[str, AfterValidator(_not_blank)] | None = None
    inputs: InputPaths | None = None
    not_before: Annotated[datetime | None, BeforeValidator(_time)] = None
    campaign: Annotated[str | None, Field(min_length=1, max_length=100), AfterValidator(_label)] = None


ALL_SETTINGS = (*SidecarSettings.model_fields, "shots")


@dataclass(frozen=True, slots=True)
class Level:
    """What one level of one file sets. `given` and `roles` hold None for what it un-sets; `unset_inputs`: `inputs: null`.

    `roles` are bucket keys, in order. `lines` are by the house's name: `seed`, `inputs.first_frame`.
    """

    file: str
    prefix: str  # "" or `shots.hero.`: where the level stands in the file
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    roles: Mapping[Role, tuple[str, ...] | None] = field(default_factory=dict[Role, "tuple[str, ...] | None"])
    unset_inputs: bool = False
    lines: Mapping[str, int] = field(default_factory=dict[str, int])
    problems: tuple[Problem, ...] = ()

    def named(self) -> Iterator[str]:
        """Every key that its inputs name."""
        for keys in self.roles.values():
            yield from keys or ()


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A yaml as read. `entries` is None where it has no `shots:`. `broken`: nothing could be read, for these reasons;
    `mentions` are then the keys of images that its text seems to name."""

    file: str
    top: Level
    entries: Mapping[str, Level] | None = None
    broken: tuple[Problem, ...] = ()
    mentions: frozenset[str] = frozenset()

    def all_named(self) -> Iterator[str]:
        """Every key that its inputs name, or, where it cannot be read, seem to name.

        The latter because an image named by a yaml that is broken for the moment must not be bought as a shot of its own.
        """
        yield from self.mentions
        yield from self.top.named()
        for level in (self.entries or {}).values():
            yield from level.named()


def parse_sidecar(file: str, data: bytes) -> Sidecar:
    """What the yaml at the bucket key `file` says. Mistakes are in the result, never raised."""
    try:
        document = read_yaml(data)
    except UnreadableYamlError as error:
        return broken_sidecar(file, error.flaw, data)
    if document.value is None:
        return Sidecar(file, Level(file, ""))
    if not isinstance(document.value, dict):
        kind = "a list" if isinstance(document.value, list) else "a single text"
        shown = document.texts.get((), document.texts.get((0,), ""))
        flaw = Flaw((), document.lines[()], shown, f"{kind} stands at the top of the file", "Write `name: value` lines")
        return broken_sidecar(file, flaw, data)
    content = dict(cast(dict[str, Any], document.value))
    if "shots" not in content:
        return Sidecar(file, _level(file, content, (), document))
    entries = content.pop("shots")
    top = _level(file, content, (), document)
    if not isinstance(entries, dict) or not entries:
        message, remedy = NO_ENTRY
        value = document.texts.get(("shots",), "")
        flaw = Flaw(("shots",), document.lines["shots",], value, message, remedy)
        return broken_sidecar(file, flaw, data)
    return Sidecar(
        file,
        top,
        {name: _level(file, entry, ("shots", name), document) for name, entry in cast(dict[str, Any], entries).items()},
    )


def broken_sidecar(file: str, flaw: Flaw, data: bytes = b"") -> Sidecar:
    """A file of which nothing is known but that flaw, and the images that it seems to name."""
    pieces = (piece.strip().removeprefix("- ") for piece in _BETWEEN_PATHS.split(data.decode("utf-8", "replace")))
    found = (input_key(file, piece) for piece in pieces if is_image(piece))
    mentions = frozenset(key for key in found if isinstance(key, str))
    return Sidecar(file, Level(file, ""), None, (_as_problem(file, flaw),), mentions)


def _level(file: str, raw: Any, at: Path, document: Document) -> Level:
    problems = [_as_problem(file, flaw) for flaw in document.flaws if _belongs(flaw.path, at)]
    prefix = "".join(f"{part}." for part in at)
    line = document.lines.get(at, 1)
    if raw is None:
        return Level(file, prefix, problems=tuple(problems))
    if not isinstance(raw, dict):
        flaw = Flaw(
            at, line, document.texts.get(at, ""), "settings are expected here", "Write {} or `name: value` lines"
        )
        return Level(file, prefix, problems=(*problems, _as_problem(file, flaw)))
    content = dict(cast(dict[str, Any], raw))
    settings, flaws = _validated(content, at, document)
    problems += [_as_problem(file, flaw) for flaw in flaws]
    given = {name: getattr(settings, name) for name in settings.model_fields_set if name != "inputs"}
    for name in ("prompt", "negative_prompt"):  # an empty text is none
        if isinstance(text := given.get(name), str):
            given[name] = text.strip() or None
    roles: dict[Role, tuple[str, ...] | None] = {}
    if settings.inputs is not None:
        for name in settings.inputs.model_fields_set:
            written = getattr(settings.inputs, name)
            paths: list[str] | None = [written] if isinstance(written, str) else written
            if paths is None:
                roles[Role(name)] = None
                continue
            keys: list[str] = []
            for number, path in enumerate(paths):
                where = (*at, "inputs", name, number) if isinstance(written, list) else (*at, "inputs", name)
                key = input_key(file, path)
                if isinstance(key, PathFault):
                    flaw = Flaw(where, document.lines.get(where, line), path, key.message, key.remedy)
                    problems.append(_as_problem(file, flaw))
                else:
                    keys.append(key)
            roles[Role(name)] = tuple(keys)
    lines = {
        ".".join(map(str, path[len(at) :])): number
        for path, number in document.lines.items()
        if path[: len(at)] == at and len(path) > len(at)
    }
    nothing = "inputs" in settings.model_fields_set and settings.inputs is None
    return Level(file, prefix, given, roles, nothing, lines, tuple(problems))


def _validated(content: dict[str, Any], at: Path, document: Document) -> tuple[SidecarSettings, list[Flaw]]:
    """The settings that are right, and a flaw for each that is not. What is wrong is taken out until the rest is right."""
    flaws: list[Flaw] = []
    while True:
        try:
            return SidecarSettings.model_validate(content), flaws
        except ValidationError as error:
            for item in error.errors():
                where = tuple(item["loc"])
                path: Path = (*at, *where)
                name = str(where[0])
                line = next(
                    (document.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in document.lines), 1
                )
                text = document.texts.get(path, "")
                if item["type"] == "extra_forbidden":
                    choices = ALL_SETTINGS if len(where) == 1 else tuple(InputPaths.model_fields)
                    message, remedy = unknown_setting(
                        str(where[-1]), choices, in_inputs=len(where) > 1, in_entry=bool(at)
                    )
                else:
                    message, remedy = explained(
                        item, ".".join(str(part) for part in where if isinstance(part, str)), text
                    )
                flaws.append(Flaw(path, line, text, message, remedy))
                inputs = content.get("inputs")
                if name == "inputs" and len(where) > 1 and isinstance(inputs, dict):
                    rest = {key: value for key, value in cast(dict[str, Any], inputs).items() if key != where[1]}
                    content = {**content, "inputs": rest}
                else:
                    content = {key: value for key, value in content.items() if key != name}


def _belongs(path: Path, level: Path) -> bool:
    """Whether a flaw at `path` is that level's: an entry's own, or the file's where it is in no entry."""
    in_entry = path[:1] == ("shots",) and len(path) > 1
    return path[:2] == level if in_entry else not level


def _as_problem(file: str, flaw: Flaw) -> Problem:
    where = ""
    for part in flaw.path:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else part
    message = f"line {flaw.line}: {flaw.message}" if flaw.line else flaw.message
    return Problem(file, where, flaw.value, message, flaw.remedy)
