"""Idempotency-Key and clients' retries over HTTP."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import openai
import pytest
from hands import URL, Api, listening, picture
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

KEY = {"idempotency-key": "order-7"}


def send(api: Api, headers: dict[str, str], still: bytes | None = None, **fields: str) -> Any:
    files = {"input_reference": still or picture()}
    return api.http.post(URL, data={"prompt": "pan left", **fields}, files=files, headers=headers)


def test_a_key_stands_for_one_body_however_it_is_sent(api: Api) -> None:
    video = send(api, KEY, fps="8").json()
    assert send(api, KEY, fps="8").json()["id"] == video["id"]
    data_url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    body = {"prompt": "pan left", "fps": 8, "input_reference": data_url}
    assert api.http.post(URL, json=body, headers=KEY).json()["id"] == video["id"]
    for other in ({"fps": "9"}, {"fps": "8", "seed": "0"}, {"fps": "8", "still": picture(640, 480)}):
        refused = send(api, KEY, **other)  # type: ignore[arg-type]
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (422, "idempotency_key_reused")
        assert (error["param"], error["type"]) == ("Idempotency-Key", "invalid_request_error")
    assert api.count() == 1


def test_one_key_s_holder_does_not_meet_another_s(api: Api) -> None:
    tokens = [api.store.keys.create(name)[1] for name in ("shop", "press")]
    answers = [send(api, KEY | {"authorization": f"Bearer {token}"}) for token in tokens]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["id"] != answers[1].json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
def test_what_is_no_idempotency_key(api: Api, key: str) -> None:
    refused = api.http.post(URL, headers={b"idempotency-key": key.encode("latin-1")})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "invalid_request", "Idempotency-Key")


@pytest.mark.parametrize(("count", "same"), [("1", True), ("2", True), ("0", False), ("-1", False), ("many", False)])
def test_a_retry_of_the_client_itself(api: Api, count: str, same: bool) -> None:
    first = send(api, {"x-stainless-retry-count": "0"}).json()
    again = send(api, {"x-stainless-retry-count": count}).json()
    assert (again["id"] == first["id"]) is same


def test_without_any_header_every_submission_is_a_new_one(api: Api) -> None:
    send(api, {"x-stainless-retry-count": "0"})
    send(api, {})
    send(api, {})
    assert api.count() == 3


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_the_openai_client_whose_answer_was_lost_makes_one_video(api: Api, tmp_path: Path) -> None:
    """Its retries send no Idempotency-Key."""
    app, lost = api.http.app, []

    async def losing(scope: Scope, receive: Receive, to: Send) -> None:
        if scope.get("method") != "POST" or lost:
            await app(scope, receive, to)
            return

        async def swallow(message: Any) -> None:
            lost.append(message)

        await app(scope, receive, swallow)
        await PlainTextResponse("lost", 503)(scope, receive, to)

    api.http.app = losing
    still = tmp_path / "still.png"
    still.write_bytes(picture())
    with listening(api) as server, openai.OpenAI(base_url=f"{server}/v1", api_key="none") as client:
        video = client.videos.create(prompt="pan left", input_reference=still)
        assert lost[0]["status"] == 200
        assert [found.id for found in client.videos.list()] == [video.id]
        assert client.videos.create(prompt="pan left", input_reference=still).id != video.id
