"""A clip's size in pixels and its ground, from what was asked for and the picture. Knows nothing of pictures' bytes."""

from __future__ import annotations

import re
from typing import Protocol

from serving.errors import InvalidParameter
from serving.limits import out_of_range
from serving.presets import ASPECT_LIMIT, SIDE_MULTIPLE, ModelProfile, Preset, target_size

EDGE, BLUR = "edge", "blur"
"""Grounds for padding that come from the picture itself; any other is a colour."""


class Framing(Protocol):
    """What of `parameters.VideoParameters` decides it."""

    @property
    def size(self) -> str | None: ...
    @property
    def preset(self) -> str | None: ...
    @property
    def resolution(self) -> str | None: ...
    @property
    def aspect_ratio(self) -> str | None: ...
    @property
    def background(self) -> str | None: ...


def frame_size(parameters: Framing, profile: ModelProfile, picture: tuple[int, int]) -> tuple[int, int]:
    """The clip's (width, height) for a picture of (width, height) pixels, by size, aspect_ratio or the picture itself.

    Raises:
        InvalidParameter: `size`, `resolution` or `aspect_ratio` is not legal for this model.
    """
    if parameters.size is not None:
        return _explicit_size(parameters, profile)
    preset = preset_of(parameters, profile)
    resolution = parameters.resolution or (preset.resolution if preset else profile.default_resolution)
    if resolution not in profile.resolutions:
        raise out_of_range("resolution", resolution, ", ".join(profile.resolutions))
    aspect = picture[0] / picture[1]
    if parameters.aspect_ratio is not None:
        aspect = _ratio("aspect_ratio", parameters.aspect_ratio, ":")
    return target_size(profile.side(resolution), aspect)


def background(parameters: Framing) -> str:
    """The ground asked for: EDGE, BLUR, or a colour as "#rrggbb".

    Raises:
        InvalidParameter: it is none of them.
    """
    given = EDGE if parameters.background is None else parameters.background.strip().lower()
    if re.fullmatch(r"#[0-9a-f]{3}", given):
        return "#" + "".join(2 * digit for digit in given[1:])
    if given not in (EDGE, BLUR) and not re.fullmatch(r"#[0-9a-f]{6}", given):
        raise out_of_range("background", given, f'{EDGE}, {BLUR}, or a colour such as "#ffffff"')
    return given


def preset_of(parameters: Framing, profile: ModelProfile) -> Preset | None:
    """The preset that was named.

    Raises:
        InvalidParameter: the model has no such preset.
    """
    if parameters.preset is None:
        return None
    if parameters.preset not in profile.presets:
        raise out_of_range("preset", parameters.preset, ", ".join(profile.presets))
    return profile.presets[parameters.preset]


def _explicit_size(parameters: Framing, profile: ModelProfile) -> tuple[int, int]:
    assert parameters.size is not None
    for other in ("resolution", "aspect_ratio"):
        if getattr(parameters, other) is not None:
            raise InvalidParameter(f"{other}: cannot be given together with size.", param=other)
    aspect = _ratio("size", parameters.size, "x")
    width, height = (int(part) for part in parameters.size.split("x"))
    least, most = profile.area_limits
    if width * height > most and (width, height) in _SCALED_DOWN:
        return target_size(max(profile.resolutions.values()), aspect)
    if width % SIDE_MULTIPLE or height % SIDE_MULTIPLE:
        near = "x".join(str(max(1, round(side / SIDE_MULTIPLE)) * SIDE_MULTIPLE) for side in (width, height))
        raise out_of_range("size", parameters.size, f"sides that are multiples of 8, such as {near}")
    if not least <= width * height <= most:
        raise out_of_range("size", parameters.size, f"areas of {least} to {most} pixels")
    return width, height


# Sizes of the OpenAI contract that are larger than any model here, and understood as their aspect.
_SCALED_DOWN = {(720, 1280), (1280, 720), (1024, 1792), (1792, 1024)}


def _ratio(field: str, value: str, separator: str) -> float:
    parts = value.split(separator)
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        form = f'"WIDTH{separator}HEIGHT"'
        raise out_of_range(field, value, f"two whole numbers, {form}")
    width, height = int(parts[0]), int(parts[1])
    if width == 0 or height == 0 or not 1 / ASPECT_LIMIT - 0.02 <= width / height <= ASPECT_LIMIT + 0.02:
        raise out_of_range(field, value, "aspects from 9:16 to 16:9")
    return width / height
