"""Another card's job on this card: one guidance half of its steps, for as long as the other card asks for it.

Knows nothing of HTTP, Ray, stores or leases: the job is the other card's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from serving.card_meter import CardMeter
from serving.engine.contract import LoadedModel
from serving.engine.link import Door, LinkLost
from serving.errors import I2VError
from serving.jobs.job import Job
from serving.patience import Patience

logger = logging.getLogger(__name__)
COMING_S = 30.0
"""Longest wait for the card that leads."""


class Assistant:
    """Helps with one job at a time on one loaded model."""

    def __init__(self, model: LoadedModel, patience: Patience, meter: CardMeter) -> None:
        """`patience` is for a half what it is for a step."""
        self._model = model
        self._patience = patience
        self._meter = meter

    def assist(self, job: Job, door: Door, should_stop: Callable[[], bool]) -> None:
        """Returns when the card that comes through `door` needs no more, when it is lost, or when nobody came.

        An error that poisons the card is raised: the process is of no use after it.

        Args:
            should_stop: asked while the other card is waited for.
        """
        try:
            with self._meter.at_work():
                halves = self._assist(job, door, should_stop)
        except (LinkLost, I2VError) as error:
            logger.info("no more help: %s", error)
        except Exception as error:
            # Here, as it imports PyTorch, which an emulated card does without.
            from serving.engine import card

            if card.is_poisoned(error):
                raise
            logger.exception("the help failed, and the other card goes on alone")
        else:
            logger.info("helped with %d of %d steps", halves, job.request.num_inference_steps)

    def _assist(self, job: Job, door: Door, should_stop: Callable[[], bool]) -> int:
        request = job.request
        steps = request.num_inference_steps
        hangs = self._patience.watch(job, request, self._model.card)
        with hangs as watchdog, door.accept(COMING_S, should_stop) as link:
            logger.info("helps another card")
            done = 0

            def on_half(halves: int) -> None:
                nonlocal done
                done = halves
                self._meter.half()
                watchdog.step(done, steps)

            def waits() -> bool:
                # To wait for the other card is no hang of this one.
                watchdog.step(done, steps)
                return should_stop()

            return self._model.assist(link, request, on_half=on_half, should_stop=waits)
