"""Pictures of any format, made for the tests of preprocessing, and what it makes of them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from serving.errors import (
    I2VError,
)
from serving.parameters import VideoParameters
from serving.preprocessing import Prepared, prepare
from serving.presets import I2VGEN_XL

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "AVIF")
ORANGE = (230, 120, 40)


def encoded(image: Image.Image, format_name: str, **options) -> bytes:
    data = io.BytesIO()
    quick = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}, "AVIF": {"speed": 10}}
    image.save(data, format_name, **quick.get(format_name, {}), **options)
    return data.getvalue()


def prepared(data: bytes, **parameters) -> Prepared:
    return prepare(data, VideoParameters(prompt="the cat walks", **parameters), I2VGEN_XL)


def frame(data: bytes, **parameters) -> np.ndarray:
    """The conditioning picture's pixels, (height, width, 3) as int."""
    return np.asarray(Image.open(io.BytesIO(prepared(data, **parameters).picture))).astype(int)


def picture(size=(600, 600), mode="RGB", seed=0) -> Image.Image:
    """Smooth colours with some detail: every format and filter keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 4), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def plain(colour, size=(600, 600), mode="RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, body: bytes = b"", *, bits=8, colour=2, before=()) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bmp_run_length(width: int, height: int) -> bytes:
    """One pixel a row, then "end of line": Pillow fills the rest of each row pixel by pixel."""
    rows = b"\x01\x00\x00\x00" * height + b"\x00\x01"
    colours = b"".join(bytes((255 - value, value, value, 0)) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + colours + rows


def refusal(data: bytes, **parameters) -> I2VError:
    with pytest.raises(I2VError) as caught:
        prepared(data, **parameters)
    return caught.value


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries' tags swapped: a conversion that cannot be missed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)
