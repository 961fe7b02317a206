"""Holds a job while a worker works on it: renews the lease, tells progress, and learns when to stop.

Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TypedDict

from serving.jobs.clock import uptime
from serving.jobs.job import Held, Job, Stage
from serving.jobs.store import JobStore

log = logging.getLogger(__name__)

StopReason = Literal["cancelled", "lost"]
_News = tuple[Stage, int, int]


class _Told(TypedDict, total=False):
    stage: Stage
    step: int
    steps: int
    progress: int


# Percent of the whole at each stage's start and end. Denoising is most of a job's time, the others a few
# seconds each; only `complete` says 100.
STAGES: dict[Stage, tuple[int, int]] = {
    "starting": (0, 1),
    "conditioning": (1, 4),
    "denoising": (4, 88),
    "decoding": (88, 95),
    "encoding": (95, 99),
}


def overall_progress(stage: Stage, step: int, steps: int) -> int:
    """Percent of the whole job, after `step` of the stage's `steps`; 0 steps: the stage has just begun."""
    start, end = STAGES["denoising" if stage == "paused" else stage]
    part = min(max(step / steps, 0.0), 1.0) if steps > 0 else 0.0
    return start + int((end - start) * part)


class JobLease:
    """Use as a context manager, of threads or of an event loop, around the work on one claimed job.

    One thread renews the lease, another watches for a cancel: a write that waits for a busy database must not
    hide one. A store out of reach for less than the lease stops nothing.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        *,
        lease_s: float = 30.0,
        interval_s: float = 5.0,
        watch_s: float = 0.2,
        least_gap_s: float = 0.2,
    ) -> None:
        """
        Args:
            job: as `claim` returned it.
            lease_s: how long the job stays ours without a renewal.
            interval_s: between renewals when there is no news; at most a third of the lease.
            watch_s: between looks for a cancel.
            least_gap_s: between renewals with news; news in between is merged.
        """
        self._store, self._id, self._attempt = store, job.id, job.attempt
        self._lease_s, self._interval_s = lease_s, min(interval_s, lease_s / 3)
        self._watch_s, self._least_gap_s = watch_s, least_gap_s
        self._deadline = uptime() + lease_s
        self._reason: StopReason | None = None
        self._lost = False
        self._told: _News | None = None
        self._written: _News | None = None
        self._changed = threading.Condition()
        self._left = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"{name}-{job.id}", daemon=True)
            for name, target in (("renew", self._keep_renewing), ("watch", self._keep_watching))
        ]

    def __enter__(self) -> JobLease:
        """Looks at once, so that a job that is already lost or cancelled is known before any work.

        The claim was a renewal, and the first report is the next: no write here keeps a card waiting.
        """
        self._look()
        for thread in self._threads:
            thread.start()
        return self

    async def __aenter__(self) -> JobLease:
        """As `with`, for an event loop: nothing here waits for the database on it."""
        try:
            return await asyncio.to_thread(self.__enter__)
        except asyncio.CancelledError:
            # It is entered all the same, and nobody would leave it.
            self._let_go()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops renewing; what becomes of the job is told by `complete`, `fail` or `release`."""
        self._let_go()
        self._join()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()
        await asyncio.to_thread(self._join)

    @property
    def stop_reason(self) -> StopReason | None:
        """Why to stop: the job was cancelled, or it is another worker's now; the first one known stays."""
        if self._reason is None and uptime() >= self._deadline:
            self._stop("lost")
        return self._reason

    def should_stop(self) -> bool:
        """For the sampler to ask between steps; never blocks."""
        return self.stop_reason is not None

    def report(self, stage: Stage, step: int = 0, steps: int = 0) -> None:
        """Tell how far the work is; never blocks, and never raises for the store's sake."""
        with self._changed:
            if self._told != (stage, step, steps):
                self._told = (stage, step, steps)
                self._changed.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Tell that the work stands still between two steps within the block, and goes on after it."""
        told = self._told
        assert told is not None
        _, step, steps = told
        self.report("paused", step, steps)
        try:
            yield
        finally:
            self.report(*told)

    def _let_go(self) -> None:
        self._left.set()
        with self._changed:
            self._changed.notify_all()

    def _join(self) -> None:
        for thread in self._threads:
            # One that waits for a store out of reach must not keep the card; what it may still write is fenced.
            thread.join(timeout=1.0)

    def _keep_renewing(self) -> None:
        wait_s = self._interval_s
        while not self._left.wait(self._least_gap_s) and not self._lost:
            with self._changed:
                self._changed.wait_for(lambda: self._left.is_set() or self._told != self._written, wait_s)
                news = self._told
            if self._left.is_set():
                return
            wait_s = self._interval_s if self._renew(news) else self._least_gap_s

    def _keep_watching(self) -> None:
        while not self._left.wait(self._watch_s) and self._reason is None:
            self._look()

    def _look(self) -> None:
        try:
            self._learn(self._store.held(self._id, self._attempt))
        except Exception as error:
            log.warning("cannot see whether the job is cancelled: %s", error, extra={"job": self._id})

    def _renew(self, news: _News | None) -> bool:
        before = uptime()
        try:
            held = self._store.renew(self._id, self._attempt, self._lease_s, **_values(news))
        except Exception as error:
            # Whatever it is, the work goes on for as long as the lease does.
            log.warning("the lease cannot be renewed: %s", error, extra={"job": self._id})
            return False
        if held is not Held.LOST:
            self._written = news
            self._deadline = before + self._lease_s
        self._learn(held)
        return True

    def _learn(self, held: Held) -> None:
        if held is Held.LOST:
            self._stop("lost")
        elif held is Held.CANCEL_REQUESTED:
            self._stop("cancelled")

    def _stop(self, reason: StopReason) -> None:
        self._lost = self._lost or reason == "lost"
        with self._changed:
            if self._reason is None:
                self._reason = reason
                log.info("attempt %d is to stop: %s", self._attempt, reason, extra={"job": self._id})


def _values(news: _News | None) -> _Told:
    if news is None:
        return {}
    stage, step, steps = news
    progress = overall_progress(stage, step, steps)
    return {"stage": stage, "step": step, "steps": steps, "progress": progress}
