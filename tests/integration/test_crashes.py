"""kill -9 at the worst moments: what was accepted still ends, and is published once.

The cards are emulated, so that only starts and recoveries take time. The first start is by `serve run`, the second by
`i2v serve`, over the same folder: two starts are all that the tests take, each half a minute of a small machine.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import openai
import pytest
from harness import LIMIT_S, PICTURE, Service, wait_for
from receiver import Receiver

from deployments.child import ROOT
from serving.client import Client, Video
from serving.clip import probe
from serving.jobs.store import open_store

STEPS = 40
"""Six seconds of an emulated card's work."""
FIELDS = {"prompt": "pan left", "resolution": "256p", "num_frames": 8, "seed": 0}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that loses one process after another, and is whole again after each test.

    `serve run serve_config.yaml` is the whole deployment.
    """
    pools = [{"name": "default", "card": "rtx4090", "model": "emulated"}]
    hooks = {"I2V_WEBHOOK_SECRET": SECRET, "I2V_WEBHOOK_PRIVATE_ADDRESSES": "1"}
    folder = tmp_path_factory.mktemp("own")
    service = Service(folder, I2V_POOLS=json.dumps(pools), I2V_LEASE_S="8", I2V_STEP_TIMEOUT_S="8", **hooks)
    config = (ROOT / "serve_config.yaml").read_text().replace("port: 8000", f"port: {service.port}")
    (folder / "serve_config.yaml").write_text(config)
    service.start(str(Path(sys.executable).parent / "serve"), "run", "serve_config.yaml")
    yield service
    service.kill_everything()


def submit(client: Client, steps: int = STEPS, **fields: str) -> Video:
    return client.submit(PICTURE, {**FIELDS, "num_inference_steps": steps, **fields})


def submit_and_reach_the_model(client: Client) -> Video:
    video = submit(client)
    now = wait_for(lambda: (v := get(client, video))["step"] and v, LIMIT_S)
    assert now["status"] == "in_progress"
    assert now["step"] < STEPS
    return video


def get(client: Client, video: Video) -> Video:
    return client.retrieve(video["id"])


def assert_completed_once(service: Service, client: Client, video: Video, attempt: int, left: int = 1) -> None:
    """`left`: clips on the disk, that of an attempt which died before it was told of included."""
    done = wait_for(
        lambda: (v := get(client, video))["status"] in ("completed", "failed") and v, LIMIT_S, service.console
    )
    assert (done["status"], done["attempt"]) == ("completed", attempt), done["error"]
    clips = list(service.outputs.glob(f"*{video['id']}*.mp4"))
    assert len(clips) == left
    assert {probe(clip).frames for clip in clips} == {8}
    assert list(service.outputs.glob("*.part")) == []


def test_the_card_dies_in_mid_job(own: Service) -> None:
    with Client(own.url) as client:
        video = submit_and_reach_the_model(client)
        own.replicas("Generator-default")[0].kill()
        assert_completed_once(own, client, video, attempt=2)


def test_a_step_that_hangs_costs_one_attempt_and_its_process(own: Service) -> None:
    with Client(own.url) as client:
        (hung,) = own.replicas("Generator-default")
        own.arm("step", "hang")
        video = submit(client)
        wait_for(lambda: not hung.is_running(), LIMIT_S, own.console)
        assert_completed_once(own, client, video, attempt=2)
    assert re.search(r"the card is lost: no step within \d+ s", own.log())


@pytest.mark.parametrize(
    ("point", "attempt", "left"),
    [("publishing.stored", 2, 2), ("publishing.completed", 1, 1)],
)
def test_the_encoder_dies_around_publishing(own: Service, point: str, attempt: int, left: int) -> None:
    """Between a clip's files and its completion, and just after."""
    with Client(own.url) as client:
        own.arm(point, "kill")
        video = submit(client, steps=10)
        wait_for(lambda: own.fault_taken(point), LIMIT_S, own.console)
        assert_completed_once(own, client, video, attempt, left)


def test_the_dispatcher_dies_between_a_webhook_and_its_note(own: Service) -> None:
    with Receiver() as receiver, Client(own.url) as client:
        own.arm("webhooks.sent", "kill")
        video = submit(client, steps=10, webhook_url=receiver.url)
        wait_for(lambda: len(receiver.got) == 2, LIMIT_S, own.console)
        assert own.fault_taken("webhooks.sent")
        assert_completed_once(own, client, video, attempt=1)
    first, second = receiver.got
    events = [
        openai.OpenAI(api_key="none", webhook_secret=SECRET).webhooks.unwrap(g.body, g.headers) for g in receiver.got
    ]
    assert [event.type for event in events] == ["video.completed"] * 2
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert video["id"] in first.body


def test_every_process_dies_in_mid_job(own: Service) -> None:
    with Client(own.url) as client:
        running = submit_and_reach_the_model(client)
        waiting = submit(client, steps=10)
        own.kill_everything()
        own.start()
        assert_completed_once(own, client, running, attempt=2)
        assert_completed_once(own, client, waiting, attempt=1)


def test_stopping_charges_no_attempt_and_the_job_waits_for_the_next_start(own: Service) -> None:
    """The last one: nothing is started again."""
    with Client(own.url) as client:
        video = submit_and_reach_the_model(client)
    assert own.stop() == 0
    with closing(open_store(f"sqlite:///{own.folder}/data/jobs.sqlite3")) as store:
        left = store.get(video["id"])
        assert (left.status, left.attempt, left.crashes) == ("queued", 1, 0)
        again = store.claim("default", left.model, "the next start's card", lease_s=8)
    assert again is not None
    assert (again.id, again.attempt) == (video["id"], 2)
