"""Pools of emulated cards: the real service around them, without a GPU and without weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import PICTURE, Service, wait_for

from serving.client import Client


@pytest.fixture
def emulated(tmp_path: Path) -> Iterator[Service]:
    pools = [{"name": name, "card": name, "model": "emulated"} for name in ("rtx4060", "a100-80gb")]
    service = Service(tmp_path, I2V_POOLS=json.dumps(pools), I2V_EMULATION_SPEED="200", I2V_MODEL="/nowhere")
    service.start()
    yield service
    service.kill_everything()


def test_a_clip_goes_to_a_card_that_can_hold_it(emulated: Service) -> None:
    with Client(emulated.url) as client:
        # The large card alone holds the first, for three seconds; the others take a quarter of a second each.
        large = client.submit(PICTURE, {"prompt": "pan left", "preset": "extreme"})["id"]
        small = [client.submit(PICTURE, {"prompt": "pan left", "resolution": "256p"})["id"] for _ in range(4)]

        def ended() -> bool:
            return all(client.retrieve(job)["status"] in ("completed", "failed") for job in (*small, large))

        wait_for(ended, 60, emulated.console)
        videos = {job: client.retrieve(job) for job in (*small, large)}
    assert [video["error"] for video in videos.values()] == [None] * 5
    recipes = {job: video["recipe"] for job, video in videos.items()}
    assert recipes[large]["card"] == "emulated a100-80gb"
    assert recipes[large]["memory_plan"] == "resident"
    assert "emulated rtx4060" in {recipes[job]["card"] for job in small}
    assert {recipe["model"]["source"] for recipe in recipes.values()} == {"emulated"}
