"""The table's scenarios for those who know Locust; the `load` extra installs it.

    locust -f loadtest/locustfile.py --headless --users 1 --host http://127.0.0.1:8000 --scenario mix --times 10

One user is one whole scenario, open-loop: every request is a greenlet of its own, sent when it is due. Locust's own
rows are the HTTP requests; "video" rows are clips, from when they were due until they could be fetched. `python -m
loadtest run` writes down more.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, events, task
from locust.exception import StopUser

from deployments.demo import PICTURE
from loadtest.arrivals import HOUR
from loadtest.openloop import MISSED_POLLS
from loadtest.scenarios import SCENARIOS, hastened
from loadtest.server import ENDED, Keys, Target, poll_after_s, read_keys


@events.init_command_line_parser.add_listener
def _options(parser: ArgumentParser, **_: Any) -> None:
    parser.add_argument("--scenario", default="mix", choices=list(SCENARIOS), help="row of the table")
    parser.add_argument("--times", type=float, default=1.0, help="how many times as fast as the scenario")
    parser.add_argument("--from-hour", type=float, default=0.0, help="hour of the scenario to begin at")
    parser.add_argument("--minutes", type=float, help="how long to send; the whole scenario else")
    parser.add_argument("--api-keys", type=Path, help="file of keys, one a line; owners share")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals")
    parser.add_argument("--standard", action="store_true", help="size and seconds in place of our own fields")


class Scenario(HttpUser):
    """Everybody in one scenario."""

    @task
    def play(self) -> None:
        options: Any = self.environment.parsed_options
        target = Target(self.host or "", PICTURE, standard=options.standard)
        picture = PICTURE.read_bytes()
        keys = Keys(read_keys(options.api_keys) if options.api_keys else ())
        seconds = None if options.minutes is None else options.minutes * 60
        drawn = SCENARIOS[options.scenario].draw(options.seed)
        began = time.monotonic()
        videos = []
        for request in hastened(drawn, options.times, seconds, options.from_hour * HOUR):
            gevent.sleep(max(0.0, began + request.at - time.monotonic()))
            headers = keys.headers(request.owner)
            videos.append(
                gevent.spawn(self._video, request.kind, began + request.at, target.form(request), picture, headers)
            )
        gevent.joinall(videos)
        if options.headless:
            self.environment.runner.quit()
        raise StopUser

    def _video(self, kind: str, due: float, form: dict[str, str], picture: bytes, headers: dict[str, str]) -> None:
        files = {"input_reference": (PICTURE.name, picture, "image/jpeg")}
        answer = self.client.post("/v1/videos", data=form, files=files, headers=headers)
        if not answer.ok:
            return
        video, missed = answer.json(), 0
        while video["status"] not in ENDED and missed < MISSED_POLLS:
            gevent.sleep(poll_after_s(answer.headers))
            answer = self.client.get(f"/v1/videos/{video['id']}", name="/v1/videos/ID", headers=headers)
            video, missed = (answer.json(), 0) if answer.ok else (video, missed + 1)
        done = video["status"] == "completed"
        reason = (video.get("error") or {}).get("code", "failed") if video["status"] in ENDED else "lost"
        self.environment.events.request.fire(
            request_type="video",
            name=kind,
            response_time=(time.monotonic() - due) * 1000,
            response_length=0,
            exception=None if done else RuntimeError(reason),
            context={},
        )
