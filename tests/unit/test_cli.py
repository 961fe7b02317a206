"""The `i2v` command without a service: doctor's verdicts, generation in one process, and its errors."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.clip import probe, read_frames, read_recipe
from serving.encoding import encode

runner = CliRunner()
PICTURE = Path(__file__).parents[2] / "serving" / "assets" / "demo.jpg"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and an environment of the test's own."""
    monkeypatch.chdir(tmp_path)
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        port = probe_socket.getsockname()[1]
    for name, value in {"I2V_PORT": str(port), "I2V_MODEL": "builtin", "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def findings() -> tuple[int, dict[str, Any]]:
    result = runner.invoke(app, ["doctor", "--json"])
    return result.exit_code, {row["check"]: row for row in json.loads(result.stdout)}


def test_a_healthy_machine() -> None:
    code, found = findings()
    assert code == 0
    assert {"python", "torch", "ray", "ffmpeg", "weights", "output_dir", "database", "disk", "memory", "port"} <= set(
        found
    )
    assert {row["level"] for row in found.values()} <= {"ok", "warn"}
    assert found["weights"]["detail"].startswith("builtin at sha256:")


def test_plain_lines_say_the_same() -> None:
    lines = runner.invoke(app, ["doctor"]).stdout.splitlines()
    assert [line.split()[:2] for line in lines][:2] == [["ok", "python"], ["ok", "torch"]]


@pytest.mark.parametrize(
    ("variable", "value", "check", "words"),
    [
        ("I2V_OUTPUT_DIR", "/proc/clips", "output_dir", "No such file"),
        ("I2V_MODEL", "/nowhere/model", "weights", "two ways"),
        ("I2V_MODEL", "ali-vilab/i2vgen-xl", "weights", "hf download ali-vilab/i2vgen-xl"),
        ("I2V_DATABASE_URL", "oracle://127.0.0.1/none", "database", "oracle"),
        ("I2V_DISK_RESERVE_BYTES", str(2**60), "disk", "free"),
        ("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg", "ffmpeg", "ffmpeg"),
    ],
)
def test_what_would_stop_the_service_fails(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, check: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    code, found = findings()
    assert code == 1
    assert found[check]["level"] == "fail"
    assert words.lower() in found[check]["detail"].lower()


def test_a_port_in_use_fails_and_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("I2V_PORT", str(taken.getsockname()[1]))
        code, found = findings()
    assert code == 1
    assert "I2V_PORT" in found["port"]["detail"]


def test_a_bucket_is_written_to(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_STORAGE_URL", s3_url)
    code, found = findings()
    assert code == 0
    assert (found["storage_url"]["level"], found["disk"]["level"]) == ("ok", "ok")
    monkeypatch.setenv("I2V_STORAGE_URL", "s3://no-such-bucket")
    code, found = findings()
    assert (code, found["storage_url"]["level"]) == (1, "fail")
    assert "no such bucket" in found["storage_url"]["detail"]


def test_bad_settings_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_PORT", "many")
    result = runner.invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["message"].startswith("port: ")


def test_generate_in_one_process(folder: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_MODEL", tiny)
    options = ["--local", "--num-inference-steps", "4", "--seed", "5", "--json", "-o", "deep/CLIP.GIF"]
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left", *options])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    clip = folder / answer["path"]
    assert probe(clip).frames == 2
    assert read_recipe(clip) is not None
    assert answer["recipe"]["parameters"]["seed"] == 5
    assert answer["recipe"]["parameters"]["acceleration"] == []
    assert not any(warning["code"] == "inexact" for warning in answer["warnings"])
    assert {"preprocess", "load", "condition", "denoise", "decode", "encode"} == set(answer["recipe"]["timings_s"])
    assert [path.name for path in clip.parent.iterdir()] == ["CLIP.GIF"]


def test_angles_in_one_process(folder: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_MODEL", tiny)
    options = ["--local", "--num-inference-steps", "4", "--seed", "5", "--json", "--loop", "pingpong"]
    angles = ["--angle", "the camera pans to the left, slowly", "--angle", "the camera zooms in"]
    result = runner.invoke(app, ["generate", str(PICTURE), "a mug", *options, *angles])
    assert result.exit_code == 0, result.output
    recipe = json.loads(result.stdout)["recipe"]
    assert [part["prompt"] for part in recipe["montage"]["parts"]] == [f"a mug, {angle}" for angle in angles[1::2]]
    assert probe(folder / "clip.mp4").frames == recipe["montage"]["num_frames"] == 6
    assert read_recipe(folder / "clip.mp4")["montage"] == recipe["montage"]  # type: ignore[index]


def test_a_clip_is_made_again_by_its_recipe(folder: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_MODEL", tiny)
    options = ["--local", "--num-inference-steps", "4", "--seed", "5", "--acceleration", "unipc", "-o", "clip.webm"]
    made = runner.invoke(app, ["generate", str(PICTURE), "pan left", *options])
    assert made.exit_code == 0, made.output
    here = ["--local", "--model", tiny, "--picture", str(PICTURE)]
    same = runner.invoke(app, ["reproduce", "clip.webm", "--json", *here])
    told = json.loads(same.stdout)
    assert (same.exit_code, told["verdict"], told["levels"], told["psnr_db"]) == (0, "identical", 0, None)
    assert (told["differences"], len(told["frames"]), told["path"]) == ([], 2, "clip.again.webm")
    assert probe(folder / "clip.again.webm").frames == 2

    # A clip that lost its recipe has it beside, which here is of another seed.
    recipe = read_recipe(folder / "clip.webm")
    assert recipe is not None
    recipe["parameters"]["seed"] = 6
    recipe["card"] = "another card"
    encode(read_frames(folder / "clip.webm"), 8, folder / "bare.webm", "webm")
    (folder / "bare.json").write_text(json.dumps(recipe))
    other = runner.invoke(app, ["reproduce", "bare.webm", "--json", *here])
    told = json.loads(other.stdout)
    assert (other.exit_code, told["verdict"]) == (1, "different")
    assert told["psnr_db"] < 40
    assert [row["name"] for row in told["differences"]] == ["card"]
    assert "another card" in runner.invoke(app, ["reproduce", "bare.webm", *here]).stdout

    for arguments, param in (
        (["clip.webm", "--local"], "picture"),
        (["clip.webm"], "picture"),
        ([str(PICTURE)], None),
    ):
        refused = runner.invoke(app, ["reproduce", *arguments, "--json"])
        assert refused.exit_code == 2
        assert json.loads(refused.stdout)["error"]["param"] == param


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (["--num-frames", "99"], "num_frames"),
        (["--fit", "stretch"], "fit"),
        (["--negative-prompt", "blurry"], "negative_prompt"),
        (["--size", "100x100"], "size"),
        (["--acceleration", "deepcache,turbo"], "acceleration"),
        (["--segments", "9"], "segments"),
        (["--angle", "one"], "angles"),
        (["--loop", "round"], "loop"),
    ],
)
def test_bad_parameters_are_named_before_anything_is_loaded(folder: Path, options: list[str], param: str) -> None:
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left", "--local", "--json", *options])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["param"] == param
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("given", ["[/]", "[bold]7"])
def test_what_was_given_is_shown_as_it_was_given(given: str) -> None:
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left", "--local", "--size", given])
    assert result.exit_code == 1
    assert f"size: {given} given" in result.stderr


def test_a_folder_as_output_is_refused_before_any_work(folder: Path) -> None:
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left", "--local", "--json", "-o", str(folder)])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["param"] == "output"


def test_an_output_that_cannot_be_written_is_one_clear_error(folder: Path) -> None:
    (folder / "file").touch()
    options = ["--local", "--json", "--num-inference-steps", "4", "-o", "file/clip.mp4"]
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left", *options])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "file_error"


@pytest.mark.parametrize("server", ["http://127.0.0.1:many", "127.0.0.1:8000", "http://[::1"])
def test_a_server_that_is_no_address(server: str) -> None:
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left", "--json", "--server", server])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] in ("invalid_server", "connection_lost")


def test_without_a_service_the_ways_out_are_named() -> None:
    result = runner.invoke(app, ["generate", str(PICTURE), "pan left"])
    assert result.exit_code == 1
    assert "i2v serve" in result.stderr
    assert "--local" in result.stderr
