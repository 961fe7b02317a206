"""A pool falls asleep, wakes for a job, and falls asleep again, to stay so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness import PICTURE, Service, wait_for

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
