"""Untrusted bytes to the conditioning picture: one still, upright, sRGB, exactly the clip's size.

A picture is recognised by its content, refused by its header before a pixel is decoded, and scaled as stored;
turning it upright, converting it to sRGB and laying it on white follow on the small copy. A PNG's gAMA and cHRM
chunks and an AVIF's HDR curves are not applied. Pillow's process-wide limits are never changed.

A hostile file still costs its decoder what the limits below allow: run this where memory and time are bounded.
Knows nothing of HTTP, jobs or the model; what the picture shows is the business of `picture_warnings`.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageCms

from serving.errors import (
    AnimatedImage,
    I2VError,
    ImageDimensions,
    ImageTooLarge,
    InvalidImage,
    UnsupportedImageFormat,
)
from serving.picture_warnings import ANALYSIS_SIDE, picture_warnings
from serving.presets import ModelProfile
from serving.request import VideoParameters, frame_size

FIELD = "input_reference"
MIN_SIDE, MAX_SIDE = 64, 8192
MAX_PIXELS = 64_000_000
# Decoding time is pixels x scans, and an empty scan is a hundred bytes; encoders write about ten.
MAX_JPEG_SCANS = 64
# Pillow expands these pixel by pixel in Python: 32 KB can hold 64 megapixels.
MAX_RUN_LENGTH_PIXELS = 4_000_000
# Coarse reduction stops at this multiple of the wanted size and Lanczos does the rest; from 3 on Pillow's
# documentation calls the result nearly indistinguishable from Lanczos alone.
REDUCING_GAP = 3.0
BACKGROUND = "white"

Size = tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """The conditioning picture."""

    png: bytes
    """RGB, 8 bits a channel, `width` x `height`, without metadata."""
    width: int
    height: int
    source_size: tuple[int, int]
    """(width, height) of the picture as given, upright, in pixels."""
    warnings: tuple[str, ...]
    """One sentence each, for the user."""


def prepare(data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
    """Decode `data` and fit it to the clip's size.

    Fit `crop` takes the largest centred window of the clip's aspect; `pad` shows all of the picture, on the
    median colour of its border.

    Raises:
        UnsupportedImageFormat: the content is not a JPEG, PNG, WEBP, BMP or AVIF.
        InvalidImage: empty, damaged or truncated.
        AnimatedImage: more than one frame.
        ImageTooLarge: over 64 million pixels, or too costly to decode.
        ImageDimensions: a side under 64 or over 8192 pixels.
        InvalidParameter: `size`, `resolution` or `aspect_ratio` is not legal for this model.
    """
    name = _sniff(data)
    try:
        picture, source_size, size = _decode(data, name, parameters, profile)
        frame = picture.padded(size) if parameters.fit == "pad" else picture.view(size)
        overview = picture.overview(None if parameters.fit == "pad" else size)
    except MemoryError:
        raise _too_large(name) from None
    frame.info = {}  # else the PNG would carry the source's profile, gamma and transparency
    png = io.BytesIO()
    frame.save(png, "PNG", compress_level=3)
    return Prepared(png.getvalue(), *size, source_size, picture_warnings(overview, source_size))


def _decode(data: bytes, name: str, parameters: VideoParameters, profile: ModelProfile) -> tuple[_Picture, Size, Size]:
    """The picture, its upright size, and the clip's."""
    try:
        with Image.open(io.BytesIO(data), formats=(name,)) as image:
            _check_header(image, data, name)
            turn = _turn(image)
            source_size = _turned(image.size, turn)
            size = frame_size(parameters, profile, source_size)
            enough = int(max(*size, ANALYSIS_SIDE) * REDUCING_GAP)
            image.draft(None, (enough, enough))  # a JPEG is decoded at 1/2, 1/4 or 1/8; others ignore it
            return _Picture(image, turn), source_size, size
    except (I2VError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name) from None
    except Exception as error:  # on damaged data Pillow's decoders raise nearly every built-in exception
        raise _refusal(
            InvalidImage, f"the {name} is damaged or truncated; allowed are whole {_FORMATS} pictures"
        ) from error


# Recognising and refusing


_ALLOWED = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("WEBP", rb"RIFF....WEBP"),
    ("BMP", rb"BM"),
    ("AVIF", rb".{4}ftyp(?:.{4}){0,16}?avi[fs]"),
)
_FORMATS = "JPEG, PNG, WEBP, BMP or AVIF"
_KNOWN = (
    ("a GIF", rb"GIF8"),
    ("a TIFF", rb"II\*\0|MM\0\*"),
    ("a HEIC picture", rb".{4}ftyp(?:he[iv]|mi|ms)"),
    ("a video", rb".{4}ftyp|\x1aE\xdf\xa3|RIFF....AVI "),
    ("a JPEG XL picture", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("a PDF", rb"%PDF"),
    ("an SVG or other XML document", rb"\s*<(?:svg|\?xml)"),
    ("a web page", rb"(?i)\s*<(?:!doctype|html)"),
)
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")


def _sniff(data: bytes) -> str:
    if not data:
        raise _refusal(InvalidImage, f"an empty file was given; allowed are whole {_FORMATS} pictures")
    for name, signature in _ALLOWED:
        if re.match(signature, data, re.DOTALL):
            return name
    given = (text for text, signature in _KNOWN if re.match(signature, data, re.DOTALL))
    raise _refusal(
        UnsupportedImageFormat,
        f"{next(given, 'a file of unknown kind')} was given; allowed are {_FORMATS} pictures",
    )


def _check_header(image: Image.Image, data: bytes, name: str) -> None:
    frames = getattr(image, "n_frames", 1)
    # Phones store a depth map or a second exposure behind the picture (MPO): that is a still.
    if frames > 1 and image.format != "MPO":
        raise _refusal(AnimatedImage, f"the {name} has {frames} frames; allowed is one, a still")
    width, height = image.size
    given = f"the picture is {width}x{height} pixels"
    if width * height > MAX_PIXELS:
        raise _refusal(ImageTooLarge, f"{given}, {width * height:,} in all; allowed are up to {MAX_PIXELS:,}")
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise _refusal(ImageDimensions, f"{given}; allowed are sides of {MIN_SIDE} to {MAX_SIDE}")
    if name == "BMP" and image.info.get("compression") in (1, 2) and width * height > MAX_RUN_LENGTH_PIXELS:
        raise _refusal(
            ImageTooLarge,
            f"{given}, run-length coded; allowed are up to {MAX_RUN_LENGTH_PIXELS:,} pixels of this kind",
        )
    if name == "JPEG" and _jpeg_scans(data) > MAX_JPEG_SCANS:
        raise _refusal(ImageTooLarge, f"the JPEG has too many scans; allowed are up to {MAX_JPEG_SCANS}")

    if name == "PNG":  # decoding alone skips the checksums of the pixels' chunks
        with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
            again.verify()


def _jpeg_scans(data: bytes) -> int:
    """Scans in the first picture of a JPEG, counted no further than one over the limit."""
    scans, position = 0, 2
    while scans <= MAX_JPEG_SCANS and (marker := _JPEG_MARKER.search(data, position)):
        if marker[0] == b"\xff\xd9":
            break
        scans += marker[0] == b"\xff\xda"
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return scans


def _too_large(name: str) -> I2VError:
    return _refusal(ImageTooLarge, f"the {name} needs too much memory; allowed are up to {MAX_PIXELS:,} pixels")


def _refusal(kind: type[I2VError], message: str) -> I2VError:
    return kind(f"{FIELD}: {message}.", param=FIELD)


# Decoded pictures


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


class _Picture:
    """A decoded picture as stored; answers with small copies: upright, sRGB, on white."""

    def __init__(self, image: Image.Image, turn: Image.Transpose | None) -> None:
        self._pixels = _resizable(image)
        self._icc = image.info.get("icc_profile")
        self._turn = turn
        self._size = _turned(image.size, turn)

    def view(self, size: Size, *, whole: bool = False) -> Image.Image:
        """The largest centred window of `size`'s aspect, or the whole picture, scaled to exactly `size`."""
        stored_size = _turned(size, self._turn)
        width, height = (float(side) for side in self._pixels.size)
        if not whole:  # centred, so the same window upright and as stored
            scale = min(width / stored_size[0], height / stored_size[1])
            width, height = min(width, stored_size[0] * scale), min(height, stored_size[1] * scale)
        left, top = (self._pixels.size[0] - width) / 2, (self._pixels.size[1] - height) / 2
        box = (left, top, left + width, top + height)
        small = self._pixels.resize(stored_size, Image.Resampling.LANCZOS, box, REDUCING_GAP)
        upright = _flattened(small, self._icc)
        return upright if self._turn is None else upright.transpose(self._turn)

    def padded(self, size: Size) -> Image.Image:
        picture = self.view(_scaled(self._size, min(size[0] / self._size[0], size[1] / self._size[1])), whole=True)
        frame = Image.new("RGB", size, _border_colour(picture))
        frame.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
        return frame

    def overview(self, size: Size | None) -> Image.Image:
        """The window of `size`'s aspect, or all, with its longer side `ANALYSIS_SIDE` pixels or as stored."""
        width, height = self._size
        if size is not None:
            scale = min(width / size[0], height / size[1])
            width, height = _scaled(size, scale)
        return self.view(_scaled((width, height), min(1.0, ANALYSIS_SIDE / max(width, height))), whole=size is None)


def _scaled(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the stored picture upright, by its EXIF orientation; None where that is unreadable."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata is no reason to refuse the pixels
        return None


def _turned(size: Size, turn: Image.Transpose | None) -> Size:
    return (size[1], size[0]) if turn in _QUARTER_TURNS else size


def _resizable(image: Image.Image) -> Image.Image:
    """`image` as L, LA, RGB, RGBA or CMYK: modes that Pillow filters, alpha-weighted, on resizing."""
    image.load()
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.mode in ("L", "RGB") and "transparency" in image.info:
        return image.convert(image.mode + "A" if image.mode == "L" else "RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "1" and "transparency" not in image.info:
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255.
    values = np.asarray(image)
    grey = Image.fromarray(np.round(np.arange(65536) / 257).astype(np.uint8)[values])
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _flattened(image: Image.Image, icc: bytes | None) -> Image.Image:
    """`image`, of one of `_resizable`'s modes, as RGB in sRGB on the background."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colour = _to_srgb(image.convert(image.mode.removesuffix("A")), icc)
    if alpha is None:
        return colour
    return Image.composite(colour, Image.new("RGB", colour.size, BACKGROUND), alpha)


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """An L, RGB or CMYK picture as RGB; a profile that is broken, or meant for other channels, is ignored."""
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(profile.profile.xcolor_space.strip())
            if mode == image.mode or (mode, image.mode) == ("RGB", "L"):
                srgb = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(image.convert(mode), profile, srgb, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image.convert("RGB")


def _border_colour(picture: Image.Image) -> tuple[int, int, int]:
    pixels = np.asarray(picture)
    border = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    red, green, blue = (int(value) for value in np.median(border, axis=0))
    return red, green, blue
