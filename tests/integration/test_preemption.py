"""A preview that comes while the only card is at a long clip: it is done first, and neither is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import PICTURE, Service, wait_for

from serving.client import Client

LONG = {"prompt": "pan left", "preset": "high"}
SHORT = {"prompt": "pan left", "preset": "preview"}


@pytest.fixture(scope="module")
def one_card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    # The long clip takes 10 s there, and the short one half a second.
    pools = [{"name": "small", "card": "rtx4090", "model": "emulated"}]
    folder = tmp_path_factory.mktemp("service")
    service = Service(folder, I2V_POOLS=json.dumps(pools), I2V_EMULATION_SPEED="30", I2V_LEASE_S="3")
    service.start()
    yield service
    service.kill_everything()


@pytest.fixture
def client(one_card: Service) -> Iterator[Client]:
    with Client(one_card.url) as client:
        yield client


def begun(client: Client, service: Service, fields: dict[str, Any]) -> str:
    """A video that a card has made some steps of."""
    video: str = client.submit(PICTURE, fields)["id"]
    wait_for(lambda: client.retrieve(video)["progress"] > 4, 60, service.console)
    return video


def completed(client: Client, service: Service, video: str) -> dict[str, Any]:
    def ended() -> bool:
        return client.retrieve(video)["status"] in ("completed", "failed")

    wait_for(ended, 60, service.console)
    found = client.retrieve(video)
    assert found["error"] is None
    return found


def test_previews_are_done_between_two_steps_of_a_long_clip(client: Client, one_card: Service) -> None:
    long = begun(client, one_card, LONG)
    shorts = [client.submit(PICTURE, SHORT)["id"] for _ in range(2)]
    firsts = [completed(client, one_card, video) for video in shorts]
    assert client.retrieve(long)["status"] == "in_progress"
    recipe = completed(client, one_card, long)["recipe"]
    assert recipe["attempt"] == 1
    took_s = sum(sum(first["recipe"]["timings_s"].values()) for first in firsts)
    assert recipe["preempted_s"] > 0.5 * took_s > 0
    assert [first["recipe"]["preempted_s"] for first in firsts] == [0.0, 0.0]


def test_a_long_clip_can_be_cancelled_while_it_is_put_off(client: Client, one_card: Service) -> None:
    long = begun(client, one_card, LONG)
    short = client.submit(PICTURE, {**SHORT, "num_inference_steps": 100})["id"]
    wait_for(lambda: client.retrieve(long)["stage"] == "paused", 30, one_card.console)
    assert client.retrieve(short)["status"] == "in_progress"
    client.cancel(long)
    completed(client, one_card, short)
    wait_for(lambda: client.retrieve(long)["status"] == "failed", 30, one_card.console)
    assert client.retrieve(long)["error"]["code"] == "cancelled"


def test_where_the_card_dies_under_both_each_is_made_again(client: Client, one_card: Service) -> None:
    long = begun(client, one_card, LONG)
    short = client.submit(PICTURE, {**SHORT, "num_inference_steps": 100})["id"]
    wait_for(lambda: client.retrieve(short)["status"] == "in_progress", 30, one_card.console)
    one_card.replicas("Generator-small")[0].kill()
    assert completed(client, one_card, short)["recipe"]["attempt"] == 2
    assert completed(client, one_card, long)["recipe"]["attempt"] == 2
