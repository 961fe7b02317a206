"""How long a card may be silent over a job before it is taken to hang, and who is told then.

Knows nothing of HTTP, Ray, stores or leases, nor of what is done about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from serving.engine.contract import Card
from serving.jobs.job import Job
from serving.request import VideoRequest
from serving.scheduling.cards import recognise
from serving.scheduling.cost import CostRow, seconds
from serving.watchdog import Watchdog, limits_for


@dataclass(frozen=True)
class Patience:
    """With one loaded model on one card."""

    cost: CostRow
    """The model's."""
    on_hang: Callable[[Job, str], object]
    """Told, in another thread, of a job on which the card hangs; it should end the process."""
    least_step_s: float = 60.0
    """A step may take this long, however little is expected of it."""

    def watch(self, job: Job, part: VideoRequest, card: Card) -> Watchdog:
        """Over `job`, of which the card works on one `part` at a time."""
        memory_gib = card.memory_bytes / 2**30 if card.own_memory else 0.0
        expected_s = seconds(part.shape, self.cost, recognise(card.name, memory_gib).tflops)
        limits = limits_for(expected_s, part.num_inference_steps, self.least_step_s)
        return Watchdog(limits, lambda missing: self.on_hang(job, missing))
