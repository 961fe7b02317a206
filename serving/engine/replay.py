"""Steps replayed from CUDA graphs: where launches take longer than the work, they are given to the card all at once.

A shape's first two steps run plainly, and the second tells whether launches are what takes the time. If so the third is
recorded, which takes a fraction of a second and no compiler; else, without CUDA, or without the memory for it, every
step runs plainly. Graphs keep their memory, which is only ever what is to spare: whoever needs it clears them. Knows
nothing of samplers or requests.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from serving.engine import card
from serving.engine.unet import Prepared, UNet

logger = logging.getLogger(__name__)
MOST = 8
"""Graphs that are kept, each of one shape and one kind of step."""
BOUND = 1.2
"""A step that takes so many times as long as its launches gains nothing: on an H200 a replay is then 4% slower."""
SPARE = 2.0
"""A graph keeps a step's memory for itself: so many times that much must be free to record one."""


class _Key(NamedTuple):
    """What steps have in common that one graph can do."""

    shape: tuple[int, ...]
    halves: int
    keeps: bool
    cached: bool
    float8: bool
    chunked: bool


@dataclass(frozen=True)
class _Inputs:
    latents: torch.Tensor
    timestep: torch.Tensor
    prepared: Prepared
    features: torch.Tensor | None
    """Of an earlier step, which stand for all but the outermost level."""
    keeps: bool
    """Whether this step's own features are wanted."""

    def run(self, unet: UNet) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The prediction, and the features."""
        if self.keeps:
            return unet.keeping(self.latents, self.timestep, self.prepared)
        return unet(self.latents, self.timestep, self.prepared, self.features), None

    def clone(self) -> _Inputs:
        features = None if self.features is None else self.features.clone()
        timestep = self.timestep.to(self.latents.device).clone()
        return _Inputs(self.latents.clone(), timestep, self.prepared.clone(), features, self.keeps)

    def take(self, other: _Inputs) -> None:
        """Take over another's values, of the same shapes, but for what is prepared."""
        self.latents.copy_(other.latents)
        self.timestep.copy_(other.timestep, non_blocking=True)
        if self.features is not None:
            assert other.features is not None
            self.features.copy_(other.features)


class _Recording:
    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: _Inputs) -> None:
        self.graph, self.inputs = graph, inputs
        self.results: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._prepared: weakref.ref[Prepared] | None = None

    def replay(self, inputs: _Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self._prepared is None or self._prepared() is not inputs.prepared:
            self.inputs.prepared.take(inputs.prepared)
            self._prepared = weakref.ref(inputs.prepared)
        self.inputs.take(inputs)
        self.graph.replay()
        assert self.results is not None
        prediction, features = self.results
        # Features outlast the next call, whose graph may use their memory.
        return prediction, None if features is None else features.clone()


class Replay:
    """A UNet, step by step, by the fastest way that there is."""

    def __init__(self, unet: UNet, *, record: bool = True) -> None:
        """
        Args:
            record: False where every step is to run plainly.
        """
        self.unet = unet
        self._record = record and unet.device.type == "cuda"
        self._recordings: OrderedDict[_Key, _Recording] = OrderedDict()
        self._gains: dict[_Key, bool] = {}
        self._pool: Any = None
        self.held_bytes = 0
        """Memory of the card that only the graphs can use."""

    def clear(self) -> bool:
        """Give the graphs' memory back; whether there was any."""
        had = self.held_bytes > 0
        self._recordings.clear()
        self._gains.clear()
        self._pool = None
        self.held_bytes = 0
        return had

    def use_float8(self, wanted: bool) -> None:
        """Have the UNet's large products from now on be of 8-bit floats, or exact."""
        if not wanted and any(key.float8 for key in self._recordings):
            self.clear()  # their graphs read weights that are given up
        self.unet.use_float8(wanted)

    @torch.inference_mode()
    def __call__(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        prepared: Prepared,
        *,
        first: bool,
        features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As the UNet's. The result lasts until the next call.

        Args:
            first: whether it is the request's first step of its kind, which warms up what a recording must find warm.
        """
        return self._step(_Inputs(latents, timestep, prepared, features, keeps=False), first)[0]

    @torch.inference_mode()
    def keeping(
        self, latents: torch.Tensor, timestep: torch.Tensor, prepared: Prepared, *, first: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the UNet's. The prediction lasts until the next call, the features as long as they are wanted."""
        prediction, features = self._step(_Inputs(latents, timestep, prepared, None, keeps=True), first)
        assert features is not None
        return prediction, features

    def _step(self, inputs: _Inputs, first: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        key = _Key(
            tuple(inputs.latents.shape),
            inputs.prepared.halves,
            inputs.keeps,
            inputs.features is not None,
            self.unet.float8,
            self.unet.chunked,
        )
        recording = self._recordings.get(key)
        if recording is None and self._record and not first:
            if key not in self._gains:
                return self._timed(key, inputs)
            if self._gains[key]:
                recording = self._recorded(key, inputs)
        if recording is None:
            return inputs.run(self.unet)
        self._recordings.move_to_end(key)
        return recording.replay(inputs)

    def _timed(self, key: _Key, inputs: _Inputs) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A plain step that tells whether such ones gain by being recorded."""
        card.synchronize(self.unet.device)
        began = time.perf_counter()
        results = inputs.run(self.unet)
        launched = time.perf_counter()
        card.synchronize(self.unet.device)
        self._gains[key] = time.perf_counter() - began < BOUND * (launched - began)
        return results

    def _recorded(self, key: _Key, inputs: _Inputs) -> _Recording | None:
        step = (card.peak_bytes(self.unet.device) or 0) - torch.cuda.memory_allocated(self.unet.device)
        if card.free_bytes(self.unet.device) < SPARE * step:
            return None
        while len(self._recordings) >= MOST:
            self._recordings.popitem(last=False)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        recording = _Recording(torch.cuda.CUDAGraph(), inputs.clone())
        try:
            # Other threads' calls, such as those of a metrics exporter, do not end this one's recording.
            with torch.cuda.graph(recording.graph, pool=self._pool, capture_error_mode="thread_local"):
                before = torch.cuda.memory_reserved(self.unet.device)
                try:
                    recording.results = recording.inputs.run(self.unet)
                finally:
                    self.held_bytes += max(0, torch.cuda.memory_reserved(self.unet.device) - before)
        except RuntimeError as error:
            if not card.is_out_of_memory(error):
                raise
            logger.warning("no memory to record a step of %s; its steps run plainly", key)
            self._gains[key] = False
            return None
        self._recordings[key] = recording
        return recording
