"""While a card works on a job: which waiting one it does first, between two steps. Knows nothing of HTTP or Ray."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from serving.errors import I2VError
from serving.jobs.job import Job
from serving.jobs.store import JobStore
from serving.scheduling.preemption import room_s

logger = logging.getLogger(__name__)
LOOK_S = 0.2
"""Between two looks for shorter jobs. One that is seen again has waited longer than a free card takes to claim it."""
REMEMBERED = 1000
"""Jobs seen and not taken, at most."""


def gives_way(job: Job, most_s: float) -> bool:
    """Whether a job at work is put off for any other.

    One with a deadline has none to lose; and of one in 8-bit floats the weights would have to be made anew.
    """
    return most_s > 0 and job.deadline is None and "fp8" not in job.request.acceleration


class GivingWay:
    """Of one job at work, to shorter ones."""

    def __init__(
        self,
        store: JobStore,
        job: Job,
        most_s: float,
        claim: Callable[[float], Job | None],
        work: Callable[[Job], bool],
    ) -> None:
        """
        Args:
            job: as `claim` of a store returned it.
            most_s: how long it may be put off, in all.
            claim: takes a waiting job of so many expected seconds at most, for the same card.
            work: does such a one, and says whether there was room for it on the card; never raises.
        """
        self._store, self._job, self._most_s = store, job, most_s
        self._claim, self._work = claim, work
        self._pool = job.pool or ""
        self._estimate_s = job.estimates.get(self._pool, job.estimate_s)
        self._left = 1.0
        self._preempted_s = 0.0
        self._seen: set[str] = set()
        self._wanted = False

    async def keep_looking(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self.look)
            except I2VError as error:
                logger.warning("not seen whether shorter jobs wait: %s", error.message)
            except Exception:
                # The job at work is worth more than a shorter one's haste.
                logger.exception("not seen whether shorter jobs wait")

    def look(self) -> None:
        """See whether a shorter job waits that was seen before.

        Raises:
            StorageUnavailable: the store is out of reach.
        """
        room = self._room_s()
        found = self._store.waiting_within(self._pool, self._job.model, room) if room > 0 else frozenset()
        self._wanted = not self._seen.isdisjoint(found)
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        self._seen |= found

    def step(self, step: int, steps: int) -> None:
        """The card has done `step` of the job's `steps`."""
        self._left = 1.0 - step / steps

    def __call__(self) -> Callable[[], object] | None:
        """What is to be done first, where a shorter job was seen. Between two steps; no look is made here."""
        return self._give_way if self._wanted else None

    def _give_way(self) -> None:
        self._wanted = False
        began = time.monotonic()
        try:
            shorter = self._claim(self._room_s())
            if shorter is None:
                return  # another card has it
            logger.info("put off for %s", shorter.id)
            if not self._work(shorter):
                self._most_s = 0.0
            self._preempted_s += time.monotonic() - began
            self._store.put_off(self._job.id, self._job.attempt, self._preempted_s)
        except I2VError as error:
            logger.warning("not put off, or not noted: %s", error.message, extra={"code": error.code})
        except Exception:
            logger.exception("not put off, or not noted")

    def _room_s(self) -> float:
        return room_s(self._estimate_s, self._left * self._estimate_s, self._preempted_s, self._most_s)
