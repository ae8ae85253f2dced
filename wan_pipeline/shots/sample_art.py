"""The sample inbox's pictures and clip, drawn here so that no binary file lies in the repository.

What belongs here: drawing. What does not: which samples there are (samples.py). Pillow and PyAV are imported where they
are used: loading this must be quick.
"""

from __future__ import annotations

import io
import math
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

_WIDTH, _HEIGHT = 1280, 720
_SCALE = 2  # drawn larger, then made smaller: smooth edges
_CLIP_WIDTH, _CLIP_HEIGHT, _CLIP_FPS, _CLIP_S = 640, 360, 24, 2

Colour = tuple[int, int, int]


def harbour() -> bytes:
    """Boats on a calm sea in the evening."""
    picture = _sky((43, 45, 90), (247, 167, 109))
    _glow(picture, 900, 400, 420, (255, 220, 160))
    draw = _pen(picture)
    _disc(draw, 900, 400, 62, (255, 236, 190))
    _ridge(draw, 425, 60, 3, (92, 74, 116))
    _ridge(draw, 440, 34, 8, (66, 56, 99))
    _box(draw, 0, 440, _WIDTH, _HEIGHT, (49, 74, 118))
    dice = random.Random(7)
    for _ in range(260):
        y = dice.uniform(446, 716)
        near = (y - 440) / 280
        x, long = dice.uniform(0, _WIDTH), dice.uniform(14, 60) * (0.5 + near)
        lit = max(0.0, 1 - abs(x - 900) / (60 + 190 * near))
        _line(draw, x, y, x + long, y, _mixed((62, 92, 140), (255, 208, 150), lit), 1 + 2 * near)
    for x, y, size, sail in (
        (330, 520, 1.5, (250, 243, 230)),
        (640, 470, 0.8, (231, 111, 81)),
        (1090, 560, 1.9, (244, 201, 95)),
    ):
        _polygon(
            draw,
            [(x - 70 * size, y), (x + 70 * size, y), (x + 46 * size, y + 26 * size), (x - 52 * size, y + 26 * size)],
            (60, 42, 54),
        )
        _line(draw, x, y, x, y - 150 * size, (60, 42, 54), 4 * size)
        _polygon(
            draw, [(x + 6 * size, y - 146 * size), (x + 6 * size, y - 12 * size), (x + 68 * size, y - 12 * size)], sail
        )
        _polygon(
            draw,
            [(x - 6 * size, y - 120 * size), (x - 6 * size, y - 12 * size), (x - 50 * size, y - 12 * size)],
            _mixed(sail, (60, 42, 54), 0.15),
        )
    return _png(picture)


def waterfall() -> bytes:
    """A fall between firs."""
    picture = _sky((158, 205, 216), (231, 243, 224))
    draw = _pen(picture)
    _ridge(draw, 300, 130, 4, (139, 178, 174))
    _ridge(draw, 380, 110, 9, (98, 146, 136))
    _polygon(draw, [(0, 190), (470, 250), (520, 720), (0, 720)], (79, 92, 92))
    _polygon(draw, [(_WIDTH, 150), (800, 250), (750, 720), (_WIDTH, 720)], (68, 80, 82))
    _polygon(draw, [(470, 262), (802, 262), (772, 650), (500, 650)], (196, 226, 235))
    dice = random.Random(11)
    for _ in range(190):
        x, y = dice.uniform(482, 786), dice.uniform(262, 560)
        _line(
            draw,
            x,
            y,
            x + (638 - x) * -0.02,
            y + dice.uniform(40, 110),
            _mixed((255, 255, 255), (150, 200, 218), dice.random()),
            3,
        )
    _box(draw, 0, 640, _WIDTH, _HEIGHT, (86, 150, 160))
    for _ in range(120):
        x, y = dice.gauss(636, 120), dice.gauss(640, 13)
        _disc(draw, x, y, dice.uniform(8, 26), (236, 247, 248))
    for x, y, tall in (
        (70, 560, 260),
        (180, 620, 330),
        (330, 690, 300),
        (950, 690, 310),
        (1090, 610, 340),
        (1210, 540, 270),
    ):
        _fir(draw, x, y, tall, _mixed((24, 72, 60), (46, 104, 78), (tall - 260) / 80))
    return _jpeg(picture)


def skyline() -> bytes:
    """A city at night."""
    picture = _sky((12, 16, 48), (96, 62, 128))
    _glow(picture, 300, 170, 260, (190, 200, 255))
    draw = _pen(picture)
    dice = random.Random(5)
    for _ in range(140):
        _disc(draw, dice.uniform(0, _WIDTH), dice.uniform(0, 360), dice.uniform(0.6, 1.9), (220, 225, 255))
    _disc(draw, 300, 170, 52, (240, 240, 255))
    for row, colour in ((0, (46, 38, 92)), (1, (30, 27, 70)), (2, (17, 18, 48))):
        x = -20.0
        while x < _WIDTH:
            wide, tall = dice.uniform(60, 130), dice.uniform(150, 330) - 30 * row
            top = 640 - tall
            _box(draw, x, top, x + wide, _HEIGHT, colour)
            if dice.random() < 0.25:
                _line(draw, x + wide / 2, top, x + wide / 2, top - 46, colour, 4)
            for column in range(int(wide // 17)):
                for floor in range(int(tall // 22)):
                    if row and dice.random() < 0.42:
                        at_x, at_y = x + 8 + 17 * column, top + 12 + 22 * floor
                        warm = _mixed((255, 214, 130), (255, 244, 214), dice.random())
                        _box(draw, at_x, at_y, at_x + 8, at_y + 11, warm)
            x += wide + dice.uniform(-8, 14)
    _box(draw, 0, 640, _WIDTH, _HEIGHT, (14, 16, 40))
    for _ in range(160):
        x, y = dice.uniform(0, _WIDTH), dice.uniform(646, 716)
        _line(draw, x, y, x + dice.uniform(10, 46), y, _mixed((30, 30, 74), (230, 178, 120), dice.random() ** 3), 2)
    return _jpeg(picture)


def desert() -> bytes:
    """Dunes and a cactus under the noon sun."""
    picture = _sky((86, 170, 214), (253, 226, 176))
    _glow(picture, 980, 170, 330, (255, 250, 220))
    draw = _pen(picture)
    _disc(draw, 980, 170, 56, (255, 252, 232))
    for base, height, seed, colour in (
        (450, 60, 2, (233, 180, 120)),
        (520, 80, 6, (221, 156, 96)),
        (610, 90, 12, (201, 128, 76)),
        (700, 70, 15, (176, 104, 62)),
    ):
        _ridge(draw, base, height, seed, colour)
    for x, y, size in ((300, 640, 1.5), (760, 540, 0.7), (1130, 600, 1.0)):
        green = (52, 112, 76)
        _pillar(draw, x, y - 190 * size, y, 24 * size, green)
        _pillar(draw, x - 62 * size, y - 140 * size, y - 84 * size, 17 * size, green)
        _line(draw, x - 62 * size, y - 88 * size, x, y - 88 * size, green, 20 * size)
        _pillar(draw, x + 60 * size, y - 165 * size, y - 112 * size, 17 * size, green)
        _line(draw, x, y - 114 * size, x + 60 * size, y - 114 * size, green, 20 * size)
    return _png(picture)


def valley(*, evening: bool) -> bytes:
    """The same valley in the morning and in the evening: a first and a last frame."""
    if evening:
        picture, sun, at = _sky((38, 36, 84), (236, 122, 92)), (255, 190, 130), (1010, 330)
        hills = ((104, 74, 112), (74, 58, 100), (50, 46, 84), (30, 34, 64))
    else:
        picture, sun, at = _sky((132, 190, 232), (255, 228, 196)), (255, 244, 206), (270, 300)
        hills = ((168, 196, 200), (128, 174, 152), (92, 148, 110), (58, 112, 80))
    _glow(picture, *at, 380, sun)
    draw = _pen(picture)
    _disc(draw, *at, 58, sun)
    for number, colour in enumerate(hills):
        _ridge(draw, 380 + 90 * number, 110 - 12 * number, 3 + 5 * number, colour)
    _box(draw, 566, 470, 650, 536, _mixed((240, 226, 206), hills[2], 0.55 if evening else 0.0))
    _polygon(draw, [(552, 472), (608, 426), (664, 472)], _mixed((178, 78, 62), hills[2], 0.4 if evening else 0.0))
    _box(draw, 592, 490, 622, 518, (255, 220, 130) if evening else (96, 120, 140))
    for x, y, tall in ((120, 640, 150), (210, 690, 190), (1060, 640, 160), (1170, 700, 210)):
        _fir(draw, x, y, tall, _mixed(hills[3], (10, 30, 30), 0.35))
    return _png(picture)


def balloon() -> bytes:
    """A hot-air balloon over spring meadows."""
    picture = _sky((118, 188, 236), (226, 244, 250))
    draw = _pen(picture)
    for x, y in ((190, 150), (1010, 110), (1120, 290)):
        for offset, radius in ((-62, 34), (-22, 50), (30, 44), (70, 30)):
            _disc(draw, x + offset, y - radius / 3, radius, (252, 253, 255))
    _ridge(draw, 520, 70, 5, (150, 202, 142))
    _ridge(draw, 590, 60, 9, (112, 178, 104))
    _ridge(draw, 670, 46, 14, (82, 150, 82))
    dice = random.Random(3)
    for _ in range(240):
        y = dice.uniform(640, 716)
        _disc(
            draw,
            dice.uniform(0, _WIDTH),
            y,
            (y - 600) / 28,
            dice.choice(((255, 214, 92), (250, 130, 150), (255, 250, 240))),
        )
    x, y, radius = 600, 270, 160
    stripes = (
        (231, 76, 60),
        (244, 162, 97),
        (250, 218, 120),
        (42, 157, 143),
        (38, 110, 150),
        (250, 218, 120),
        (244, 162, 97),
    )
    for number, colour in enumerate(stripes):
        half = radius * math.cos(number / len(stripes) * math.pi / 2)
        _balloon_shape(draw, x, y, half, radius, colour)
    for side in (-1, 1):
        _line(draw, x + side * 38, y + 214, x + side * 24, y + 270, (110, 80, 60), 3)
    _box(draw, x - 28, y + 266, x + 28, y + 306, (140, 96, 62))
    _box(draw, x - 31, y + 264, x + 31, y + 273, (168, 120, 80))
    return _png(picture)


def stage() -> bytes:
    """An empty stage: a reference image."""
    picture = _sky((58, 20, 44), (24, 12, 32))
    draw = _pen(picture)
    for number in range(32):
        x = number * 40
        _box(draw, x, 0, x + 22, 560, _mixed((150, 28, 48), (96, 14, 40), (number % 3) / 2))
    _polygon(draw, [(0, 560), (_WIDTH, 560), (_WIDTH, _HEIGHT), (0, _HEIGHT)], (122, 78, 52))
    for number in range(17):
        _line(draw, 640 + (number - 8) * 74, 560, 640 + (number - 8) * 190, _HEIGHT, (96, 58, 40), 3)
    _glow(picture, 640, 600, 360, (255, 232, 180))
    return _jpeg(picture)


def dancer_clip() -> bytes:
    """Two seconds of a dancing figure, H.264 in MP4: a reference video."""
    import av
    from PIL import Image

    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_CLIP_FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = _CLIP_WIDTH, _CLIP_HEIGHT, "yuv420p"
        for number in range(_CLIP_FPS * _CLIP_S):
            picture = Image.new("RGB", (_WIDTH, _HEIGHT), (236, 226, 208))
            _dance(_pen(picture), 2 * math.pi * number / _CLIP_FPS)
            frame = av.VideoFrame.from_image(picture.resize((_CLIP_WIDTH, _CLIP_HEIGHT), Image.Resampling.BILINEAR))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return made.getvalue()


# --- pieces, in coordinates of 1280 x 720 ---


def _dance(draw: ImageDraw, beat: float) -> None:
    """The figure at that phase; the clip's picture is half as wide as the pen thinks, hence the halves."""
    ink, sway, hop = (196, 62, 70), 40 * math.sin(beat), 22 * abs(math.sin(beat))
    x, y = 320 + sway, 190 - hop
    _box(draw, 0, 300, _WIDTH, _HEIGHT, (206, 178, 148))
    _disc(draw, 320 + sway, 318, 64 - hop, (180, 150, 122), flat=0.2)
    for side in (-1, 1):
        lift = math.sin(beat + side)
        _line(draw, x, y - 46, x + side * 62, y - 66 - 46 * lift, ink, 14)
        _line(draw, x, y + 40, x + side * (26 + 18 * lift), 312 - max(0.0, 26 * lift), ink, 16)
    _line(draw, x, y - 62, x, y + 44, ink, 30)
    _disc(draw, x + sway / 4, y - 96, 30, (92, 58, 62))


def _sky(top: Colour, bottom: Colour) -> Image:
    from PIL import Image, ImageOps

    shades = Image.linear_gradient("L").resize((_WIDTH * _SCALE, _HEIGHT * _SCALE))
    return ImageOps.colorize(shades, top, bottom)


def _glow(picture: Image, x: float, y: float, radius: float, colour: Colour) -> None:
    from PIL import Image, ImageOps

    side = int(2 * radius * _SCALE)
    fading = [round(170 * (max(0, value - 80) / 175) ** 1.6) for value in range(256)]  # gone before the square's edges
    shades = ImageOps.invert(Image.radial_gradient("L")).resize((side, side)).point(fading)
    picture.paste(colour, (int((x - radius) * _SCALE), int((y - radius) * _SCALE)), shades)


def _pen(picture: Image) -> ImageDraw:
    from PIL import ImageDraw

    return ImageDraw.Draw(picture)


def _polygon(draw: ImageDraw, points: list[tuple[float, float]], colour: Colour) -> None:
    draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill=colour)


def _box(draw: ImageDraw, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    draw.rectangle([left * _SCALE, top * _SCALE, right * _SCALE, bottom * _SCALE], fill=colour)


def _disc(draw: ImageDraw, x: float, y: float, radius: float, colour: Colour, *, flat: float = 1.0) -> None:
    tall = radius * flat
    box = [(x - radius) * _SCALE, (y - tall) * _SCALE, (x + radius) * _SCALE, (y + tall) * _SCALE]
    draw.ellipse(box, fill=colour)


def _line(draw: ImageDraw, x: float, y: float, to_x: float, to_y: float, colour: Colour, width: float) -> None:
    draw.line([x * _SCALE, y * _SCALE, to_x * _SCALE, to_y * _SCALE], fill=colour, width=max(1, round(width * _SCALE)))


def _pillar(draw: ImageDraw, x: float, top: float, bottom: float, half: float, colour: Colour) -> None:
    """Upright, round at both ends."""
    box = [(x - half) * _SCALE, (top - half) * _SCALE, (x + half) * _SCALE, (bottom + half) * _SCALE]
    draw.rounded_rectangle(box, radius=half * _SCALE, fill=colour)


def _ridge(draw: ImageDraw, base: float, height: float, seed: int, colour: Colour) -> None:
    """Hills along the whole width, down to the lower edge."""
    dice = random.Random(seed)
    waves = [(dice.uniform(0.4, 1.0) / n, n * dice.uniform(0.7, 1.3), dice.uniform(0, 6.3)) for n in (1, 2, 3, 5)]
    points = [(0.0, float(_HEIGHT))]
    for x in range(0, _WIDTH + 8, 8):
        lift = sum(size * math.sin(often * x / _WIDTH * 2 * math.pi + phase) for size, often, phase in waves)
        points.append((x, base - height * (0.5 + lift / 3)))
    _polygon(draw, [*points, (_WIDTH, float(_HEIGHT))], colour)


def _fir(draw: ImageDraw, x: float, y: float, tall: float, colour: Colour) -> None:
    _box(draw, x - tall / 28, y - tall / 8, x + tall / 28, y, (70, 52, 44))
    for level in range(4):
        half, top = tall * (0.26 - 0.045 * level), y - tall * (0.42 + 0.19 * level)
        _polygon(
            draw,
            [(x - half, y - tall * (0.1 + 0.19 * level)), (x, top), (x + half, y - tall * (0.1 + 0.19 * level))],
            colour,
        )


def _balloon_shape(draw: ImageDraw, x: float, y: float, half: float, radius: float, colour: Colour) -> None:
    points: list[tuple[float, float]] = []
    for step in range(61):
        angle = math.pi * step / 60
        narrow = 1 - 0.42 * max(0.0, -math.cos(angle)) ** 2
        points.append((half * math.sin(angle) * narrow, y - radius * math.cos(angle) * (1.0 if step <= 30 else 1.35)))
    neck = half / radius * 34
    outline = [(x + dx, at) for dx, at in points[:-4]] + [(x + neck, y + 216), (x - neck, y + 216)]
    _polygon(draw, outline + [(x - dx, at) for dx, at in reversed(points[:-4])], colour)


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    share = min(1.0, max(0.0, share))
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _png(picture: Image) -> bytes:
    return _saved(picture, "PNG")


def _jpeg(picture: Image) -> bytes:
    return _saved(picture, "JPEG", quality=90)


def _saved(picture: Image, kind: str, **options: int) -> bytes:
    from PIL import Image

    made = io.BytesIO()
    picture.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(made, kind, **options)
    return made.getvalue()
