"""Names in the bucket: a shot's key and the rule it must keep, and the paths that a yaml gives for its inputs.

What belongs here: pure functions over keys and paths. What does not: whether anything stands under them.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass

INBOX = "inbox/"
IMAGE_ENDINGS = frozenset({"png", "jpg", "jpeg", "bmp", "webp"})
# Images that no model's document takes. They are shown as shots with that reason: somebody waits for their videos.
OTHER_IMAGE_ENDINGS = frozenset({"gif", "tif", "tiff", "heic", "heif", "avif", "jfif", "svg"})
MAX_KEY_CHARS = 200
_MAX_PART_BYTES = 255  # what a folder's file system takes
_SHOWN_CHARS = 180

# Separators and quotes, controls, line and paragraph ends, and halves of characters (a file's name that is not UTF-8).
_UNSAFE = re.compile("[,'\"\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PRODUCT = re.compile(r"take-[0-9]+\.(mp4|webp|json)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def key_fault(key: str) -> str | None:
    """Why this cannot be the key of a shot; None where it can.

    A key is a partition key of Dagster, whose UI separates keys by commas and writes ranges as `a...b`, and the name of
    a folder below `videos/`.
    """
    if not key:
        return "the name is empty"
    if len(key) > MAX_KEY_CHARS:
        return f"the name is longer than {MAX_KEY_CHARS} characters"
    if bad := _UNSAFE.search(key):
        return f"the name holds {_named(bad[0])}"
    if "..." in key:
        return 'the name holds "..."'
    for part in key.split("/"):
        if not part:
            return "the name has an empty part between slashes"
        if part.startswith("."):
            return "a part of the name begins with a dot"
        if _PRODUCT.fullmatch(part):
            return f"a part of the name is {part}, which is what finished videos are called"
        if len(part.encode()) > _MAX_PART_BYTES:
            return f"a part of the name is longer than {_MAX_PART_BYTES} bytes"
    return None


def encoded_key(key: str) -> str:
    """A key that keeps the rule, under which a shot whose own key does not can be shown. Different for different keys."""
    if key_fault(key) is None:
        return key
    wholly = len(key) > MAX_KEY_CHARS or any(len(_bytes(part)) > _MAX_PART_BYTES for part in key.split("/"))
    parts: list[str] = []
    for part in key.split("/"):
        escaped = (_percent(char) if _is_escaped(char, wholly) else char for char in part)
        made = "".join(escaped)
        made = made.replace("...", "%2E%2E%2E")
        if made.startswith(".") or _PRODUCT.fullmatch(made):
            made = _percent(made[0]) + made[1:]
        parts.append(made or "%")
    made = "/".join(parts)
    if len(made) > MAX_KEY_CHARS:
        made = distinct_key(re.sub(r"%[0-9A-F]?$", "", made[:_SHOWN_CHARS]), key)
    return made


def distinct_key(shown: str, key: str) -> str:
    """`shown`, told apart from an equal one by a mark that is computed from `key`."""
    return f"{shown}~{hashlib.sha256(_bytes(key)).hexdigest()[:12]}"


def is_image(key: str) -> bool:
    """Whether its ending is that of an image, taken by any model or not."""
    ending = key.rpartition(".")[2].lower()
    return ending in IMAGE_ENDINGS or ending in OTHER_IMAGE_ENDINGS


def is_taken_image(key: str) -> bool:
    """Whether its ending is one of those that models take."""
    return key.rpartition(".")[2].lower() in IMAGE_ENDINGS


@dataclass(frozen=True, slots=True)
class PathFault:
    """Why a path cannot name an input."""

    message: str
    remedy: str


def input_key(file: str, path: str) -> str | PathFault:
    """The bucket key that `path` names in the yaml `file`: relative to it, and below `inbox/`."""
    if not path.strip():
        return PathFault("the path is empty", "Name a file, relative to this yaml, or write null")
    if _URL.match(path):
        return PathFault(
            "this is a URL or a drive, not a path", f"Put the file below {INBOX} and name it from this yaml"
        )
    if "\\" in path:
        return PathFault("the path holds a backslash", f"Write {path.replace(chr(92), '/')}")
    if path.startswith("/"):
        return PathFault("the path is absolute", "Write it relative to this yaml")
    key = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
    if not key.startswith(INBOX):
        return PathFault(f"the path leads out of {INBOX}", f"Inputs stay below {INBOX}: put the file there")
    return key


def _is_escaped(char: str, wholly: bool) -> bool:
    return char == "%" or (wholly and not char.isascii()) or _UNSAFE.match(char) is not None


def _named(char: str) -> str:
    known = {
        ",": "a comma",
        "'": "a quote (')",
        '"': 'a quote (")',
        "\\": "a backslash",
        "\n": "a newline",
        "\t": "a tab",
    }
    return known.get(char) or f"the character U+{ord(char):04X}"


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _bytes(char))


def _bytes(text: str) -> bytes:
    """UTF-8, also of the lone surrogates that stand for the undecodable bytes of a file's name."""
    return text.encode("utf-8", "surrogatepass")
