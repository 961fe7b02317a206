"""POST /api/predict and POST /models/{name}: calls that wait for their video, and clients that do not wait."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hands import Api, finishing, listening, picture, wait_for

from serving import feed
from serving.clip import probe
from serving.jobs.job import Job

BASE64 = base64.b64encode(picture()).decode()
DATA_URL = f"data:image/png;base64,{BASE64}"
STILL = {"name": "still.png", "data": DATA_URL}


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_S", 0.02)


def only_job(api: Api) -> Job:
    (job,) = api.store.list()[0]
    return job


# The Gradio-style call.


def predict(api: Api, *data: Any, **beside: Any) -> Any:
    return api.http.post("/api/predict", json={"data": list(data)} | beside)


@pytest.mark.parametrize("resolution", [512, "512", "512p", 512.0])
def test_the_older_call_answers_with_an_absolute_url(api: Api, tmp_path: Path, resolution: object) -> None:
    with finishing(api), listening(api) as server:
        body = {"data": [STILL, "pan left", resolution, 9, 5, 4, 1.0], "fn_index": 0, "session_hash": "x"}
        answer = httpx.post(f"{server}/api/predict", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        url, video = answer.json()["data"]
        assert url.startswith(f"{server}/v1/videos/video_")
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(httpx.get(url).raise_for_status().content)
    assert (probe(clip).frames, probe(clip).fps) == (9, 5)
    assert (video["status"], video["error"]) == ("completed", None)
    request = only_job(api).request
    assert (request.num_inference_steps, request.guidance_scale, request.size) == (4, 1.0, "592x440")
    assert answer.json()["duration"] >= 0


@pytest.mark.parametrize("still", [STILL, DATA_URL, {"data": DATA_URL}])
def test_what_is_left_out_takes_its_default(api: Api, still: object) -> None:
    with finishing(api):
        answer = predict(api, still, "pan left", None, 10.0)
    assert answer.status_code == 200, answer.text
    request = only_job(api).request
    assert (request.num_frames, request.fps, request.num_inference_steps) == (10, 8, 6)


def test_the_url_is_one_that_users_can_reach(make_api: Callable[..., Api]) -> None:
    api = make_api(public_url="https://clips.example/i2v/")
    with finishing(api):
        url, video = predict(api, STILL, "pan left").json()["data"]
    assert url == f"https://clips.example/i2v/v1/videos/{video['id']}/content"


PREDICT: list[tuple[Any, int, str, str | None]] = [
    ({}, 400, "invalid_request", "data"),
    ({"data": "x"}, 400, "invalid_request", "data"),
    ({"data": []}, 400, "missing_image", "input_reference"),
    ({"data": [None, "p"]}, 400, "missing_image", "input_reference"),
    ({"data": [3, "p"]}, 400, "invalid_request", "input_reference"),
    ({"data": [{"name": "x"}, "p"]}, 400, "missing_image", "input_reference"),
    ({"data": ["still.png", "p"]}, 400, "url_not_allowed", "input_reference"),
    ({"data": ["http://127.0.0.1/x.png", "p"]}, 400, "url_not_allowed", "input_reference"),
    ({"data": ["data:image/png;base64,@@", "p"]}, 400, "invalid_data_url", "input_reference"),
    ({"data": [STILL]}, 400, "invalid_prompt", "prompt"),
    ({"data": [STILL, " "]}, 400, "invalid_prompt", "prompt"),
    ({"data": [STILL, "p", "9000p"]}, 400, "invalid_parameter", "resolution"),
    ({"data": [STILL, "p", [512]]}, 400, "invalid_request", "resolution"),
    ({"data": [STILL, "p", 512, 99]}, 400, "invalid_parameter", "num_frames"),
    ({"data": [STILL, "p", 512, 8.5]}, 400, "invalid_request", "num_frames"),
    ({"data": [STILL, "p", 512, 8, 8, 6, 1, 0]}, 400, "invalid_request", "data"),
    ({"data": [STILL, "p"], "colour": 1}, 400, "invalid_request", "colour"),
]


@pytest.mark.parametrize(("body", "status", "code", "param"), PREDICT)
def test_what_the_older_call_refuses(api: Api, body: Any, status: int, code: str, param: str | None) -> None:
    refused = api.http.post("/api/predict", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text
    assert refused.json()["error"]["param"] == param
    assert api.count() == 0


def test_the_older_call_takes_json_alone(api: Api) -> None:
    assert api.http.post("/api/predict", data={"data": "x"}).status_code == 415


# Hugging Face's wire.


def test_hugging_face_s_json(api: Api, tmp_path: Path) -> None:
    parameters = {"prompt": "pan left", "num_frames": 9.0, "num_inference_steps": 4, "guidance_scale": 1.5, "seed": 0}
    parameters |= {"target_size": {"width": 320, "height": 240}, "format": "webm", "negative_prompt": None}
    with finishing(api):
        answer = api.http.post("/models/builtin", json={"inputs": BASE64, "parameters": parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/webm"
    request = only_job(api).request
    assert answer.headers["x-video-id"] == only_job(api).id
    asked = (request.prompt, request.num_frames, request.num_inference_steps, request.guidance_scale, request.seed)
    assert asked == ("pan left", 9, 4, 1.5, 0)
    clip = tmp_path / "clip.webm"
    clip.write_bytes(answer.content)
    found = probe(clip)
    assert (found.width, found.height, found.frames) == (320, 240, 9)


@pytest.mark.parametrize("kind", [None, "image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_hugging_face_s_bytes(api: Api, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    with finishing(api):
        answer = api.http.post("/models/builtin?num_frames=9&seed=3", content=picture(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.content[4:8] == b"ftyp"
    request = only_job(api).request
    assert (request.num_frames, request.seed) == (9, 3)
    assert "motion" in request.prompt  # this wire asks for none


def test_a_model_by_its_place_on_the_hub(make_api: Callable[..., Api]) -> None:
    api = make_api(pools=[{"name": "default", "card": "h100", "model": "ali-vilab/i2vgen-xl"}])
    for name, code in (
        ("ali-vilab/i2vgen-xl", "missing_image"),
        ("i2vgen-xl", "missing_image"),
        ("x/y", "model_not_found"),
    ):
        assert api.http.post(f"/models/{name}", json={"inputs": ""}).json()["error"]["code"] == code


HUGGING_FACE: list[tuple[Any, int, str, str | None]] = [
    ({"parameters": {}}, 400, "missing_image", "inputs"),
    ({"inputs": 3}, 400, "invalid_request", "inputs"),
    ({"inputs": "@@"}, 400, "invalid_data_url", "input_reference"),
    ({"inputs": "https://pictures.example/a.png"}, 400, "url_not_allowed", "input_reference"),
    ({"inputs": BASE64, "parameters": [1]}, 400, "invalid_request", "parameters"),
    ({"inputs": BASE64, "colour": 1}, 400, "invalid_request", "colour"),
    ({"inputs": BASE64, "parameters": {"colour": 1}}, 400, "invalid_request", "colour"),
    ({"inputs": BASE64, "parameters": {"model": "builtin"}}, 400, "invalid_request", "model"),
    ({"inputs": BASE64, "parameters": {"num_frames": 99}}, 400, "invalid_parameter", "num_frames"),
    ({"inputs": BASE64, "parameters": {"target_size": 3}}, 400, "invalid_parameter", "target_size"),
    (
        {"inputs": BASE64, "parameters": {"target_size": {"width": 255, "height": 255}}},
        400,
        "invalid_parameter",
        "size",
    ),
]


@pytest.mark.parametrize(("body", "status", "code", "param"), HUGGING_FACE)
def test_what_hugging_face_s_wire_refuses(api: Api, body: Any, status: int, code: str, param: str | None) -> None:
    refused = api.http.post("/models/builtin", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text
    assert refused.json()["error"]["param"] == param
    assert api.count() == 0


def test_bytes_that_are_refused(api: Api) -> None:
    for content, kind, query, code in (
        (b"", "image/png", "", "missing_image"),
        (b"hello", "image/png", "", "unsupported_image_format"),
        (picture(), "multipart/form-data", "", "unsupported_content_type"),
        (picture(), "image/png", "?seed=1&seed=2", "invalid_request"),
        (picture(), "image/png", "?colour=red", "invalid_request"),
    ):
        refused = api.http.post(f"/models/builtin{query}", content=content, headers={"content-type": kind})
        assert refused.json()["error"]["code"] == code
    assert api.count() == 0


# Waiting.


CALLS = [("/api/predict", {"data": [STILL, "p"]}), ("/models/builtin", {"inputs": BASE64})]


@pytest.mark.parametrize(("path", "body"), CALLS)
@pytest.mark.parametrize("running", [False, True])
def test_a_client_that_goes_away_cancels_its_video(api: Api, path: str, body: Any, running: bool) -> None:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    with listening(api) as server:
        with socket.create_connection(("127.0.0.1", httpx.URL(server).port or 0)) as client:
            client.sendall(head.encode() + content)
            wait_for(api.count)
            if running:
                api.claim()
        wait_for(lambda: only_job(api).cancelled or only_job(api).cancel_requested)
        assert only_job(api).cancelled is not running


@pytest.mark.parametrize(("path", "body"), CALLS)
@pytest.mark.parametrize(
    ("how", "status", "code"),
    [("fail", 500, "generation_failed"), ("cancel", 409, "video_failed"), ("delete", 404, "video_not_found")],
)
def test_a_video_that_never_comes(api: Api, path: str, body: Any, how: str, status: int, code: str) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(api.http.post, path, json=body)
        wait_for(api.count)
        job = only_job(api)
        if how == "fail":
            api.claim()
            api.store.fail(job.id, 1, "generation_failed", "The card fell off.")
        elif how == "cancel":
            api.store.cancel(job.id)
        else:
            api.store.delete(job.id)
        refused = answer.result(20)
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
    if how == "fail":
        assert "fell off" in refused.json()["error"]["message"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_where_keys_are_asked_for(api: Api, path: str, body: Any) -> None:
    key, token = api.store.keys.create("shop")
    headers = {"authorization": f"Bearer {token}"}
    assert api.http.post(path, json=body).status_code == 401
    with finishing(api):
        assert api.http.post(path, json=body, headers=headers).status_code == 200
    job = only_job(api)
    assert job.owner == key.id
    url = f"/v1/videos/{job.id}/content"
    assert (api.http.get(url).status_code, api.http.get(url, headers=headers).status_code) == (401, 200)


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_where_too_many_wait_nothing_is_queued(api: Api, path: str, body: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed.Feed, "listeners", feed.MAX_LISTENERS)
    refused = api.http.post(path, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_overloaded")
    assert api.count() == 0
