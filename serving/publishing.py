"""Frames to files to a completed job: encode aside, rename, then one fenced write makes the result visible.

Knows nothing of HTTP, Ray or the engine.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from serving import fault_points
from serving.encoding import ENCODERS, encode, poster, spritesheet
from serving.errors import Cancelled, EncodingFailed, I2VError, StorageUnavailable
from serving.jobs.job import CANCELLED, Job
from serving.jobs.lease import JobLease
from serving.jobs.store import JobStore
from serving.metrics import COMPLETION_SECONDS, ENCODING_SECONDS, FAILURES, UNMEASURED, Metrics
from serving.storage import Storage, output_name

logger = logging.getLogger(__name__)


def files_of(job: Job, attempt: int, prefix: str) -> dict[str, str]:
    """The storage keys that this attempt publishes under, by variant."""
    name = output_name(prefix, job.created_at, job.id, attempt)
    return {
        "video": name + ENCODERS[job.request.format].suffix,
        "thumbnail": name + ".jpg",
        "spritesheet": name + ".sprites.jpg",
        "recipe": name + ".json",
    }


class Publisher:
    """Publishes finished clips into one storage, to expire `retention_s` seconds later; None keeps them."""

    def __init__(
        self,
        store: JobStore,
        outputs: Storage,
        output_prefix: str,
        retention_s: float | None = None,
        metrics: Metrics = UNMEASURED,
    ) -> None:
        self._store = store
        self._outputs = outputs
        self._prefix = output_prefix
        self._retention_s = retention_s
        self._metrics = metrics

    def publish(self, job: Job, frames: np.ndarray, recipe: dict[str, Any], lease: JobLease) -> bool:
        """Encode `frames` (uint8, (F, H, W, 3)) and complete the job; False where it had ended otherwise."""
        files = files_of(job, job.attempt, self._prefix)
        try:
            return self._publish(job, files, frames, recipe, lease)
        except Cancelled:
            self._fail(job, files, CANCELLED, "The video was cancelled.")
        except StorageUnavailable as error:
            logger.warning("put back: %s", error.message, extra={"code": error.code})
            self._put_back(job, files, error)
        except I2VError as error:
            logger.warning("failed: %s", error.message, extra={"code": error.code})
            self._fail(job, files, error.code, error.message)
        except Exception as error:
            logger.exception("failed", extra={"code": EncodingFailed.code})
            self._fail(job, files, EncodingFailed.code, f"The clip could not be saved: {error}")
        return False

    def _put_back(self, job: Job, files: dict[str, str], error: StorageUnavailable) -> None:
        """Have the job run again; three such ends are its last. Where `complete` took effect after all, nothing."""
        back = self._store.release(job.id, job.attempt, reason_code=error.code, reason=error.message, charge=True)
        if back is not None:
            self._remove(files)

    def _fail(self, job: Job, files: dict[str, str], code: str, message: str) -> None:
        # False also where `complete` took effect and its answer was lost: the files are the job's then.
        if self._store.fail(job.id, job.attempt, code, message):
            if code != CANCELLED:
                self._metrics.add(FAILURES, model=job.model, code=code)
            self._remove(files)

    def _remove(self, files: dict[str, str]) -> None:
        for key in files.values():
            with suppress(I2VError):
                self._outputs.delete(key)

    def _publish(
        self, job: Job, files: dict[str, str], frames: np.ndarray, recipe: dict[str, Any], lease: JobLease
    ) -> bool:
        steps = job.request.all_steps
        lease.report("encoding", steps, steps)
        began = time.perf_counter()

        def write(path: Path) -> None:
            encode(frames, job.request.fps, path, job.request.format, recipe=recipe)

        self._outputs.publish(files["video"], write)
        self._outputs.put_bytes(files["thumbnail"], poster(frames[0]))
        self._outputs.put_bytes(files["spritesheet"], spritesheet(frames))
        timings = {**recipe["timings_s"], "encode": round(time.perf_counter() - began, 3)}
        recipe = {**recipe, "timings_s": timings}
        self._outputs.put_bytes(files["recipe"], json.dumps(recipe, indent=2, ensure_ascii=False).encode())
        if lease.should_stop() and lease.stop_reason == "cancelled":
            raise Cancelled
        waited_s = 0.0 if job.started_at is None else max(0.0, job.started_at - job.created_at)
        result = {"recipe": recipe, "files": files, "timings": {"wait": round(waited_s, 3), **timings}}
        expires_at = None if self._retention_s is None else time.time() + self._retention_s
        fault_points.reach("publishing.stored")
        completed = self._store.complete(job.id, job.attempt, result, expires_at)
        fault_points.reach("publishing.completed")
        if completed:
            self._metrics.observe(ENCODING_SECONDS, timings["encode"], format=job.request.format)
            took_s = max(0.0, time.time() - job.created_at)
            self._metrics.observe(COMPLETION_SECONDS, took_s, model=job.model, priority=job.priority)
            logger.info("completed: %s", files["video"], extra={"timings_s": timings})
        else:
            logger.warning("not published: the job had ended, or another worker has it")
            for key in files.values():
                self._outputs.delete(key)
        return completed
