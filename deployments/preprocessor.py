"""The CPU stage in front of the queue: a bad picture is refused here."""

from __future__ import annotations

import asyncio
import os

from ray import serve

from deployments.heap import spare_what_is_loaded
from deployments.wiring import Wiring
from serving.decoder import Decoders
from serving.parameters import VideoParameters
from serving.preprocessing import Prepared
from serving.presets import ModelProfile

SLOTS = 4


@serve.deployment(
    name="Preprocessor",
    max_ongoing_requests=SLOTS,
    max_queued_requests=32,
    health_check_period_s=2,
    ray_actor_options={"num_cpus": 0},
)
class Preprocessor:
    def __init__(self, wiring: Wiring) -> None:
        wiring.open_log()
        self._decoders = Decoders(min(SLOTS, os.cpu_count() or 1))
        spare_what_is_loaded()

    async def prepare(self, data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        return await asyncio.to_thread(self._decoders.prepare, data, parameters, profile)
