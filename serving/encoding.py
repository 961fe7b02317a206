"""Frames to clips: MP4, WebM and GIF through FFmpeg, and the stills beside them, a poster and a sprite sheet.

Frames are uint8 RGB of shape (frames, height, width, 3), in sRGB. FFmpeg is the binary that imageio-ffmpeg
ships, or the one that IMAGEIO_FFMPEG_EXE names; it reads from its standard input and writes only to the
path it is given. Knows nothing of the model, jobs or storage: writing aside and renaming is the caller's.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import ConfigurationInvalid, EncodingFailed

DEFAULT_TIMEOUT_S = 300.0
MAX_RECIPE_BYTES = 100_000  # Linux takes 128 KiB in one argument
STDERR_LINES = 5
JPEG_QUALITY = 90
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


def encode(
    frames: Frames,
    fps: int,
    path: Path,
    format: str,
    *,
    recipe: Mapping[str, Any] | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> None:
    """Write `frames` to `path` as the ENCODERS row `format`, each frame shown for 1/`fps` s.

    In MP4 and WebM an odd side grows by one pixel, a copy of its edge. GIF counts hundredths of a second, so
    its frames alternate between two lengths where 100 is no multiple of `fps`. `recipe` is stored as JSON
    in the file's comment; `read_recipe` returns it. Nothing is left at `path` unless all of it was written.

    Raises:
        ValueError: `frames` is not uint8 (F, H, W, 3) with F, H, W >= 1, `fps` is under 1, the format is
            unknown, or the recipe is no JSON, or over 100,000 bytes of it.
        ConfigurationInvalid: there is no FFmpeg to run.
        EncodingFailed: FFmpeg failed, or took longer than `timeout_s`.
    """
    encoder, comment = _checked(frames, fps, format, recipe)
    if encoder.even_sides and (frames.shape[1] % 2 or frames.shape[2] % 2):
        frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    height, width = frames.shape[1:3]
    source = ("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}")
    tag = () if comment is None or encoder.name == "gif" else ("-metadata", b"comment=" + comment)
    try:
        _ffmpeg(
            (*source, "-framerate", str(fps), "-i", "pipe:0", *encoder.output, *tag),
            ("-y", "-f", encoder.container, _url(path)),
            stdin=frames.tobytes(),
            path=path,
            timeout_s=timeout_s,
        )
        if comment is not None and encoder.name == "gif":
            _add_gif_comment(path, comment)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_recipe(path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> dict[str, Any] | None:
    """The recipe inside a clip; None where it carries none.

    Raises:
        ConfigurationInvalid, EncodingFailed: as `encode`; also where `path` is no MP4, WebM or GIF.
    """
    metadata, _ = _ffmpeg(_input(path), ("-f", "ffmetadata", "pipe:1"), path=path, timeout_s=timeout_s)
    comment = re.search(rb"(?ims)^comment=((?:[^\\\n]|\\.)*)$", metadata)
    if comment is None:
        return None
    try:
        recipe = json.loads(re.sub(rb"(?s)\\(.)", rb"\1", comment[1]))
    except ValueError:
        return None
    return recipe if isinstance(recipe, dict) else None


def probe(path: Path, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ClipInfo:
    """Decode all of a clip and say what it holds.

    Raises:
        ConfigurationInvalid, EncodingFailed: as `encode`; also where `path` is no whole MP4, WebM or GIF.
    """
    # One line a frame: stream, dts, pts, duration, bytes, checksum; times in units of the "#tb" line.
    table, log = _ffmpeg(
        ("-xerror", *_input(path)),
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


def _url(path: Path) -> str:
    return f"file:{path}"  # else a name such as "a:b" would be read as a protocol, and "-x" as an option


def _input(path: Path) -> tuple[str, ...]:
    return "-format_whitelist", "mov,matroska,gif", "-i", _url(path)


def _ffmpeg(
    source: Sequence[str | bytes],
    target: Sequence[str],
    *,
    path: Path,
    timeout_s: float,
    stdin: bytes | None = None,
    log_level: str = "error",
) -> tuple[bytes, str]:
    """Run FFmpeg to its end; its standard output and its log. Errors name `path` without its folder."""
    try:
        executable = imageio_ffmpeg.get_ffmpeg_exe()
        process = subprocess.Popen(
            [
                *(executable, "-hide_banner", "-nostdin", "-nostats", "-loglevel", log_level),
                *("-protocol_whitelist", "pipe,file", *source, *target),
            ],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except (RuntimeError, OSError) as error:
        raise ConfigurationInvalid(
            f"FFmpeg cannot be started ({error}). Reinstall imageio-ffmpeg, which ships it, or let the "
            "environment variable IMAGEIO_FFMPEG_EXE name an FFmpeg executable."
        ) from error
    with process:
        try:
            output, log = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            _kill(process)
            said = _last_lines(error.stderr or b"", path)
            raise EncodingFailed(f"{path.name}: FFmpeg took longer than {timeout_s:g} s.{said}") from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode != 0:
        raise EncodingFailed(f"{path.name}: FFmpeg failed ({process.returncode}).{_last_lines(log, path)}")
    return output, log.decode("utf-8", "replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    # The whole group: IMAGEIO_FFMPEG_EXE may name a wrapper whose child would live on.
    os.killpg(process.pid, signal.SIGKILL)


def _last_lines(log: bytes, path: Path) -> str:
    lines = log.decode("utf-8", "replace").replace(_url(path), path.name).strip().splitlines()
    return "".join(f"\n{line[:200]}" for line in lines[-STDERR_LINES:])
