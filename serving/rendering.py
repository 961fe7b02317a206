"""A claimed job on its card: picture out of storage, frames out of the model, failures into the store.

Knows nothing of HTTP, Ray, queues or MP4.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from serving import fault_points
from serving.card_meter import CardMeter
from serving.engine.contract import LoadedModel
from serving.engine.link import Meeting
from serving.errors import Cancelled, GenerationFailed, I2VError, InsufficientGpuMemory, StorageUnavailable
from serving.giving_way import GivingWay
from serving.jobs.job import CANCELLED, Job
from serving.jobs.lease import JobLease
from serving.jobs.store import JobStore
from serving.joining import generate_parts, read_parts
from serving.patience import Patience
from serving.recipe import make_recipe
from serving.request import VideoRequest
from serving.scheduling.accelerations import counted
from serving.scheduling.calibration import Observation
from serving.storage import Storage
from serving.watchdog import Watchdog

logger = logging.getLogger(__name__)
T = TypeVar("T")


STORED = ("PPM", "PNG")
"""Formats of stored pictures: the present one, and that of versions before."""
LEAD_S = 0.1
"""How long before its frames a card is called nearly free, where that can be foreseen: about what passes until the next
job is there. No longer, since that one waits here even if another card is free before; an idle card looks as often."""


@dataclass(frozen=True)
class Prepared:
    """A job as far as it comes without a card."""

    job: Job
    picture: bytes
    readings: tuple[Any, ...]
    """What the model read of each part that begins with the picture."""


@dataclass(frozen=True)
class Rendered:
    """A clip's frames, uint8 (F, H, W, 3), and its recipe so far."""

    frames: np.ndarray
    recipe: dict[str, Any]
    observation: Observation | None = None
    """What it says of the card's speed; None where memory ran short on the way, or its work is not counted."""


class Renderer:
    """Renders a job at a time on one loaded model, or one between two steps of another; may prepare one meanwhile."""

    def __init__(
        self,
        model: LoadedModel,
        patience: Patience,
        store: JobStore,
        pictures: Storage,
        meter: CardMeter,
    ) -> None:
        self._model = model
        self._patience = patience
        self._store = store
        self._pictures = pictures
        self._meter = meter
        self._decode_s = 0.0
        """Of a pixel of a frame, by the last clip; 0 where there was none."""

    def prepare(self, job: Job, lease: JobLease) -> Prepared | None:
        """What of a job needs no card; None where it ended here."""
        return self._ended_or(job, lease, lambda: self._prepare(job))

    def render(
        self,
        prepared: Prepared,
        lease: JobLease,
        nearly_free: Callable[[], object] = lambda: None,
        meeting: Meeting | None = None,
        giving_way: GivingWay | None = None,
    ) -> Rendered | None:
        """The job's frames; None where it ended here (cancelled, failed, or taken over by another worker).

        An error that poisons the card is raised: the process is of no use after it.

        Raises:
            InsufficientGpuMemory: of a job that preempts another, for which there was no room beside that one; it
                waits again.

        Args:
            nearly_free: called, in another thread, `LEAD_S` before the frames are expected, if they are.
            meeting: where a second card waits to help.
            giving_way: to shorter jobs, between two steps.
        """

        def work() -> Rendered:
            with self._meter.at_work():
                return self._render(prepared, lease, nearly_free, meeting, giving_way)

        rendered = self._ended_or(prepared.job, lease, work)
        if rendered is not None and lease.should_stop():
            self._stopped(prepared.job, lease)
            return None
        return rendered

    def _ended_or(self, job: Job, lease: JobLease, work: Callable[[], T]) -> T | None:
        """What `work` gives; None where its failure has ended the job."""
        try:
            return work()
        except Cancelled:
            self._stopped(job, lease)
            return None
        except StorageUnavailable as error:
            logger.warning("put back: %s", error.message, extra={"code": error.code})
            self._store.release(job.id, job.attempt, reason_code=error.code, reason=error.message, charge=True)
            return None
        except I2VError as error:
            if isinstance(error, InsufficientGpuMemory) and job.preempts is not None:
                # The job that was put off for it has some of the memory.
                self._store.release(job.id, job.attempt, reason_code=error.code, reason=error.message, charge=False)
                raise
            logger.warning("failed: %s", error.message, extra={"code": error.code})
            self._meter.failed(job.model, error.code)
            self._store.fail(job.id, job.attempt, error.code, error.message)
            return None
        except Exception as error:
            # Here, as it imports PyTorch, which an emulated card does without.
            from serving.engine import card

            if card.is_poisoned(error):
                raise
            logger.exception("failed", extra={"code": GenerationFailed.code})
            self._meter.failed(job.model, GenerationFailed.code)
            self._store.fail(job.id, job.attempt, GenerationFailed.code, f"The model failed: {error}")
            return None

    def _prepare(self, job: Job) -> Prepared:
        stored = b"".join(self._pictures.read(job.picture_key))
        picture = Image.open(io.BytesIO(stored), formats=STORED).convert("RGB")
        return Prepared(job, stored, read_parts(self._model, picture, job.request))

    def _render(
        self,
        prepared: Prepared,
        lease: JobLease,
        nearly_free: Callable[[], object],
        meeting: Meeting | None,
        giving_way: GivingWay | None,
    ) -> Rendered:
        job = prepared.job
        parts = job.request.parts
        part = parts[0]
        lease.report("conditioning", 0, job.request.all_steps)
        with self._patience.watch(job, part, self._model.card) as watchdog:
            plan = self._model.plan_for(job.request)

            def on_step(step: int, steps: int) -> None:
                each = steps // len(parts)
                watchdog.step((step - 1) % each + 1, each)
                self._meter.step()
                lease.report("denoising" if step < steps else "decoding", step, steps)
                if giving_way is not None:
                    giving_way.step(step, steps)
                if step == steps:
                    self._foresee_end(part, nearly_free)
                fault_points.reach("step")

            def give_way() -> Callable[[], object] | None:
                shorter = None if giving_way is None or lease.should_stop() else giving_way()
                return None if shorter is None else partial(_meanwhile, watchdog, shorter)

            joined = generate_parts(
                self._model,
                prepared.readings,
                job.request,
                on_step=on_step,
                should_stop=lease.should_stop,
                plan=plan,
                meeting=meeting,
                give_way=give_way,
            )
        clip = joined.clip
        self._decode_s = clip.timings["decode"] / (len(parts) * _pixels(part))
        self._meter.clip(clip)
        stages = ", ".join(f"{stage} {spent:.2f} s" for stage, spent in clip.timings.items())
        about = {
            "timings_s": clip.timings,
            "preempted_s": clip.preempted_s,
            "peak_memory_bytes": clip.peak_memory_bytes,
        }
        logger.info("rendered %d frames of %s: %s", len(clip.frames), job.request.size, stages, extra=about)
        recipe = recipe_of(job, self._model, prepared.picture, clip.timings)
        recipe |= {"memory_plan": clip.plan, "shared_steps": clip.shared_steps}
        recipe["preempted_s"] = round(clip.preempted_s, 3)
        if joined.recipe is not None:
            recipe["montage"] = joined.recipe
        # What it took with a second card says little of one.
        tells = clip.plan == plan.name and meeting is None and counted(job.request.acceleration)
        observation = Observation(job.request.shape, clip.timings, plan.sequential, plan.chunked) if tells else None
        return Rendered(clip.frames, recipe, observation)

    def _foresee_end(self, request: VideoRequest, nearly_free: Callable[[], object]) -> None:
        """The steps are done, and decoding takes as long as it took the last clip, for each pixel."""
        if self._decode_s:
            soon = threading.Timer(max(0.0, self._decode_s * _pixels(request) - LEAD_S), nearly_free)
            soon.daemon = True
            soon.start()

    def _stopped(self, job: Job, lease: JobLease) -> None:
        if lease.stop_reason == "lost":
            logger.warning("stopped: the lease was lost; another worker has the job or will")
            return
        logger.info("cancelled")
        self._store.fail(job.id, job.attempt, CANCELLED, "The video was cancelled.")


def _meanwhile(watchdog: Watchdog, shorter: Callable[[], object]) -> None:
    with watchdog.paused():
        shorter()


def _pixels(request: VideoRequest) -> int:
    return request.width * request.height * request.num_frames


def recipe_of(job: Job, model: LoadedModel, picture: bytes, timings_s: dict[str, float]) -> dict[str, Any]:
    return make_recipe(
        job.request,
        picture=picture,
        model=model.source.name,
        revision=model.source.revision,
        card=model.card.name,
        dtype=model.source.dtype,
        kernels=model.source.kernels,
        scheduler=model.source.scheduler,
        timings_s=timings_s,
        video_id=job.id,
        attempt=job.attempt,
    )
