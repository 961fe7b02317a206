"""Requests by hand to the smallest cards that hold them, and as much of `/v1/videos` as the load generator asks.

Part of `loadtest.counted`. No pictures are prepared, nothing is encoded, and all is forgotten at the end.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response

from loadtest.twin import Cards, fleets, shape_of
from serving.client import POLL_AFTER
from serving.presets import I2VGEN_XL
from serving.scheduling.placement import place

NUMBERS = ("num_frames", "num_inference_steps")
ASKED = ("preset", "resolution", *NUMBERS)
"""Fields of a request that say how much work it is."""
POLL_AFTER_MS = "200"


class Routes:
    """The way by hand: which class of card takes a request, and for how many seconds."""

    def __init__(self, cards: Sequence[Cards], speed: float) -> None:
        self._fleets = {fleet.pool.name: fleet for fleet in fleets(cards)}
        self._cost = I2VGEN_XL.faster(speed).cost

    def way(self, fields: Mapping[str, Any]) -> tuple[str, float]:
        """Raises DoesNotFit where no class can hold it."""
        pools = [fleet.pool for fleet in self._fleets.values()]
        seconds = place(shape_of(fields), I2VGEN_XL.name, self._cost, pools).seconds
        home = min(seconds, key=lambda name: self._fleets[name].size)
        return home, seconds[home]


class Videos:
    """What became of each request, and the HTTP that says so; `cards` are handles by class."""

    def __init__(self, routes: Routes, cards: Mapping[str, Any]) -> None:
        self._routes, self._cards = routes, cards
        self._videos: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.app = FastAPI()
        self.app.add_api_route("/readyz", self.ready, methods=["GET"])
        self.app.add_api_route("/v1/videos", self.submit, methods=["POST"])
        self.app.add_api_route("/v1/videos/{video_id}", self.retrieve, methods=["GET"])
        self.app.add_api_route("/v1/videos/{video_id}", self.delete, methods=["DELETE"])
        self.app.add_api_route("/v1/videos/{video_id}/content", self.content, methods=["GET"])

    async def ready(self) -> dict[str, str]:
        return {"status": "ok"}

    async def submit(self, request: Request, response: Response) -> dict[str, Any]:
        form = await request.form()
        fields = {name: form[name] for name in ASKED if name in form}
        card, seconds = self._routes.way({n: int(str(v)) if n in NUMBERS else str(v) for n, v in fields.items()})
        video = {"id": f"video_{uuid.uuid4().hex}", "status": "queued"}
        self._videos[video["id"]] = video
        task = asyncio.get_running_loop().create_task(self._make(video, card, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        response.headers[POLL_AFTER] = POLL_AFTER_MS
        return video

    async def _make(self, video: dict[str, Any], card: str, seconds: float) -> None:
        accepted = time.time()
        began, ended = await self._cards[card].remote(seconds)
        timings = {"wait": began - accepted, "denoise": ended - began}
        video |= {"status": "completed", "timings": timings, "recipe": {"card": card}}

    async def retrieve(self, video_id: str, response: Response) -> dict[str, Any]:
        response.headers[POLL_AFTER] = POLL_AFTER_MS
        return self._videos[video_id]

    async def delete(self, video_id: str) -> dict[str, Any]:
        return self._videos[video_id]

    async def content(self, video_id: str) -> Response:
        return Response(video_id.encode(), media_type="video/mp4")
