"""GET /v1/videos/{video_id}/events: what is told, what a client that comes back is spared, and clients that leave."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from hands import URL, Api, listening, wait_for

from serving import feed
from serving.http import events

Event = dict[str, str]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_S", 0.02)


def told(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a stream as they come; comments left out."""
    event: Event = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def ended(api: Api, video_id: str, last: str | None = None) -> list[Event]:
    """The whole stream of a video that has ended."""
    response = api.http.get(f"{URL}/{video_id}/events", headers={} if last is None else {"last-event-id": last})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    return list(told(response.text.splitlines()))


def readers() -> int:
    """Readers of the store for those who listen: one, while anybody does."""
    return sum(thread.name == "feed" for thread in threading.enumerate())


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with listening(api) as server:
        yield f"{server}{URL}"


@contextmanager
def following(url: str, video_id: str, last: str | None = None) -> Iterator[Iterator[Event]]:
    headers = {} if last is None else {"last-event-id": last}
    with httpx.stream("GET", f"{url}/{video_id}/events", headers=headers, timeout=120) as response:
        yield told(response.iter_lines())


def test_from_the_queue_to_the_end(api: Api, url: str) -> None:
    first, video_id = api.submit()["id"], api.submit(num_inference_steps="30")["id"]
    with following(url, video_id) as stream:
        events = [next(stream)]
        api.http.post(f"{URL}/{first}/cancel")
        events.append(next(stream))
        job = api.claim()
        events.append(next(stream))
        api.store.renew(video_id, job.attempt, 30, stage="denoising", step=12, steps=30, progress=40)
        events.append(next(stream))
        api.store.complete(video_id, job.attempt, {})
        events += stream
    names = ["queued", "queued", "in_progress", "in_progress", "completed"]
    assert [event["event"] for event in events] == [f"video.{name}" for name in names]
    data = [json.loads(event["data"]) for event in events]
    assert [now["queue_position"] for now in data] == [2, 1, None, None, None]
    assert (data[3]["stage"], data[3]["step"], data[3]["steps"], data[3]["progress"]) == ("denoising", 12, 30, 40)
    assert data[3]["eta_s"] is not None
    assert (data[4]["status"], data[4]["progress"], data[4]["error"]) == ("completed", 100, None)
    assert {now["id"] for now in data} == {video_id}
    assert len({event["id"] for event in events}) == len(events)


def test_a_failed_video_s_reason_is_in_its_last_event(api: Api) -> None:
    video_id = api.submit()["id"]
    api.http.post(f"{URL}/{video_id}/cancel")
    (only,) = ended(api, video_id)
    assert only["event"] == "video.failed"
    assert json.loads(only["data"])["error"]["code"] == "cancelled"


def test_who_comes_back_is_not_told_again(api: Api, url: str) -> None:
    video_id = api.submit()["id"]
    with following(url, video_id) as stream:
        seen = next(stream)["id"]
    with following(url, video_id, seen) as stream:
        wait_for(readers)
        job = api.claim()
        assert json.loads(next(stream)["data"])["stage"] == "starting"
        api.store.complete(video_id, job.attempt, {})
        (last,) = stream
    assert ended(api, video_id, seen) == [last]  # what was missed is told
    over = api.http.get(f"{URL}/{video_id}/events", headers={"last-event-id": last["id"]})
    assert (over.status_code, over.content) == (204, b"")


def test_a_deleted_video_ends_the_stream(api: Api, url: str) -> None:
    video_id = api.submit()["id"]
    with following(url, video_id) as stream:
        assert next(stream)["event"] == "video.queued"
        api.http.delete(f"{URL}/{video_id}")
        (last,) = stream
    assert last["event"] == "video.deleted"
    assert json.loads(last["data"]) == {"id": video_id, "object": "video.deleted", "deleted": True}


@pytest.mark.parametrize("video_id", ["video_" + "0" * 32, "nonsense", "video_%00"])
def test_an_unknown_video_is_refused_before_any_stream(api: Api, video_id: str) -> None:
    refused = api.http.get(f"{URL}/{video_id}/events")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "video_not_found")


def test_a_silent_stream_is_kept_alive(api: Api, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", (0.05, 0.05))
    with httpx.stream("GET", f"{url}/{api.submit()['id']}/events") as response:
        comments = (line for line in response.iter_lines() if line.startswith(":"))
        assert [next(comments) for _ in range(3)] == [": keep-alive"] * 3


def test_clients_that_go_away_are_forgotten(api: Api, url: str) -> None:
    video_id = api.submit()["id"]
    for _ in range(3):
        with following(url, video_id) as stream:
            next(stream)
            wait_for(readers)
    wait_for(lambda: not readers())


def test_too_many_are_asked_to_poll(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    video_id = api.submit()["id"]
    monkeypatch.setattr(feed.Feed, "listeners", feed.MAX_LISTENERS)
    refused = api.http.get(f"{URL}/{video_id}/events")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_overloaded")
    assert int(refused.headers["retry-after"]) > 0
    api.http.post(f"{URL}/{video_id}/cancel")
    assert len(ended(api, video_id)) == 1  # its end is told at once, and holds nothing
