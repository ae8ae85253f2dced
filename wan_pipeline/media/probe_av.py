"""Probes of videos and sound with PyAV (FFmpeg's libraries, in process). Used through probe.py."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from wan_pipeline.media.info import AudioInfo, UnreadableMediaError, VideoInfo
from wan_pipeline.media.sniff import HEAD_BYTES, describe

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Real containers only: FFmpeg also opens playlists (HLS, concat), and fetches what they name.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,wav,mp3,ogg,flac,aac,aiff,asf"
_TAIL_S = 1.0  # how far before the end the check for truncation begins
_MISSING_TAIL_S = 0.5  # a track may end this much before its header says; more is a truncated file
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_MATROSKA_DOCTYPE = b"\x42\x82"
_NO_PICTURE = "its video track has no picture: it is empty, truncated, or of an unknown codec"


def probe_video(stream_or_path: BinaryIO | str | Path, size_bytes: int) -> VideoInfo:
    """The first video track. Its first picture is decoded, and its last packets are read, so that a file whose end is
    missing is found though its index is whole. Width and height are as displayed (phones turn by a flag).

    Raises UnreadableMediaError.
    """
    with open_container(stream_or_path) as (container, head):
        track = playable_track(container, head)
        return video_info(container, head, track, first_picture(container.decode(track)), size_bytes)


def playable_track(container: InputContainer, head: bytes) -> VideoStream:
    """The first video that is no cover picture, to be decoded by one thread: videos come many at once, and threads of one
    decoder decode pictures ahead that nobody asks for. Raises UnreadableMediaError where there is none."""
    from av.stream import Disposition

    for track in container.streams.video:
        if not track.disposition & Disposition.attached_pic:
            if not has_decoder(track):
                raise UnreadableMediaError(_NO_PICTURE)
            track.codec_context.thread_count = 1
            return track
    raise UnreadableMediaError(f"there is no video in it: it looks like {describe(head)}")


def first_picture(pictures: Iterator[VideoFrame]) -> VideoFrame:
    """Raises UnreadableMediaError where none can be decoded."""
    first = next(pictures, None)
    if first is None:
        raise UnreadableMediaError(_NO_PICTURE)
    return first


def video_info(
    container: InputContainer, head: bytes, track: VideoStream, first: VideoFrame, size_bytes: int
) -> VideoInfo:
    """What the track and its first picture say; goes to the track's end, so nothing can be decoded behind this.

    Raises UnreadableMediaError where that end is missing.
    """
    width, height = first.width, first.height
    if first.rotation % 180:
        width, height = height, width
    rate = track.average_rate or track.guessed_rate
    return VideoInfo(
        container=_container_name(container, head),
        codec=track.codec_context.name,
        width=width,
        height=height,
        duration_s=_checked_duration(container, track, size_bytes),
        fps=float(rate) if rate else 0.0,
        has_audio=bool(container.streams.audio),
        size_bytes=size_bytes,
    )


def probe_audio(stream: BinaryIO | str | Path, size_bytes: int) -> AudioInfo:
    """The first sound track, read to its end. `duration_s` is what is really there; headers of MP3 files often only guess.

    Raises UnreadableMediaError.
    """
    with open_container(stream) as (container, head):
        track = next(iter(container.streams.audio), None)
        if track is None:
            raise UnreadableMediaError(f"there is no sound in it: it looks like {describe(head)}")
        if not has_decoder(track) or next(container.decode(track), None) is None:
            raise UnreadableMediaError("its sound track has no sound: it is empty, truncated, or of an unknown codec")
        stated = _stated_duration(container, track)
        container.seek(0)
        begin, end = _extent(container, track)
        name = _container_name(container, head)
        if stated is not None and name != "mp3" and stated - end > max(_MISSING_TAIL_S, 0.02 * stated):
            raise UnreadableMediaError(f"it is truncated: {end:.2f} s of {stated:.2f} s are there")
        return AudioInfo(format=name, duration_s=round(end - begin, 6), size_bytes=size_bytes)


@contextmanager
def open_container(stream_or_path: BinaryIO | str | Path) -> Generator[tuple[InputContainer, bytes]]:
    """The opened file and its first bytes. FFmpeg's errors, here and within the block, become UnreadableMediaError."""
    import av
    from av.error import FFmpegError

    if isinstance(stream_or_path, (str, Path)):
        with Path(stream_or_path).open("rb") as file, open_container(file) as opened:
            yield opened
        return
    stream = stream_or_path
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise UnreadableMediaError("the file is empty")
    _require_whole_boxes(stream, head)
    try:
        # by the stream, never by a name; and no protocol, so that nothing in the file makes FFmpeg open another
        options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
        with av.open(stream, mode="r", options=options, metadata_errors="ignore") as container:
            yield container, head
    except (FFmpegError, ValueError, OverflowError) as error:  # overflow: times that no clock can hold
        if isinstance(error, UnreadableMediaError):
            raise
        words = getattr(error, "strerror", None) or str(error)
        raise UnreadableMediaError(f"it cannot be played: it looks like {describe(head)} ({words})") from error


def _require_whole_boxes(stream: BinaryIO, head: bytes) -> None:
    """An MP4 or MOV is a row of boxes, each with its length: the last one must end where the file does, or earlier."""
    if head[4:8] not in _FIRST_BOXES:
        return
    size_bytes = stream.seek(0, os.SEEK_END)
    at = 0
    while at + 8 <= size_bytes:
        stream.seek(at)
        box = stream.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:  # a long box: the length follows its name
            length = int.from_bytes(box[8:16], "big")
        if length < 8:  # 0: until the end; anything else is no box any more
            break
        at += length
    stream.seek(0)
    if at > size_bytes:
        raise UnreadableMediaError(f"it is truncated: {size_bytes} bytes of at least {at} are there")


def has_decoder(track: Any) -> bool:
    """FFmpeg knows the track's codec."""
    return track.codec_context is not None


def _container_name(container: InputContainer, head: bytes) -> str:
    name = container.format.name
    if name.startswith("mov,"):
        brand = container.metadata.get("major_brand", "").strip().lower()
        if not brand or brand == "qt":  # files older than the brand are QuickTime's
            return "mov"
        if brand.startswith("3g"):
            return "3gp"
        return "m4a" if brand in ("m4a", "m4b") else "mp4"
    if name.startswith("matroska"):
        at = head.find(_MATROSKA_DOCTYPE)
        return "webm" if at >= 0 and head[at + 3 : at + 7] == b"webm" else "mkv"
    return name.partition(",")[0]


def _stated_duration(container: InputContainer, track: Any) -> float | None:
    """What the headers say, in seconds."""
    if track.duration is not None and track.time_base is not None:
        return float(track.duration * track.time_base)
    if container.duration is not None:
        return container.duration / 1_000_000
    return None


def _checked_duration(container: InputContainer, track: VideoStream, size_bytes: int) -> float:
    """The track's seconds. Raises UnreadableMediaError where its end is missing."""
    ends = (entry.pos + entry.size for each in container.streams for entry in each.index_entries)
    last = max(ends, default=0)
    if last > size_bytes:
        raise UnreadableMediaError(f"it is truncated: {size_bytes} bytes of at least {last} are there")
    if track.duration is None or track.time_base is None:
        return _measured_duration(container, track)
    stated = float(track.duration * track.time_base)
    first = float((track.start_time or 0) * track.time_base)
    container.seek(int(max(first + stated - _TAIL_S, 0) * 1_000_000))
    _require_end(_extent(container, track)[1] - first, stated)
    return round(stated, 6)


def _measured_duration(container: InputContainer, track: VideoStream) -> float:
    """For containers that state no track's duration (WebM, Matroska), only that of the longest: read to the end."""
    container.seek(0)
    begin, end = _extent(container, track)
    if container.duration is not None:
        ends = [end]
        for other in container.streams.audio:
            container.seek(0)
            ends.append(_extent(container, other)[1])
        _require_end(max(ends) - (container.start_time or 0) / 1_000_000, container.duration / 1_000_000)
    return round(end - begin, 6)


def _require_end(found_s: float, stated_s: float) -> None:
    if stated_s - found_s > _MISSING_TAIL_S:
        raise UnreadableMediaError(f"it is truncated: it ends after {max(found_s, 0):.2f} s of {stated_s:.2f} s")


def _extent(container: InputContainer, track: Any) -> tuple[float, float]:
    """From when to when the packets from here on last, in seconds. Raises UnreadableMediaError for a broken one."""
    begin: float | None = None
    end = 0.0
    for packet in container.demux(track):
        if packet.is_corrupt:
            raise UnreadableMediaError("it is truncated: a packet in it is incomplete")
        if packet.pts is None or packet.time_base is None:
            continue  # the empty packet at the end
        at = float(packet.pts * packet.time_base)
        begin = at if begin is None else min(begin, at)
        end = max(end, at + float((packet.duration or 0) * packet.time_base))
    return begin or 0.0, end
