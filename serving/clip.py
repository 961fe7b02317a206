"""What a finished clip holds: frames, sizes and times found by decoding it, and the recipe it carries.

Knows nothing of how clips are made.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import ffmpeg
from serving.errors import EncodingFailed


@dataclass(frozen=True)
class ClipInfo:
    """What a clip holds, found by decoding all of it."""

    frames: int
    fps: float
    width: int
    height: int
    codec: str
    pixel_format: str
    duration_s: float


def read_recipe(path: Path, *, timeout_s: float = ffmpeg.DEFAULT_TIMEOUT_S) -> dict[str, Any] | None:
    """The recipe inside a clip; None where it carries none.

    Raises:
        ConfigurationInvalid: there is no FFmpeg to run.
        EncodingFailed: FFmpeg failed or took too long, or `path` is no MP4, WebM or GIF.
    """
    metadata, _ = ffmpeg.run(ffmpeg.source(path), ("-f", "ffmetadata", "pipe:1"), path=path, timeout_s=timeout_s)
    comment = re.search(rb"(?ims)^comment=((?:[^\\\n]|\\.)*)$", metadata)
    if comment is None:
        return None
    try:
        recipe = json.loads(re.sub(rb"(?s)\\(.)", rb"\1", comment[1]))
    except ValueError:
        return None
    return recipe if isinstance(recipe, dict) else None


def probe(path: Path, *, timeout_s: float = ffmpeg.DEFAULT_TIMEOUT_S) -> ClipInfo:
    """Decode all of a clip and say what it holds.

    Raises:
        ConfigurationInvalid: there is no FFmpeg to run.
        EncodingFailed: FFmpeg failed or took too long, or `path` is no whole MP4, WebM or GIF.
    """
    # One line a frame: stream, dts, pts, duration, bytes, checksum; times in units of the "#tb" line.
    table, log = ffmpeg.run(
        ("-xerror", *ffmpeg.source(path)),
        ("-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "demux", "-f", "framecrc", "pipe:1"),
        path=path,
        timeout_s=timeout_s,
        log_level="info",
    )
    unit = re.search(rb"(?m)^#tb 0: (\d+)/(\d+)$", table)
    sides = re.search(rb"(?m)^#dimensions 0: (\d+)x(\d+)$", table)
    stream = re.search(r"Stream #0:0.*?: Video: (\w+).*?, (\w+)[(,]", log)
    times = [(int(row[1]), int(row[2])) for row in re.finditer(rb"(?m)^0,[^,]+,\s*(\d+),\s*(\d+),", table)]
    if unit is None or sides is None or stream is None or not times:
        raise EncodingFailed(f"{path.name}: FFmpeg found no frames.")
    unit_s = int(unit[1]) / int(unit[2])
    first, last = times[0][0], times[-1][0]
    duration_s = (last - first + times[-1][1]) * unit_s
    fps = (len(times) - 1) / ((last - first) * unit_s) if last > first else 1 / duration_s
    return ClipInfo(
        frames=len(times),
        fps=round(fps, 2),
        width=int(sides[1]),
        height=int(sides[2]),
        codec=stream[1],
        pixel_format=stream[2],
        duration_s=round(duration_s, 3),
    )


def read_frames(path: Path, *, timeout_s: float = ffmpeg.DEFAULT_TIMEOUT_S) -> NDArray[np.uint8]:
    """Every frame of a clip as decoded, RGB, of shape (frames, height, width, 3).

    Raises:
        ConfigurationInvalid, EncodingFailed: as `probe` does.
    """
    held = probe(path, timeout_s=timeout_s)
    pixels, _ = ffmpeg.run(
        ("-xerror", *ffmpeg.source(path)),
        ("-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"),
        path=path,
        timeout_s=timeout_s,
    )
    return np.frombuffer(pixels, np.uint8).reshape(held.frames, held.height, held.width, 3)
