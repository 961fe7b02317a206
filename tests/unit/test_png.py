"""PNGs of our own: any reader finds the pixels that went in, and nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from serving.png import png_of


def photograph(width: int, height: int) -> Image.Image:
    """Noise on a slope, as of a sensor."""
    slope = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    noise = np.random.default_rng(0).integers(0, 16, (height, width, 3))
    return Image.fromarray((slope + noise).astype(np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (512, 512), (768, 432)])
@pytest.mark.parametrize("kind", ["photograph", "plain"])
def test_every_pixel_comes_back(size: tuple[int, int], kind: str):
    picture = photograph(*size) if kind == "photograph" else Image.new("RGB", size, (250, 0, 3))
    png = png_of(picture)
    with Image.open(io.BytesIO(png), formats=["PNG"]) as checked:
        checked.verify()  # every chunk's checksum
    with Image.open(io.BytesIO(png), formats=["PNG"]) as read:
        assert (read.mode, read.size, read.info) == ("RGB", size, {})
        assert np.array_equal(np.asarray(read), np.asarray(picture))


def test_it_is_compressed():
    photo, plain = photograph(512, 512), Image.new("RGB", (512, 512), (250, 0, 3))
    raw = 512 * 512 * 3
    assert len(png_of(photo)) < 0.8 * raw
    assert len(png_of(plain)) < 0.02 * raw
