"""Pictures to learn from, drawn: heaps of textured shapes, still lifes on a table, landscapes, lettering.

`picture(seed, side)` is a pure function, so a training set is a range of seeds and another range is held out.
Knows nothing of clips.
"""

from __future__ import annotations

from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from serving.training.textures import TEXTURES, Field, fractal, gradient, marble, palette, texture, wood
from serving.training.words import COMMON, THINGS

Pixels = NDArray[np.uint8]
HELD_OUT = 1_000_000
"""Seeds from here on are never trained on."""


def picture(seed: int, side: int = 384) -> Pixels:
    """The picture of `seed`: (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    kind = rng.random()
    if kind < 0.45:
        field = heap(rng, side)
    elif kind < 0.85:
        field = still_life(rng, side)
    else:
        field = landscape(rng, side)
    if rng.random() < 0.25:
        field = lettered(rng, field)
    return finished(rng, field)


def product(seed: int, side: int = 384) -> Pixels:
    """A product shot of `seed`: one lit thing on plain ground; from `HELD_OUT` on by rule, since none is trained on."""
    rng = np.random.default_rng(seed)
    ground = np.full((side, side, 3), rng.uniform(0.75, 0.97, 3) if rng.random() < 0.5 else rng.uniform(0.8, 1.0))
    canvas = _thing(rng, ground.astype(np.float32), rng.uniform(-0.8, 0.8), int(side * 0.6))
    return finished(rng, canvas)


def gallery(seeds: range, side: int = 384, *, workers: int = 1) -> Pixels:
    """(seeds, side, side, 3) pictures, drawn by `workers` processes."""
    draw = partial(picture, side=side)
    if workers == 1:
        return np.stack([draw(seed) for seed in seeds])
    with get_context("spawn").Pool(workers) as pool:
        return np.stack(pool.map(draw, seeds, chunksize=8))


def heap(rng: np.random.Generator, side: int) -> Field:
    """Shapes of all sizes lying over one another, each of its own colour or texture (a "dead leaves" picture)."""
    canvas = _image(texture(rng, side))
    fills = [_image(texture(rng, side)) for _ in range(int(rng.integers(2, 5)))]
    colours = palette(rng, 12)
    largest = rng.uniform(0.15, 0.5)
    for _ in range(int(rng.integers(8, 90))):
        size = side * largest * rng.random() ** 2 + 3
        mask = Image.new("L", (side, side))
        _shape(rng, ImageDraw.Draw(mask), rng.uniform(0, side, 2), size)
        if rng.random() < 0.25:
            mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))
        if rng.random() < 0.3:
            shadow = mask.point(lambda level: level * 0.5).filter(ImageFilter.GaussianBlur(3))
            canvas.paste((10, 10, 15), (int(size / 12) + 1, int(size / 10) + 2), shadow)
        if rng.random() < 0.5:
            canvas.paste(fills[int(rng.integers(len(fills)))], (0, 0), mask)
        else:
            canvas.paste(_rgb(colours[int(rng.integers(12))]), (0, 0), mask)
    return _field(canvas)


def still_life(rng: np.random.Generator, side: int) -> Field:
    """One to four rounded, lit things with shadows on a table before a wall."""
    wall = gradient(rng, side) if rng.random() < 0.6 else texture(rng, side)
    table = (wood, marble, texture)[int(rng.integers(3))](rng, side)
    horizon = int(side * rng.uniform(0.45, 0.8))
    canvas = np.concatenate([wall[:horizon], table[: side - horizon]])
    if rng.random() < 0.3:
        canvas = wall
    light = rng.uniform(-0.8, 0.8)
    for _ in range(int(rng.integers(1, 5))):
        canvas = _thing(rng, canvas, light, horizon)
    return canvas


def landscape(rng: np.random.Generator, side: int) -> Field:
    """Hills, one behind another, under a sky; each with its own texture, paler with distance."""
    canvas = gradient(rng, side)
    x = np.arange(side)
    hills = int(rng.integers(2, 6))
    for hill in range(hills):
        ridge = fractal(rng, side)[0] * side * rng.uniform(0.05, 0.25) + side * (0.25 + 0.6 * hill / hills)
        inside = np.mgrid[0:side, 0:side][0] > ridge[x]
        near = (hill + 1) / hills
        fill = texture(rng, side) * near + canvas.mean((0, 1)) * (1 - near)
        canvas = np.where(inside[..., None], fill, canvas).astype(np.float32)
    return canvas


def lettered(rng: np.random.Generator, field: Field) -> Field:
    """A few words or strokes, as on labels and posters."""
    canvas, side = _image(field), field.shape[0]
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 6))):
        font = ImageFont.load_default(size=float(rng.uniform(0.04, 0.2) * side))
        pool = COMMON if rng.random() < 0.5 else THINGS
        words = " ".join(pool[int(rng.integers(len(pool)))] for _ in range(int(rng.integers(1, 4))))
        spot = (float(rng.uniform(-0.1, 0.7) * side), float(rng.uniform(0, 0.9) * side))
        draw.text(spot, words.upper() if rng.random() < 0.5 else words, fill=_rgb(rng.random(3)), font=font)
    for _ in range(int(rng.integers(0, 6))):
        line = [tuple(spot) for spot in rng.uniform(0, side, (int(rng.integers(2, 6)), 2))]
        draw.line(line, fill=_rgb(rng.random(3)), width=int(rng.integers(1, 7)), joint="curve")
    return _field(canvas)


def finished(rng: np.random.Generator, field: Field) -> Pixels:
    """Light falling unevenly, contrast, sometimes a little blur, and grain."""
    side = field.shape[0]
    light = 1 + rng.uniform(0, 0.35) * fractal(rng, side, roughness=0.25)
    field = (field * light[..., None]).astype(np.float32)
    if rng.random() < 0.3:
        field = _field(_image(field).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.5)))))
    grey = field.mean()
    level = grey + (field - grey) * rng.uniform(0.7, 1.3) + rng.normal(0, 0.06)
    level = level + rng.normal(0, rng.uniform(0, 0.02), field.shape)
    pixels: Pixels = (np.clip(level, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels


def _shape(rng: np.random.Generator, draw: ImageDraw.ImageDraw, centre: NDArray[np.float64], size: float) -> None:
    kind = rng.random()
    if kind < 0.35:
        reach = size * rng.uniform(0.3, 1, 2)
        draw.ellipse([*(centre - reach), *(centre + reach)], fill=255)
    elif kind < 0.5:
        reach = size * rng.uniform(0.3, 1, 2)
        draw.rounded_rectangle([*(centre - reach), *(centre + reach)], float(size * rng.uniform(0, 0.3)), fill=255)
    else:
        corners = int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = size * rng.uniform(0.3, 1, corners)
        spots = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
        draw.polygon([tuple(spot) for spot in spots], fill=255)


def _thing(rng: np.random.Generator, canvas: Field, light: float, horizon: int) -> Field:
    """One solid of revolution (mug, bottle, ball, jar) or box, lit from `light` (-1 left .. 1 right)."""
    side = canvas.shape[0]
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    height, width = side * rng.uniform(0.15, 0.6), side * rng.uniform(0.08, 0.28)
    foot = min(side * 0.97, horizon + side * rng.uniform(0.02, 0.3))
    middle = side * rng.uniform(0.15, 0.85)
    along = np.clip((foot - y) / height, 0, 1)
    bumps = rng.uniform(0.35, 1, 6)
    profile = np.interp(along, np.linspace(0, 1, 6), bumps if rng.random() < 0.6 else np.full(6, bumps[0]))
    if rng.random() < 0.2:
        profile = np.sqrt(np.clip(1 - (2 * along - 1) ** 2, 0, 1))
    across = (x - middle) / (width * profile + 1e-3)
    inside = np.clip((1 - np.abs(across)) * width * profile, 0, 1) * (np.clip(foot - y, 0, 1))
    inside = inside * np.clip(y - (foot - height), 0, 1)
    round_ = np.sqrt(np.clip(1 - across**2, 0, 1)) if rng.random() < 0.8 else np.ones_like(across)
    lit = 0.35 + 0.65 * np.clip(round_ * 0.8 + across * light * 0.6, 0, 1.2)
    gloss = np.exp(-((across - light * 0.55) ** 2) / 0.02) * rng.uniform(0, 0.6)
    body = TEXTURES[int(rng.integers(len(TEXTURES)))](rng, side) if rng.random() < 0.5 else palette(rng, 1)[0]
    shaded = body * lit[..., None] + gloss[..., None]
    shadow = np.exp(-(((x - middle + light * width) / (width * 1.4)) ** 2) - ((y - foot) / (side * 0.03)) ** 2)
    ground = canvas * (1 - 0.6 * shadow)[..., None]
    mixed: Field = (ground + (shaded - ground) * inside[..., None]).astype(np.float32)
    return mixed


def _rgb(colour: Field | NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(level * 255) for level in np.clip(colour, 0, 1))


def _image(field: Field) -> Image.Image:
    return Image.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))


def _field(image: Image.Image) -> Field:
    field: Field = np.asarray(image, np.float32) / np.float32(255)
    return field
