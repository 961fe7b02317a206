"""What comes out: of which size, from which part of the picture, the right way up."""

import io

import numpy as np
import pytest
from made_pictures import (
    FORMATS,
    ORANGE,
    encoded,
    frame,
    picture,
    plain,
    prepared,
    refusal,
)
from PIL import Image, ImageCms

from serving.errors import (
    ImageDimensions,
    InvalidImage,
    InvalidParameter,
)
from serving.parameters import VideoParameters
from serving.preprocessing import prepare, upright_size
from serving.presets import I2VGEN_XL


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_gives_the_same_picture_as_a_bare_rgb_ppm(format_name):
    source = picture((640, 640))
    result = prepared(encoded(source, format_name))
    assert (result.width, result.height, result.source_size, result.warnings) == (512, 512, (640, 640), ())
    with Image.open(io.BytesIO(result.picture)) as image:
        assert (image.format, image.mode, image.size) == ("PPM", "RGB", (512, 512))
        expected = np.asarray(source.resize((512, 512), Image.Resampling.LANCZOS)).astype(int)
        assert np.abs(np.asarray(image) - expected).mean() < 2
        assert result.picture == b"P6\n512 512\n255\n" + image.tobytes()


def test_metadata_of_the_source_is_not_copied():
    info = Image.Exif()
    info[0x010E] = "a secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(picture(), "PNG", exif=info, icc_profile=profile, dpi=(300, 300))
    with Image.open(io.BytesIO(prepared(data).picture)) as image:
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
    assert Image.open(io.BytesIO(result.picture)).size == size
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


def test_a_frame_of_the_clip_s_size_comes_through_as_it_is() -> None:
    """So a clip's last frame, sent as a picture, is what its next segment begins with."""
    frame = np.random.default_rng(0).integers(0, 256, (224, 264, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(frame).save(png, "PNG")
    prepared = prepare(png.getvalue(), VideoParameters(prompt="p", size="264x224"), I2VGEN_XL)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(prepared.picture))), frame)


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
