"""Two cards of one pool and one job: its deadline asks for both, and the loss of the second costs it nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from harness import PICTURE, Service, wait_for

from serving.client import Client, Video
from serving.jobs.store import open_store

STEPS = 6
ASKED: dict[str, Any] = {"prompt": "pan left", "num_inference_steps": STEPS, "guidance_scale": 2, "seed": 0}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    pools = [{"name": "pair", "card": "cpu", "min_replicas": 2}]
    service = Service(tmp_path_factory.mktemp("pair"), I2V_POOLS=json.dumps(pools), I2V_CPU_THREADS="1")
    service.start()
    with closing(open_store(database(service))) as store:
        wait_for(lambda: len(store.workers("generator")) == 2, 60, service.console)
    yield service
    service.kill_everything()


def database(service: Service) -> str:
    return f"sqlite:///{service.folder}/data/jobs.sqlite3"


def completed(client: Client, service: Service, video: Video) -> Video:
    ended = wait_for(lambda: (v := client.retrieve(video["id"]))["status"] in ("completed", "failed") and v, 120)
    assert (ended["status"], ended["attempt"]) == ("completed", 1), (ended["error"], service.log())
    return ended


def test_a_deadline_that_one_card_would_miss(pair: Service) -> None:
    with Client(pair.url) as client:
        (pool,) = client.quote(PICTURE, ASKED | {"deadline": 1})["pools"]
        assert (pool["cards"], pool["shared_seconds"] < pool["gpu_seconds"]) == (2, True)
        video = client.submit(PICTURE, ASKED | {"deadline": 1})
        with closing(open_store(database(pair))) as store:
            # The card that helps is as busy as the one that has the job.
            wait_for(lambda: video["id"] in [worker.assists for worker in store.workers()], 60, pair.log)
            assert store.cards_at_work("pair") == 2
            assert completed(client, pair, video)["recipe"]["shared_steps"] == STEPS
            wait_for(lambda: store.cards_at_work("pair") == 0, 10)
        # Both are free, and enough time is a matter for one.
        videos = [client.submit(PICTURE, ASKED) for _ in range(2)]
        assert [completed(client, pair, video)["recipe"]["shared_steps"] for video in videos] == [0, 0]
    assert f"helped with {STEPS} of {STEPS} steps" in pair.log()


def test_the_second_card_dies_in_mid_job(pair: Service) -> None:
    with Client(pair.url) as client, closing(open_store(database(pair))) as store:
        wait_for(lambda: store.cards_at_work("pair") == 0, 30)
        video = client.submit(PICTURE, ASKED | {"deadline": 1})
        now = wait_for(lambda: (v := client.retrieve(video["id"]))["step"] and v, 60, pair.log)
        assert now["step"] < STEPS
        told = (pair.folder / "logs" / "jobs" / f"{video['id']}.log").read_text().splitlines()
        (helper,) = [record["process"] for record in map(json.loads, told) if record["message"] == "helps another card"]
        os.kill(helper, signal.SIGKILL)
        assert 0 < completed(client, pair, video)["recipe"]["shared_steps"] < STEPS
