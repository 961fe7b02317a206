"""A decoded picture as stored, and small copies of it: upright, sRGB, on white, at the size asked for.

Scaling comes first and everything else is done on the small copy, so that 64 megapixels cost little. Knows nothing of
where the picture came from or whether it may be trusted.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image, ImageCms

from serving.picture_warnings import ANALYSIS_SIDE

# Coarse reduction stops at this multiple of the wanted size and Lanczos does the rest; from 3 on Pillow's
# documentation calls the result nearly indistinguishable from Lanczos alone.
REDUCING_GAP = 3.0
BACKGROUND = "white"

Size = tuple[int, int]

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


class Picture:
    """A decoded picture as stored; answers with small copies: upright, sRGB, on white."""

    def __init__(self, image: Image.Image, turn: Image.Transpose | None) -> None:
        self._pixels = _resizable(image)
        self._icc = image.info.get("icc_profile")
        self._turn = turn
        self._size = turned(image.size, turn)

    def view(self, size: Size, *, whole: bool = False) -> Image.Image:
        """The largest centred window of `size`'s aspect, or the whole picture, scaled to exactly `size`."""
        stored_size = turned(size, self._turn)
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


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What turns the stored picture upright, by its EXIF orientation; None where that is unreadable."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata is no reason to refuse the pixels
        return None


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
