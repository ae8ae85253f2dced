"""What the probes of videos and sound promise."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.bucket import BucketError, FolderBucket
from wan_pipeline.bucket.ranged import RangedReader
from wan_pipeline.media.info import AudioInfo, UnreadableMediaError, VideoInfo
from wan_pipeline.media.probe import probe_audio, probe_video
from wan_pipeline.media.proof import prove
from wan_pipeline_tests.media.samples import image_bytes, sound_bytes, video_bytes, wav_bytes

FASTSTART = video_bytes(3.0, audio="aac")
_LARGE = {"crf": "2", "preset": "ultrafast", "g": "12"}
AT_THE_END = video_bytes(3.0, faststart=False)


def video(data: bytes) -> VideoInfo:
    return probe_video(io.BytesIO(data), len(data))


def audio(data: bytes) -> AudioInfo:
    return probe_audio(io.BytesIO(data), len(data))


def _reason(probe, data: bytes) -> str:
    with pytest.raises(UnreadableMediaError) as error:
        probe(data)
    return str(error.value)


def test_everything_about_a_video_is_found() -> None:
    data = video_bytes(2.0, 320, 180, fps=16, audio="aac")
    assert video(data) == VideoInfo("mp4", "h264", 320, 180, 2.0, 16.0, has_audio=True, size_bytes=len(data))


@pytest.mark.parametrize(
    ("container", "codec", "name", "codec_name"),
    [
        ("mp4", "libx264", "mp4", "h264"),
        ("mov", "libx264", "mov", "h264"),
        ("mp4", "mpeg4", "mp4", "mpeg4"),
        ("webm", "libvpx", "webm", "vp8"),
        ("matroska", "libx264", "mkv", "h264"),
        ("avi", "mpeg4", "avi", "mpeg4"),
        ("mpegts", "libx264", "mpegts", "h264"),
        ("3gp", "mpeg4", "3gp", "mpeg4"),
    ],
)
def test_containers_and_codecs(container: str, codec: str, name: str, codec_name: str) -> None:
    data = video_bytes(1.0, 176, 144, container=container, codec=codec)
    found = video(data)
    assert (found.container, found.codec, found.width, found.height) == (name, codec_name, 176, 144)
    assert found.duration_s == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize("seconds", [0.25, 1.0, 5.0625, 10.0])
@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_the_duration_is_the_videos(seconds: float, container: str) -> None:
    """Not that of longer sound beside it."""
    codec, sound = ("libx264", "aac") if container == "mp4" else ("libvpx", "libopus")
    data = video_bytes(seconds, 96, 64, container=container, codec=codec, audio=sound, audio_seconds=seconds + 2)
    assert video(data).duration_s == pytest.approx(seconds, abs=0.07)


def test_a_silent_video_has_no_sound() -> None:
    assert not video(video_bytes(0.5)).has_audio


@pytest.mark.parametrize(("turn", "size"), [(90, (240, 320)), (-90, (240, 320)), (180, (320, 240))])
def test_a_turned_video_is_measured_as_displayed(turn: int, size: tuple[int, int]) -> None:
    found = video(video_bytes(0.5, 320, 240, rotation=turn))
    assert (found.width, found.height) == size


@pytest.mark.parametrize("data", [FASTSTART, AT_THE_END], ids=["index in front", "index behind"])
def test_a_video_cut_off_anywhere_is_found(data: bytes) -> None:
    """Its index may be whole and still speak of data that is not there."""
    assert video(data)
    for keep in [len(data) - 1, len(data) - 10, *(len(data) * part // 20 for part in range(20))]:
        with pytest.raises(UnreadableMediaError):
            video(data[:keep])


def test_a_fragmented_video_cut_off_is_found() -> None:
    """It has no index at all, and says nowhere how long it is."""
    flags = {"movflags": "frag_keyframe+empty_moov"}
    data = video_bytes(3.0, 96, 64, options=flags, codec_options={"g": "8"})
    assert video(data).duration_s == pytest.approx(3.0, abs=0.07)
    for part in (0.3, 0.5, 0.9):
        with pytest.raises(UnreadableMediaError):
            video(data[: int(len(data) * part)])


def test_a_webm_cut_off_is_found() -> None:
    data = video_bytes(4.0, 96, 64, container="webm", codec="libvpx")
    for part in (0.1, 0.5, 0.8):
        with pytest.raises(UnreadableMediaError):
            video(data[: int(len(data) * part)])


def test_a_video_with_holes_in_its_beginning_is_found() -> None:
    """The index is right and the size too, but the first picture cannot be decoded."""
    data = bytearray(FASTSTART)
    start = data.index(b"mdat") + 4
    data[start : start + 30_000] = bytes(30_000)
    assert _reason(video, bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"hello " * 100, "plain text"),
        (image_bytes("PNG"), "a PNG image"),
        (image_bytes("GIF"), "a GIF image"),
        (image_bytes("JPEG"), "a JPEG image"),
        (wav_bytes(), "there is no video in it: it looks like a WAV sound file"),
        (sound_bytes("mp3", "libmp3lame"), "there is no video in it: it looks like an MP3 sound file"),
        (sound_bytes("ipod", "aac"), "there is no video in it"),
    ],
)
def test_what_is_no_video_is_said_to_be_what_it_is(data: bytes, words: str) -> None:
    assert words in _reason(video, data)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """FFmpeg would follow it, to files of this machine and to addresses behind the firewall."""
    (tmp_path / "other.ts").write_bytes(video_bytes(1.0, container="mpegts"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/other.ts\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile {tmp_path}/other.ts\n"
    for number, text in enumerate((playlist, concat)):
        named = tmp_path / f"{number}.m3u8"
        named.write_text(text)
        with pytest.raises(UnreadableMediaError):
            video(text.encode())
        with pytest.raises(UnreadableMediaError):
            probe_video(named, named.stat().st_size)


def test_by_path_as_by_stream(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(FASTSTART)
    assert probe_video(tmp_path / "a.mp4", len(FASTSTART)) == video(FASTSTART)
    assert probe_video(str(tmp_path / "a.mp4"), len(FASTSTART)) == video(FASTSTART)


def test_from_a_bucket(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    bucket.write("a.mp4", FASTSTART, "video/mp4")
    with bucket.open("a.mp4") as stream:
        assert probe_video(stream, len(FASTSTART)) == video(FASTSTART)
        assert not stream.closed


def test_a_long_video_is_not_read_through() -> None:
    """Over S3 that would be a second download."""
    data = video_bytes(10.0, 320, 240, fps=24, faststart=False, codec_options=_LARGE)
    fetched = 0

    def fetch(start: int, length: int) -> bytes:
        nonlocal fetched
        fetched += length
        return data[start : start + length]

    size = len(data)
    assert size > 1_500_000
    assert probe_video(io.BufferedReader(RangedReader(size, fetch), 1 << 16), size).duration_s == pytest.approx(10.0)
    assert fetched < size / 2


def test_a_bucket_that_fails_is_not_an_unreadable_video() -> None:
    def fetch(start: int, length: int) -> bytes:
        if start:
            raise BucketError("the bucket does not answer")
        return big[start : start + length]

    big = video_bytes(3.0, 320, 240, fps=24, faststart=False, codec_options=_LARGE)
    assert len(big) > 1_000_000
    with pytest.raises(BucketError, match="does not answer"):
        probe_video(io.BufferedReader(RangedReader(len(big), fetch), 1 << 16), len(big))


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("mp3", "libmp3lame", "mp3"),
        ("wav", "pcm_s16le", "wav"),
        ("flac", "flac", "flac"),
        ("ipod", "aac", "m4a"),
        ("adts", "aac", "aac"),
        ("ogg", "libopus", "ogg"),
    ],
)
def test_sound_of_every_kind(container: str, codec: str, name: str) -> None:
    data = sound_bytes(container, codec, 3.0)
    found = audio(data)
    assert (found.format, found.size_bytes) == (name, len(data))
    assert found.duration_s == pytest.approx(3.0, abs=0.06)


@pytest.mark.parametrize(("container", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("ipod", "aac")])
def test_truncated_sound_is_found(container: str, codec: str) -> None:
    data = sound_bytes(container, codec, 4.0)
    for part in (0.3, 0.6):
        with pytest.raises(UnreadableMediaError):
            audio(data[: int(len(data) * part)])


def test_an_mp3_lasts_as_long_as_what_is_there() -> None:
    """Its header is a hint: files are cut without it being rewritten, and every player plays them."""
    data = sound_bytes("mp3", "libmp3lame", 4.0)
    assert audio(data[: len(data) // 2]).duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "data", [b"", b"text " * 50, image_bytes("PNG"), video_bytes(0.5)], ids=["empty", "text", "png", "silent video"]
)
def test_what_has_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableMediaError):
        audio(data)


def test_the_sound_of_a_video_is_not_called_a_sound_file() -> None:
    assert audio(FASTSTART).format == "mp4"


_VIDEOS = [
    video_bytes(0.5, 64, 48, container=c, codec=k)
    for c, k in (("mp4", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"))
]
_SOUNDS = [
    wav_bytes(0.2),
    sound_bytes("mp3", "libmp3lame", 0.3),
    sound_bytes("ipod", "aac", 0.3),
    sound_bytes("flac", "flac", 0.3),
]


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from([*_VIDEOS, *_SOUNDS]),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0, 1),
)
def test_damage_gives_an_answer_or_the_one_error(data: bytes, changes: list[tuple[int, bytes]], keep: float) -> None:
    broken = bytearray(data[: int(len(data) * keep)] if keep < 0.4 else data)
    for at, new in changes:
        if broken:
            at %= len(broken)
            broken[at : at + len(new)] = new
    for probe in (video, audio):
        try:
            found = probe(bytes(broken))
        except UnreadableMediaError:
            continue
        assert found.duration_s == found.duration_s  # a number
    with suppress(UnreadableMediaError):
        prove(io.BytesIO(bytes(broken)), len(broken))
