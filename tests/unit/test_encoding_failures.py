"""Frames that are no clip, an FFmpeg that is missing, fails or hangs, and files that cannot be read."""

import time
from pathlib import Path

import numpy as np
import pytest
from made_clips import moving

from serving.clip import probe, read_recipe
from serving.encoding import encode, poster, spritesheet
from serving.errors import ConfigurationInvalid, EncodingFailed


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    def install(script: str) -> Path:
        path = tmp_path / "fake-ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
        return path

    return install


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((2, 64, 64, 3), np.int8),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((2, 64, 64, 4), np.uint8),
        np.zeros((2, 3, 64, 64), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((2, 0, 64, 3), np.uint8),
    ],
    ids=lambda frames: f"{frames.dtype}{frames.shape}",
)
def test_frames_of_another_shape_or_dtype_are_refused(tmp_path, frames):
    with pytest.raises(ValueError, match="frames"):
        encode(frames, 8, tmp_path / "clip", "mp4")
    with pytest.raises(ValueError, match="frames"):
        spritesheet(frames)
    assert list(tmp_path.iterdir()) == []


def test_other_values_out_of_range_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frames"):
        poster(np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match="fps"):
        encode(moving(2), 0, tmp_path / "clip", "mp4")
    with pytest.raises(ValueError, match="mp4, webm, gif"):
        encode(moving(2), 8, tmp_path / "clip", "avi")


@pytest.mark.parametrize("content", [None, b"not a program"])
def test_a_missing_ffmpeg_says_how_to_mend_it(tmp_path, monkeypatch, content):
    executable = tmp_path / "ffmpeg"
    if content is not None:
        executable.write_bytes(content)
        executable.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(executable))
    with pytest.raises(ConfigurationInvalid, match="IMAGEIO_FFMPEG_EXE"):
        encode(moving(2), 8, tmp_path / "clip", "mp4")
    assert not (tmp_path / "clip").exists()


def test_no_ffmpeg_anywhere(tmp_path, monkeypatch):
    def nowhere():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", nowhere)
    with pytest.raises(ConfigurationInvalid, match="Reinstall imageio-ffmpeg"):
        encode(moving(2), 8, tmp_path / "clip", "mp4")


def test_a_failing_ffmpeg_is_quoted(tmp_path, fake_ffmpeg):
    path = tmp_path / "clip.part"
    fake_ffmpeg(f"touch '{path}'; cat > /dev/null; seq 1 9 >&2; echo 'cannot write file:{path}' >&2; exit 3")
    with pytest.raises(EncodingFailed) as caught:
        encode(moving(2), 8, path, "mp4")
    assert caught.value.message.splitlines() == [
        *("clip.part: FFmpeg failed (3).", "6", "7", "8", "9", "cannot write clip.part")
    ]
    assert not path.exists()


def test_an_ffmpeg_that_reads_nothing_and_fails(tmp_path, fake_ffmpeg):
    fake_ffmpeg("exit 1")
    with pytest.raises(EncodingFailed, match="failed"):
        encode(moving(32, 256, 256), 8, tmp_path / "clip", "mp4")


@pytest.mark.parametrize("reads", ["", "cat > /dev/null;"])
def test_a_hung_ffmpeg_is_killed_with_its_children(tmp_path, fake_ffmpeg, reads):
    path, ids = tmp_path / "clip.part", tmp_path / "ids"
    fake_ffmpeg(f"touch '{path}'; {reads} sleep 60 & echo $$ $! > {ids}; echo 'still busy' >&2; wait")
    started = time.monotonic()
    with pytest.raises(EncodingFailed, match=r"longer than 0\.3 s(?s:.*)still busy"):
        encode(moving(32, 256, 256), 8, path, "mp4", timeout_s=0.3)
    assert time.monotonic() - started < 10
    assert not path.exists()
    for process in map(int, ids.read_text().split()):
        assert is_gone(process)


def test_more_frames_have_more_time(tmp_path, fake_ffmpeg):
    fake_ffmpeg("cat > /dev/null; sleep 60")
    with pytest.raises(EncodingFailed, match=r"longer than 0\.6 s"):
        encode(moving(64, 16, 16), 8, tmp_path / "clip", "mp4", timeout_s=0.3)


def is_gone(process: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # dead, and waiting for whichever process adopted it
            return True
        time.sleep(0.05)
    return False


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(EncodingFailed) as caught:
        encode(moving(2), 8, tmp_path / "nowhere" / "clip.mp4", "mp4")
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"#EXTM3U\nfile:///etc/passwd\n", None])
def test_files_that_are_no_clip(tmp_path, content):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (probe, read_recipe):
        with pytest.raises(EncodingFailed) as caught:
            read(path)
        assert str(tmp_path) not in caught.value.message


def test_a_truncated_clip_is_not_whole(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(moving(32, 256, 256), 8, path, "mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(EncodingFailed):
        probe(path)
