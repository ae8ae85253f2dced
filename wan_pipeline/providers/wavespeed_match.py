"""Is this listed prediction the lost one? Its inputs against the request that was sent.

Three answers. MATCH: every setting is equal and every URL ends in the key of the input that was sent. OTHER: something
that a provider has no reason to rewrite is different. UNCLEAR: all between, for instance a URL that is not ours (it may
keep copies of inputs) or a row that lacks a setting. Both MATCH and OTHER lead to money being spent or not, so both have
to be sure. What does not belong here: ids, times, and who else claims the prediction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from urllib.parse import unquote, urlsplit

from wan_pipeline.providers.base import JsonObject

_INPUT = re.compile(r"sha256:[0-9a-f]{64}")
_EXPANSION = "enable_prompt_expansion"
_RANDOM_SEED = -1
_LEAST_BEGINNING = 20  # a listed text that is so long and begins ours may be ours, cut short for the list


class Likeness(Enum):
    MATCH = auto()
    UNCLEAR = auto()
    OTHER = auto()


def compare(sent: JsonObject, input_keys: Mapping[str, str], listed: JsonObject) -> Likeness:
    """`sent` is the frozen body (inputs as `sha256:…`), `input_keys` the bucket keys of those inputs by slot."""
    verdicts = [_setting(name, value, listed, sent) for name, value in sent.items() if not _is_input(value)]
    verdicts.append(_inputs([name for name, value in sent.items() if _is_input(value)], input_keys, listed))
    # What was not sent must not be there either; `false`, as for a mode that is off, says no more than nothing.
    verdicts += [Likeness.UNCLEAR for name, value in listed.items() if name not in sent and value]
    return max(verdicts, key=lambda verdict: verdict.value)


def _is_input(value: object) -> bool:
    return isinstance(value, str) and _INPUT.fullmatch(value) is not None


def _setting(name: str, ours: object, listed: JsonObject, sent: JsonObject) -> Likeness:
    if name not in listed:
        return Likeness.UNCLEAR
    theirs = listed[name]
    if type(ours) is type(theirs) and ours == theirs:
        return Likeness.MATCH
    may_be_rewritten = (name == "prompt" and bool(sent.get(_EXPANSION))) or (name == "seed" and ours == _RANDOM_SEED)
    if may_be_rewritten or type(ours) is not type(theirs):
        return Likeness.UNCLEAR
    if isinstance(ours, str) and isinstance(theirs, str) and _may_be_same_text(ours, theirs):
        return Likeness.UNCLEAR
    return Likeness.OTHER


def _may_be_same_text(ours: str, theirs: str) -> bool:
    here, there = _plain(ours), _plain(theirs)
    beginning = there.rstrip(".…")
    return here == there or (len(beginning) >= _LEAST_BEGINNING and here.startswith(beginning))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _inputs(names: Iterable[str], input_keys: Mapping[str, str], listed: JsonObject) -> Likeness:
    """Each field that took an input must hold a URL of one of the keys, and each key must be in one of them."""
    keys = set(input_keys.values())
    seen: set[str] = set()
    for name in names:
        key = _key_in(listed.get(name), keys)
        if key is None:
            return Likeness.UNCLEAR
        seen.add(key)
    return Likeness.MATCH if seen == keys else Likeness.UNCLEAR


def _key_in(url: object, keys: Iterable[str]) -> str | None:
    """The key that this URL ends in, below no folder of the same name: `inbox/a/inbox/b.png` is no `inbox/b.png`."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    path = unquote(parts.path)
    if parts.scheme not in ("http", "https"):
        return None
    for key in keys:
        folder = key.partition("/")[0]
        if path.endswith(f"/{key}") and folder not in path.removesuffix(f"/{key}").split("/"):
            return key
    return None
