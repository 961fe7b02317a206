import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving import ffmpeg
from serving.clip import probe, read_recipe
from serving.encoding import ENCODERS, encode, poster, spritesheet
from serving.errors import ConfigurationInvalid, EncodingFailed

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


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    def install(script: str) -> Path:
        path = tmp_path / "fake-ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
        return path

    return install


# Clips


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


# Recipes


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_recipe_of_any_characters_comes_back(tmp_path, format_name):
    encode(moving(3), 8, tmp_path / "clip", format_name, recipe=RECIPE)
    assert read_recipe(tmp_path / "clip") == RECIPE
    assert probe(tmp_path / "clip").frames == 3


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_long_recipe_comes_back(tmp_path, format_name):
    recipe = {"prompt": "🐈" * 2000, "negative_prompt": "=" * 2000, "metadata": {"n": "é" * 30_000}}
    encode(moving(2), 8, tmp_path / "clip", format_name, recipe=recipe)
    assert read_recipe(tmp_path / "clip") == recipe


@pytest.mark.parametrize("format_name", FORMATS)
def test_no_recipe(tmp_path, format_name):
    encode(moving(2), 8, tmp_path / "clip", format_name)
    assert read_recipe(tmp_path / "clip") is None
    encode(moving(2), 8, tmp_path / "clip", format_name, recipe={})
    assert read_recipe(tmp_path / "clip") == {}


def test_a_gif_with_a_recipe_opens_in_pillow(tmp_path):
    encode(moving(3), 8, tmp_path / "clip.gif", "gif", recipe=RECIPE)
    with Image.open(tmp_path / "clip.gif") as gif:
        assert gif.n_frames == 3
        assert gif.info["comment"].startswith(b'{"prompt"')


@pytest.mark.parametrize("recipe", [{"prompt": "x" * 100_001}, {"path": Path()}])
def test_recipes_that_cannot_be_stored_are_refused(tmp_path, recipe):
    with pytest.raises(ValueError, match="recipe"):
        encode(moving(2), 8, tmp_path / "clip", "mp4", recipe=recipe)
    assert not (tmp_path / "clip").exists()


# Stills


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


# Refusals and failures


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
    for limit_s in (0.3, 3.0, 9.0):  # the first that is enough for it to begin at all
        with pytest.raises(EncodingFailed, match=rf"longer than {limit_s:.3g} s") as refused:
            encode(moving(32, 256, 256), 8, path, "mp4", timeout_s=limit_s)
        if "still busy" in refused.value.message:
            break
    assert "still busy" in refused.value.message
    assert time.monotonic() - started < 55
    assert not path.exists()
    for process in map(int, ids.read_text().split()):
        assert is_gone(process)


def test_more_frames_have_more_time(tmp_path, fake_ffmpeg):
    fake_ffmpeg("cat > /dev/null; sleep 60")
    with pytest.raises(EncodingFailed, match=r"longer than 0\.6 s"):
        encode(moving(64, 16, 16), 8, tmp_path / "clip", "mp4", timeout_s=0.3)


def is_gone(process: int) -> bool:
    for _ in range(1200):
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


def test_a_foreign_clip_has_no_recipe(tmp_path):
    path = tmp_path / "clip.gif"
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    images[0].save(path, save_all=True, append_images=images[1:], comment=b"made elsewhere", duration=125)
    assert read_recipe(path) is None
    assert probe(path).frames == 2
    images[0].save(path, save_all=True, append_images=images[1:], comment=b"[1, 2]")
    assert read_recipe(path) is None


def test_a_truncated_clip_is_not_whole(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(moving(32, 256, 256), 8, path, "mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(EncodingFailed):
        probe(path)
