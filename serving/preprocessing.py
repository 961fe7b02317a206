"""Untrusted bytes to the conditioning picture: one still, upright, sRGB, exactly the clip's size.

A picture is recognised by its content, refused by its header before a pixel is decoded, and scaled as stored;
turning it upright, converting it to sRGB and laying it on its ground follow on the small copy. A PNG's gAMA and cHRM
chunks and an AVIF's HDR curves are not applied. Pillow's process-wide limits are never changed.

A hostile file still costs its decoder what the limits below allow: run this where memory and time are bounded.
Knows nothing of HTTP, jobs or the model; what the picture shows is the business of `picture_warnings`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from serving.cautions import Caution
from serving.errors import (
    AnimatedImage,
    I2VError,
    ImageDimensions,
    ImageTooLarge,
    InvalidImage,
    UnsupportedImageFormat,
)
from serving.framing import background, frame_size
from serving.parameters import VideoParameters
from serving.picture import REDUCING_GAP, WHOLE, Picture, Size, turn_of, turned
from serving.picture_warnings import ANALYSIS_SIDE, FIELD, cuts_subject, picture_warnings
from serving.presets import ModelProfile
from serving.subject import CENTER, best_window

MIN_SIDE, MAX_SIDE = 64, 8192
MAX_PIXELS = 64_000_000
# Decoding time is pixels x scans, and an empty scan is a hundred bytes; encoders write about ten.
MAX_JPEG_SCANS = 64
# Pillow expands these pixel by pixel in Python: 32 KB can hold 64 megapixels.
MAX_RUN_LENGTH_PIXELS = 4_000_000


@dataclass(frozen=True)
class Prepared:
    """The conditioning picture."""

    picture: bytes
    """RGB, 8 bits a channel, `width` x `height`, neither compressed nor with metadata: a PPM, which Pillow reads."""
    width: int
    height: int
    source_size: tuple[int, int]
    """(width, height) of the picture as given, upright, in pixels."""
    warnings: tuple[Caution, ...]


def prepare(data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
    """Decode `data` and fit it to the clip's size.

    Fit `crop` takes the largest window of the clip's aspect, where its `focus` says; `pad` shows all of the picture,
    on its `background`.

    Raises:
        UnsupportedImageFormat: the content is not a JPEG, PNG, WEBP, BMP or AVIF.
        InvalidImage: empty, damaged or truncated.
        AnimatedImage: more than one frame.
        ImageTooLarge: over 64 million pixels, or too costly to decode.
        ImageDimensions: a side under 64 or over 8192 pixels.
        InvalidParameter: `size`, `resolution`, `aspect_ratio` or `background` is not legal for this model.
    """
    name = _sniff(data)
    try:
        picture, source_size, size = _decode(data, name, parameters, profile)
        whole = picture.overview()
        if parameters.fit == "pad":
            frame, warnings = picture.padded(size), picture_warnings(whole, source_size)
        else:
            centred = parameters.focus == "center" or not picture.cuts(size)
            window = picture.window(size, CENTER if centred else best_window(whole, size[0] / size[1]))
            frame = picture.view(size, window)
            shown = whole if window == WHOLE else picture.overview(window)
            warnings = picture_warnings(shown, source_size, cuts_subject(whole, window))
    except MemoryError:
        raise _too_large(name) from None
    ppm = io.BytesIO()
    # As a PNG, a quarter of the size, it took twice the processor time of all of the above.
    frame.save(ppm, "PPM")
    return Prepared(ppm.getvalue(), *size, source_size, warnings)


def upright_size(data: bytes) -> Size:
    """Of a picture that `prepare` would take; all of it is decoded, so that a truncated one is found.

    Raises:
        UnsupportedImageFormat, InvalidImage, AnimatedImage, ImageTooLarge, ImageDimensions: as `prepare` does.
    """
    name = _sniff(data)
    try:
        with _opened(data, name) as image:
            size = turned(image.size, turn_of(image))
            image.draft(None, (1, 1))
            image.load()
            return size
    except MemoryError:
        raise _too_large(name) from None


def _decode(data: bytes, name: str, parameters: VideoParameters, profile: ModelProfile) -> tuple[Picture, Size, Size]:
    """The picture, its upright size, and the clip's."""
    with _opened(data, name) as image:
        turn = turn_of(image)
        source_size = turned(image.size, turn)
        size = frame_size(parameters, profile, source_size)
        enough = int(max(*size, ANALYSIS_SIDE) * REDUCING_GAP)
        image.draft(None, (enough, enough))  # a JPEG is decoded at 1/2, 1/4 or 1/8; others ignore it
        return Picture(image, turn, background(parameters)), source_size, size


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """The picture with its header checked; what goes wrong within is the picture's fault."""
    try:
        with Image.open(io.BytesIO(data), formats=(name,)) as image:
            _check_header(image, data, name)
            yield image
    except (I2VError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name) from None
    except Exception as error:  # on damaged data Pillow's decoders raise nearly every built-in exception
        raise _refusal(
            InvalidImage, f"the {name} is damaged or truncated; allowed are whole {_FORMATS} pictures"
        ) from error


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
