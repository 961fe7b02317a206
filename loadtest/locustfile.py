"""The table's scenarios for those who know Locust; the `load` extra installs it.

    locust -f loadtest/locustfile.py --headless --users 1 --host http://127.0.0.1:8000 --scenario mix --times 10

One user is one whole scenario, open-loop: every request is a greenlet of its own, sent when it is due. Locust's own
rows are the HTTP requests; "video" rows are clips, from when they were due until they could be fetched. `python -m
loadtest run` writes down more.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

import gevent
from locust import HttpUser, events, task
from locust.exception import StopUser

from deployments.demo import PICTURE
from loadtest.scenarios import SCENARIOS, Request, hastened
from loadtest.server import ENDED, PROMPT, poll_after_s, standard_fields


@events.init_command_line_parser.add_listener
def _options(parser: ArgumentParser, **_: Any) -> None:
    parser.add_argument("--scenario", default="mix", choices=list(SCENARIOS), help="row of the table")
    parser.add_argument("--times", type=float, default=1.0, help="how many times as fast as the scenario")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals")
    parser.add_argument("--standard", action="store_true", help="size and seconds in place of our own fields")


class Scenario(HttpUser):
    """Everybody in one scenario."""

    @task
    def play(self) -> None:
        options: Any = self.environment.parsed_options
        picture = PICTURE.read_bytes()
        began = time.monotonic()
        videos = []
        for request in hastened(SCENARIOS[options.scenario].draw(options.seed), options.times):
            gevent.sleep(max(0.0, began + request.at - time.monotonic()))
            videos.append(gevent.spawn(self._video, request, began + request.at, picture, options.standard))
        gevent.joinall(videos)
        raise StopUser

    def _video(self, request: Request, due: float, picture: bytes, standard: bool) -> None:
        fields = standard_fields(request.fields) if standard else request.fields
        files = {"input_reference": ("still.jpg", picture, "image/jpeg")}
        answer = self.client.post("/v1/videos", data={"prompt": PROMPT, **fields}, files=files)
        if not answer.ok:
            return
        video = answer.json()
        while video["status"] not in ENDED:
            gevent.sleep(poll_after_s(answer.headers))
            answer = self.client.get(f"/v1/videos/{video['id']}", name="/v1/videos/ID")
            video = answer.json() if answer.ok else video
        done = video["status"] == "completed"
        self.environment.events.request.fire(
            request_type="video",
            name=request.kind,
            response_time=(time.monotonic() - due) * 1000,
            response_length=0,
            exception=None if done else RuntimeError((video.get("error") or {}).get("code", "failed")),
            context={},
        )
