"""What a followed video says of when it will be done, and what that costs the queue's database."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hands import URL, Api, listening, wait_for

from serving import timetable
from serving.http.videos import POLL_AFTER
from serving.jobs.worker import Worker
from serving.scheduling.calibration import unmeasured
from serving.scheduling.cost import Speed

SPEED = Speed(condition=(1.0, 0.0), denoise=(0.1, 0.0, 0.0), decode=(2.0, 0.0))
STEPS = 20


@pytest.fixture
def at_every_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "KEPT_S", 0.0)
    monkeypatch.setattr(timetable, "LOOKING_SHARE", float("inf"))


def eta_s(api: Api, video: dict[str, Any]) -> float | None:
    found: float | None = api.http.get(f"{URL}/{video['id']}").json()["eta_s"]
    return found


def tells(api: Api, video: dict[str, Any], expected_s: float) -> bool:
    """Whether that is what is said, less what of it passed while it was being asked for."""
    asked = time.monotonic()
    found = eta_s(api, video)
    assert found is not None
    return expected_s - (time.monotonic() - asked) - 0.1 <= found <= expected_s + 0.1


@pytest.mark.usefixtures("at_every_read")
def test_a_waiting_video_s_is_that_of_the_line(api: Api) -> None:
    first, second = (api.submit(num_inference_steps=STEPS) for _ in range(2))
    long, short = api.submit(num_inference_steps=50), api.submit(num_inference_steps=10)
    each_s = {video["id"]: api.store.get(video["id"]).estimate_s for video in (first, second, long, short)}
    expected_s = 0.0
    for video in (short, first, second, long):
        expected_s += each_s[video["id"]]
        assert tells(api, video, expected_s)
    running = api.claim()
    assert running.id == short["id"]
    api.store.renew(running.id, 1, 30.0, progress=50)
    assert tells(api, first, each_s[short["id"]] / 2 + each_s[first["id"]])


@pytest.mark.usefixtures("at_every_read")
def test_a_submission_is_told_too_and_a_list_is_not(api: Api) -> None:
    assert api.submit()["eta_s"] > 0
    api.claim()
    api.submit()
    assert [video["eta_s"] for video in api.http.get(URL).json()["data"]] == [None, None]


@pytest.mark.usefixtures("at_every_read")
def test_a_running_video_s_is_by_its_step_and_the_card_s_measured_speed(api: Api) -> None:
    api.store.calibrations.replace("builtin", "cpu", "test", unmeasured(SPEED))
    video = api.submit(num_inference_steps=STEPS)
    job = api.claim()
    assert eta_s(api, video) == 5.0
    for stage, step, left_s in [
        ("conditioning", 0, 5.0),
        ("denoising", 5, 3.5),
        ("paused", 5, 3.5),
        ("decoding", STEPS, 2.0),
    ]:
        api.store.renew(job.id, 1, 30.0, stage=stage, step=step)  # type: ignore[arg-type]
        assert eta_s(api, video) == left_s
    api.store.renew(job.id, 1, 30.0, stage="encoding")
    assert eta_s(api, video) == 0.0
    api.store.fail(job.id, 1, "generation_failed", "")
    assert eta_s(api, video) is None


@pytest.mark.usefixtures("at_every_read")
def test_a_video_that_two_cards_share_is_done_sooner(api: Api) -> None:
    video = api.submit(num_inference_steps=STEPS, guidance_scale=2.0)
    job = api.claim()
    api.store.renew(job.id, 1, 30.0, stage="denoising", step=5)
    alone_s = eta_s(api, video)
    api.store.beat(Worker(id="helps", role="generator", pool="default", assists=job.id))
    shared_s = eta_s(api, video)
    assert alone_s is not None
    assert shared_s is not None
    assert 0.5 * alone_s < shared_s < 0.8 * alone_s


@pytest.mark.usefixtures("at_every_read")
def test_of_several_parts_each_is_conditioned_denoised_and_decoded(api: Api) -> None:
    api.store.calibrations.replace("builtin", "cpu", "test", unmeasured(SPEED))
    video = api.submit(num_inference_steps=STEPS, segments=3)
    job = api.claim()
    assert eta_s(api, video) == 3 * 5.0
    told = [
        ("conditioning", 0, 15.0),
        ("denoising", 5, 3.5 + 2 * 5.0),
        ("denoising", STEPS, 2.0 + 2 * 5.0),  # the first part is being decoded
        ("denoising", STEPS + 5, 3.5 + 5.0),
        ("denoising", 2 * STEPS + 5, 3.5),
        ("decoding", 3 * STEPS, 2.0),
        ("encoding", 3 * STEPS, 0.0),
    ]
    for stage, step, left_s in told:
        api.store.renew(job.id, 1, 30.0, stage=stage, step=step)  # type: ignore[arg-type]
        assert eta_s(api, video) == pytest.approx(left_s)


@pytest.mark.usefixtures("at_every_read")
def test_events_say_the_same(api: Api) -> None:
    api.store.calibrations.replace("builtin", "cpu", "test", unmeasured(SPEED))
    video, asked = api.submit(num_inference_steps=STEPS), time.monotonic()
    with listening(api) as server, httpx.stream("GET", f"{server}{URL}/{video['id']}/events", timeout=20) as stream:
        told = (json.loads(line.removeprefix("data:")) for line in stream.iter_lines() if line.startswith("data:"))
        waiting, estimate_s = next(told), api.store.get(video["id"]).estimate_s
        assert waiting["status"] == "queued"
        assert estimate_s - (time.monotonic() - asked) - 0.1 <= waiting["eta_s"] <= estimate_s + 0.1
        job = api.claim()
        found = [next(told)["eta_s"]]
        for stage, step in (("denoising", 5), ("decoding", STEPS), ("encoding", STEPS)):
            api.store.renew(job.id, 1, 30.0, stage=stage, step=step)  # type: ignore[arg-type]
            found.append(next(told)["eta_s"])
        assert found == [5.0, 3.5, 2.0, 0.0]
        api.store.fail(job.id, 1, "generation_failed", "")
        assert [event["eta_s"] for event in told] == [None]


@pytest.mark.usefixtures("at_every_read")
def test_a_sleeping_pool_s_start_counts(make_api: Callable[..., Api]) -> None:
    pools = [{"name": "sleepy", "card": "rtx4090", "model": "emulated", "min_replicas": 0, "start_s": 200.0}]
    api = make_api(pools=pools)
    video = api.submit()
    assert tells(api, video, 200.0 + api.store.get(video["id"]).estimate_s)


def test_all_reads_of_some_seconds_share_one_look(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "KEPT_S", 60.0)
    looks = []
    look = api.store.situation
    monkeypatch.setattr(api.store, "situation", lambda *args, **options: looks.append(args) or look(*args, **options))
    early, late = api.submit(), api.submit()
    for _ in range(3):
        time.sleep(0.15)
        left_s = eta_s(api, early)
        assert left_s is not None
        assert left_s < early["eta_s"]
        assert eta_s(api, late) is None  # until the next look
    assert len(looks) == 1


def test_all_who_ask_at_the_same_moment_share_one_look(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked, on = timetable.Timetable._look_again, [], threading.Event()
    on.set()
    monkeypatch.setattr(
        timetable.Timetable, "_look_again", lambda self: asked.append(self) or (on.wait(20) and whole(self))
    )
    monkeypatch.setattr(timetable, "KEPT_S", 0.0)
    monkeypatch.setattr(timetable, "LOOKING_SHARE", float("inf"))
    job = api.store.get(api.submit()["id"])
    looks, look = [], api.store.situation
    monkeypatch.setattr(api.store, "situation", lambda *args, **options: looks.append(args) or look(*args, **options))
    monkeypatch.setattr(timetable, "KEPT_S", 60.0)
    on.clear()

    async def ask() -> list[float | None]:
        asking = [asyncio.create_task(asked[0].ends_in_s(job)) for _ in range(3)]
        await asyncio.sleep(0)  # all of them ask before the first look has begun
        on.set()
        return await asyncio.gather(*asking)

    assert None not in asyncio.run(ask())
    assert len(looks) == 1


@pytest.mark.usefixtures("at_every_read")
def test_nobody_waits_for_a_look_at_a_long_line(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "LONG", 1)
    early = api.submit()
    assert early["eta_s"] is not None
    on, look = threading.Event(), api.store.situation
    monkeypatch.setattr(api.store, "situation", lambda *args, **options: on.wait(20) and look(*args, **options))
    late = api.submit()
    assert late["eta_s"] is None
    assert eta_s(api, early) is not None
    on.set()
    wait_for(lambda: eta_s(api, late) is not None)


def test_a_look_that_fails_costs_no_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.store, "situation", lambda *_, **__: 1 / 0)
    assert eta_s(api, api.submit()) is None


def test_a_longer_queue_than_can_be_looked_through_has_no_eta(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "MOST_JOBS", 0)
    assert eta_s(api, api.submit()) is None


@pytest.mark.usefixtures("at_every_read")
def test_clients_are_asked_to_poll_by_it(api: Api) -> None:
    api.store.calibrations.replace("builtin", "cpu", "test", unmeasured(SPEED))
    for _ in range(4):
        video = api.submit(num_inference_steps=STEPS)
    answer = api.http.get(f"{URL}/{video['id']}")
    assert int(answer.headers[POLL_AFTER]) == pytest.approx(100 * answer.json()["eta_s"], abs=10)
