"""A pool falls asleep, wakes for a job, and falls asleep again."""

from __future__ import annotations

import json
from pathlib import Path

from harness import PICTURE, Service, wait_for

from serving.client import Client


def test_to_zero_and_back_from_zero(tmp_path: Path) -> None:
    pools = [{"name": "sleepy", "card": "cpu", "min_replicas": 0, "max_replicas": 1}]
    service = Service(tmp_path, I2V_POOLS=json.dumps(pools), I2V_SCALE_DOWN_AFTER_S="2")
    service.start()
    assert service.replicas("Generator-sleepy") == []
    with Client(service.url) as client:
        video = client.submit(PICTURE, {"prompt": "pan left", "num_inference_steps": 4})
        wait_for(lambda: client.retrieve(video["id"])["status"] == "completed", 120, service.console)
        wait_for(lambda: not service.replicas("Generator-sleepy"), 60, service.console)
        assert client.ready()
    service.stop()
