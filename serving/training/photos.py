"""Photographs to learn from and to measure on: sample data of scikit-image and scikit-learn, which are optional.

`NOTICE` says whose they are and under which licence. Only those to learn from had to allow shipping the weights.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from serving.training.pictures import Pixels

LEARNED = (
    "astronaut.png", "brick.png", "camera.png", "coffee.png", "grass.png", "gravel.png", "hubble_deep_field.jpg",
    "retina.jpg", "rocket.jpg",
)  # fmt: skip
HELD_OUT = ("chelsea.png", "coins.png", "motorcycle_left.png", "china.jpg", "flower.jpg")
"""Never trained on."""


def files(names: tuple[str, ...], folder: Path | None = None) -> list[Path]:
    """Where these are installed, or lie in `folder`.

    Raises:
        FileNotFoundError: with what to install.
    """
    found, places = [], [folder] if folder else _folders()
    for name in names:
        file = next((place / name for place in places if (place / name).is_file()), None)
        if file is None:
            raise FileNotFoundError(f"{name} is not installed: pip install 'i2v-serve[training]'")
        found.append(file)
    return found


def squares(path: Path, side: int) -> list[Pixels]:
    """The picture cut into (side, side, 3) squares along its longer side, the middle one first."""
    image = Image.open(path).convert("RGB")
    short, long = sorted(image.size)
    found = []
    for offset in dict.fromkeys([(long - short) // 2, 0, long - short]):
        corner = (offset, 0) if image.width > image.height else (0, offset)
        box = (*corner, corner[0] + short, corner[1] + short)
        found.append(np.asarray(image.crop(box).resize((side, side), Image.Resampling.LANCZOS)))
    return found


def _folders() -> list[Path]:
    places = (("skimage", "data"), ("sklearn", "datasets/images"))
    specs = ((find_spec(package), inner) for package, inner in places)
    return [Path(spec.origin).parent / inner for spec, inner in specs if spec is not None and spec.origin is not None]
