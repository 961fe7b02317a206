"""What is no still of a legal size is refused by name; nothing that is sent raises any other error."""

import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_pictures import (
    FORMATS,
    ORANGE,
    bmp_run_length,
    encoded,
    picture,
    plain,
    png_of,
    prepared,
    refusal,
    swapped_profile,
)
from PIL import Image

from serving import picture as picture_room
from serving import preprocessing
from serving.errors import (
    AnimatedImage,
    I2VError,
    ImageDimensions,
    ImageTooLarge,
    InvalidImage,
    UnsupportedImageFormat,
)


@pytest.mark.parametrize(
    ("data", "given_name"),
    [
        (encoded(plain(ORANGE), "GIF"), "a GIF"),
        (encoded(plain(ORANGE), "TIFF"), "a TIFF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2", "a video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"%PDF-1.7", "a PDF"),
        (b'<?xml version="1.0"?><svg/>', "an SVG"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"hello", "unknown kind"),
        (b"\0", "unknown kind"),
    ],
)
def test_other_formats_are_refused_by_name(data, given_name):
    error = refusal(data)
    assert isinstance(error, UnsupportedImageFormat)
    assert given_name in error.message
    assert "JPEG, PNG, WEBP, BMP or AVIF" in error.message


def test_the_content_decides_not_a_name_inside_it():
    assert isinstance(refusal(b"photo.png\n" + encoded(picture(), "PNG")), UnsupportedImageFormat)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_pictures_are_refused(format_name, share):
    data = encoded(picture(), format_name)
    assert isinstance(refusal(data[: int(len(data) * share)]), InvalidImage)


def test_empty_and_corrupt_pictures_are_refused():
    assert isinstance(refusal(b""), InvalidImage)
    assert isinstance(refusal(b"BM, short for something else"), InvalidImage)
    assert isinstance(refusal(b"\xff\xd8\xff" + bytes(1000)), InvalidImage)
    assert isinstance(refusal(png_of(600, 600, b"too little")), InvalidImage)
    data = bytearray(encoded(picture(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert isinstance(refusal(bytes(data)), InvalidImage)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "AVIF"])
def test_animated_pictures_are_refused(format_name):
    data = encoded(picture(), format_name, save_all=True, append_images=[picture(seed=1), picture(seed=2)])
    error = refusal(data)
    assert isinstance(error, AnimatedImage)
    assert "3 frames" in error.message


@pytest.mark.parametrize("size", [(63, 600), (600, 63), (1, 1), (8193, 64), (64, 8193)])
def test_sides_outside_64_to_8192_are_refused(size):
    error = refusal(encoded(plain(0, size, "L"), "PNG"))
    assert isinstance(error, ImageDimensions)
    assert f"{size[0]}x{size[1]}" in error.message
    assert "64 to 8192" in error.message


@pytest.mark.parametrize("size", [(64, 64), (8192, 64), (64, 8192)])
def test_sides_at_the_limits_are_accepted(size):
    assert prepared(encoded(plain(0, size, "L"), "PNG")).source_size == size


# Over our limit, over Pillow's warning, over Pillow's error, and as large as the header can say.
@pytest.mark.parametrize("side", [8001, 10_000, 14_000, 2**31 - 1])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_by_the_header(side, monkeypatch):
    monkeypatch.setattr(preprocessing, "Picture", None)  # nothing is decoded
    error = refusal(png_of(side, side))
    assert isinstance(error, ImageTooLarge)
    assert "64,000,000" in error.message


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_where_pillows_warning_is_an_error():
    assert isinstance(refusal(png_of(10_000, 10_000)), ImageTooLarge)


def test_webp_and_jpeg_bombs_are_refused_by_the_header():
    webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (16_383).to_bytes(3, "little") * 2
    assert isinstance(refusal(webp), ImageTooLarge | InvalidImage)
    jpeg = bytearray(encoded(picture(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    assert isinstance(refusal(bytes(jpeg)), ImageTooLarge)


def test_a_jpeg_of_countless_scans_is_refused():
    data = encoded(picture(mode="L"), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert prepared(data[:-2] + last * 20 + data[-2:]).width == 512
    error = refusal(data[:-2] + last * 100 + data[-2:])
    assert isinstance(error, ImageTooLarge)
    assert "64" in error.message


def test_a_large_run_length_bmp_is_refused():
    assert prepared(bmp_run_length(640, 640)).width == 512
    error = refusal(bmp_run_length(8000, 7000))
    assert isinstance(error, ImageTooLarge)
    assert "run-length" in error.message


def test_running_out_of_memory_is_a_refusal(monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(picture_room, "_resizable", exhausted)
    assert isinstance(refusal(encoded(picture(), "PNG")), ImageTooLarge)


def test_every_refusal_names_the_field_and_what_is_allowed():
    animated = encoded(picture(), "WEBP", save_all=True, append_images=[picture(seed=1)])
    cases = [b"", b"hello", b"BMbroken", animated, png_of(9000, 9000), png_of(9000, 64), bmp_run_length(8000, 7000)]
    for error in map(refusal, cases):
        assert error.param == "input_reference"
        assert error.message.startswith("input_reference: ")
        assert "allowed" in error.message
        assert error.message.endswith(".")
        assert error.status in (400, 415)


def test_pillows_globals_are_left_alone():
    before = Image.MAX_IMAGE_PIXELS
    refusal(png_of(14_000, 14_000))
    prepared(encoded(picture(), "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS


SMALL = {name: encoded(picture((80, 72), "RGB"), name) for name in FORMATS} | {
    "progressive": encoded(picture((80, 72), "L"), "JPEG", progressive=True),
    "16-bit": encoded(Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80)), "PNG"),
    "palette": encoded(picture((80, 72)).quantize(16), "PNG", transparency=3),
    "exif": encoded(picture((80, 72)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\1\0\0\0\6\0\0\0"),
    "profile": encoded(picture((80, 72)), "PNG", icc_profile=swapped_profile()),
    "animated": encoded(picture((80, 72)), "PNG", save_all=True, append_images=[picture((80, 72), seed=1)]),
    "run-length": bmp_run_length(80, 72),
}
SIGNATURES = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM", b"\0\0\0\x18ftypavif"]


def only_our_errors(data: bytes) -> None:
    result = None
    with contextlib.suppress(I2VError):
        result = prepared(data, resolution="256p")
    if result is not None:
        assert Image.open(io.BytesIO(result.picture)).size == (result.width, result.height)


@settings(max_examples=120)
@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_random_bytes_raise_only_our_errors(signature, data):
    only_our_errors(signature + data)


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(SMALL)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
@example("PNG", [], 0.0)
@example("AVIF", [(0.05, 255)], 1.0)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_pictures_raise_only_our_errors(name, damage, length):
    data = bytearray(SMALL[name])
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    keep = len(data) if length > 0.5 else int(length * 2 * len(data))
    only_our_errors(bytes(data[:keep]))
