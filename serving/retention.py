"""How long results are kept, and the reaper that removes what is kept no longer, a bounded piece at each pass.

Knows nothing of HTTP, Ray or video, and reads no clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from serving.errors import I2VError
from serving.jobs.expiry import EndedJob
from serving.jobs.job import JobStatus
from serving.jobs.store import JobStore
from serving.storage import Entry, Storage
from serving.storage.contract import PICTURES

logger = logging.getLogger(__name__)
T = TypeVar("T")

UNUSED_S = 86_400.0
"""Age from which a picture no job refers to, and an unfinished write, are removed, seconds."""
ROUND_S = 3_600.0
"""Least time between two looks at the same stored thing, seconds."""
# A pass does at most this much: some seconds of work on S3, a fraction of one in a directory.
ROWS, REMOVALS, PICTURES_SEEN, WRITES_SEEN = 2_000, 100, 200, 2_000


class Fate(StrEnum):
    """What becomes of a job that has ended."""

    KEEP = "keep"
    EXPIRE = "expire"
    """Its files go, its record stays."""
    FORGET = "forget"


@dataclass(frozen=True)
class Policy:
    """How long what is kept, seconds."""

    retention_s: float | None
    """From a job's end; None is for ever. A result keeps the moment of expiry it was completed with."""
    record_s: float
    """From then on, the record alone."""


def fate(job: EndedJob, policy: Policy, now: float) -> Fate:
    """What becomes of the job at `now`, epoch seconds."""
    if job.status is JobStatus.COMPLETED:
        end = job.expires_at
    else:
        end = None if policy.retention_s is None else job.completed_at + policy.retention_s
    if end is None or now < end:
        return Fate.KEEP
    if now >= end + policy.record_s:
        return Fate.FORGET
    return Fate.EXPIRE if job.files else Fate.KEEP


class Reaper:
    """Removes expired files, forgotten records, pictures no job refers to, and unfinished writes.

    What is removed twice, by two of them or after a crash between two steps, is no error.
    """

    def __init__(self, store: JobStore, pictures: Storage, outputs: Storage, policy: Policy) -> None:
        self._store = store
        self._pictures = pictures
        self._outputs = outputs
        self._policy = policy
        self._after = 0
        self._stored_pictures = _Rounds[Entry](lambda now: pictures.entries(PICTURES))
        self._unfinished = [_Rounds(partial(_sweep, storage)) for storage in (pictures, outputs)]

    def run(self, now: float) -> None:
        """One pass at `now` (epoch seconds); it may block for some seconds, and never raises for an outage's sake."""
        for step in (self._reap_jobs, self._reap_pictures, self._reap_unfinished):
            try:
                step(now)
            except I2VError as error:
                logger.warning("retention: %s", error.message)

    def _reap_jobs(self, now: float) -> None:
        page = self._store.ended(self._after, ROWS)
        fates = [(job, fate(job, self._policy, now)) for job in page.jobs]
        due = [(job, what) for job, what in fates if what is not Fate.KEEP][:REMOVALS]
        cleared: dict[Fate, list[int]] = {Fate.EXPIRE: [], Fate.FORGET: []}
        try:
            for job, what in due:
                # Moved on first: a file that cannot be removed must not hold up all others.
                self._after = job.seq
                for key in job.files:
                    self._outputs.delete(key)
                cleared[what].append(job.seq)
            if len(due) < REMOVALS:
                self._after = page.after
        finally:
            # Rows last: a crash in between leaves a job whose files are removed again, not files without a job.
            if any(cleared.values()):
                self._store.drop_files(cleared[Fate.EXPIRE])
                self._store.forget(cleared[Fate.FORGET])
                counts = [len(seqs) for seqs in cleared.values()]
                logger.info("retention: %d videos expired, %d records removed", *counts)

    def _reap_pictures(self, now: float) -> None:
        before = now - UNUSED_S
        old = [entry.key for entry in self._stored_pictures.take(PICTURES_SEEN, now) if entry.modified_at < before]
        if not old:
            return
        used = self._store.pictures_in_use(old)
        removed = sum(self._pictures.delete_stale(key, before) for key in old if key not in used)
        if removed:
            logger.info("retention: %d pictures removed", removed)

    def _reap_unfinished(self, now: float) -> None:
        removed = sum(sum(rounds.take(WRITES_SEEN, now)) for rounds in self._unfinished)
        if removed:
            logger.info("retention: %d unfinished writes removed", removed)


def _sweep(storage: Storage, now: float) -> Iterator[bool]:
    return storage.sweep(now - UNUSED_S)


class _Rounds(Generic[T]):
    """An iterator walked a few steps a pass; at its end it begins anew, `ROUND_S` after it last did."""

    def __init__(self, begin: Callable[[float], Iterator[T]]) -> None:
        self._begin = begin
        self._left: Iterator[T] | None = None
        self._next_at = 0.0

    def take(self, steps: int, now: float) -> list[T]:
        if self._left is None:
            if now < self._next_at:
                return []
            self._left, self._next_at = self._begin(now), now + ROUND_S
        taken = list(islice(self._left, steps))
        if len(taken) < steps:
            self._left = None
        return taken
