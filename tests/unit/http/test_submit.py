"""POST /v1/videos: what is accepted, and every refusal, after which nothing is queued."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hands import URL, Api, picture
from held_clock import HeldClock
from starlette.requests import Request
from starlette.types import Message, Receive

from serving.errors import RateLimited, RequestTimedOut
from serving.http.errors import error_response
from serving.http.objects import poll_after_ms
from serving.http.submission import read_submission
from serving.jobs.worker import Worker
from serving.presets import BUILTIN, profile_for
from serving.scheduling.calibration import unmeasured
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import seconds, speed_of

GOOD = {"prompt": "pan left"}


def data_url(data: bytes | None = None) -> str:
    return "data:image/png;base64," + base64.b64encode(data if data is not None else picture()).decode()


def sent_as(reference: object) -> dict[str, object]:
    return {"prompt": "p", "input_reference": reference}


def test_multipart(api: Api) -> None:
    video = api.submit(seed="0", num_frames="9", **{"metadata[sku]": "A-1"})
    assert video["object"] == "video"
    assert video["status"] == "queued"
    assert (video["parameters"]["seed"], video["parameters"]["num_frames"]) == (0, 9)
    assert video["metadata"] == {"sku": "A-1"}
    assert video["size"] == "296x224"
    assert video["seconds"] == "1.125"
    assert video["queue_position"] == 1


def test_a_deadline_and_what_each_pool_would_take_reach_the_queue(api: Api) -> None:
    before = time.time()
    job = api.store.get(api.submit(deadline="90.5", priority="batch")["id"])
    assert job.request.deadline_s == 90.5
    assert before + 90.5 <= job.deadline <= time.time() + 90.5
    assert list(job.estimates) == ["default"]
    assert job.estimate_s == job.estimates["default"] > 0


def test_a_measured_card_s_speed_is_the_estimate(make_api: Callable[..., Api]) -> None:
    api = make_api()
    cost = profile_for(BUILTIN).cost
    job = api.store.get(api.submit()["id"])
    assert job.estimate_s == pytest.approx(seconds(job.request.shape, cost, CARDS["cpu"].tflops))
    api.store.calibrations.replace(BUILTIN, "cpu", "engine", unmeasured(speed_of(1.0, cost)))
    # What a service has read counts for some seconds; another one reads it now.
    assert api.store.get(api.submit()["id"]).estimate_s == job.estimate_s
    assert api.store.get(make_api().submit()["id"]).estimate_s == pytest.approx(seconds(job.request.shape, cost, 1.0))


@pytest.mark.parametrize("reference", [data_url(), {"image_url": data_url()}])
def test_json(api: Api, reference: object) -> None:
    body = {"prompt": "pan left", "seconds": "2", "fps": 8, "input_reference": reference}
    response = api.http.post(URL, json=body)
    assert response.status_code == 200, response.text
    assert response.json()["parameters"]["num_frames"] == 16


@pytest.mark.parametrize("names", ["deepcache,unipc", ["unipc", "deepcache"], []], ids=str)
def test_accelerations_in_json(api: Api, names: object) -> None:
    response = api.http.post(URL, json={"prompt": "pan left", "acceleration": names, "input_reference": data_url()})
    assert response.status_code == 200, response.text
    assert response.json()["parameters"]["acceleration"] == (["unipc", "deepcache"] if names else [])


def test_accelerations_in_multipart(api: Api) -> None:
    assert api.submit()["parameters"]["acceleration"] == []
    assert api.submit(acceleration="")["parameters"]["acceleration"] == []
    assert api.submit(acceleration="deepcache")["parameters"]["acceleration"] == ["deepcache"]
    found = api.submit(**{"acceleration[]": ["deepcache", "dpm-solver++"]})
    assert found["parameters"]["acceleration"] == ["dpm-solver++", "deepcache"]
    assert found["parameters"]["num_inference_steps"] == 4
    told = [warning["message"] for warning in found["warnings"] if warning["code"] == "inexact"]
    assert any("dpm-solver++" in message for message in told)
    assert api.store.get(found["id"]).request.shape.accelerations == ("dpm-solver++", "deepcache")


ANGLES = ["the camera pans to the left, slowly", "the camera zooms in"]


@pytest.mark.parametrize("given", [ANGLES, json.dumps(ANGLES)], ids=["a list", "as text"])
def test_angles_in_json(api: Api, given: object) -> None:
    response = api.http.post(URL, json={"prompt": "a mug", "angles": given, "input_reference": data_url()})
    assert response.status_code == 200, response.text
    assert response.json()["parameters"]["angles"] == ANGLES


@pytest.mark.parametrize("fields", [{"angles[]": ANGLES}, {"angles": json.dumps(ANGLES)}], ids=str)
def test_a_clip_of_two_angles_costs_and_lasts_twice_as_much(api: Api, fields: dict[str, Any]) -> None:
    one, two = api.submit(seed="5"), api.submit(seed="5", **fields)
    assert two["parameters"]["angles"] == ANGLES
    assert (one["seconds"], two["seconds"]) == ("1", "2")
    assert two["steps"] == 2 * one["steps"]
    alone, both = (api.store.get(video["id"]).estimates["default"] for video in (one, two))
    assert both == pytest.approx(2 * alone)


def test_segments_and_a_loop(api: Api) -> None:
    video = api.submit(segments="3", loop="pingpong")
    assert (video["parameters"]["segments"], video["parameters"]["loop"]) == (3, "pingpong")
    assert video["seconds"] == str((22 + 20) / 8)
    assert "segments_drift" in [warning["code"] for warning in video["warnings"]]
    quote = api.http.post(f"{URL}/quote", json={"prompt": "p", "segments": 3, "size": "256x256"}).json()
    assert (quote["num_frames"], quote["seconds"], quote["parameters"]["num_frames"]) == (22, "2.75", 8)


@pytest.mark.parametrize("angles", ["pan left", '["a", 1]', '{"a": 1}', "[" * 9999])
def test_angles_that_are_no_list_of_texts(api: Api, angles: str) -> None:
    answer = api.http.post(URL, data={"prompt": "p", "angles": angles}, files={"input_reference": picture()})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].split(".")[0] == "angles"
    assert api.count() == 0


def test_the_picture_is_sniffed_not_named(api: Api) -> None:
    files = {"input_reference": ("upload", picture(kind="JPEG"), "application/octet-stream")}
    assert api.http.post(URL, data=GOOD, files=files).status_code == 200


def test_a_random_seed_is_reported_and_safe_in_javascript(api: Api) -> None:
    seeds = {api.submit()["parameters"]["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_polling_is_advised_by_what_is_left(api: Api) -> None:
    cost = profile_for(BUILTIN).cost
    api.store.calibrations.replace(BUILTIN, "cpu", "engine", unmeasured(speed_of(0.02, cost)))
    began = time.monotonic()
    first, second = (api.store.get(api.submit()["id"]) for _ in range(2))
    assert 5.0 < first.estimate_s < 150.0
    for job, left_s in ((first, first.estimate_s), (second, 2 * first.estimate_s)):
        poll_ms = int(api.http.get(f"{URL}/{job.id}").headers["openai-poll-after-ms"])
        passed_s = time.monotonic() - began
        assert 100 * (left_s - passed_s) - 10 <= poll_ms <= 100 * left_s + 10


@pytest.mark.parametrize(
    ("changes", "position", "eta_s", "poll_ms"),
    [
        ({}, 3, 100.0, 10_000),
        ({}, 900, 36_000.0, 30_000),
        ({}, 1, 1.0, 500),
        # Where nobody can tell what is left: by what is before it, or by what it takes where it is.
        ({"estimates": {"a": 40.0}, "estimate_s": 40.0}, 1, None, 4000),
        ({"estimates": {"a": 40.0}, "estimate_s": 40.0}, 3, None, 12_000),
        ({"estimates": {"a": 40.0}, "estimate_s": 40.0}, 900, None, 30_000),
        ({"estimates": {"a": 40.0, "b": 80.0}, "estimate_s": 40.0, "pool": "b"}, None, None, 8000),
    ],
)
def test_a_tenth_of_what_is_left(
    api: Api, changes: dict[str, Any], position: int | None, eta_s: float | None, poll_ms: int
) -> None:
    job = dataclasses.replace(api.store.get(api.submit()["id"]), **changes)
    assert poll_after_ms(job, position, eta_s) == poll_ms


MULTIPART: list[tuple[str, dict[str, Any], list[bytes], int, str, str | None]] = [
    ("no prompt", {}, [picture()], 400, "invalid_prompt", "prompt"),
    ("empty prompt", {"prompt": " "}, [picture()], 400, "invalid_prompt", "prompt"),
    ("long prompt", {"prompt": "a" * 2001}, [picture()], 400, "invalid_prompt", "prompt"),
    ("NUL", {"prompt": "a\x00b"}, [picture()], 400, "invalid_prompt", "prompt"),
    ("no picture", GOOD, [], 400, "missing_image", "input_reference"),
    ("two pictures", GOOD, [picture()] * 2, 400, "ambiguous_image", "input_reference"),
    ("unknown field", GOOD | {"colour": "red"}, [picture()], 400, "invalid_request", "colour"),
    ("twice", {"prompt": ["a", "b"]}, [picture()], 400, "invalid_request", "prompt"),
    ("ill-typed", GOOD | {"num_frames": "many"}, [picture()], 400, "invalid_request", "num_frames"),
    ("NaN", GOOD | {"guidance_scale": "nan"}, [picture()], 400, "invalid_request", "guidance_scale"),
    ("range", GOOD | {"num_frames": "64"}, [picture()], 400, "invalid_parameter", "num_frames"),
    ("seconds", GOOD | {"seconds": "20"}, [picture()], 400, "invalid_parameter", "seconds"),
    ("endless", GOOD | {"seconds": "1.7e308"}, [picture()], 400, "invalid_parameter", "seconds"),
    ("metadata twice", GOOD | {"metadata": "x", "metadata[a]": "y"}, [picture()], 400, "invalid_request", "metadata"),
    ("deadline", GOOD | {"deadline": "0"}, [picture()], 400, "invalid_parameter", "deadline"),
    ("format", GOOD | {"format": "avi"}, [picture()], 400, "invalid_parameter", "format"),
    ("acceleration", GOOD | {"acceleration": "turbo"}, [picture()], 400, "invalid_parameter", "acceleration"),
    ("not offered", GOOD | {"acceleration": "fp8"}, [picture()], 400, "invalid_parameter", "acceleration"),
    (
        "acceleration in two ways",
        GOOD | {"acceleration[]": "deepcache", "acceleration": "unipc"},
        [picture()],
        400,
        "invalid_request",
        "acceleration",
    ),
    ("model", GOOD | {"model": "sora-2"}, [picture()], 404, "model_not_found", "model"),
    ("not a picture", GOOD, [b"hello"], 415, "unsupported_image_format", "input_reference"),
    ("empty file", GOOD, [b""], 400, "invalid_image", "input_reference"),
    ("truncated", GOOD, [picture()[:-200]], 400, "invalid_image", "input_reference"),
    ("tiny", GOOD, [picture(32, 32)], 400, "image_dimensions", "input_reference"),
    ("GIF", GOOD, [picture(kind="GIF")], 415, "unsupported_image_format", "input_reference"),
]


@pytest.mark.parametrize(
    ("fields", "pictures", "status", "code", "param"), [row[1:] for row in MULTIPART], ids=[row[0] for row in MULTIPART]
)
def test_refused_multipart(
    api: Api, fields: dict[str, Any], pictures: list[bytes], status: int, code: str, param: str | None
) -> None:
    files = [("input_reference", (f"p{i}", data)) for i, data in enumerate(pictures)]
    # A field without a file name is what makes the client send multipart when there is no picture.
    plain = [(name, (None, str(value))) for name, value in fields.items()] if not pictures else []
    response = api.http.post(URL, data=fields if pictures else None, files=files + plain)
    assert_refused(api, response, status, code, param)


JSON: list[tuple[str, Any, int, str, str | None]] = [
    ("not JSON", b"{", 400, "invalid_request", None),
    ("a list", b"[]", 400, "invalid_request", None),
    ("deep", b"[" * 100_000, 400, "invalid_request", None),
    ("NaN", b'{"prompt": "p", "fps": NaN}', 400, "invalid_request", None),
    ("twice", b'{"prompt": "p", "prompt": "q"}', 400, "invalid_request", "prompt"),
    ("bool for int", {"prompt": "p", "fps": True}, 400, "invalid_request", "fps"),
    ("text for int", {"prompt": "p", "fps": "8"}, 400, "invalid_request", "fps"),
    ("number for names", {"prompt": "p", "acceleration": 3}, 400, "invalid_request", "acceleration"),
    ("number for a name", {"prompt": "p", "acceleration": ["unipc", 3]}, 400, "invalid_request", "acceleration.1"),
    ("number for text", {"prompt": 3}, 400, "invalid_request", "prompt"),
    ("lone surrogate", b'{"prompt": "\\ud800", "input_reference": "data:;base64,"}', 400, "invalid_prompt", "prompt"),
    ("surrogate elsewhere", b'{"prompt": "p", "metadata": {"a": "\\udfff"}}', 400, "invalid_request", "metadata"),
    ("surrogate as field", b'{"prompt": "p", "\\ud800": 1}', 400, "invalid_request", "body"),
    ("NUL in metadata", b'{"prompt": "p", "metadata": {"a": "\\u0000"}}', 400, "invalid_request", "metadata.a"),
    ("null byte", {"prompt": "a\x00", "input_reference": data_url()}, 400, "invalid_prompt", "prompt"),
    ("no picture", {"prompt": "p"}, 400, "missing_image", "input_reference"),
    (
        "web address",
        {"prompt": "p", "input_reference": "http://127.0.0.1/x.png"},
        400,
        "url_not_allowed",
        "input_reference",
    ),
    (
        "bad base64",
        {"prompt": "p", "input_reference": "data:image/png;base64,@@"},
        400,
        "invalid_data_url",
        "input_reference",
    ),
    (
        "not base64",
        {"prompt": "p", "input_reference": "data:image/png,abc"},
        400,
        "invalid_data_url",
        "input_reference",
    ),
    ("picture as number", {"prompt": "p", "input_reference": 3}, 400, "invalid_request", "input_reference"),
    (
        "unknown in picture",
        {"prompt": "p", "input_reference": {"file_id": "f"}},
        400,
        "invalid_request",
        "input_reference",
    ),
]


@pytest.mark.parametrize(("body", "status", "code", "param"), [row[1:] for row in JSON], ids=[row[0] for row in JSON])
def test_refused_json(api: Api, body: Any, status: int, code: str, param: str | None) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body)
    response = api.http.post(URL, content=content, headers={"content-type": "application/json"})
    assert_refused(api, response, status, code, param)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_content_types(api: Api, kind: str) -> None:
    response = api.http.post(URL, content=b"prompt=p", headers={"content-type": kind})
    assert_refused(api, response, 415, "unsupported_content_type", None)


def test_multipart_without_boundary(api: Api) -> None:
    response = api.http.post(URL, content=b"x", headers={"content-type": "multipart/form-data"})
    assert_refused(api, response, 400, "invalid_request", None)


@pytest.mark.parametrize("charset", ["undefined", "punycode"])
def test_multipart_in_a_charset_that_cannot_be_read(api: Api, charset: str) -> None:
    part = b'--X\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na-9\r\n--X--\r\n'
    headers = {"content-type": f"multipart/form-data; boundary=X; charset={charset}"}
    response = api.http.post(URL, content=part, headers=headers)
    assert_refused(api, response, 400, "invalid_request", None)


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_declared_or_not(api: Api, declared: bool) -> None:
    def chunks() -> Any:
        yield from [b"x" * 2**16] * 40

    headers = {"content-type": "application/json"}
    content: Any = b"x" * (2**20 + 1) if declared else chunks()
    response = api.http.post(URL, content=content, headers=headers)
    assert_refused(api, response, 413, "request_too_large", None)


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def nothing() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(RequestTimedOut):
        asyncio.run(read_submission(submission(b"application/json", nothing), max_bytes=1000, timeout_s=0.05))


@pytest.mark.parametrize("kind", [b"application/json", b"multipart/form-data; boundary=X"])
def test_a_client_that_goes_away_is_no_fault_of_the_service(kind: bytes) -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(RequestTimedOut):
        asyncio.run(read_submission(submission(kind, gone), max_bytes=1000, timeout_s=5))


def submission(kind: bytes, receive: Receive) -> Request:
    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": [(b"content-type", kind)]}
    return Request(scope, receive)


def test_the_queue_is_bounded_and_says_when_to_come_back(api: Api) -> None:
    for _ in range(5):
        api.submit()
    response = api.http.post(URL, data=GOOD, files={"input_reference": picture()})
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "server_overloaded"
    assert int(response.headers["retry-after"]) >= 1
    assert api.count() == 5


def test_where_no_card_comes_any_more_nothing_is_taken(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HeldClock()
    monkeypatch.setattr("serving.placing.time", clock)
    monkeypatch.setattr("serving.absence.GIVEN_UP_S", 30.0)
    api.store.leave("g")
    api.submit()  # it may only be restarting
    clock.now += 29.0
    api.submit()
    clock.now += 1.0
    refused = api.http.post(URL, data={"prompt": "pan left"}, files={"input_reference": picture()})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_overloaded")
    assert int(refused.headers["retry-after"]) > 0
    assert api.count() == 2
    api.store.beat(Worker(id="g2", role="generator", pool="default"))
    api.submit()
    api.store.leave("g2")
    api.submit()  # the next absence begins anew


def test_an_owner_s_bound_is_a_rate_limit() -> None:
    response = error_response(RateLimited(retry_after_s=7.4))
    assert (response.status_code, response.headers["retry-after"]) == (429, "8")
    assert json.loads(response.body)["error"]["type"] == "rate_limit_error"
    assert json.loads(response.body)["error"]["code"] == "rate_limit_exceeded"


def assert_refused(api: Api, response: Any, status: int, code: str, param: str | None) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"]
    assert response.headers["x-request-id"]
    assert api.count() == 0
