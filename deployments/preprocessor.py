"""The CPU stage in front of the queue: a bad picture is refused here."""

from __future__ import annotations

import asyncio

from ray import serve

from deployments.wiring import Wiring
from serving.preprocessing import Prepared, prepare
from serving.presets import ModelProfile
from serving.request import VideoParameters


@serve.deployment(
    name="Preprocessor", max_ongoing_requests=4, max_queued_requests=32, ray_actor_options={"num_cpus": 0}
)
class Preprocessor:
    def __init__(self, wiring: Wiring) -> None:
        wiring.open_log()

    async def prepare(self, data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        return await asyncio.to_thread(prepare, data, parameters, profile)
