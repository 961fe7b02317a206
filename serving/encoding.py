"""Frames to clips: MP4, WebM and GIF through FFmpeg, and the stills beside them, a poster and a sprite sheet.

Frames are uint8 RGB of shape (frames, height, width, 3), in sRGB. Knows nothing of the model, jobs or storage:
writing aside and renaming is the caller's.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving import ffmpeg

MAX_RECIPE_BYTES = 100_000  # Linux takes 128 KiB in one argument
JPEG_QUALITY = 90
FRAMES_IN_TIME = 32
"""As many as FFmpeg's time limit was set for; more have more time."""
SPRITE_SIDE = 160
SPRITE_COLUMNS = 8

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Encoder:
    """One output format."""

    name: str
    media_type: str
    suffix: str
    container: str
    """FFmpeg's name of the muxer."""
    output: tuple[str, ...]
    """FFmpeg's output arguments."""
    even_sides: bool = True
    """Whether odd sides must grow by one pixel, as 4:2:0 chroma needs."""


# sRGB in; BT.709 matrix and primaries, limited range, sRGB transfer out, converted and tagged alike.
_SRGB_TO_YUV420 = (
    "-vf",
    "setparams=range=pc:color_primaries=bt709:color_trc=iec61966-2-1,"
    "scale=out_color_matrix=bt709:out_range=tv:flags=lanczos+accurate_rnd+full_chroma_inp+full_chroma_int,"
    "format=yuv420p",
)

ENCODERS = {
    row.name: row
    for row in (
        Encoder(
            name="mp4",
            media_type="video/mp4",
            suffix=".mp4",
            container="mp4",
            output=(
                *_SRGB_TO_YUV420,
                "-c:v",
                "libx264",
                "-preset",
                "medium",
                "-crf",
                "17",
                "-movflags",
                "+faststart",
            ),
        ),
        Encoder(
            name="webm",
            media_type="video/webm",
            suffix=".webm",
            container="webm",
            output=(
                *(*_SRGB_TO_YUV420, "-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0"),
                *("-deadline", "good", "-cpu-used", "4", "-row-mt", "1"),
            ),
        ),
        Encoder(
            name="gif",
            media_type="image/gif",
            suffix=".gif",
            container="gif",
            output=(
                *("-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=sierra2_4a"),
                *("-loop", "0"),
            ),
            even_sides=False,
        ),
    )
}


def encode(
    frames: Frames,
    fps: int,
    path: Path,
    format: str,
    *,
    recipe: Mapping[str, Any] | None = None,
    timeout_s: float = ffmpeg.DEFAULT_TIMEOUT_S,
) -> None:
    """Write `frames` to `path` as the ENCODERS row `format`, each frame shown for 1/`fps` s.

    In MP4 and WebM an odd side grows by one pixel, a copy of its edge. GIF counts hundredths of a second, so
    its frames alternate between two lengths where 100 is no multiple of `fps`. `recipe` is stored as JSON
    in the file's comment; `clip.read_recipe` returns it. Nothing is left at `path` unless all of it was written.

    Raises:
        ValueError: `frames` is not uint8 (F, H, W, 3) with F, H, W >= 1, `fps` is under 1, the format is
            unknown, or the recipe is no JSON, or over 100,000 bytes of it.
        ConfigurationInvalid: there is no FFmpeg to run.
        EncodingFailed: FFmpeg failed, or took longer than `timeout_s`; over 32 frames, than their share more.
    """
    encoder, comment = _checked(frames, fps, format, recipe)
    if encoder.even_sides and (frames.shape[1] % 2 or frames.shape[2] % 2):
        frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    height, width = frames.shape[1:3]
    source = ("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}")
    tag = () if comment is None or encoder.name == "gif" else ("-metadata", b"comment=" + comment)
    try:
        ffmpeg.run(
            (*source, "-framerate", str(fps), "-i", "pipe:0", *encoder.output, *tag),
            ("-y", "-f", encoder.container, ffmpeg.url(path)),
            stdin=frames.tobytes(),
            path=path,
            timeout_s=timeout_s * max(1.0, len(frames) / FRAMES_IN_TIME),
        )
        if comment is not None and encoder.name == "gif":
            _add_gif_comment(path, comment)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def poster(frame: Frames) -> bytes:
    """A JPEG of one frame, uint8 (H, W, 3), sRGB.

    Raises:
        ValueError: `frame` has another shape or dtype.
    """
    return _jpeg(_checked_frames(frame[np.newaxis])[0])


def spritesheet(frames: Frames) -> bytes:
    """A JPEG of all frames in reading order, eight a row, each scaled to a longer side of 160 pixels.

    Raises:
        ValueError: `frames` is not uint8 (F, H, W, 3).
    """
    count, height, width, _ = _checked_frames(frames).shape
    scale = SPRITE_SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = min(count, SPRITE_COLUMNS)
    sheet = Image.new("RGB", (columns * size[0], -(-count // columns) * size[1]))
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        small = Image.fromarray(np.ascontiguousarray(frame)).resize(size, Image.Resampling.LANCZOS)
        sheet.paste(small, (column * size[0], row * size[1]))
    return _jpeg(np.asarray(sheet))


def _jpeg(pixels: Frames) -> bytes:
    jpeg = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(jpeg, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return jpeg.getvalue()


def _checked(frames: Frames, fps: int, name: str, recipe: Mapping[str, Any] | None) -> tuple[Encoder, bytes | None]:
    _checked_frames(frames)
    if fps < 1:
        raise ValueError(f"fps: {fps} given; allowed are 1 and up.")
    if name not in ENCODERS:
        raise ValueError(f"format: {name!r} given; allowed: {', '.join(ENCODERS)}.")
    if recipe is None:
        return ENCODERS[name], None
    # A lone surrogate, which UTF-8 cannot hold, becomes the escape that JSON has for it.
    comment = json.dumps(dict(recipe), ensure_ascii=False, default=_not_json).encode("utf-8", "backslashreplace")
    if len(comment) > MAX_RECIPE_BYTES:
        raise ValueError(f"recipe: {len(comment)} bytes of JSON given; allowed are up to {MAX_RECIPE_BYTES}.")
    return ENCODERS[name], comment


def _not_json(value: object) -> None:
    raise ValueError(f"recipe: a {type(value).__name__} given; allowed is what JSON can hold.")


def _checked_frames(frames: Frames) -> Frames:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(f"frames: {frames.dtype} of shape {frames.shape} given; allowed is uint8 (F, H, W, 3).")
    return frames


def _add_gif_comment(path: Path, comment: bytes) -> None:
    """Insert a comment extension behind the header; FFmpeg reads these but does not write them."""
    gif = path.read_bytes()
    colours = gif[10]  # the screen descriptor's flags: is there a global colour table, and how long
    start = 13 + (3 * 2 ** ((colours & 7) + 1) if colours & 0x80 else 0)
    blocks = (comment[at : at + 255] for at in range(0, len(comment), 255))
    extension = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    path.write_bytes(gif[:start] + extension + gif[start:])
