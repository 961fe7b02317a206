"""Where a picture's subject is: what is unlike the border, and sharp.

Plain arithmetic on small copies. Knows nothing of files, sizes asked for, or warnings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

GROUND_TOLERANCE = 28
GROUND_SHARE = 0.97

CROP_SIDE = 96
BORDER_SHARE = 0.03
POSITIONS = 101
AS_GOOD = 0.02
WORTH_MOVING = 0.1

Mask = NDArray[np.bool_]
Numbers = NDArray[np.floating[Any]]
Point = tuple[float, float]
CENTER: Point = (0.5, 0.5)


def border_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """(n, channels): the outermost pixels of (height, width, channels)."""
    return np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


def standing_out(picture: Image.Image) -> Mask | None:
    """(height, width): what stands out from a plain ground; None where the ground is not plain.

    The ground is the border's median colour, plain where 97% of the border is within 28 levels of it in every
    channel; what stands out differs by more. A median filter takes specks out.
    """
    pixels = np.asarray(picture, np.int16)
    border = border_of(pixels)
    ground = np.median(border, axis=0).astype(np.int16)
    if np.mean(np.abs(border - ground).max(axis=1) <= GROUND_TOLERANCE) < GROUND_SHARE:
        return None
    differs = (np.abs(pixels - ground).max(axis=2) > GROUND_TOLERANCE).astype(np.uint8) * 255
    return np.asarray(Image.fromarray(differs).filter(ImageFilter.MedianFilter(3))) > 0


def best_window(picture: Image.Image, aspect: float) -> Point:
    """The centre of the largest window of `aspect` (width / height) that shows most of the subject.

    Both coordinates are shares of the picture's sides, from its upper left corner. How much a pixel of a copy of 96
    pixels stands out is the sum of two maps, each with a sum of one: its squared colour distance to the border, to the
    3% of it that are nearest (not to the nearest alone, or a subject that the border cuts would be ground); and its
    squared gradient, which is small where a lens left the ground out of focus. Of the windows that show as much as the
    best one, within 2%, the one centred best is taken; the middle one where the best shows no tenth more of it all.
    `python tests/unit/precision.py` prints how well it does.
    """
    small = picture.copy()
    small.thumbnail((CROP_SIDE, CROP_SIDE), Image.Resampling.BOX)
    soft = np.asarray(small.filter(ImageFilter.BoxBlur(1)), np.float32)
    maps = (_distance_to_border(soft), _squared_gradient(small))
    width, height = picture.size
    sideways = width > height * aspect
    share = height * aspect / width if sideways else width / aspect / height
    weight = sum((_of_sum_one(one).sum(axis=0 if sideways else 1) for one in maps), np.zeros(1))
    middle = _best_middle(weight, share)
    return (middle, 0.5) if sideways else (0.5, middle)


def _distance_to_border(pixels: Numbers) -> Numbers:
    """(height, width): squared, to the nearest 3% of the border."""
    border = border_of(pixels)
    nearest = max(1, int(BORDER_SHARE * len(border))) - 1
    rows = []
    for row in pixels:  # a row at a time, or the distances of all to all would take 100 MB
        squares = np.square(row[:, None] - border).sum(axis=2)
        rows.append(np.partition(squares, nearest, axis=1)[:, nearest])
    return np.stack(rows)


def _squared_gradient(picture: Image.Image) -> Numbers:
    """(height, width): of the brightness; zeros where a side is a single pixel."""
    grey = np.asarray(picture.convert("L").filter(ImageFilter.GaussianBlur(1)), np.float32)
    if min(grey.shape) < 2:
        return np.zeros_like(grey)
    down, right = np.gradient(grey)
    return np.asarray(down**2 + right**2)


def _of_sum_one(weights: Numbers) -> Numbers:
    total = weights.sum()
    return weights / total if total > 0 else weights


def _best_middle(weight: Numbers, share: float) -> float:
    """Where the middle of a window goes that covers `share` of a line with these weights."""
    count, total = len(weight), float(weight.sum())
    if total == 0:
        return 0.5
    starts = np.linspace(0, count * (1 - share), POSITIONS)
    sums = np.concatenate(([0.0], np.cumsum(weight)))
    shown = np.interp(starts + count * share, np.arange(count + 1), sums) - np.interp(
        starts, np.arange(count + 1), sums
    )
    if shown.max() - shown[POSITIONS // 2] < WORTH_MOVING * total:
        return 0.5
    wanted = float(weight @ (np.arange(count) + 0.5)) / total - count * share / 2
    good = starts[shown >= shown.max() - AS_GOOD * total]
    start = good[np.argmin(np.abs(good - wanted))]
    return float(start / count + share / 2)
