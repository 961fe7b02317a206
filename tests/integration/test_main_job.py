"""A picture and a prompt go in, an MP4 comes out: through HTTP, Ray Serve, the model and FFmpeg."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from harness import LIMIT_S, PICTURE, wait_for
from PIL import Image
from shown import shown

from deployments.child import ChildService
from serving.clip import probe, read_frames, read_recipe
from serving.jobs.store import open_store
from serving.metrics import CANCELS, FAILURES, KERNELS, OUT_OF_MEMORY, PEAK_MEMORY, TABLE, WEBHOOKS

TOLD_EVERY_S = SEEN_EVERY_S = 0.2
"""How often a card tells its steps, and looks for a cancel."""
Told = tuple[str | None, int]
"""A stage, and the progress."""


@pytest.fixture(scope="module")
def finished(service: ChildService) -> str:
    """The id of a video that is completed, for tests that look at what a job leaves."""
    with httpx.Client(base_url=service.url, timeout=120) as http:
        video = submit(http, num_inference_steps=1)
        wait_for(lambda: following(http, video)["status"] == "completed", LIMIT_S)
    return video


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_unmodified_openai_client(service: ChildService, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{service.url}/v1", api_key="none")
    video = client.videos.create_and_poll(
        prompt="pan left", input_reference=PICTURE, seconds="1", extra_body={"num_inference_steps": 4, "seed": 0}
    )
    assert video.status == "completed", video.error
    assert (video.progress, video.seconds, video.model) == (100, "1", "builtin")
    clip = tmp_path / "clip.mp4"
    client.videos.download_content(video.id).write_to_file(clip)
    found = probe(clip)
    assert (found.frames, found.fps, found.codec, found.pixel_format) == (8, 8, "h264", "yuv420p")
    assert f"{found.width}x{found.height}" == video.size
    assert_moves(clip, "pan left")
    thumbnail = client.videos.download_content(video.id, variant="thumbnail").read()
    assert thumbnail[:2] == b"\xff\xd8"
    assert video.id in [row.id for row in client.videos.list()]
    assert client.videos.retrieve(video.id).status == "completed"

    # The recipe is in the file, beside it, and in the object; all say the same.
    recipe = read_recipe(clip)
    assert recipe is not None
    assert recipe["parameters"]["seed"] == 0
    assert recipe["model"]["revision"].startswith("sha256:")
    (beside,) = service.outputs.glob(f"video_*_{video.id}.json")
    written = json.loads(beside.read_text())
    assert written["parameters"] == recipe["parameters"] == video.to_dict()["recipe"]["parameters"]

    assert client.videos.delete(video.id).deleted
    assert list(service.outputs.glob(f"*{video.id}*")) == []
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.retrieve(video.id)
    assert missing.value.code == "video_not_found"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_errors_name_the_field(service: ChildService) -> None:
    client = openai.OpenAI(base_url=f"{service.url}/v1", api_key="none")
    with pytest.raises(openai.BadRequestError) as refused:
        client.videos.create(prompt="pan left", input_reference=PICTURE, extra_body={"num_frames": 99})
    assert (refused.value.code, refused.value.param) == ("invalid_parameter", "num_frames")
    with pytest.raises(openai.APIStatusError) as refused_picture:
        client.videos.create(prompt="pan left", input_reference=b"not a picture")
    assert refused_picture.value.code == "unsupported_image_format"


def test_an_upload_larger_than_a_message_of_grpc_usually_is(http: httpx.Client) -> None:
    noise = io.BytesIO()
    Image.effect_noise((2400, 2400), 100).save(noise, "PNG")
    assert len(noise.getvalue()) > 4 * 2**20
    answer = http.post("/v1/videos", data={"prompt": "pan left"}, files={"input_reference": noise.getvalue()})
    assert answer.status_code == 200, answer.text
    http.delete(f"/v1/videos/{answer.json()['id']}").raise_for_status()


def test_every_answer_carries_one_request_id(http: httpx.Client) -> None:
    asked = (("/readyz", None), ("/nowhere", None), ("/v1/videos/unknown", None), ("/v1/videos", "mine-1"))
    for path, given in asked:
        answer = http.get(path, headers={} if given is None else {"x-request-id": given})
        (request_id,) = answer.headers.get_list("x-request-id")
        assert request_id == given or (given is None and request_id)


def test_a_client_does_not_set_serves_time_limit(http: httpx.Client) -> None:
    answer = http.get("/v1/models", headers={"x-request-timeout-seconds": "0.00001"})
    assert answer.status_code == 200, answer.text


def test_the_command_against_the_service(service: ChildService, tmp_path: Path) -> None:
    clip = tmp_path / "out" / "clip.webm"
    command = [sys.executable, "-m", "deployments", "generate", str(PICTURE), "zoom in", "-o", str(clip), "--json"]
    command += ["--num-inference-steps", "4", "--seed", "3", "--server", service.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["path"]) == ("completed", str(clip))
    assert probe(clip).codec == "vp9"
    assert_moves(clip, "zoom in")
    again = [sys.executable, "-m", "deployments", "reproduce", str(clip), "--json", "--server", service.url]
    same = json.loads(subprocess.run(again, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout)
    assert (same["verdict"], same["differences"]) == ("identical", [])
    refused = subprocess.run([*command, "--fps", "99"], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["error"]["param"] == "fps"


def test_a_batch_against_the_service(service: ChildService, http: httpx.Client, tmp_path: Path) -> None:
    """Three pictures, one of them bad; a second run adds nothing."""
    stills, out = tmp_path / "stills", tmp_path / "clips"
    stills.mkdir()
    for name in ("mug", "table", "broken"):
        (stills / f"{name}.jpg").write_bytes(PICTURE.read_bytes())
    (stills / "table.txt").write_text("zoom in")
    (stills / "broken.jpg").write_bytes(PICTURE.read_bytes()[:5000])
    command = [sys.executable, "-m", "deployments", "batch", str(stills), "-o", str(out), "--server", service.url]
    command += ["--prompt", "pan left", "--num-inference-steps", "1", "--skip-bad", "--json"]

    def run() -> tuple[int, dict[str, Any]]:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        return done.returncode, json.loads(done.stdout)

    code, told = run()
    assert (code, told["clips"]) == (1, {"completed": 2, "failed": 1})
    assert [(row["row"], row["param"]) for row in told["bad_rows"]] == [(1, "input_reference")]
    recipes = [read_recipe(out / f"{name}.mp4") for name in ("mug", "table")]
    assert [recipe and recipe["parameters"]["prompt"] for recipe in recipes] == ["pan left", "zoom in"]
    assert (out / "mug.jpg").read_bytes()[:2] == b"\xff\xd8"
    newest = http.get("/v1/videos", params={"limit": 1}).json()["first_id"]
    code, told = run()
    assert (code, told["clips"]) == (1, {"completed": 2, "failed": 1})
    assert http.get("/v1/videos", params={"limit": 1}).json()["first_id"] == newest


def test_cancel_frees_the_card_in_mid_job(http: httpx.Client) -> None:
    long = submit(http, num_inference_steps=50)
    wait_for(lambda: (v := following(http, long))["stage"] == "denoising" and v["step"] >= 1, LIMIT_S)
    began, first = time.monotonic(), following(http, long)["step"]
    now = wait_for(lambda: (v := following(http, long))["step"] >= first + 2 and v, LIMIT_S)
    step_s = (time.monotonic() - began) / (now["step"] - first)
    http.post(f"/v1/videos/{long}/cancel").raise_for_status()
    wished = following(http, long)
    ended = wait_for(lambda: (v := following(http, long))["status"] == "failed" and v, LIMIT_S)
    assert ended["error"]["code"] == "cancelled"
    # The step under way and another; and those done while a step waits to be told and the wish to be seen.
    assert ended["step"] <= wished["step"] + 2 + (TOLD_EVERY_S + SEEN_EVERY_S) / step_s
    after = submit(http, num_inference_steps=1)
    done = wait_for(lambda: (v := following(http, after))["status"] == "completed" and v, LIMIT_S)
    assert done["attempt"] == 1


def test_progress_is_told_step_by_step(http: httpx.Client) -> None:
    video = submit(http, num_inference_steps=50)
    seen = watched(http, video, lambda seen: len({told for told in seen if told[0] == "denoising"}) >= 3)
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)
    http.post(f"/v1/videos/{video}/cancel").raise_for_status()


def test_a_chained_clip_played_forward_and_back(http: httpx.Client, tmp_path: Path) -> None:
    video = submit(http, segments=2, loop="pingpong", num_inference_steps=1, seed=1)
    seen = watched(http, video, lambda seen: seen[-1] == (None, 100))
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)
    done = following(http, video)
    assert (done["status"], done["seconds"], done["steps"], done["attempt"]) == (
        "completed",
        str((8 + 7 + 13) / 8),
        2,
        1,
    )
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(http.get(f"/v1/videos/{video}/content").content)
    assert probe(clip).frames == 28
    recipe = read_recipe(clip)
    assert recipe is not None
    assert recipe["montage"] == done["recipe"]["montage"]
    assert [part["seed"] for part in recipe["montage"]["parts"]] == [1, 2]
    assert (recipe["montage"]["num_frames"], recipe["montage"]["reversed_frames"]) == (28, 13)


def test_events_through_serve_s_proxy(http: httpx.Client) -> None:
    """As they happen, with their end; and a client that waits and goes away is noticed."""
    video = submit(http, num_inference_steps=50)
    steps: list[int] = []
    with http.stream("GET", f"/v1/videos/{video}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if event["stage"] == "denoising":
                    steps.append(event["step"])
                    if len(steps) == 3:
                        http.post(f"/v1/videos/{video}/cancel").raise_for_status()
    # Had they been held back until the end, there would have been nothing to cancel.
    assert (event["status"], event["error"]["code"]) == ("failed", "cancelled")
    assert len(set(steps)) >= 3
    assert steps == sorted(steps)

    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    body = json.dumps({"data": [f"data:image/jpeg;base64,{picture}", "pan left", None, None, None, 50]})

    def newest() -> str:
        return str(http.get("/v1/videos?limit=1").json()["data"][0]["id"])

    with closing(HTTPConnection(http.base_url.host, http.base_url.port or 80)) as left:
        left.request("POST", "/api/predict", body, {"content-type": "application/json"})
        waited_for = wait_for(lambda: (found := newest()) != video and found, LIMIT_S)
    ended = wait_for(lambda: (v := following(http, waited_for))["status"] == "failed" and v, LIMIT_S)
    assert ended["error"] == {"code": "cancelled", "message": ended["error"]["message"]}


def test_logs_of_start_and_job(service: ChildService, finished: str) -> None:
    log = service.folder / "logs" / "jobs" / f"{finished}.log"
    # The status is written before the line that tells of it.
    told = wait_for(lambda: (lines := records(log))[-1]["message"].startswith("completed") and lines, LIMIT_S)
    assert [(line["logger"], line["message"].split()[0]) for line in told] == [
        ("serving.intake", "accepted"),
        ("deployments.dispatcher", "attempt"),
        ("serving.rendering", "rendered"),
        ("serving.publishing", "completed:"),
    ]
    assert {line["job"] for line in told} == {finished}
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in told)
    (start,) = (service.folder / "logs").glob("app_*.log")
    written = records(start)
    assert [line for line in written if line["job"] == finished] == told
    assert "ffmpeg" in [line.get("check") for line in written]
    assert {"serving.intake", "deployments.dispatcher"} <= {line["logger"] for line in written}


@pytest.mark.usefixtures("finished")
def test_a_finished_job_teaches_how_fast_the_card_is(service: ChildService) -> None:
    with closing(open_store(f"sqlite:///{service.folder}/data/jobs.sqlite3")) as store:
        (row,) = wait_for(store.calibrations.every, LIMIT_S)
    assert (row.model, row.card) == ("builtin", "cpu")
    assert row.calibration.observations >= 1


@pytest.mark.usefixtures("finished")
def test_metrics_of_every_stage(http: httpx.Client) -> None:
    assert http.post("/v1/videos", json={"prompt": "p"}).status_code == 400
    # The last of them is still waiting when the metrics have come.
    long = [submit(http, num_inference_steps=50) for _ in range(10)]
    # Memory, running out of it, and kernels need a GPU, webhooks a receiver; the rest may come from other tests.
    apart = {KERNELS, OUT_OF_MEMORY, PEAK_MEMORY, FAILURES, CANCELS, WEBHOOKS}
    expected = {f"ray_{metric.name}" for metric in TABLE if metric not in apart}

    def all_seen() -> bool:
        text = http.get("/metrics").raise_for_status().text
        samples = {re.sub(r"_bucket$", "", line.split("{")[0]) for line in text.splitlines()}
        return expected <= samples

    def followers() -> float:
        rows = [line for line in http.get("/metrics").text.splitlines() if line.startswith("ray_i2v_followers{")]
        return sum(float(row.rpartition(" ")[2]) for row in rows)

    with http.stream("GET", f"/v1/videos/{long[-1]}/events"):
        wait_for(lambda: all_seen() and followers() == 1, LIMIT_S, lambda: http.get("/metrics").text[:2000])
    # Whose client went away is followed no longer.
    wait_for(lambda: followers() == 0, LIMIT_S, followers)
    for video in reversed(long):
        http.post(f"/v1/videos/{video}/cancel")


def assert_moves(clip: Path, move: str) -> None:
    """The clip begins with the picture, and of all nine moves it is this one's true clip that it is nearest to."""
    found = shown(read_frames(clip), Image.open(PICTURE))
    assert found.move == move
    assert found.first > 25
    assert found.last > 20


def records(path: Path) -> list[dict[str, Any]]:
    """The log's lines, each of which must be a JSON object."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def submit(http: httpx.Client, **fields: object) -> str:
    form = {"prompt": "pan left"} | {name: str(value) for name, value in fields.items()}
    answer = http.post("/v1/videos", data=form, files={"input_reference": PICTURE.read_bytes()})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def watched(http: httpx.Client, video_id: str, seen_enough: Callable[[list[Told]], bool]) -> list[Told]:
    """What it says of its progress, until that is enough."""
    seen: list[Told] = []

    def enough() -> bool:
        now = following(http, video_id)
        seen.append((now["stage"], now["progress"]))
        return seen_enough(seen)

    wait_for(enough, LIMIT_S, lambda: seen[-20:])
    return seen


def following(http: httpx.Client, video_id: str) -> dict[str, Any]:
    video: dict[str, Any] = http.get(f"/v1/videos/{video_id}").json()
    return video
