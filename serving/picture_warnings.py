"""What a picture shows that seldom animates well: few pixels, a small subject, text, a subject that is cut off.

Plain arithmetic on a copy of at most 768 pixels a side. Each method rather stays silent than errs, and is
blind where its docstring says so. Knows nothing of files, formats or the clip's size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from serving.cautions import Caution
from serving.subject import Mask, standing_out

FIELD = "input_reference"
ANALYSIS_SIDE = 768
LOW_RESOLUTION_SIDE = 512

SUBJECT_AREA = 0.05
SUBJECT_BOX = 0.08
SUBJECT_SPECK = 0.0003
CROPPED_AWAY = 0.05

STROKE_CONTRAST = 32
STROKE_RADIUS = 12
GLYPH_HEIGHTS = (7, 32)
GLYPH_ASPECTS = (0.1, 1.8)
GLYPH_FILLS = (0.15, 0.95)
LINE_GLYPHS = 7
LINE_GAP = 0.8
LINE_ALIGNED = 0.75
LINE_HEIGHT = 2.0
LINE_VARIETY = 0.1
SMALLEST_LEVEL = 160
# Busier levels are texture; the bounds keep a hostile picture's cost under a second and 100 MB.
MAX_RUNS = 60_000
MAX_GLYPHS = 1000

Numbers = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]


def picture_warnings(
    picture: Image.Image, source_size: tuple[int, int], subject_is_cut: bool = False
) -> tuple[Caution, ...]:
    """What there is to say about `picture`, the RGB copy of what is shown.

    Args:
        source_size: (width, height) in pixels that the whole picture had at first.
        subject_is_cut: whether the crop leaves out a part of its subject.
    """
    cautions = []
    if is_low_resolution(source_size):
        message = (
            f"The picture is {source_size[0]}x{source_size[1]} pixels; under {LOW_RESOLUTION_SIDE} on the shorter "
            "side, detail is lost."
        )
        cautions.append(_caution("low_resolution", message, "Send a larger picture."))
    if has_text(picture):
        message = "The picture seems to carry text; text garbles once it moves."
        cautions.append(_caution("text_in_picture", message, "Crop the text away, or keep the movement small."))
    elif has_small_subject(picture):  # else the lettering itself would pass for one
        message = "The subject is small in the picture; little of the clip will move."
        cautions.append(_caution("small_subject", message, "Crop closer."))
    if subject_is_cut:
        message = "The subject does not fit the clip's shape, and a part of it is cropped away."
        cautions.append(_caution("subject_cropped", message, "Ask for fit=pad, or for another aspect_ratio."))
    return tuple(cautions)


def _caution(code: str, message: str, suggestion: str) -> Caution:
    return Caution(code=code, field=FIELD, message=message, suggestion=suggestion)


def is_low_resolution(source_size: tuple[int, int]) -> bool:
    """Whether the shorter side has under 512 pixels."""
    return min(source_size) < LOW_RESOLUTION_SIDE


def has_small_subject(picture: Image.Image) -> bool:
    """Whether what stands out from a plain ground covers under 5% of the picture, and its box under 8%.

    The ground is as `standing_out` has it; under 0.03% in all is dust. Blind to pictures without a plain ground,
    and to subjects of the ground's colour.
    """
    subject = standing_out(picture)
    if subject is None:
        return False
    area = float(subject.mean())
    if not SUBJECT_SPECK <= area < SUBJECT_AREA:
        return False
    rows, columns = np.flatnonzero(subject.any(axis=1)), np.flatnonzero(subject.any(axis=0))
    box = (int(np.ptp(rows)) + 1) * (int(np.ptp(columns)) + 1)
    return bool(box < SUBJECT_BOX * subject.size)


def cuts_subject(picture: Image.Image, window: tuple[float, float, float, float]) -> bool:
    """Whether 5% or more of what stands out from the whole picture's plain ground lies outside `window`.

    `window` is (left, top, right, bottom) in shares of the sides. Blind where `has_small_subject` is.
    """
    if window == (0.0, 0.0, 1.0, 1.0):
        return False
    subject = standing_out(picture)
    if subject is None or subject.mean() < SUBJECT_SPECK:
        return False
    height, width = subject.shape
    left, top, right, bottom = (round(share * side) for share, side in zip(window, (width, height) * 2, strict=True))
    return bool(subject[top:bottom, left:right].sum() <= (1 - CROPPED_AWAY) * subject.sum())


def has_text(picture: Image.Image) -> bool:
    """Whether seven or more glyph-like shapes stand in one level line.

    Shapes are 8-connected pixels over 32 levels darker, or lighter, than the mean of the 25x25 pixels around
    them; at full size, half, quarter and so on, so that small and large letters are both seen. A glyph is 7 to
    32 pixels high, 0.1 to 1.8 times as wide, and fills 15% to 95% of its box. Neighbours in a line differ in
    height by 2:1 at most, overlap by 60% of it, and are at most 0.8 heights apart. In a line, 75% share a
    baseline or a top within an eighth of the height, all are within two heights, and the fills vary by 10%,
    which those of windows, tiles and stripes do not.

    Blind to tilted text, to single short words, and mostly to scripts whose characters join, or fall into many
    parts, such as Arabic and Chinese.
    """
    level = picture.convert("L")
    while max(level.size) >= SMALLEST_LEVEL and min(level.size) >= GLYPH_HEIGHTS[0]:
        around = level.filter(ImageFilter.BoxBlur(STROKE_RADIUS))
        # Both differences stop at zero.
        for difference in (ImageChops.subtract(around, level), ImageChops.subtract(level, around)):
            if _has_line(np.asarray(difference) > STROKE_CONTRAST):
                return True
        level = level.reduce(2)
    return False


def _has_line(mask: Mask) -> bool:
    shapes = _shapes(mask)
    width, height, area = shapes[:, 2] - shapes[:, 0], shapes[:, 3] - shapes[:, 1], shapes[:, 4]
    fill = area / (width * height)
    glyphs = np.flatnonzero(
        _within(height, GLYPH_HEIGHTS) & _within(width / height, GLYPH_ASPECTS) & _within(fill, GLYPH_FILLS)
    )
    glyphs = glyphs[np.argsort(shapes[glyphs, 1], kind="stable")][:MAX_GLYPHS]
    left, top, right, bottom, _ = shapes[glyphs].astype(np.float32).T
    height, fill = height[glyphs], fill[glyphs]
    lines = _groups(len(glyphs), *np.nonzero(_neighbours(left, top, right, bottom)))
    return any(
        _is_text(top[line], bottom[line], height[line], fill[line])
        for line in (lines == label for label in np.flatnonzero(np.bincount(lines) >= LINE_GLYPHS))
    )


def _neighbours(left: Floats, top: Floats, right: Floats, bottom: Floats) -> Mask:
    """(n, n): whether a second shape stands beside a first, to its right, as in one line."""
    height = bottom - top
    taller, lower = np.maximum(height[:, None], height), np.minimum(height[:, None], height)
    overlap = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    gap = left - right[:, None]
    beside = (left[:, None] < left) & (gap >= -0.3 * lower) & (gap <= LINE_GAP * taller)
    return np.asarray(beside & (taller <= 2 * lower) & (overlap >= 0.6 * lower))


def _is_text(top: Floats, bottom: Floats, height: Numbers, fill: Floats) -> bool:
    size = float(np.median(height))
    slack = max(1.0, size / 8)
    aligned = max(np.mean(np.abs(edge - np.median(edge)) <= slack) for edge in (top, bottom))
    is_level = aligned >= LINE_ALIGNED and bottom.max() - top.min() <= LINE_HEIGHT * size
    return bool(is_level and fill.std() >= LINE_VARIETY * fill.mean())


def _within(values: Numbers | Floats, bounds: tuple[float, float]) -> Mask:
    return np.asarray((values >= bounds[0]) & (values <= bounds[1]))


def _shapes(mask: Mask) -> Numbers:
    """The 8-connected shapes of a mask: (n, 5) of left, top, right, bottom, area; none if too many."""
    # A shape is a group of horizontal runs of which each touches one in the row below. Runs lie in one flat
    # array with a blank column at either end of a row, so that none touches one of another row's end.
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.bool_)
    padded[:, 1:-1] = mask
    stride = width + 2
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    if not 0 < len(starts) <= MAX_RUNS:
        return np.empty((0, 5), np.int64)
    first = np.searchsorted(ends, starts + stride, side="left")
    count = np.searchsorted(starts, ends + stride, side="right") - first
    upper = np.repeat(np.arange(len(starts)), count)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    labels = np.unique(_groups(len(starts), upper, lower), return_inverse=True)[1]
    shapes = np.zeros((labels.max() + 1, 5), np.int64)
    shapes[:, :2] = max(padded.shape)
    np.minimum.at(shapes[:, 0], labels, starts % stride - 1)
    np.minimum.at(shapes[:, 1], labels, starts // stride)
    np.maximum.at(shapes[:, 2], labels, ends % stride - 1)
    np.maximum.at(shapes[:, 3], labels, starts // stride + 1)
    np.add.at(shapes[:, 4], labels, ends - starts)
    return shapes


def _groups(count: int, first: Numbers, second: Numbers) -> Numbers:
    """For each of `count` items the least one that the pairs (first, second) join it to, directly or not."""
    labels = np.arange(count)
    while True:
        least = np.minimum(labels[first], labels[second])
        joined = labels.copy()
        np.minimum.at(joined, labels[first], least)
        np.minimum.at(joined, labels[second], least)
        joined = joined[joined]
        if np.array_equal(joined, labels):
            return labels
        labels = joined
