"""FFmpeg as a bounded child process: its own group, a time-out, our own paths and pipes alone.

The binary is the one that imageio-ffmpeg ships, or the one that IMAGEIO_FFMPEG_EXE names. Knows nothing of formats.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

from serving.errors import ConfigurationInvalid, EncodingFailed

DEFAULT_TIMEOUT_S = 300.0
STDERR_LINES = 5


def url(path: Path) -> str:
    """`path` as FFmpeg's argument."""
    return f"file:{path}"  # else a name such as "a:b" would be read as a protocol, and "-x" as an option


def source(path: Path) -> tuple[str, ...]:
    """Arguments that read a clip of ours, and no other kind of file."""
    return "-format_whitelist", "mov,matroska,gif", "-i", url(path)


def run(
    given: Sequence[str | bytes],
    wanted: Sequence[str],
    *,
    path: Path,
    timeout_s: float,
    stdin: bytes | None = None,
    log_level: str = "error",
) -> tuple[bytes, str]:
    """Run FFmpeg to its end; its standard output and its log.

    Args:
        given: arguments before the output's: inputs and what is done with them.
        wanted: the output's arguments.
        path: the clip that errors name, without its folder.

    Raises:
        ConfigurationInvalid: there is no FFmpeg to run.
        EncodingFailed: it failed, or took longer than `timeout_s`; with the last lines of its log.
    """
    try:
        executable = imageio_ffmpeg.get_ffmpeg_exe()
        process = subprocess.Popen(
            [
                *(executable, "-hide_banner", "-nostdin", "-nostats", "-loglevel", log_level),
                *("-protocol_whitelist", "pipe,file", *given, *wanted),
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
    lines = log.decode("utf-8", "replace").replace(url(path), path.name).strip().splitlines()
    return "".join(f"\n{line[:200]}" for line in lines[-STDERR_LINES:])
