"""Two clips of one recipe: how far apart their frames are, and what of their recipes differs. Knows no files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODEC_DB = 40.0
"""Frames this near to each other look the same; lossy formats alone put as much between a clip and its own frames."""
_ASIDE = ("id", "attempt", "timings_s", "shared_steps", "preempted_s")
"""What no clip depends on."""


class Verdict(StrEnum):
    IDENTICAL = "identical"
    EQUAL_WITHIN_CODEC = "equal within the codec"
    DIFFERENT = "different"


@dataclass(frozen=True)
class FrameDifference:
    """Of one decoded frame and its counterpart."""

    psnr_db: float
    """Infinite where they are identical."""
    levels: int
    """The worst difference, of 255."""


@dataclass(frozen=True)
class RecipeDifference:
    """One value that is not the same; None where there was none."""

    name: str
    before: Any
    now: Any


def compare_frames(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> list[FrameDifference]:
    """Frame by frame.

    Raises:
        ValueError: they are not of one shape, (F, H, W, 3).
    """
    if before.shape != now.shape:
        raise ValueError(f"{_shape(before)} before, and {_shape(now)} now")
    return [_frame(one.astype(np.int16) - other) for one, other in zip(before, now, strict=True)]


def verdict(frames: list[FrameDifference], tolerance_db: float = CODEC_DB) -> Verdict:
    """By the worst frame."""
    if all(frame.levels == 0 for frame in frames):
        return Verdict.IDENTICAL
    near = min(frame.psnr_db for frame in frames) >= tolerance_db
    return Verdict.EQUAL_WITHIN_CODEC if near else Verdict.DIFFERENT


def compare_recipes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[RecipeDifference]:
    """What of that on which a clip depends is not the same: parameters, picture, model, card, libraries."""
    one, other = dict(_flat(before)), dict(_flat(now))
    names = [*one, *(name for name in other if name not in one)]
    return [RecipeDifference(n, one.get(n), other.get(n)) for n in names if one.get(n) != other.get(n)]


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in recipe.items():
        if not prefix and name in _ASIDE:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        # A preset is only a name for values that the parameters have anyway.
        elif f"{prefix}{name}" != "parameters.preset":
            yield f"{prefix}{name}", value


def _frame(difference: NDArray[np.int16]) -> FrameDifference:
    levels = int(np.abs(difference).max(initial=0))
    if levels == 0:
        return FrameDifference(math.inf, 0)
    mean_square = float(np.mean(np.square(difference, dtype=np.float64)))
    return FrameDifference(round(10 * math.log10(255**2 / mean_square), 2), levels)


def _shape(frames: NDArray[np.uint8]) -> str:
    count, height, width = frames.shape[:3]
    return f"{count} frames of {width}x{height}"
