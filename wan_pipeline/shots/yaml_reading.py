"""Reads a small YAML file from bytes nobody vouches for, remembering on which line each value stands.

What belongs here: YAML itself: bytes to text, text to plain values, and the mistakes a person makes in its syntax. What
does not: which settings there are (spec.py knows).

Only what the safe loader would build is built, from PyYAML's event stream: its own composer recurses in C without a
limit, and a document of brackets would bring the process down. Stricter than YAML in four ways, each against a mistake
that would be bought: a key written twice, an alias, a tag, and a `#` that cuts the end off a text are all refused.
Numbers are numbers as a person reads them: `010` (octal for YAML) and `1:30` (ninety) stay text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 64 * 1024
_MAX_DEPTH = 8

Path = tuple[str | int, ...]

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_REAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # YAML's, which are not Python's
_CUT_OFF = re.compile(r"\s+#\S")  # "item #1"; a comment with a space after its # is meant as one

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A mistake in the file. `line` 0: it has none (the bytes as a whole)."""

    path: Path
    line: int
    value: str
    message: str
    remedy: str


class UnreadableYamlError(ValueError):
    """Nothing can be made of the file."""

    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw
        super().__init__(flaw.message)


@dataclass(slots=True)
class Document:
    """What a file says. `value` is None for an empty one; `lines` and `texts` give for each path where and how it is
    written; `flaws` are mistakes beside which the rest can still be read."""

    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict[Path, int])
    texts: dict[Path, str] = field(default_factory=dict[Path, str])
    flaws: list[Flaw] = field(default_factory=list[Flaw])


def read_yaml(data: bytes) -> Document:
    """The document in these bytes. Raises UnreadableYamlError."""
    if len(data) > MAX_BYTES:
        raise too_large(len(data))
    text = _decoded(data)
    try:
        return _Builder(text).document()
    except yaml.YAMLError as error:
        raise UnreadableYamlError(_syntax_flaw(text, error)) from None


def too_large(size_bytes: int) -> UnreadableYamlError:
    """The refusal of a file of that size, which need not even be read."""
    return UnreadableYamlError(
        Flaw(
            (),
            0,
            f"{size_bytes} bytes",
            f"the file is larger than the {MAX_BYTES // 1024} KiB a settings file may have",
            "Is it another kind of file? Rename it; otherwise divide it into several",
        )
    )


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = data[error.start : error.start + 4].hex(" ")
        flaw = Flaw((), line, f"bytes {found}", "the file is not UTF-8 text", "Save it as UTF-8 in your editor")
        raise UnreadableYamlError(flaw) from None


class _Builder:
    def __init__(self, text: str) -> None:
        self._lines = _LINE_BREAK.split(text)
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._made = Document()

    def document(self) -> Document:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    mark: Any = event.start_mark
                    raise _unreadable(
                        (), mark.line + 1, "---", "a second document begins here", "Keep one document in a file"
                    )
                self._made.value = self._value(next(self._events), ())
        return self._made

    def _value(self, event: Any, path: Path) -> Any:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _unreadable(
                path,
                line,
                f"*{event.anchor}",
                "an alias stands here, and aliases are not taken",
                "Write the value out; what several shots share goes to a _defaults.yaml or above `shots:`",
            )
        if event.tag is not None:
            raise _unreadable(
                path, line, event.tag, "a tag stands here, and tags are not taken", "Write the bare value"
            )
        if len(path) > _MAX_DEPTH:
            top = path[:1] if isinstance(path[0], str) else ()
            raise _unreadable(top, line, "", "the values are nested too deeply", "No setting is nested that deeply")
        self._made.lines.setdefault(path, line)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _scalar(self, event: Any, path: Path) -> Any:
        text: str = event.value
        self._made.texts.setdefault(path, text)
        if not event.implicit[0]:
            return text
        value = _resolved(text)
        if isinstance(value, str):
            end: Any = event.end_mark
            rest = self._lines[end.line][end.column :] if end.line < len(self._lines) else ""
            if _CUT_OFF.match(rest):
                line, remedy = event.start_mark.line + 1, f'Put the text in quotes: "{text}{rest.rstrip()}"'
                flaw = Flaw(path, line, text, "what follows the # would be lost: it begins a comment", remedy)
                self._made.flaws.append(flaw)
        return value

    def _list(self, path: Path) -> list[Any]:
        made: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            made.append(self._value(event, (*path, len(made))))
        return made

    def _mapping(self, path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise _unreadable(
                    path, line, "", "a name is expected here", "Write `name: value`, the name a plain word"
                )
            name: str = event.value
            inside = (*path, name)
            if name in made:
                first = self._made.lines[inside]
                self._made.flaws.append(
                    Flaw(inside, line, name, f"this stands on line {first} already", "Keep one of the two")
                )
            value = self._value(next(self._events), inside)
            made.setdefault(name, value)
        return made


def _resolved(text: str) -> Any:
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _unreadable(path: Path, line: int, value: str, message: str, remedy: str) -> UnreadableYamlError:
    return UnreadableYamlError(Flaw(path, line, value, message, remedy))


def _syntax_flaw(text: str, error: yaml.YAMLError) -> Flaw:
    """PyYAML's complaint in words that say what to do about it."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.encode().count(b"\n", 0, error.position) + 1
        return Flaw((), line, "", "a control character stands here", "Remove it: it may have come in by copying")
    mark: Any = getattr(error, "problem_mark", None)
    said = str(getattr(error, "problem", None) or error)
    lines = _LINE_BREAK.split(text)
    number: int = min(mark.line, len(lines) - 1) if mark is not None else 0
    shown = lines[number]
    at = shown[mark.column :] if mark is not None and mark.line == number else ""
    return Flaw((), number + 1, shown.strip(), f"this is not YAML: {said}", _syntax_remedy(shown, at, said))


def _syntax_remedy(line: str, at: str, said: str) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())] or at.startswith("\t"):
        return "A tab stands there: indent with spaces"
    if "mapping values are not allowed" in said:
        return "Put a text that holds a colon in quotes, or check the indentation"
    if at[:1] in ("@", "`", "%"):
        return f"Put a text that begins with {at[0]} in quotes"
    if "quoted scalar" in said or "end of stream" in said:
        return "Close the quotes"
    return "Check quotes, brackets and indentation"
