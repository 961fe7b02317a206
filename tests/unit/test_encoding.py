"""Clips of every format, and their stills, decoded again."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from made_clips import FORMATS, RECIPE, decoded, moving
from PIL import Image

from serving import ffmpeg
from serving.clip import probe, read_recipe
from serving.encoding import ENCODERS, encode, poster, spritesheet


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(("count", "fps"), [(1, 8), (16, 8), (32, 24), (8, 5)])
def test_every_frame_arrives_at_the_asked_rate(tmp_path, format_name, count, fps):
    path = tmp_path / "clip.part"
    encode(moving(count), fps, path, format_name)
    info = probe(path)
    assert info.frames == count
    assert (info.width, info.height) == (64, 64)
    # GIF counts hundredths of a second.
    tolerance = 0.011 * count if format_name == "gif" else 0.002
    assert info.duration_s == pytest.approx(count / fps, abs=tolerance)
    assert info.fps == pytest.approx(fps, rel=0.1 if format_name == "gif" else 0.005)


@pytest.mark.parametrize(
    ("format_name", "codec", "pixel_format"),
    [("mp4", "h264", "yuv420p"), ("webm", "vp9", "yuv420p"), ("gif", "gif", "bgra")],
)
def test_codec_and_pixel_format(tmp_path, format_name, codec, pixel_format):
    encode(moving(), 8, tmp_path / "clip", format_name)
    info = probe(tmp_path / "clip")
    assert (info.codec, info.pixel_format) == (codec, pixel_format)


@pytest.mark.parametrize("format_name", ["mp4", "webm"])
def test_frames_are_evenly_spaced(tmp_path, format_name):
    path = tmp_path / "clip"
    encode(moving(16), 8, path, format_name)
    table, _ = ffmpeg.run(
        ffmpeg.source(path), ("-enc_time_base", "demux", "-f", "framecrc", "pipe:1"), path=path, timeout_s=60
    )
    stamps = [int(line.split(b",")[2]) for line in table.splitlines() if line.startswith(b"0,")]
    assert stamps[0] == 0
    assert len(set(np.diff(stamps))) == 1


@pytest.mark.parametrize("format_name", FORMATS)
def test_frames_keep_their_order_and_still_frames_are_kept(tmp_path, format_name):
    frames = np.concatenate([np.full((3, 64, 64, 3), level, np.uint8) for level in (20, 120, 220)])
    encode(frames, 8, tmp_path / "clip", format_name)
    levels = decoded(tmp_path / "clip").mean(axis=(1, 2, 3))
    assert np.abs(levels - frames.mean(axis=(1, 2, 3))).max() < 4


COLOURS = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (230, 120, 40),
    (12, 80, 60),
]


@pytest.mark.parametrize("format_name", FORMATS)
def test_colours_come_back(tmp_path, format_name):
    image = np.zeros((64, 32 * len(COLOURS), 3), np.uint8)
    for at, colour in enumerate(COLOURS):
        image[:, at * 32 : at * 32 + 32] = colour
    encode(np.stack([image] * 3), 8, tmp_path / "clip", format_name)
    for shown in decoded(tmp_path / "clip").astype(int):
        for at, colour in enumerate(COLOURS):
            centre = shown[24:40, at * 32 + 12 : at * 32 + 20].mean(axis=(0, 1))
            assert np.abs(centre - colour).max() <= 4, (colour, centre)


@pytest.mark.parametrize("format_name", ["mp4", "webm"])
def test_colours_are_tagged_as_what_they_are(tmp_path, format_name):
    path = tmp_path / "clip"
    encode(moving(2), 8, path, format_name)
    _, log = ffmpeg.run(ffmpeg.source(path), ("-f", "null", "-"), path=path, timeout_s=60, log_level="info")
    assert "yuv420p(tv, bt709/bt709/iec61966-2-1" in log


@pytest.mark.parametrize("format_name", ["mp4", "webm"])
def test_detail_survives(tmp_path, format_name):
    frames = moving(8, 96, 160)
    encode(frames, 8, tmp_path / "clip", format_name)
    error = decoded(tmp_path / "clip").astype(int) - frames
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 32


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("size", [(65, 64), (64, 97), (71, 33), (1, 1)])
def test_odd_sides_grow_by_a_copy_of_the_edge(tmp_path, format_name, size):
    frames = np.full((3, *size, 3), 40, np.uint8)
    frames[:, -1], frames[:, :, -1] = 200, 200
    encode(frames, 8, tmp_path / "clip", format_name)
    shown = decoded(tmp_path / "clip")
    if format_name == "gif":
        assert shown.shape[1:3] == size
    else:
        assert shown.shape[1:3] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert np.abs(shown[:, -1].astype(int) - 200).mean() < 12


def test_mp4_starts_with_its_index(tmp_path):
    encode(moving(), 8, tmp_path / "clip.mp4", "mp4", recipe=RECIPE)
    data = (tmp_path / "clip.mp4").read_bytes()
    boxes, position = [], 0
    while position < len(data):
        boxes.append(data[position + 4 : position + 8])
        position += int.from_bytes(data[position : position + 4])
    assert boxes[0] == b"ftyp"
    assert boxes.index(b"moov") < boxes.index(b"mdat")


def test_a_large_clip(tmp_path):
    frames = np.repeat(moving(4, 1024, 1024), 2, axis=0)
    encode(frames, 8, tmp_path / "clip", "mp4")
    assert probe(tmp_path / "clip").frames == 8


@pytest.mark.parametrize(
    "arrange", [np.asfortranarray, lambda a: a[::-1], lambda a: a[:, :, ::-1], lambda a: a[:, ::2, ::2]]
)
def test_arrays_of_any_layout(tmp_path, arrange):
    frames = arrange(moving(4, 128, 128))
    frames.flags.writeable = False
    encode(frames, 8, tmp_path / "clip", "gif")
    assert decoded(tmp_path / "clip").shape == frames.shape
    encode(frames, 8, tmp_path / "clip", "mp4")
    assert np.abs(decoded(tmp_path / "clip").astype(int) - frames).mean() < 6


def test_the_same_frames_give_the_same_file(tmp_path):
    for name in ("a", "b"):
        encode(moving(), 8, tmp_path / name, "mp4", recipe=RECIPE)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_path_is_taken_as_it_is(tmp_path, monkeypatch):
    names = ("-y", "http:x", "a b'\"%03d;#.mp4.part", "猫.part")
    monkeypatch.chdir(tmp_path)
    for name in names:
        encode(moving(2), 8, Path(name), "mp4", recipe=RECIPE)
        assert probe(Path(name)).frames == 2
        assert read_recipe(Path(name)) is not None
    assert sorted(os.listdir()) == sorted(names)


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(b"old" * 100_000)
    encode(moving(2), 8, path, "mp4")
    assert b"old" not in path.read_bytes()


def test_the_table_of_formats():
    rows = [(row.name, row.media_type, row.suffix) for row in ENCODERS.values()]
    assert rows == [("mp4", "video/mp4", ".mp4"), ("webm", "video/webm", ".webm"), ("gif", "image/gif", ".gif")]
    assert all(name == row.name for name, row in ENCODERS.items())


def test_a_poster_is_a_jpeg_of_the_frame():
    frame = moving(1, 90, 121)[0]
    with Image.open(io.BytesIO(poster(frame[:, ::-1]))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (121, 90))
        assert np.abs(np.asarray(image).astype(int) - frame[:, ::-1]).mean() < 3


@pytest.mark.parametrize(("count", "size"), [(1, (160, 107)), (8, (1280, 107)), (32, (1280, 428)), (9, (1280, 214))])
def test_a_spritesheet_holds_every_frame_in_reading_order(count, size):
    frames = np.zeros((count, 200, 300, 3), np.uint8)
    frames[-1] = 255
    with Image.open(io.BytesIO(spritesheet(frames))) as image:
        assert (image.format, image.size) == ("JPEG", size)
        row, column = divmod(count - 1, 8)
        assert image.getpixel((column * 160 + 80, row * 107 + 50)) == (255, 255, 255)
        if count > 1:
            assert image.getpixel((80, 50)) == (0, 0, 0)
