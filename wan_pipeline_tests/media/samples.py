"""Media files for tests, made in code."""

from __future__ import annotations

import io
import math
import struct
import tempfile
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


def picture(width: int = 320, height: int = 240, mode: str = "RGB") -> Image.Image:
    """A picture with enough detail that its compressed data spreads over the file."""
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise, "RGB").convert(mode)


def image_bytes(format: str, width: int = 320, height: int = 240, mode: str = "RGB", **options: Any) -> bytes:
    target = io.BytesIO()
    picture(width, height, mode).save(target, format, **options)
    return target.getvalue()


def video_bytes(
    seconds: float = 2.0,
    width: int = 320,
    height: int = 240,
    fps: int = 16,
    container: str = "mp4",
    codec: str = "libx264",
    audio: str | None = None,
    audio_seconds: float | None = None,
    faststart: bool = True,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    codec_options: dict[str, str] | None = None,
) -> bytes:
    flags = {"movflags": "faststart"} if faststart and container in ("mp4", "mov") else {}
    # faststart reads its own output again, so it needs a real file
    with (
        tempfile.NamedTemporaryFile() as target,
        av.open(target.name, "w", format=container, options=options or flags) as out,
    ):
        stream: Any = out.add_stream(codec, rate=fps, options=codec_options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        sound: Any = None
        if audio:
            sound = out.add_stream(audio, rate=48000)
            sound.layout = "mono"
        rng = np.random.default_rng(3)
        base = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for number in range(round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(np.roll(base, number * 3, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            _encode_tone(out, sound, seconds if audio_seconds is None else audio_seconds)
        out.close()
        return Path(target.name).read_bytes()


def _encode_tone(out: Any, stream: Any, seconds: float, rate: int = 48000) -> None:
    size = stream.codec_context.frame_size or 1024
    total = round(seconds * rate)
    for start in range(0, total, size):
        count = min(size, total - start)
        tone = (np.sin(np.arange(start, start + count) * 2 * math.pi * 440 / rate) * 0.3).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def sound_bytes(container: str, codec: str, seconds: float = 3.0) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=48000)
        stream.layout = "mono"
        _encode_tone(out, stream, seconds)
    return target.getvalue()


def wav_bytes(seconds: float = 3.0, rate: int = 8000) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        count = round(seconds * rate)
        out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 10))) for i in range(count)))
    return target.getvalue()
