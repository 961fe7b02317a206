"""What one card's work is measured by: busy seconds, steps, stage times, memory. Knows nothing of HTTP or Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from serving.engine.contract import Clip
from serving.errors import InsufficientGpuMemory
from serving.jobs.job import Job
from serving.metrics import (
    ATTEMPTS,
    BUSY_SECONDS,
    FAILURES,
    GENERATION_SECONDS,
    KERNELS,
    OUT_OF_MEMORY,
    PEAK_MEMORY,
    STEPS,
    WAIT_SECONDS,
    Metrics,
)

logger = logging.getLogger(__name__)


class CardMeter:
    """Measures one card of `pool`, which works on one job at a time, or on one between two steps of another."""

    def __init__(self, metrics: Metrics, pool: str) -> None:
        self._metrics = metrics
        self._pool = pool
        self._counted_until = 0.0

    def claimed(self, job: Job) -> None:
        """An attempt at the job begins."""
        self._metrics.add(ATTEMPTS, pool=self._pool, model=job.model)
        if job.attempt == 1 and job.started_at is not None:
            waited_s = max(0.0, job.started_at - job.created_at)
            self._metrics.observe(WAIT_SECONDS, waited_s, pool=self._pool, priority=job.priority)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The card is busy within the block; an InsufficientGpuMemory that leaves it is counted."""
        self._counted_until = time.perf_counter()
        try:
            yield
        except InsufficientGpuMemory:
            self._metrics.add(OUT_OF_MEMORY, pool=self._pool)
            raise
        finally:
            self._count_busy()

    def step(self) -> None:
        """One denoising step is done."""
        self._metrics.add(STEPS, pool=self._pool)
        # With every step and not once a job, or a rate over one minute would exceed 1 after a long job.
        self._count_busy()

    def half(self) -> None:
        """One half of a step of another card's job is done."""
        self._count_busy()

    def clip(self, clip: Clip) -> None:
        """The job's frames are there."""
        for stage, seconds in clip.timings.items():
            self._metrics.observe(GENERATION_SECONDS, seconds, pool=self._pool, stage=stage)
        if clip.peak_memory_bytes is not None:
            self._metrics.observe(PEAK_MEMORY, clip.peak_memory_bytes, pool=self._pool)

    def compiled(self, kernel: str) -> None:
        """The card needed a kernel that was not in its cache."""
        logger.info("compiled %s", kernel)
        self._metrics.add(KERNELS, pool=self._pool)

    def failed(self, model: str, code: str) -> None:
        """The attempt at a job of `model` ended without a clip, and not by a cancel."""
        self._metrics.add(FAILURES, model=model, code=code)

    def _count_busy(self) -> None:
        now = time.perf_counter()
        self._metrics.add(BUSY_SECONDS, now - self._counted_until, pool=self._pool)
        self._counted_until = now
