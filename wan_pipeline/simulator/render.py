"""Making a real video: H.264 in an MP4, a slow zoom into the source image, with sound where it was ordered.

What belongs here: pixels and samples, from files to a file. What does not: when that happens (renderer.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from PIL.Image import Image

    Plane = np.ndarray[Any, np.dtype[np.uint8]]
    Sound = np.ndarray[Any, np.dtype[np.float32]]

_FPS = 24
_SAMPLE_RATE = 48_000
_ZOOM = 0.15  # how much nearer the last frame is
_OVERSAMPLING = 2  # each frame picks pixels from an enlarged source: quick, and smooth enough
_FADE_FRAMES = 30  # into the last frame, where one is given
_SHORT_SIDE_PX = {"720p": 720, "1080p": 1080}
_MAX_ASPECT = 8.0
_GOLDEN_ANGLE = 2.399963


class StoppedError(Exception):
    """The process is about to end; the video was not made."""


@dataclass(frozen=True)
class VideoOrder:
    """What to render. `first`, `last` and `audio` name kept inputs; no `first`: a generic picture; `tone`: made sound.

    `variant` turns the camera's way, so that two jobs over one image give two different videos.
    """

    width: int
    height: int
    duration_s: int
    tone: bool
    first: str | None = None
    last: str | None = None
    audio: str | None = None
    variant: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def video_size(width: int, height: int, resolution: str) -> tuple[int, int]:
    """The ordered size in the source's aspect: the short side is 720 or 1080, both sides are even."""
    short = _SHORT_SIDE_PX[resolution]
    long = round(short * min(max(width, height) / min(width, height), _MAX_ASPECT) / 2) * 2
    return (long, short) if width >= height else (short, long)


def render(
    order: VideoOrder, path_of: Callable[[str], Path], target: Path, should_stop: Callable[[], bool] = lambda: False
) -> None:
    """Writes the video to `target`. Raises StoppedError as soon as `should_stop` says so."""
    import av

    size = (order.width, order.height)
    source = _planes(_picture(order.first and path_of(order.first), size, _OVERSAMPLING))
    last = _planes(_picture(path_of(order.last), size, 1)) if order.last else None
    frames = order.duration_s * _FPS
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream(
            "libx264", rate=_FPS, options={"preset": "ultrafast", "crf": "26", "threads": "1", "g": str(2 * _FPS)}
        )
        video.width, video.height, video.pix_fmt = order.width, order.height, "yuv420p"
        sound = _sound(order, path_of)
        track = _AudioTrack(container, sound) if sound is not None else None
        for number in range(frames):
            if should_stop():
                raise StoppedError
            if track is not None and number % _FPS == 0:
                track.write_second()
            frame = av.VideoFrame(order.width, order.height, "yuv420p")
            fade = max(0.0, 1 - (frames - 1 - number) / _FADE_FRAMES) if last is not None else 0.0
            for index, plane in enumerate(_zoomed(source, number / frames, order, frame)):
                blended = _blend(plane, last[index], fade) if last is not None and fade else plane
                frame.planes[index].update(cast(bytes, blended))
            frame.pts = number
            _write(container, video.encode(frame))
        _write(container, video.encode(None))
        if track is not None:
            track.finish()


def _write(container: OutputContainer, packets: list[Packet[Any]]) -> None:
    for packet in packets:
        container.mux(packet)


# --- pictures ---


def _picture(path: Path | str | None, size: tuple[int, int], scale: int) -> Image:
    from PIL import Image, ImageOps

    target = (size[0] * scale, size[1] * scale)
    if not path:
        across, down = Image.linear_gradient("L").rotate(90), Image.linear_gradient("L")
        return Image.merge("RGB", (across, down, Image.radial_gradient("L"))).resize(target)
    with Image.open(path) as image:
        image.draft("RGB", target)
        upright = ImageOps.exif_transpose(image)
        if "A" in upright.getbands() or "transparency" in upright.info:
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
        return ImageOps.fit(upright.convert("RGB"), target, Image.Resampling.BILINEAR)


def _planes(image: Image) -> list[Plane]:
    """The picture's Y, U and V."""
    import av
    import numpy as np

    frame = av.VideoFrame.from_image(image).reformat(format="yuv420p")
    planes: list[Plane] = []
    for plane in frame.planes:
        rows = np.frombuffer(cast(bytes, plane), np.uint8).reshape(plane.height, plane.line_size)
        planes.append(np.ascontiguousarray(rows[:, : plane.width]))
    return planes


def _zoomed(source: list[Plane], progress: float, order: VideoOrder, frame: Any) -> Iterator[Plane]:
    """Each plane of the frame at this share of the video, in rows as wide as the frame keeps them in memory."""
    import numpy as np

    angle = order.variant * _GOLDEN_ANGLE
    nearer = 1 + _ZOOM * progress
    for index, plane in enumerate(source):
        height, width = plane.shape
        half = 1 if index == 0 else 2
        rows, columns = order.height // half, order.width // half
        seen_h, seen_w = height / nearer, width / nearer
        top = (height - seen_h) / 2 * (1 + 0.6 * math.sin(angle))
        left = (width - seen_w) / 2 * (1 + 0.6 * math.cos(angle))
        pick_rows = (top + (np.arange(rows) + 0.5) * (seen_h / rows)).astype(np.intp)
        stored = frame.planes[index].line_size  # at least `columns`: the rest is padding
        pick_columns = (left + (np.arange(stored) + 0.5) * (seen_w / columns)).astype(np.intp)
        yield plane.take(pick_rows, axis=0).take(np.minimum(pick_columns, width - 1), axis=1)


def _blend(plane: Plane, last: Plane, share: float) -> Plane:
    import numpy as np

    weight = np.uint16(round(share * 256))
    rows, columns = last.shape
    mixed = plane.astype(np.uint16) * (np.uint16(256) - weight)
    mixed[:rows, :columns] += last * weight
    return (mixed >> 8).astype(np.uint8)


# --- sound ---


def _sound(order: VideoOrder, path_of: Callable[[str], Path]) -> Sound | None:
    """Two channels of exactly the video's length: the given file, cut or followed by silence, or a made chord."""
    import numpy as np

    samples = order.duration_s * _SAMPLE_RATE
    if order.audio is not None:
        given = _decoded(path_of(order.audio), samples)
        return np.pad(given, ((0, 0), (0, samples - given.shape[1])))
    if not order.tone:
        return None
    time_s = np.arange(samples, dtype=np.float32) / _SAMPLE_RATE
    swell = 0.12 * (1 - np.cos(2 * np.pi * time_s / order.duration_s))
    root = 110 * 2 ** ((order.variant % 12) / 12)
    chord = sum(np.sin(2 * np.pi * root * ratio * time_s) for ratio in (1, 1.25, 1.5)) / 3
    return np.stack([swell * chord] * 2).astype(np.float32)


def _decoded(path: Path, samples: int) -> Sound:
    import av
    import numpy as np

    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=_SAMPLE_RATE)
    parts: list[Sound] = []
    count = 0
    with av.open(str(path), "r") as container:
        for frame in container.decode(container.streams.audio[0]):
            for part in resampler.resample(frame):
                parts.append(cast("Sound", part.to_ndarray()))
                count += part.samples
            if count >= samples:
                break
        else:
            parts += [cast("Sound", part.to_ndarray()) for part in resampler.resample(None)]
    return np.concatenate(parts, axis=1)[:, :samples] if parts else np.zeros((2, 0), np.float32)


class _AudioTrack:
    """The AAC track of a video, written second by second beside the frames, so that the two lie interleaved."""

    def __init__(self, container: OutputContainer, sound: Sound) -> None:
        self._container = container
        self._sound = sound
        self._stream: AudioStream = container.add_stream("aac", rate=_SAMPLE_RATE, layout="stereo")
        self._at = 0

    def write_second(self) -> None:
        import av
        import numpy as np

        part = np.ascontiguousarray(self._sound[:, self._at : self._at + _SAMPLE_RATE])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = _SAMPLE_RATE, self._at
        self._at += part.shape[1]
        _write(self._container, self._stream.encode(frame))

    def finish(self) -> None:
        _write(self._container, self._stream.encode(None))
