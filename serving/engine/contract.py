"""What the service asks of a loaded model, and what it gets: no more than this, so that an emulated card will do.

Imports no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.engine.link import Link, Meeting
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS, MemoryPlan

OnHalf = Callable[[int], object]
"""(guidance halves predicted for another card, from 1)"""
OnStep = Callable[[int, int], None]
"""(steps done, from 1; steps in all)"""
ShouldStop = Callable[[], bool]
GiveWay = Callable[[], Callable[[], object] | None]
"""Asked between two steps: what the device is to do first, if anything. That may be another request on the same model;
it must not raise."""


@dataclass(frozen=True)
class Card:
    """What a recipe says of the hardware."""

    name: str
    memory_bytes: int
    own_memory: bool = True
    """False where the memory is the machine's, which is no limit here."""
    compute_capability: float = 0.0
    """As NVIDIA counts; 0 of a CPU."""


@dataclass(frozen=True)
class Source:
    """What a recipe says of the weights, and of what computes with them."""

    name: str
    """The model setting as given."""
    revision: str
    dtype: str
    kernels: str
    """Which implementation of the UNet's kernels runs: "triton" or "torch"."""
    scheduler: str
    """The class of the model's own."""


@dataclass(frozen=True)
class Clip:
    """What one request gave."""

    frames: npt.NDArray[np.uint8]
    """(F, H, W, 3), RGB."""
    timings: dict[str, float]
    """Seconds of "condition", "denoise" and "decode"."""
    peak_memory_bytes: int | None
    """The most memory allocated on the card, weights included; None on a CPU."""
    plan: str = PLANS[0].name
    """The memory plan it ran by: the one asked for, or the first smaller one that fitted."""
    shared_steps: int = 0
    """Denoising steps that a second card did half of."""
    peaks: dict[str, int] = field(default_factory=dict)
    """The most bytes allocated on the card in each stage; empty on a CPU."""
    preempted_s: float = 0.0
    """Seconds that went into something else between its steps; the timings leave them out."""


class LoadedModel(Protocol):
    """One model on one card; one request at a time. `engine.pipeline.Pipeline` says what its methods do."""

    @property
    def source(self) -> Source: ...
    @property
    def card(self) -> Card: ...
    def warm_up(self) -> None: ...
    def plan_for(self, request: VideoRequest) -> MemoryPlan: ...
    def read(self, picture: Image.Image, request: VideoRequest) -> Any: ...
    def generate(
        self,
        picture: Any,
        request: VideoRequest,
        *,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
        plan: MemoryPlan = PLANS[0],
        meeting: Meeting | None = None,
        give_way: GiveWay | None = None,
    ) -> Clip: ...
    def assist(
        self,
        link: Link,
        request: VideoRequest,
        *,
        on_half: OnHalf | None = None,
        should_stop: ShouldStop | None = None,
    ) -> int: ...
