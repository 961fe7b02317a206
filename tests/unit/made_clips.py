"""Frames made for the tests of clips, and clips as another reader sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serving import ffmpeg
from serving.clip import probe
from serving.encoding import ENCODERS

FORMATS = list(ENCODERS)
RECIPE = {
    "prompt": "a 'cat' says \"hi\";\nnext=line # not a comment \\ back\\slash, 100% é 猫 🐈 \x00\x1f\ttab",
    "seed": 2**63 - 1,
    "guidance_scale": 9.0,
    "negative_prompt": None,
    "metadata": {"sku=1;2#3": "[section]", "": "\ud800"},
}


def moving(count=8, height=64, width=64) -> np.ndarray:
    """A soft slope that moves by four pixels a frame."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [
            np.stack([(columns + 4 * at) % 256, rows % 256, np.full_like(rows, 90)], axis=2).astype(np.uint8)
            for at in range(count)
        ]
    )


def decoded(path: Path) -> np.ndarray:
    """All frames as FFmpeg shows them, (F, H, W, 3)."""
    info = probe(path)
    raw, _ = ffmpeg.run(ffmpeg.source(path), ("-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"), path=path, timeout_s=60)
    return np.frombuffer(raw, np.uint8).reshape(info.frames, info.height, info.width, 3)
