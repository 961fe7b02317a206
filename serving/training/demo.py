"""The demo picture: a speckled blue mug and two lemons on a wooden table, in soft light from the left.

Drawn here, so it is the project's own; textured enough for a camera move to show. Not trained on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serving.training.textures import Field, between, fractal

SIDE = 768
LIGHT = np.array([-0.55, -0.6, 0.58])
PROMPT = "A blue ceramic mug and two lemons on a wooden table, the camera slowly zooms in, soft light"


def draw(side: int = SIDE, *, seed: int = 5) -> Image.Image:
    """The picture, drawn at twice its size and reduced."""
    rng = np.random.default_rng(seed)
    size = 2 * side
    y, x = (axis.astype(np.float32) / size for axis in np.mgrid[0:size, 0:size])
    canvas = _room(rng, x, y)
    canvas = _shaded(canvas, _blur(_ellipse(x, y, 0.51, 0.795, 0.25, 0.045), size // 45), 0.62)
    canvas = _shaded(canvas, _blur(_ellipse(x, y, 0.43, 0.797, 0.185, 0.028), size // 110), 0.6)
    canvas = _mug(rng, canvas, x, y)
    for middle, level, reach, turn in ((0.775, 0.80, 0.088, 0.35), (0.665, 0.855, 0.08, -0.2)):
        shadow = _ellipse(x, y, middle + 0.04, level + 0.052, reach * 1.35, reach * 0.34)
        canvas = _shaded(canvas, _blur(shadow, size // 70), 0.66)
        canvas = _lemon(rng, canvas, x, y, middle, level, reach, turn)
    vignette = 1 - 0.35 * ((x - 0.48) ** 2 + (y - 0.5) ** 2)
    pixels = np.clip(canvas * vignette[..., None], 0, 1) ** 0.92
    pixels = pixels + rng.normal(0, 0.006, pixels.shape)
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def save(path: Path) -> None:
    draw().save(path, quality=90, optimize=True)


def _room(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """A plaster wall with the light of a window on it, and the boards of a table."""
    size = x.shape[0]
    wall = between(fractal(rng, size, roughness=0.7) * 0.4 + 0.5, np.array([0.74, 0.70, 0.64], np.float32),
                   np.array([0.87, 0.83, 0.76], np.float32))  # fmt: skip
    across, down = x - 0.25 * y, y
    panes = ((across > 0.02) & (across < 0.2)) | ((across > 0.24) & (across < 0.42))
    panes &= ((down > 0.08) & (down < 0.27)) | ((down > 0.31) & (down < 0.5))
    wall = wall * (0.78 + 0.34 * _blur(panes.astype(np.float32), size // 90))[..., None]
    grain = fractal(rng, size, roughness=0.8, stretch=16).T * 0.5
    rings = np.sin((y * 60 + fractal(rng, size, roughness=0.35) * 5) * 2.2)
    wood = between(grain.T * 0.5 + 0.16 * rings + 0.5, np.array([0.36, 0.21, 0.12], np.float32),
                   np.array([0.73, 0.5, 0.31], np.float32))  # fmt: skip
    depth = np.clip((y - 0.62) / 0.38, 0, 1)
    for seam in (0.12, 0.36, 0.68):
        wood = wood * (1 - 0.7 * np.exp(-(((depth - seam) / 0.012) ** 2)))[..., None]
    wood = wood * (1.12 - 0.35 * x)[..., None]
    edge = np.clip((y - 0.62) * size / 4, 0, 1)[..., None]
    shade = 1 - 0.3 * np.exp(-np.clip(0.62 - y, 0, 1) / 0.03) * (y < 0.62)
    mixed: Field = (wall * shade[..., None] * (1 - edge) + wood * edge).astype(np.float32)
    return mixed


def _mug(rng: np.random.Generator, canvas: Field, x: Field, y: Field) -> Field:
    left, top, foot, radius, squash = 0.42, 0.36, 0.79, 0.185, 0.22
    across = (x - left) / radius
    bow = radius * squash * np.sqrt(np.clip(1 - across**2, 0, 1))
    lip, base = top + bow, foot + 0.6 * bow
    grains = _blur(rng.random(x.shape).astype(np.float32), 2)
    speckles = grains > grains.mean() + 2.6 * grains.std()
    glaze = np.where(y[..., None] < 0.62 + 0.01 * np.sin(across * 7)[..., None], [0.16, 0.36, 0.55], [0.86, 0.81, 0.72])
    band = np.abs(y - 0.53 - squash * 0.1 * np.sqrt(np.clip(1 - across**2, 0, 1)))
    glaze = np.where((band < 0.022)[..., None], [0.9, 0.86, 0.78], glaze)
    zigzag = np.abs(band - 0.012 * np.abs(((np.arcsin(np.clip(across, -1, 1)) * 4) % 1) * 2 - 1)) < 0.0035
    glaze = np.where(zigzag[..., None], [0.75, 0.33, 0.2], glaze)
    glaze = np.where(speckles[..., None], glaze * 0.72, glaze)
    ring = np.hypot((x - left - radius * 1.02) / 0.105, (y - 0.565) / 0.135)
    tube = np.clip((0.24 - np.abs(ring - 0.86)) * 40, 0, 1) * (x > left + radius * 0.9)
    bulge = np.sqrt(np.clip(1 - ((ring - 0.86) / 0.24) ** 2, 0, 1))
    handle = np.array([0.16, 0.36, 0.55]) * (0.45 + 0.55 * bulge * (1.1 - 0.5 * (y - 0.43) / 0.27))[..., None]
    canvas = _over(canvas, np.where(speckles[..., None], handle * 0.8, handle), tube)
    normal = np.stack([across, np.zeros_like(across), np.sqrt(np.clip(1 - across**2, 0, 1))], -1)
    lit = 0.3 + 0.85 * np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    along = np.sin(np.clip((y - 0.42) / 0.33, 0, 1) * 3.1)
    gloss = 0.45 * np.exp(-(((across + 0.52) / 0.09) ** 2)) * (0.6 + 0.4 * along)
    body = np.clip((1 - np.abs(across)) * 120, 0, 1) * np.clip((y - top) * 600, 0, 1) * np.clip((base - y) * 600, 0, 1)
    canvas = _over(canvas, glaze * lit[..., None] + gloss[..., None], body)
    rim = np.hypot(across, (y - top) / (radius * squash))
    clay = np.array([0.88, 0.83, 0.74]) * (1.0 - 0.12 * across)[..., None]
    canvas = _over(canvas, clay, np.clip((1.0 - rim) * 90, 0, 1))
    inner = np.hypot(across / 0.93, (y - top - 0.002) / (radius * squash * 0.9))
    hollow = np.array([0.62, 0.57, 0.5]) * (0.72 + 0.4 * across)[..., None]
    canvas = _over(canvas, hollow, np.clip((1.0 - inner) * 90, 0, 1))
    coffee = np.hypot(across / 0.86, (y - lip.mean() - 0.012) / (radius * squash * 0.7))
    surface = np.array([0.2, 0.11, 0.06]) * (1.15 + 0.6 * np.exp(-(((across + 0.3) / 0.25) ** 2)))[..., None]
    return _over(canvas, surface, np.clip((1.0 - coffee) * 60, 0, 1) * (inner < 1))


def _lemon(
    rng: np.random.Generator, canvas: Field, x: Field, y: Field, middle: float, level: float, reach: float, turn: float
) -> Field:
    along = ((x - middle) * np.cos(turn) + (y - level) * np.sin(turn)) / reach
    across = ((y - level) * np.cos(turn) - (x - middle) * np.sin(turn)) / (reach * 0.74)
    radius = np.hypot(along, across) - 0.16 * np.exp(-(((np.abs(along) - 1.02) / 0.14) ** 2)) * np.exp(
        -((across / 0.2) ** 2)
    )
    height = np.sqrt(np.clip(1 - radius**2, 0, 1))
    pores = fractal(rng, x.shape[0], roughness=0.97)
    normal = np.stack([(x - middle) / reach, (y - level) / reach, height + 0.3 * pores], -1)
    normal = normal / (np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6)
    lit = np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    skin = between((pores * 0.4 + 0.5).astype(np.float32), np.array([0.86, 0.62, 0.08], np.float32),
                   np.array([0.98, 0.84, 0.2], np.float32))  # fmt: skip
    shaded = skin * (0.34 + 0.8 * lit)[..., None] + (0.4 * lit**22)[..., None]
    return _over(canvas, shaded, np.clip((1 - radius) * reach * x.shape[0] / 2, 0, 1))


def _ellipse(x: Field, y: Field, middle: float, level: float, wide: float, high: float) -> Field:
    inside: Field = (np.hypot((x - middle) / wide, (y - level) / high) < 1).astype(np.float32)
    return inside


def _blur(mask: Field, radius: int) -> Field:
    image = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    field: Field = np.asarray(image, np.float32) / np.float32(255)
    return field


def _shaded(canvas: Field, shadow: Field, depth: float) -> Field:
    shaded: Field = (canvas * (1 - depth * shadow)[..., None]).astype(np.float32)
    return shaded


def _over(canvas: Field, colour: NDArray[np.floating], mask: NDArray[np.floating]) -> Field:
    mixed: Field = (canvas + (colour - canvas) * mask[..., None]).astype(np.float32)
    return mixed
