"""A pool falls asleep, wakes for a job, and falls asleep again, to stay so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness import PICTURE, Service, wait_for

from loadtest.saturation import read_clips
from serving.client import Client
from serving.jobs.store import open_store


@pytest.fixture
def sleepy(tmp_path: Path) -> Iterator[Service]:
    pools = [{"name": "sleepy", "card": "cpu", "min_replicas": 0, "max_replicas": 1}]
    service = Service(tmp_path, I2V_POOLS=json.dumps(pools), I2V_SCALE_DOWN_AFTER_S="4")
    service.start()
    yield service
    service.kill_everything()


def test_to_zero_and_back_from_zero(sleepy: Service) -> None:
    assert sleepy.replicas("Generator-sleepy") == []
    with Client(sleepy.url) as client:
        (pool,) = client.quote(PICTURE, {"prompt": "pan left"})["pools"]
        assert pool["cold"]
        assert pool["starts_in_s"] > 0
        assert sleepy.replicas("Generator-sleepy") == []
        video = client.submit(PICTURE, {"prompt": "pan left", "num_inference_steps": 4})
        wait_for(lambda: client.retrieve(video["id"])["status"] == "completed", 120, sleepy.console)
        wait_for(lambda: not sleepy.replicas("Generator-sleepy"), 60, sleepy.console)
        assert client.ready()
    with closing(open_store(f"sqlite:///{sleepy.folder}/data/jobs.sqlite3")) as store:
        wait_for(lambda: store.workers("generator") == (), 5)
    # Serve would start one again for the requests that it remembers of its look-back period.
    time.sleep(3)
    assert sleepy.replicas("Generator-sleepy") == []


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[Service]:
    pools = [{"name": "cards", "card": "rtx4090", "model": "emulated", "min_replicas": 0, "max_replicas": 3}]
    settings = {"I2V_EMULATION_SPEED": "12", "I2V_TARGET_WAIT_S": "1", "I2V_SCALE_DOWN_AFTER_S": "5"}
    service = Service(tmp_path, I2V_POOLS=json.dumps(pools), **settings)
    service.start()
    yield service
    service.kill_everything()


def cards(service: Service) -> set[int]:
    """The processes of the replicas that are up."""
    return {process.pid for process in service.replicas("Generator-cards")}


def test_what_little_work_there_is_stays_on_the_oldest_card_and_the_others_stop(emulated: Service) -> None:
    with Client(emulated.url) as client:

        def clip() -> str:
            return str(client.submit(PICTURE, {"prompt": "pan left", "preset": "preview"})["id"])

        def ended(job: str) -> bool:
            return client.retrieve(job)["status"] == "completed"

        many = [clip() for _ in range(15)]
        wait_for(lambda: all(map(ended, many)), 120, emulated.console)
        assert len(cards(emulated)) == 3
        few = []
        while len(cards(emulated)) > 1 and len(few) < 200:
            few.append(clip())
            wait_for(lambda: ended(few[-1]), 30, emulated.console)
        left = cards(emulated)
    clips = [clip for log in (emulated.folder / "logs").glob("app_*.log") for clip in read_clips(log)]
    assert len({clip.card for clip in clips}) == 3
    assert len(few) > 3
    assert {clip.card for clip in clips if clip.job in few} == {min(clips, key=lambda clip: clip.began).card} == left


def test_no_idle_card_is_kept_beside_one_that_ends_its_job_and_stops(emulated: Service) -> None:
    with Client(emulated.url) as client:

        def job(number: int) -> str:
            """Half a minute on a card; each has one of its own."""
            found = client.submit(PICTURE, {"prompt": "pan left", "preset": "high"})["id"]
            wait_for(lambda: len(cards(emulated)) == number, 60, emulated.console)
            wait_for(lambda: client.retrieve(found)["status"] == "in_progress", 60, emulated.console)
            return str(found)

        on_oldest, on_newest = job(1), job(2)
        both = cards(emulated)
        client.cancel(on_oldest)
        (left,) = wait_for(lambda: len(up := cards(emulated)) == 1 and up, 60, emulated.console)
        assert left in both
        assert client.retrieve(on_newest)["status"] == "in_progress"
        wait_for(lambda: client.retrieve(on_newest)["status"] == "completed", 60, emulated.console)
        wait_for(lambda: not cards(emulated), 30, emulated.console)
    clips = [clip for log in (emulated.folder / "logs").glob("app_*.log") for clip in read_clips(log)]
    assert {clip.job: clip.card for clip in clips} == {on_newest: left}
