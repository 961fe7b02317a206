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
from serving.jobs.expiry import EndedJob, EndedPage
from serving.jobs.job import JobStatus, accepted_at
from serving.jobs.store import JobStore
from serving.logs import SUFFIX
from serving.storage import Entry, Storage, job_of_output
from serving.storage.contract import PICTURES

logger = logging.getLogger(__name__)
T = TypeVar("T")

UNUSED_S = 86_400.0
"""Age from which what no job refers to, and an unfinished write, are removed, seconds."""
ROUND_S = 3_600.0
"""Least time between two looks at the same stored thing, seconds."""
ROWS = 200
"""Read at a time: the C library keeps what they take, for each thread that ever made a pass."""
# A pass does at most this much: some seconds of work on S3, a fraction of one in a directory.
PAGES, REMOVALS, PICTURES_SEEN, WRITES_SEEN, CLIPS_SEEN, LOGS_SEEN = 10, 100, 200, 2_000, 2_000, 2_000


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
    """Removes expired files, forgotten records, what no job refers to, and unfinished writes.

    Clips of jobs that the store does not know are left alone: they may be another service's, or an older store's.
    What is removed twice, by two of them or after a crash between two steps, is no error.
    """

    def __init__(self, store: JobStore, pictures: Storage, outputs: Storage, logs: Storage, policy: Policy) -> None:
        """`logs` are the jobs' own, by their ids."""
        self._store = store
        self._pictures = pictures
        self._outputs = outputs
        self._logs = logs
        self._policy = policy
        self._after = 0
        self._stored_pictures = _Rounds[Entry](lambda now: pictures.entries(PICTURES))
        self._stored_clips = _Rounds[Entry](lambda now: outputs.entries())
        self._stored_logs = _Rounds[Entry](lambda now: logs.entries())
        self._unfinished = [_Rounds(partial(_sweep, storage)) for storage in (pictures, outputs)]

    def run(self, now: float) -> None:
        """One pass at `now` (epoch seconds); it may block for some seconds, and never raises for an outage's sake."""
        for step in (self._reap_jobs, self._reap_pictures, self._reap_clips, self._reap_logs, self._reap_unfinished):
            try:
                step(now)
            except I2VError as error:
                logger.warning("retention: %s", error.message)

    def _reap_jobs(self, now: float) -> None:
        left = REMOVALS
        for _ in range(PAGES):
            page = self._store.expiry.page(self._after, ROWS)
            left -= self._reap_page(page, left, now)
            if left == 0 or page.after == 0:
                break

    def _reap_page(self, page: EndedPage, most: int, now: float) -> int:
        """How many jobs it removed something of; after fewer than `most` the page is done with."""
        fates = [(job, fate(job, self._policy, now)) for job in page.jobs]
        due = [(job, what) for job, what in fates if what is not Fate.KEEP][:most]
        cleared: dict[Fate, list[int]] = {Fate.EXPIRE: [], Fate.FORGET: []}
        try:
            for job, what in due:
                # Moved on first: a file that cannot be removed must not hold up all others.
                self._after = job.seq
                for key in job.files:
                    self._outputs.delete(key)
                cleared[what].append(job.seq)
            if len(due) < most:
                self._after = page.after
        finally:
            # Rows last: a crash in between leaves a job whose files are removed again, not files without a job.
            if any(cleared.values()):
                self._store.expiry.drop_files(cleared[Fate.EXPIRE])
                self._store.expiry.forget(cleared[Fate.FORGET])
                counts = [len(seqs) for seqs in cleared.values()]
                logger.info("retention: %d videos expired, %d records removed", *counts)
        return len(due)

    def _reap_pictures(self, now: float) -> None:
        old = _old(self._stored_pictures.take(PICTURES_SEEN, now), now)
        used = self._store.expiry.pictures_in_use(old)
        self._remove("pictures", self._pictures, [key for key in old if key not in used], now)

    def _reap_clips(self, now: float) -> None:
        """Of attempts that died between their files and their completion."""
        jobs = {key: job for key in _old(self._stored_clips.take(CLIPS_SEEN, now), now) if (job := job_of_output(key))}
        files = self._store.expiry.files_of_ended(set(jobs.values()))
        unused = [key for key, job in jobs.items() if job in files and key not in files[job]]
        self._remove("unused clips", self._outputs, unused, now)

    def _reap_logs(self, now: float) -> None:
        old = _old(self._stored_logs.take(LOGS_SEEN, now), now)
        jobs = {key: job for key in old if accepted_at(job := key.removesuffix(SUFFIX)) is not None}
        known = self._store.expiry.known(set(jobs.values()))
        self._remove("logs", self._logs, [key for key, job in jobs.items() if job not in known], now)

    def _remove(self, what: str, storage: Storage, keys: list[str], now: float) -> None:
        removed = sum(storage.delete_stale(key, now - UNUSED_S) for key in keys)
        if removed:
            logger.info("retention: %d %s removed", removed, what)

    def _reap_unfinished(self, now: float) -> None:
        removed = sum(sum(rounds.take(WRITES_SEEN, now)) for rounds in self._unfinished)
        if removed:
            logger.info("retention: %d unfinished writes removed", removed)


def _old(entries: list[Entry], now: float) -> list[str]:
    """The keys of those that may be removed if nothing refers to them."""
    return [entry.key for entry in entries if entry.modified_at < now - UNUSED_S]


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
