"""Several videos followed over streams that break, from a service that says what a real one says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from serving.client import ApiError
from serving.ui import following
from serving.ui.api import Api
from serving.ui.following import follow

Answer = Callable[[str], httpx.Response]


def video(video_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {"id": video_id, "object": "video", "status": status, "stage": None, "step": 0, **more}


def stream(*events: dict[str, Any]) -> httpx.Response:
    text = "".join(f"event: video\ndata: {json.dumps(event)}\n\n: keep-alive\n\n" for event in events)
    return httpx.Response(200, text=text)


def refused(code: str, status: int) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": "No.", "type": "x", "code": code, "param": None}})


def followed(answer: Answer, *video_ids: str) -> list[dict[str, Any]]:
    def on(request: httpx.Request) -> httpx.Response:
        return answer(request.url.raw_path.decode().removeprefix("/v1/videos/"))

    async def everything() -> list[dict[str, Any]]:
        transport = httpx.MockTransport(on)
        async with httpx.AsyncClient(transport=transport, base_url="http://i2v") as http:
            return [videos async for videos in follow(Api(http, "key"), video_ids)]

    return asyncio.run(asyncio.wait_for(everything(), 10))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AGAIN_S", 0.01)


def test_a_stream_that_breaks_is_taken_up_again() -> None:
    asked: list[str] = []

    def answer(path: str) -> httpx.Response:
        asked.append(path)
        if path == "a/events":
            step = asked.count(path)
            if step == 2:
                raise httpx.ReadError("gone")
            if step == 3:
                return refused("service_unavailable", 503)
            event = {"id": "a", "object": "video.event", "status": "in_progress", "stage": "denoising", "step": step}
            return stream(event if step < 4 else event | {"status": "completed"})
        return httpx.Response(200, json=video("a", "completed" if asked.count("a/events") >= 4 else "queued", file="f"))

    seen = followed(answer, "a")
    assert [(one["a"]["status"], one["a"]["step"]) for one in seen][:2] == [("queued", 0), ("in_progress", 1)]
    assert seen[-1]["a"] == video("a", "completed", file="f")
    assert asked.count("a/events") == 4


def test_one_that_was_deleted_is_left_out() -> None:
    def answer(path: str) -> httpx.Response:
        if path == "b":
            return refused("video_not_found", 404)
        if path.endswith("/events"):
            return stream({"id": "c", "object": "video.deleted", "deleted": True})
        return httpx.Response(200, json=video(path, "completed" if path == "a" else "queued"))

    seen = followed(answer, "a", "b", "c")
    assert sorted(seen[0]) == ["a", "c"]
    assert sorted(seen[-1]) == ["a"]


def test_a_first_look_that_fails_says_why() -> None:
    with pytest.raises(ApiError) as refusal:
        followed(lambda path: refused("invalid_api_key", 401), "a")
    assert refusal.value.code == "invalid_api_key"


def test_ids_from_a_browser_stay_one_part_of_the_path() -> None:
    asked: list[str] = []

    def answer(path: str) -> httpx.Response:
        asked.append(path)
        return refused("video_not_found", 404)

    assert followed(answer, "../models?x=1#") == [{}]
    assert asked == ["..%2Fmodels%3Fx%3D1%23"]
