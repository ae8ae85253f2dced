"""What is wrong with a setting, and what to write instead, in words for the person who wrote the file.

What belongs here: from pydantic's kinds of errors to a message and a remedy. What does not: the schema (spec.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from pydantic_core import ErrorDetails

NO_ENTRY = (
    "`shots:` names no shot",
    "Write each as `name: {setting: value}` below it (`name: {}` where it overrides nothing), or remove `shots:`",
)

# The providers' own names, and others that a hand writes: what they are called here.
_OTHER_NAMES: Mapping[str, str] = {
    "text": "prompt",
    "length": "duration",
    "seconds": "duration",
    "size": "resolution",
    "quality": "resolution",
    "sound": "audio",
    "generate_audio": "audio",
    "enable_audio": "audio",
    "enhance_prompt": "prompt_extend",
    "enable_prompt_expansion": "prompt_extend",
    "image": "inputs: {first_frame: …}",
    "image_url": "inputs: {first_frame: …}",
    "first_frame": "inputs: {first_frame: …}",
    "first_frame_image": "inputs: {first_frame: …}",
    "last_frame": "inputs: {last_frame: …}",
    "last_frame_image": "inputs: {last_frame: …}",
    "last_image": "inputs: {last_frame: …}",
    "clip": "inputs: {clip: …}",
    "images": "inputs: {images: […]}",
    "videos": "inputs: {videos: […]}",
    "video_urls": "inputs: {videos: […]}",
    "audio_url": "inputs: {audio: …}",
}
_WHOLE_NUMBER = re.compile(r"\s*[-+]?0*([0-9]{1,18})(?:\.0*)?\s*(?:s|sec|secs|seconds)?\s*")
_EXAMPLES: Mapping[str, str] = {"duration": "5 (seconds of video)", "seed": "7"}


def unknown_setting(name: str, choices: Sequence[str], *, in_inputs: bool, in_entry: bool) -> tuple[str, str]:
    """For a name that the schema does not have."""
    if name == "shots" and in_entry:
        return "an entry of `shots:` cannot have `shots:` itself", "Write each shot directly below the file's `shots:`"
    if name == "<<":
        return "merge keys are not taken", "Write the settings out, or share them in a _defaults.yaml"
    kind = "input" if in_inputs else "setting"
    meant = None if in_inputs else _OTHER_NAMES.get(name.casefold())
    if meant is None:
        close = get_close_matches(name.casefold().replace("-", "_"), choices, n=1, cutoff=0.6)
        meant = close[0] if close else None
    hint = f"Did you mean {meant}? " if meant else ""
    return f"there is no such {kind}", f"{hint}There are: {', '.join(choices)}"


def explained(item: ErrorDetails, name: str, text: str) -> tuple[str, str]:
    """For a value that its setting does not take. `text` is the value as it stands in the file."""
    match item["type"]:
        case "int_type" | "int_from_float" | "int_parsing":
            return "a whole number is expected", _whole_number(item["input"], name, text)
        case "bool_type" | "bool_parsing":
            truth = text.casefold() in {"true", "yes", "on", "1", "y"}
            quoted = isinstance(item["input"], str) and text.casefold() in {"true", "yes", "on", "false", "no", "off"}
            if quoted:
                return "true or false is expected", f"Write {str(truth).lower()}, without quotes"
            return "true or false is expected", "Write true or false"
        case "literal_error":
            options = re.findall(r"'([^']*)'", str(item.get("ctx", {}).get("expected", "")))
            return "no such option", _option(text, options)
        case "string_type":
            if name in ("inputs.images", "inputs.videos") or not text:
                return "a text is expected", "Write a text, in quotes where it is not plain words"
            return "a text is expected, this is not one", f'Put it in quotes: "{text}"'
        case "string_too_short" | "blank":
            return "nothing stands here", "Write a text, or null to un-set it"
        case "string_too_long":
            limit: int = item.get("ctx", {})["max_length"]
            return f"longer than {limit} characters", f"Shorten it by {len(text) - limit} or more"
        case "list_type":
            return "a list of paths is expected", f"Write [{text or 'a.png, b.png'}]"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "roles with paths are expected", f"Write {{first_frame: {text or 'cat.png'}}}"
        case "date_only":
            return "a day without a time", f"Write the time of day and the zone too: {text.strip()}T00:00:00Z"
        case "naive_time":
            return "a time without its zone", f"Add Z for UTC: {text.strip().replace(' ', 'T')}Z (or an offset: +02:00)"
        case "no_time":
            return "this is not a time", "Write it like 2026-12-01T06:00:00Z"
        case "unprintable":
            return "a line break or a control character is in it", "Write it on one line"
        case _:
            return item["msg"], "See the README's list of settings"


def _whole_number(value: object, name: str, text: str) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
        return f"Write {int(value)}"
    if isinstance(value, str) and (match := _WHOLE_NUMBER.fullmatch(text)):
        sign = "-" if text.strip().startswith("-") else ""
        return f"Write {sign}{match[1]}, without quotes or unit"
    return f"Write a whole number, e.g. {_EXAMPLES.get(name, '5')}"


def _option(text: str, options: Sequence[str]) -> str:
    close = get_close_matches(text.strip().casefold(), options, n=1, cutoff=0.6)
    meant = [option for option in options if text and option.startswith(text.strip().casefold())] or close
    hint = f"Did you mean {meant[0]}? " if meant else ""
    return f"{hint}Write one of: {', '.join(options)}"
