import contextlib
import io
import struct
import subprocess
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageCms

from serving import picture as picture_room
from serving import preprocessing
from serving.errors import (
    AnimatedImage,
    I2VError,
    ImageDimensions,
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    UnsupportedImageFormat,
)
from serving.parameters import VideoParameters
from serving.preprocessing import Prepared, prepare, upright_size
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
    return np.asarray(Image.open(io.BytesIO(prepared(data, **parameters).png))).astype(int)


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


# What comes out


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_gives_the_same_picture_as_a_bare_rgb_png(format_name):
    source = picture((640, 640))
    result = prepared(encoded(source, format_name))
    assert (result.width, result.height, result.source_size, result.warnings) == (512, 512, (640, 640), ())
    with Image.open(io.BytesIO(result.png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (512, 512))
        expected = np.asarray(source.resize((512, 512), Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(np.asarray(image) - expected).mean() < 2
    kinds, position = [], 8
    while position < len(result.png):
        length = int.from_bytes(result.png[position : position + 4])
        kinds.append(result.png[position + 4 : position + 8])
        position += length + 12
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_metadata_of_the_source_is_not_copied():
    info = Image.Exif()
    info[0x010E] = "a secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(picture(), "PNG", exif=info, icc_profile=profile, dpi=(300, 300))
    with Image.open(io.BytesIO(prepared(data).png)) as image:
        assert image.info == {}


def test_the_result_repeats():
    data = encoded(picture((900, 700)), "JPEG")
    assert prepared(data) == prepared(data)


@pytest.mark.parametrize(
    ("source", "parameters", "size"),
    [
        ((600, 600), {}, (512, 512)),
        ((1600, 900), {}, (680, 384)),
        ((900, 1600), {"resolution": "256p"}, (192, 344)),
        ((600, 600), {"size": "512x320"}, (512, 320)),
        ((64, 64), {"preset": "high"}, (768, 768)),
        ((8192, 64), {}, (680, 384)),
        ((64, 8192), {"fit": "pad"}, (384, 680)),
        ((600, 601), {"aspect_ratio": "9:16", "fit": "pad"}, (384, 680)),
    ],
)
def test_the_size_is_the_clips_exactly(source, parameters, size):
    result = prepared(encoded(picture(source), "PNG"), **parameters)
    assert (result.width, result.height) == size
    assert Image.open(io.BytesIO(result.png)).size == size
    assert result.source_size == source


def test_an_illegal_size_is_refused_by_its_own_name():
    error = refusal(encoded(picture(), "PNG"), size="511x512")
    assert isinstance(error, InvalidParameter)
    assert error.param == "size"


def test_crop_takes_the_largest_centred_window():
    image = plain("red", (1200, 600))
    image.paste("blue", (300, 0, 900, 600))
    pixels = frame(encoded(image, "PNG"), size="512x512", focus="center")
    assert (pixels[:, 4:-4] == (0, 0, 255)).all()
    image.paste("lime", (302, 0, 898, 600))
    pixels = frame(encoded(image, "PNG"), size="512x512", focus="center")
    assert pixels[256, 0, 2] > 100
    assert pixels[256, -1, 2] > 100


@pytest.mark.parametrize("size", [(328, 240), (1198, 914)])
@pytest.mark.parametrize("resolution", ["256p", "512p", "768p", "1024p"])
def test_rounding_carries_no_window_past_the_picture(size, resolution):
    assert prepared(encoded(plain("grey", size), "PNG"), resolution=resolution).source_size == size


def test_crop_keeps_the_subject():
    image = plain("white", (1200, 600))
    image.paste("blue", (60, 150, 300, 450))
    data = encoded(image, "PNG")
    pixels = frame(data, size="512x512")
    blue = (np.abs(pixels - (0, 0, 255)) <= 2).all(axis=2)
    assert blue.sum() == pytest.approx(240 * 300 * (512 / 600) ** 2, rel=0.02)
    assert (frame(data, size="512x512", focus="auto") == pixels).all()
    assert (frame(data, size="512x512", focus="center")[:, 8:] == 255).all()


def test_without_a_subject_the_crop_is_the_middle():
    for image in (plain("grey", (1200, 600)), Image.effect_noise((1200, 600), 60).convert("RGB")):
        data = encoded(image, "PNG")
        assert (frame(data, size="512x512") == frame(data, size="512x512", focus="center")).all()


@pytest.mark.parametrize("size", [(600, 300), (300, 600)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_subject_is_kept_however_the_camera_was_held(orientation, size):
    upright = plain((240, 240, 240), size)
    right, bottom = size[0] - 40, size[1] - 40
    upright.paste("navy", (right - 160, bottom - 160, right, bottom))
    upright.paste("red", (right - 160, bottom - 160, right - 80, bottom - 100))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = frame(encoded(upright, "PNG"), size="256x256")
    assert ((expected - (0, 0, 128) == 0).all(axis=2)).sum() > 13_000
    assert np.abs(frame(encoded(stored, "PNG", exif=exif), size="256x256") - expected).mean() < 1


def test_pad_shows_all_on_the_borders_median_colour():
    image = plain(ORANGE, (1200, 600))
    image.paste("black", (100, 100, 1100, 500))
    image.paste("white", (0, 0, 40, 40))
    pixels = frame(encoded(image, "PNG"), size="512x512", fit="pad")
    assert (pixels[:128] == ORANGE).all()
    assert (pixels[-128:] == ORANGE).all()
    assert (pixels[256, 60:450] == 0).all()
    assert pixels[130, 2].min() > 250


def test_pad_on_a_colour_of_choice():
    data = encoded(plain(ORANGE, (1200, 600)), "PNG")
    pixels = frame(data, size="512x512", fit="pad", background="#0A141e")
    assert (pixels[:127] == (10, 20, 30)).all()
    assert (pixels[-127:] == (10, 20, 30)).all()
    assert (pixels[130:380] == ORANGE).all()


def test_pad_on_the_picture_itself_blurred():
    image = plain("red", (1200, 600))
    image.paste("blue", (600, 0, 1200, 600))
    for x in range(0, 1200, 40):
        image.paste("lime", (x, 0, x + 4, 600))
    pixels = frame(encoded(image, "PNG"), size="512x512", fit="pad", background="blur")
    band, whole = pixels[:120], pixels[130:380]
    assert band[:, :100, 0].mean() > 150 > 60 > band[:, :100, 2].mean()
    assert band[:, -100:, 2].mean() > 150 > 60 > band[:, -100:, 0].mean()
    assert np.abs(np.diff(band, axis=1)).max() < 30 < np.abs(np.diff(whole, axis=1)).max()


@pytest.mark.parametrize(
    ("background", "expected"),
    [(None, 255), ("edge", 255), ("blur", 255), ("#000000", 0), ("#808080", 128)],
)
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_transparent_parts_lie_on_the_background(fit, background, expected):
    image = plain((255, 0, 0, 0), mode="RGBA")
    assert (frame(encoded(image, "PNG"), size="512x512", fit=fit, background=background) == expected).all()


def test_an_illegal_background_is_refused_by_its_own_name():
    error = refusal(encoded(picture(), "PNG"), background="sky")
    assert isinstance(error, InvalidParameter)
    assert error.param == "background"


@pytest.mark.parametrize(
    ("format_name", "orientation"),
    [*(("PNG", orientation) for orientation in range(1, 9)), ("JPEG", 6), ("WEBP", 7), ("AVIF", 8)],
)
def test_exif_orientation_is_applied(format_name, orientation):
    upright = picture((360, 240))
    upright.paste("red", (0, 0, 120, 80))
    upright.paste("blue", (240, 160, 360, 240))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what a camera held that way stores
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format_name, exif=exif)
    assert prepared(data).source_size == (360, 240)
    for parameters in ({}, {"aspect_ratio": "9:16"}, {"aspect_ratio": "9:16", "fit": "pad"}):
        expected = frame(encoded(upright, "PNG"), resolution="256p", **parameters)
        assert np.abs(frame(data, resolution="256p", **parameters) - expected).mean() < 5


def test_a_large_jpeg_is_decoded_small_and_stays_right():
    source = picture((4700, 4700))
    data = encoded(source, "JPEG", quality=95)
    result = frame(data, resolution="256p")
    expected = np.asarray(source.resize((256, 256), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(result - expected).mean() < 1.5
    assert prepared(data, resolution="256p").source_size == (4700, 4700)


# Colours


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


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries' tags swapped: a conversion that cannot be missed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


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


# Refusals


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


# Anything at all

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
        assert Image.open(io.BytesIO(result.png)).size == (result.width, result.height)


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


def test_a_frame_of_the_clip_s_size_comes_through_as_it_is() -> None:
    """So a clip's last frame, sent as a picture, is what its next segment begins with."""
    frame = np.random.default_rng(0).integers(0, 256, (224, 264, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(frame).save(png, "PNG")
    prepared = prepare(png.getvalue(), VideoParameters(prompt="p", size="264x224"), I2VGEN_XL)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(prepared.png))), frame)


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_upright_size_is_known_without_a_model(format_name):
    data = encoded(picture((600, 400)), format_name)
    assert upright_size(data) == (600, 400)
    with pytest.raises(InvalidImage):
        upright_size(data[: len(data) // 2])


def test_the_upright_size_of_a_turned_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert upright_size(encoded(picture((600, 400)), "JPEG", exif=exif)) == (400, 600)
    with pytest.raises(ImageDimensions):
        upright_size(encoded(picture((40, 400)), "JPEG"))
