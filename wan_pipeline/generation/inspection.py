"""Inspection: a shot's input files are read, hashed and probed against its model's limits, before any money.

A file that several shots of a batch use is read once. What does not belong here: what the limits are (the models) and
how a file is probed (media).
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from wan_pipeline.bucket import Bucket, BucketError, ObjectNotFoundError
from wan_pipeline.media.info import MediaInfo, UnreadableMediaError
from wan_pipeline.media.limits import ImageLimits, MediaLimits, check_limits
from wan_pipeline.problems import Problem
from wan_pipeline.providers.base import InputRule, MediaInput, Model, Role, Slot
from wan_pipeline.shots.shot import Shot

_CHUNK = 1 << 20
_USUAL_BYTES = 8 << 20  # an image that is no larger is read without asking for its size first
_NO_LIMIT_BYTES = 200_000_000  # where a document sets no size: the house reads no input larger than this


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. `digest` names settings and bytes together: the shot's own part of its request. `unread`: what stands
    in `problems` is no mistake in the files, the bucket did not answer."""

    inputs: tuple[MediaInput, ...]
    problems: tuple[Problem, ...]
    digest: str
    unread: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    sha256: str
    info: MediaInfo


@dataclass(frozen=True, slots=True)
class _Unread:
    problem: Problem


class Inspector:
    """Inspects the shots of one batch; reads run on the executor."""

    def __init__(self, bucket: Bucket, executor: Executor, find_model: Callable[[str], Model]) -> None:
        self._bucket = bucket
        self._executor = executor
        self._find_model = find_model
        self._seen: dict[tuple[str, bool, MediaLimits], asyncio.Future[_Found | Problem | _Unread]] = {}

    async def inspect(self, shot: Shot) -> Inspection:
        """Reads every input of a ready shot. Never raises for what is wrong with a file: that is in `problems`."""
        if not shot.ready or shot.model_id is None:
            return Inspection((), shot.problems, "")
        model = self._find_model(shot.model_id)
        slots = sorted(shot.inputs)
        found = await asyncio.gather(*(self._input(shot.inputs[slot], slot, model.inputs[slot.role]) for slot in slots))
        inputs: list[MediaInput] = []
        problems: list[Problem] = []
        unread: list[Problem] = []
        for slot, item in zip(slots, found, strict=True):
            key = shot.inputs[slot]
            if isinstance(item, _Unread):
                unread.append(replace(item.problem, field=str(slot)))
                continue
            if isinstance(item, Problem):
                problems.append(replace(item, file=item.file or key, field=item.field or str(slot)))
                continue
            inputs.append(MediaInput(slot, key, item.sha256, item.info))
            limits = model.inputs[slot.role].limits
            problems += [replace(each, file=key, field=str(slot)) for each in check_limits(item.info, limits)]
        unread_only = bool(unread) and not problems
        return Inspection(tuple(inputs), (*problems, *unread), _own_digest(shot, inputs), unread_only)

    async def _input(self, key: str, slot: Slot, rule: InputRule) -> _Found | Problem | _Unread:
        case = (key, slot.role is Role.AUDIO, rule.limits)
        if case not in self._seen:
            loop = asyncio.get_running_loop()
            self._seen[case] = loop.run_in_executor(self._executor, self._read, key, slot, rule)
        return await asyncio.shield(self._seen[case])

    def _read(self, key: str, slot: Slot, rule: InputRule) -> _Found | Problem | _Unread:
        from wan_pipeline.media.probe import probe_audio, probe_image, probe_video

        allowed = rule.limits.max_bytes or _NO_LIMIT_BYTES
        try:
            if isinstance(rule.limits, ImageLimits):
                data = self._bucket.read(key, 0, _USUAL_BYTES + 1)  # nearly always the one request
                if len(data) > _USUAL_BYTES:
                    size_bytes = self._bucket.stat(key).size_bytes
                    if size_bytes > allowed:
                        return _too_large(key, size_bytes, allowed, rule)
                    data = self._bucket.read(key)  # anew: one version of it, from the beginning to the end
                if len(data) > allowed:
                    return _too_large(key, len(data), allowed, rule)
                sha256 = hashlib.sha256(data).hexdigest()
                return _Found(sha256, probe_image(io.BytesIO(data), len(data)))
            with self._bucket.open(key) as stream:
                size_bytes = stream.seek(0, os.SEEK_END)
                if size_bytes > allowed:
                    return _too_large(key, size_bytes, allowed, rule)
                stream.seek(0)
                digest = hashlib.sha256()
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                stream.seek(0)
                probe = probe_audio if slot.role is Role.AUDIO else probe_video
                return _Found(digest.hexdigest(), probe(stream, size_bytes))
        except ObjectNotFoundError:
            return Problem(key, "", "", "the file is not in the bucket any more", "Upload it again, or name another.")
        except UnreadableMediaError as error:
            return Problem(key, "", "", str(error), "Replace the file by a readable one.")
        except BucketError as error:
            remedy = "Run it again once the bucket answers."
            return _Unread(Problem(key, "", "", f"the file could not be read: {error}", remedy))


def _too_large(key: str, size_bytes: int, allowed: int, rule: InputRule) -> Problem:
    remedy = f"At most {allowed:,} bytes ({rule.source})."
    return Problem(key, "", f"{size_bytes:,} bytes", "the file is too large", remedy)


def _own_digest(shot: Shot, inputs: list[MediaInput]) -> str:
    """Of what is the shot's own: its yaml's settings (which name the roles) and the bytes of its own inputs. What it
    inherits from a _defaults.yaml is not in it: a change there alone makes it outdated, and buys nothing by itself."""
    lines = [shot.own_settings, *sorted(item.sha256 for item in inputs if item.key in shot.own_inputs)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
