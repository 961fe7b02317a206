"""Whatever a picture's mode, depth, profile or inks: the colours that come out are those that were meant."""

import io
import struct
import subprocess

import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from made_pictures import (
    ORANGE,
    chunk,
    encoded,
    frame,
    picture,
    plain,
    png_of,
    prepared,
    swapped_profile,
)
from PIL import Image, ImageCms


def test_16_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 512).astype(np.uint16)[None].repeat(512, 0)
    pixels = frame(encoded(Image.fromarray(ramp), "PNG"))
    assert np.abs(pixels[256, :, 0] - np.round(ramp[0] / 257)).max() <= 1
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_16_bit_grey_with_a_transparent_value():
    body = b"".join(b"\0" + b"\x80\x00" * 300 + b"\x20\x00" * 300 for _ in range(600))
    data = png_of(600, 600, body, bits=16, colour=0, before=[chunk(b"tRNS", b"\x20\x00")])
    pixels = frame(data)
    assert (np.abs(pixels[:, :250] - 128) <= 1).all()
    assert (pixels[:, 262:] == 255).all()


def test_16_bit_colour_is_scaled():
    body = (b"\0" + struct.pack(">HHH", 0xFFFF, 0x8080, 0x0101) * 600) * 600
    assert (np.abs(frame(png_of(600, 600, body, bits=16)) - (255, 128, 1)) <= 1).all()


@pytest.mark.parametrize(
    ("colour", "values", "expected"),
    [(6, (0xFFFF, 0x0000, 0x0000, 0x8000), (255, 127, 127)), (4, (0x0000, 0x4000), (191, 191, 191))],
    ids=["RGBA", "LA"],
)
def test_16_bit_alpha_is_laid_on_white(colour, values, expected):
    body = (b"\0" + struct.pack(f">{len(values)}H", *values) * 600) * 600
    assert (np.abs(frame(png_of(600, 600, body, bits=16, colour=colour)) - expected) <= 1).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (plain(200, mode="L"), (200, 200, 200)),
        (plain(1, mode="1"), (255, 255, 255)),
        (plain(ORANGE).quantize(8), ORANGE),
        (plain((100, 128), mode="LA"), (177, 177, 177)),
        (plain((*ORANGE, 128), mode="RGBA"), (242, 187, 147)),
        (plain((0, 0, 0, 0), mode="RGBA"), (255, 255, 255)),
    ],
    ids=["L", "1", "P", "LA", "RGBA", "clear"],
)
def test_modes_become_rgb_on_white(image, expected):
    assert (np.abs(frame(encoded(image, "PNG")) - expected) <= 2).all()


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_becomes_white(mode):
    image = plain("black")
    image.paste("white", (0, 0, 300, 600))
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    black = image.getpixel((599, 0))
    pixels = frame(encoded(image, "PNG", transparency=black))
    assert (pixels == 255).all()


def test_hidden_colours_do_not_bleed_at_soft_edges():
    image = plain((255, 0, 0, 0), (700, 700), "RGBA")
    image.paste((0, 0, 0, 255), (0, 0, 350, 700))
    pixels = frame(encoded(image, "PNG"))
    assert (pixels.max(axis=2) - pixels.min(axis=2)).max() <= 2


@pytest.mark.parametrize("format_name", ["WEBP", "AVIF"])
def test_alpha_in_other_formats_is_laid_on_white(format_name):
    data = encoded(plain((*ORANGE, 0), mode="RGBA"), format_name)
    assert frame(data).min() >= 253


def test_cmyk_without_a_profile():
    data = encoded(plain((0, 255, 255, 0), mode="CMYK"), "JPEG", quality=95)
    pixels = frame(data)
    assert (np.abs(pixels - (255, 0, 0)) <= 4).all()


def by_ffmpeg(data: bytes) -> np.ndarray:
    """The middle pixel's colour as another decoder sees it."""
    command = [get_ffmpeg_exe(), "-v", "error", "-f", "mjpeg", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = np.frombuffer(subprocess.run(command, input=data, capture_output=True, check=True).stdout, np.uint8)
    return pixels.reshape(600, 600, 3)[300, 300].astype(int)


def test_inks_as_adobe_stores_them():
    """Inverted: no ink is 255."""
    data = encoded(plain((20, 200, 120, 60), mode="CMYK"), "JPEG", quality=98, subsampling=0)
    found, expected = frame(data)[256, 256], by_ffmpeg(data)
    assert b"Adobe" in data[:50]
    assert expected.max() - expected.min() > 30
    assert np.abs(found - expected).max() <= 6


def test_inks_as_adobe_stores_them_with_luma():
    """YCCK, marker transform 2: libjpeg gives inverted inks, 255 less RGB, of YCbCr and key."""
    luma, blue, red, key = 100, 90, 170, 200
    stored = plain((luma, blue, red, key), mode="CMYK")
    data = bytearray(encoded(Image.eval(stored, lambda ink: 255 - ink), "JPEG", quality=98, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    inverted = 255 - np.array(Image.new("YCbCr", (1, 1), (luma, blue, red)).convert("RGB").getpixel((0, 0)))
    assert np.abs(frame(bytes(data))[256, 256] - inverted * key / 255).max() <= 6


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_profile_is_converted_to_srgb(format_name):
    data = encoded(plain((250, 10, 10)), format_name, icc_profile=swapped_profile())
    red, green, blue = frame(data)[256, 256]
    assert green > 230
    assert red < 30
    assert blue < 30


def wide_profile() -> bytes:
    """A display with more saturated primaries, as phones embed: sRGB's with the red one moved outwards."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entry = profile.index(b"rXYZ", 128)
    start = int.from_bytes(profile[entry + 4 : entry + 8]) + 8
    profile[start : start + 12] = struct.pack(">3i", *(round(value * 65536) for value in (0.515, 0.241, -0.001)))
    return bytes(profile)


def test_colours_of_a_wide_display_are_littlecms_own():
    source = picture((640, 640))
    data = encoded(source, "PNG", icc_profile=wide_profile())
    display = ImageCms.ImageCmsProfile(io.BytesIO(wide_profile()))
    expected = ImageCms.profileToProfile(source, display, ImageCms.createProfile("sRGB"))
    expected = np.asarray(expected.resize((512, 512), Image.Resampling.LANCZOS)).astype(int)
    plain_error = np.abs(frame(encoded(source, "PNG")) - expected).mean()
    assert np.abs(frame(data) - expected).mean() < 1.5 < 4 < plain_error


def test_a_grey_picture_may_carry_a_colour_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(plain(90, mode="L"), "PNG", icc_profile=profile)
    assert (np.abs(frame(data) - 90) <= 1).all()


@pytest.mark.parametrize(
    "profile",
    [b"no profile", swapped_profile()[:200], swapped_profile().replace(b"RGB XYZ", b"CMYKLab", 1), b"\0" * 500],
)
def test_broken_and_foreign_profiles_are_ignored(profile):
    data = encoded(plain(ORANGE), "PNG", icc_profile=profile)
    assert (np.abs(frame(data) - ORANGE) <= 1).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_ignored():
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff", b"\xff" * 50):
        assert prepared(encoded(picture(), "JPEG", exif=exif)).source_size == (600, 600)


def test_a_phones_two_picture_jpeg_is_a_still():
    second = [picture(seed=1)]
    data = encoded(picture(), "MPO", save_all=True, append_images=second)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.abs(frame(data) - frame(encoded(picture(), "PNG"))).mean() < 2


def test_animated_formats_with_one_frame_are_stills():
    one = [encoded(picture(), kind, save_all=True) for kind in ("PNG", "WEBP", "AVIF")]
    assert all(prepared(data).width == 512 for data in one)
