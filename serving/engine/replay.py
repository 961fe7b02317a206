"""Steps replayed from CUDA graphs: where launches take longer than the work, they are given to the card all at once.

A shape's first two steps run plainly, and the second tells whether launches are what takes the time. If so the third is
recorded, which takes a fraction of a second and no compiler; else, without CUDA, or without the memory for it, every
step runs plainly. Graphs keep their memory, which is only ever what is to spare: whoever needs it clears them. Knows
nothing of samplers or requests.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch

from serving.engine import card
from serving.engine.unet import Prepared, UNet

logger = logging.getLogger(__name__)
MOST = 8
"""Shapes whose graphs are kept."""
BOUND = 1.2
"""A step that takes so many times as long as its launches gains nothing: on an H200 a replay is then 4% slower."""
SPARE = 2.0
"""A graph keeps a step's memory for itself: so many times that much must be free to record one."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    latents: torch.Tensor
    timestep: torch.Tensor
    prepared: Prepared
    prediction: torch.Tensor


class Replay:
    """A UNet, step by step, by the fastest way that there is."""

    def __init__(self, unet: UNet, *, record: bool = True) -> None:
        """
        Args:
            record: False where every step is to run plainly.
        """
        self.unet = unet
        self._record = record and unet.device.type == "cuda"
        self._recordings: OrderedDict[tuple[int, ...], _Recording] = OrderedDict()
        self._gains: dict[tuple[int, ...], bool] = {}
        self._pool: Any = None
        self._loaded: Prepared | None = None
        self.held_bytes = 0
        """Memory of the card that only the graphs can use."""

    def clear(self) -> bool:
        """Give the graphs' memory back; whether there was any."""
        had = self.held_bytes > 0
        self._recordings.clear()
        self._gains.clear()
        self._pool = self._loaded = None
        self.held_bytes = 0
        return had

    @torch.inference_mode()
    def __call__(
        self, latents: torch.Tensor, timestep: torch.Tensor, prepared: Prepared, *, first: bool
    ) -> torch.Tensor:
        """As the UNet's. The result lasts until the next call.

        Args:
            first: whether it is the request's first step, which warms up what a recording must find warm.
        """
        key = (*latents.shape, prepared.halves)
        recording = self._recordings.get(key)
        if recording is None and self._record and not first:
            if key not in self._gains:
                return self._timed(key, latents, timestep, prepared)
            if self._gains[key]:
                recording = self._recorded(key, latents, timestep, prepared)
        if recording is None:
            return self.unet(latents, timestep, prepared)
        self._recordings.move_to_end(key)
        if self._loaded is not prepared:
            recording.prepared.take(prepared)
            self._loaded = prepared
        recording.latents.copy_(latents)
        recording.timestep.copy_(timestep, non_blocking=True)
        recording.graph.replay()
        return recording.prediction

    def _timed(
        self, key: tuple[int, ...], latents: torch.Tensor, timestep: torch.Tensor, prepared: Prepared
    ) -> torch.Tensor:
        """A plain step that tells whether this shape gains by being recorded."""
        card.synchronize(self.unet.device)
        began = time.perf_counter()
        prediction = self.unet(latents, timestep, prepared)
        launched = time.perf_counter()
        card.synchronize(self.unet.device)
        self._gains[key] = time.perf_counter() - began < BOUND * (launched - began)
        return prediction

    def _recorded(
        self, key: tuple[int, ...], latents: torch.Tensor, timestep: torch.Tensor, prepared: Prepared
    ) -> _Recording | None:
        step = (card.peak_bytes(self.unet.device) or 0) - torch.cuda.memory_allocated(self.unet.device)
        if card.free_bytes(self.unet.device) < SPARE * step:
            return None
        while len(self._recordings) >= MOST:
            self._recordings.popitem(last=False)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        inputs = latents.clone(), timestep.to(latents.device).clone(), prepared.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads' calls, such as those of a metrics exporter, do not end this one's recording.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                before = torch.cuda.memory_reserved(self.unet.device)
                try:
                    prediction = self.unet(*inputs)
                finally:
                    self.held_bytes += max(0, torch.cuda.memory_reserved(self.unet.device) - before)
        except RuntimeError as error:
            if not card.is_out_of_memory(error):
                raise
            logger.warning("no memory to record a step of %s; its steps run plainly", key)
            self._gains[key] = False
            return None
        self._loaded = None
        self._recordings[key] = _Recording(graph, *inputs, prediction)
        return self._recordings[key]
