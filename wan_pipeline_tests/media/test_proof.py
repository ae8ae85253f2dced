"""The proof of a video says what its parts say, out of one reading."""

from __future__ import annotations

import io
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO

import av
import pytest

from wan_pipeline.media import proof
from wan_pipeline.media.info import UnreadableMediaError
from wan_pipeline.media.probe import probe_video
from wan_pipeline.media.proof import prove
from wan_pipeline_tests.media.samples import image_bytes, sound_bytes, video_bytes

VIDEOS = {
    "with sound": video_bytes(2.0, audio="aac"),
    "its index behind": video_bytes(2.0, faststart=False),
    "turned": video_bytes(1.0, 320, 240, rotation=90),
    "shorter than its poster's place": video_bytes(0.25),
    "webm": video_bytes(1.0, container="webm", codec="libvpx"),
}


@pytest.mark.parametrize("data", VIDEOS.values(), ids=VIDEOS)
def test_a_proof_says_what_the_probe_of_an_input_would(data: bytes) -> None:
    assert prove(io.BytesIO(data), len(data))[0] == probe_video(io.BytesIO(data), len(data))


def test_the_file_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg decodes pictures to find out what is in a file, each time that it opens one."""
    opened = 0
    really = av.open

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal opened
        opened += 1
        return really(*arguments, **named)

    monkeypatch.setattr(av, "open", counted)
    data = VIDEOS["with sound"]
    prove(io.BytesIO(data), len(data))
    assert opened == 1


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("data", VIDEOS.values(), ids=VIDEOS)
def test_what_the_probe_refuses_has_no_proof(data: bytes, part: float) -> None:
    cut = data[: int(len(data) * part)]
    try:
        probe_video(io.BytesIO(cut), len(cut))
    except UnreadableMediaError as error:
        with pytest.raises(UnreadableMediaError) as found:
            prove(io.BytesIO(cut), len(cut))
        assert str(found.value) == str(error)


@pytest.mark.parametrize("data", [b"", b"text", image_bytes("PNG"), sound_bytes("mp3", "libmp3lame", 0.5)])
def test_what_is_no_video_has_no_proof(data: bytes) -> None:
    with pytest.raises(UnreadableMediaError):
        prove(io.BytesIO(data), len(data))


def test_no_more_videos_are_decoded_at_once_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = most = 0
    really = proof.open_container

    @contextmanager
    def counted(video: BinaryIO) -> Generator[Any]:
        nonlocal inside, most
        with really(video) as opened:
            inside += 1
            most = max(most, inside)
            yield opened
            inside -= 1

    monkeypatch.setattr(proof, "_AT_ONCE", threading.BoundedSemaphore(2))
    monkeypatch.setattr(proof, "open_container", counted)
    data = VIDEOS["with sound"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: prove(io.BytesIO(data), len(data)), range(16)))
    assert 1 <= most <= 2
