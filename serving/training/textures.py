"""Fields of colour to fill pictures with: fractal noise, wood, marble, cloth, stripes, gradients.

Each is a function of a numpy generator and a side, giving (side, side, 3) float32 in 0..1. Knows nothing of shapes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]


def resized(field: Field, side: int) -> Field:
    """A 2-D field stretched to (side, side), smoothly."""
    image = Image.fromarray(field.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def fractal(rng: np.random.Generator, side: int, *, roughness: float | None = None, stretch: int = 1) -> Field:
    """(side, side) noise in about -1..1 whose octaves weigh `roughness` ** octave; `stretch` draws it out sideways."""
    roughness = float(rng.uniform(0.4, 0.75)) if roughness is None else roughness
    total = np.zeros((side, side), np.float32)
    cells, weight = int(rng.integers(2, 5)), 1.0
    while cells < side:
        rows = min(side, cells * stretch)
        total += weight * resized(rng.standard_normal((rows, max(2, cells)), np.float32), side)
        cells, weight = cells * 2, weight * roughness
    spread: Field = total / (np.abs(total).max() + 1e-6)
    return spread


def palette(rng: np.random.Generator, count: int) -> Field:
    """(count, 3) colours around one or two hues, from muted to vivid."""
    base = rng.random((2, 3), np.float32)
    vivid = rng.uniform(0.1, 1.0)
    picks = base[rng.integers(0, 2, count)] + rng.normal(0, 0.15, (count, 3))
    grey = picks.mean(1, keepdims=True)
    colours: Field = np.clip(grey + (picks - grey) * vivid + rng.normal(0, 0.18, (count, 1)), 0.02, 0.98).astype(
        np.float32
    )
    return colours


def between(level: NDArray[np.floating], low: Field, high: Field) -> Field:
    """Mix two colours by a 2-D field in 0..1."""
    mixed: Field = low + (high - low) * np.clip(level, 0, 1)[..., None]
    return mixed.astype(np.float32)


def noise(rng: np.random.Generator, side: int) -> Field:
    low, high = palette(rng, 2)
    return between(fractal(rng, side) * 0.5 + 0.5, low, high)


def clouds(rng: np.random.Generator, side: int) -> Field:
    channels = np.stack([fractal(rng, side, roughness=0.55) for _ in range(3)], -1)
    mixed: Field = np.clip(palette(rng, 1)[0] + channels * rng.uniform(0.1, 0.5), 0, 1).astype(np.float32)
    return mixed


def gradient(rng: np.random.Generator, side: int) -> Field:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    angle = rng.uniform(0, 2 * np.pi)
    level = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5
    if rng.random() < 0.4:
        level = np.hypot(x - rng.random(), y - rng.random()) * rng.uniform(0.8, 2)
    low, high = palette(rng, 2)
    return between(level.astype(np.float32), low, high)


def wood(rng: np.random.Generator, side: int) -> Field:
    x = np.arange(side, dtype=np.float32)[:, None] / side
    warp = fractal(rng, side, roughness=0.35) * rng.uniform(0.02, 0.1)
    rings = 0.5 + 0.5 * np.sin((x + warp) * rng.uniform(20, 90))
    grain = fractal(rng, side, roughness=0.8, stretch=16)
    low = np.array([0.32, 0.19, 0.1], np.float32) * rng.uniform(0.5, 1.5)
    high = low * rng.uniform(1.4, 2.4) + rng.normal(0, 0.03, 3)
    return np.clip(between(rings * 0.5 + grain * 0.45 + 0.3, low, high.astype(np.float32)), 0, 1)


def marble(rng: np.random.Generator, side: int) -> Field:
    veins = np.abs(fractal(rng, side, roughness=0.6)) ** rng.uniform(0.3, 0.7)
    light = np.float32(rng.uniform(0.7, 0.95))
    return between(veins, palette(rng, 1)[0] * 0.5, np.full(3, light, np.float32))


def stripes(rng: np.random.Generator, side: int) -> Field:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    angle, count = rng.uniform(0, np.pi), rng.uniform(4, 50)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * count * np.pi)
    if rng.random() < 0.5:
        wave = wave * np.sin((y * np.cos(angle) - x * np.sin(angle)) * count * np.pi)
    sharp = rng.choice([1.0, 3.0, 20.0])
    low, high = palette(rng, 2)
    return between((np.tanh(wave * sharp) * 0.5 + 0.5).astype(np.float32), low, high)


def cloth(rng: np.random.Generator, side: int) -> Field:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    pitch = rng.uniform(0.4, 1.4)
    weave = 0.1 * np.sin(x * pitch) * np.sin(y * pitch)
    folds = fractal(rng, side, roughness=0.35) * rng.uniform(0.1, 0.35)
    mixed: Field = np.clip(palette(rng, 1)[0] + (weave + folds)[..., None], 0, 1).astype(np.float32)
    return mixed


def speckle(rng: np.random.Generator, side: int) -> Field:
    grains = resized(rng.standard_normal((side // int(rng.integers(2, 7)),) * 2, np.float32), side)
    low, high = palette(rng, 2)
    return between(grains * 0.35 + 0.5, low, high)


TEXTURES: tuple[Callable[[np.random.Generator, int], Field], ...] = (
    noise, clouds, gradient, gradient, wood, marble, stripes, cloth, speckle,
)  # fmt: skip


def texture(rng: np.random.Generator, side: int) -> Field:
    """Any of TEXTURES."""
    return TEXTURES[int(rng.integers(len(TEXTURES)))](rng, side)
