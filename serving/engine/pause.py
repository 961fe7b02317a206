"""One request's pauses between its steps, in which the device does something else. Knows nothing of what that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from serving.engine import card
from serving.engine.contract import GiveWay


class Pauses:
    def __init__(self, device: torch.device, give_way: GiveWay | None) -> None:
        self._device, self._ask = device, give_way
        self.seconds = 0.0
        """How long they were, in all."""
        self._peak_bytes = 0

    def give_way(self, restore: Callable[[], object]) -> GiveWay:
        """For the sampler, of one attempt. `restore` leaves the model as the request wants it, after something else."""
        self._peak_bytes = 0

        def ask() -> Callable[[], object] | None:
            other = None if self._ask is None else self._ask()
            return None if other is None else partial(self._pause, other, restore)

        return ask

    def peak_bytes(self) -> int | None:
        """As of `card`, since `card.start_peak`; what the pauses took is left out."""
        peak = card.peak_bytes(self._device)
        return None if peak is None else max(peak, self._peak_bytes)

    def _pause(self, other: Callable[[], object], restore: Callable[[], object]) -> None:
        card.synchronize(self._device)
        began = time.perf_counter()
        before = self.peak_bytes()
        other()
        restore()
        card.synchronize(self._device)
        self._peak_bytes = before or 0
        card.start_peak(self._device)
        self.seconds += time.perf_counter() - began
