"""A decoded picture as stored, and small copies of it: upright, sRGB, on a ground, at the size asked for.

Scaling comes first and everything else is done on the small copy, so that 64 megapixels cost little. Knows nothing of
where the picture came from or whether it may be trusted.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFilter

from serving.framing import BLUR, EDGE
from serving.picture_warnings import ANALYSIS_SIDE
from serving.subject import CENTER, Point, border_of

# Coarse reduction stops at this multiple of the wanted size and Lanczos does the rest; from 3 on Pillow's
# documentation calls the result nearly indistinguishable from Lanczos alone.
REDUCING_GAP = 3.0
WHITE = "#ffffff"
BLURRED_SIDE = 96
BLUR_RADIUS = 4.0
"""Pixels, on a copy of `BLURRED_SIDE` pixels."""

Size = tuple[int, int]
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

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
# Where a point of the upright picture, in shares of its sides, is in the picture as stored.
_POINTS: dict[Image.Transpose | None, Callable[[float, float], Point]] = {
    None: lambda x, y: (x, y),
    Image.Transpose.FLIP_LEFT_RIGHT: lambda x, y: (1 - x, y),
    Image.Transpose.ROTATE_180: lambda x, y: (1 - x, 1 - y),
    Image.Transpose.FLIP_TOP_BOTTOM: lambda x, y: (x, 1 - y),
    Image.Transpose.TRANSPOSE: lambda x, y: (y, x),
    Image.Transpose.ROTATE_270: lambda x, y: (y, 1 - x),
    Image.Transpose.TRANSVERSE: lambda x, y: (1 - y, 1 - x),
    Image.Transpose.ROTATE_90: lambda x, y: (1 - y, x),
}


class Picture:
    """A decoded picture as stored; answers with small copies: upright, sRGB, on a ground where it is transparent."""

    def __init__(self, image: Image.Image, turn: Image.Transpose | None, background: str = EDGE) -> None:
        """`background`: as of a request; transparent parts are on white unless it is a colour."""
        self._pixels = _resizable(image)
        self._icc = image.info.get("icc_profile")
        self._turn = turn
        self._background = background
        self._ground = WHITE if background in (EDGE, BLUR) else background
        self._size = turned(image.size, turn)

    def cuts(self, size: Size) -> bool:
        """Whether the largest window of `size`'s aspect leaves out more than a hundredth of the picture."""
        return 0.99 * self._size[0] * size[1] > self._size[1] * size[0] or (
            0.99 * self._size[1] * size[0] > self._size[0] * size[1]
        )

    def window(self, size: Size, centre: Point = CENTER) -> Box:
        """The largest window of `size`'s aspect with its middle as near to `centre` as it can be.

        `centre` and the result (left, top, right, bottom) are shares of the upright picture's sides.
        """
        scale = min(self._size[0] / size[0], self._size[1] / size[1])
        # Rounding may carry the longer one past the picture by its last digit, which Pillow refuses.
        spans = (min(1.0, size[0] * scale / self._size[0]), min(1.0, size[1] * scale / self._size[1]))
        left, top = (min(max(middle - span / 2, 0.0), 1.0 - span) for middle, span in zip(centre, spans, strict=True))
        return left, top, left + spans[0], top + spans[1]

    def view(self, size: Size, window: Box = WHOLE) -> Image.Image:
        """What `window` shows, scaled to exactly `size`."""
        width, height = self._pixels.size
        left, top, right, bottom = _as_stored(window, self._turn)
        box = (left * width, top * height, right * width, bottom * height)
        small = self._pixels.resize(turned(size, self._turn), Image.Resampling.LANCZOS, box, REDUCING_GAP)
        upright = _flattened(small, self._icc, self._ground)
        return upright if self._turn is None else upright.transpose(self._turn)

    def padded(self, size: Size) -> Image.Image:
        """All of the picture, with the background beside it."""
        picture = self.view(_scaled(self._size, min(size[0] / self._size[0], size[1] / self._size[1])))
        if self._background == BLUR:
            small = self.view(_scaled(size, BLURRED_SIDE / max(size)), self.window(size))
            frame = small.filter(ImageFilter.GaussianBlur(BLUR_RADIUS)).resize(size, Image.Resampling.BICUBIC)
        elif self._background == EDGE:
            frame = Image.new("RGB", size, _border_colour(picture))
        else:
            frame = Image.new("RGB", size, self._background)
        frame.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
        return frame

    def overview(self, window: Box = WHOLE) -> Image.Image:
        """What `window` shows, with its longer side `ANALYSIS_SIDE` pixels or as stored."""
        width, height = (window[2] - window[0]) * self._size[0], (window[3] - window[1]) * self._size[1]
        return self.view(_scaled((width, height), min(1.0, ANALYSIS_SIDE / max(width, height))), window)


def _scaled(size: tuple[float, float], scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What turns the stored picture upright, by its EXIF orientation; None where that is unreadable."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata is no reason to refuse the pixels
        return None


def _as_stored(window: Box, turn: Image.Transpose | None) -> Box:
    """Where a window of the upright picture lies in the picture as stored."""
    (left, top), (right, bottom) = (_POINTS[turn](x, y) for x, y in (window[:2], window[2:]))
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


def turned(size: Size, turn: Image.Transpose | None) -> Size:
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


def _flattened(image: Image.Image, icc: bytes | None, ground: str) -> Image.Image:
    """`image`, of one of `_resizable`'s modes, as RGB in sRGB on a ground of that colour."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    opaque = image.mode.removesuffix("A")
    colour = _to_srgb(image if image.mode == opaque else image.convert(opaque), icc)
    if alpha is None:
        return colour
    return Image.composite(colour, Image.new("RGB", colour.size, ground), alpha)


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
    return image if image.mode == "RGB" else image.convert("RGB")


def _border_colour(picture: Image.Image) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.median(border_of(np.asarray(picture)), axis=0))
    return red, green, blue
