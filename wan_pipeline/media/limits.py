"""Limits on input files as values: what a model's document allows, and the check of a probed file against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """None or empty means: the document sets no such limit. Aspect is the larger side over the smaller (8.0 = 1:8..8:1)."""

    formats: frozenset[str] = frozenset()
    min_side_px: int | None = None
    max_side_px: int | None = None
    max_aspect: float | None = None
    max_bytes: int | None = None
    alpha_allowed: bool = True


@dataclass(frozen=True, slots=True)
class ClipLimits:
    """Limits on an input video."""

    containers: frozenset[str] = frozenset()
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    max_aspect: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Limits on an input sound file."""

    formats: frozenset[str] = frozenset()
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    max_bytes: int | None = None


MediaLimits = ImageLimits | ClipLimits | AudioLimits
