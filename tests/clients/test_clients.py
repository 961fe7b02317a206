"""Clients that others wrote, unmodified, against a whole service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.inference import _providers as providers
from huggingface_hub.inference._providers.hf_inference import HFInferenceBinaryInputTask
from packages import NEWEST, npm_package, python_package

from deployments.child import ChildService
from deployments.demo import PICTURE
from serving.clip import probe

SCRIPTS = Path(__file__).parent


def run(*command: str | Path, packages: Path | str | None = None, cwd: Path | None = None) -> str:
    environment = dict(os.environ) if packages is None else os.environ | {"PYTHONPATH": str(packages)}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=cwd,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.conformance
@pytest.mark.parametrize("version", ["2.2.0", "2.54.0", NEWEST])
def test_openai_of_python(service: ChildService, version: str) -> None:
    packages = python_package("openai", version)
    said = run(sys.executable, SCRIPTS / "openai_script.py", service.url, PICTURE, packages=packages)
    used = json.loads(said)["version"]
    assert used == version or (version == NEWEST and int(used.split(".")[0]) >= 3)


@pytest.mark.parametrize("version", ["6.49.0", pytest.param(NEWEST, marks=pytest.mark.conformance)])
def test_openai_of_javascript(service: ChildService, version: str) -> None:
    folder = npm_package("openai", version)
    used = json.loads(run("node", SCRIPTS / "openai_script.mjs", service.url, PICTURE, folder))["version"]
    assert used == version or (version == NEWEST and int(used.split(".")[0]) >= 7)


@pytest.mark.conformance
def test_a_script_of_the_older_gradio_style(service: ChildService, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    run(sys.executable, SCRIPTS / "predict_script.py", service.url, PICTURE, clip)
    assert (probe(clip).frames, probe(clip).fps) == (8, 8)


@pytest.mark.parametrize("version", ["1.14.0", pytest.param(NEWEST, marks=pytest.mark.conformance)])
def test_gradio_client(service: ChildService, tmp_path: Path, version: str) -> None:
    packages = python_package("gradio_client", version)
    said = run(sys.executable, SCRIPTS / "gradio_script.py", service.url, PICTURE, tmp_path, packages=packages)
    told = json.loads(said)
    used, newest = told["version"], version == NEWEST
    assert used == version or (newest and int(used.split(".")[0]) >= 2)
    assert probe(Path(told["clip"])).frames == 30


@pytest.mark.conformance
def test_hugging_face_s_client_as_it_is(service: ChildService) -> None:
    """It offers image-to-image alone at an address of one's own, and wants a picture back: an animated one is."""
    client = InferenceClient(model=f"{service.url}/models/builtin")
    clip = client.image_to_image(
        PICTURE.read_bytes(),
        prompt="pan left",
        num_inference_steps=1,
        target_size={"width": 256, "height": 256},
        format="gif",
    )
    assert (clip.format, clip.size, getattr(clip, "n_frames", 1)) == ("GIF", (256, 256), 8)
    # Without parameters it sends the picture's bytes alone.
    plain = InferenceClient(model=f"{service.url}/models/builtin?format=gif&num_inference_steps=1")
    assert plain.image_to_image(str(PICTURE)).format == "GIF"
    with pytest.raises(HfHubHTTPError) as refused:
        client.image_to_image(PICTURE.read_bytes(), prompt="pan left", num_frames=99)
    assert refused.value.response.status_code == 400
    assert "num_frames" in str(refused.value)


@pytest.mark.conformance
def test_hugging_face_s_image_to_video(service: ChildService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client speaks this task's wire, but only to its own providers; its table is told of one's own address."""
    task: Any = HFInferenceBinaryInputTask("image-to-video")
    monkeypatch.setitem(providers.PROVIDERS["hf-inference"], "image-to-video", task)
    client = InferenceClient(model=f"{service.url}/models/builtin")
    video = client.image_to_video(PICTURE.read_bytes(), prompt="pan left", num_frames=9, num_inference_steps=1, seed=0)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(video)
    assert (probe(clip).frames, probe(clip).codec) == (9, "h264")


def test_a_browser_s_way_of_following(service: ChildService) -> None:
    """As the standard of server-sent events has it: each new connection brings the last id, and 204 ends it."""
    form = {"prompt": "pan left", "num_inference_steps": "1"}
    with httpx.Client(base_url=service.url, timeout=60) as http:
        video = http.post("/v1/videos", data=form, files={"input_reference": PICTURE.read_bytes()}).json()["id"]
        last, seen = "", []
        for _ in range(50):
            with http.stream(
                "GET", f"/v1/videos/{video}/events", headers={"last-event-id": last} if last else {}
            ) as stream:
                if stream.status_code == 204:
                    break
                for line in stream.iter_lines():
                    if line.startswith("id: "):
                        last = line.removeprefix("id: ")
                    if line.startswith("event: "):
                        seen.append(line.removeprefix("event: "))
                    if len(seen) % 3 == 2 and not line:
                        break  # as if the connection had been lost
        else:
            raise AssertionError(seen)
    assert seen[-1] == "video.completed"
    assert seen.count("video.completed") == 1
    assert set(seen) <= {"video.queued", "video.in_progress", "video.completed"}


def test_schemathesis_finds_nothing(service: ChildService, tmp_path: Path) -> None:
    """The last one: from here on the service asks for keys, as its schema says that it does."""
    packages = python_package("schemathesis", NEWEST)
    made = subprocess.run(
        [sys.executable, "-m", "deployments", "keys", "create", "schemathesis", "--json"],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        check=True,
    )
    header = f"Authorization: Bearer {json.loads(made.stdout)['key']}"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SCRIPTS / "schemathesis.toml"), "run"]
    run(
        *command,
        "--header",
        header,
        f"{service.url}/openapi.json",
        packages=f"{packages}{os.pathsep}{SCRIPTS}",
        cwd=tmp_path,
    )
