"""What is asked for on its way into the queue: submit, remix, quote. Knows no HTTP and no Ray."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from serving.admission import Admission
from serving.cautions import Caution
from serving.errors import MissingImage, VideoExpired
from serving.jobs.job import Job, NewJob
from serving.jobs.store import JobStore
from serving.jobs.submissions import Repetition
from serving.keyring import Caller
from serving.metrics import SUBMISSIONS, Metrics
from serving.models import Models
from serving.parameters import VideoParameters
from serving.picture_warnings import FIELD
from serving.placing import Placeable
from serving.preprocessing import Prepared
from serving.presets import ModelProfile
from serving.quoting import Quote, Quoter
from serving.repetition import fingerprint_of, once
from serving.request import VideoRequest, choices, resolve, reworded
from serving.scheduling.placement import Placement, Pool, place
from serving.settings import Settings
from serving.storage import Storage
from serving.videos import Videos
from serving.webhooks import check_url

logger = logging.getLogger(__name__)
Prepare = Callable[[bytes, VideoParameters, ModelProfile], Awaitable[Prepared]]
UNSEEN = Caution(
    code="picture_not_seen",
    field=FIELD,
    message="No picture was sent; a submission looks at it, and may refuse it.",
    suggestion="Send it with the quote too.",
)


class Intake:
    """Checks everything, then queues; after an error nothing is queued."""

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        models: Models,
        placeable: Placeable,
        admission: Admission,
        quoter: Quoter,
        videos: Videos,
        pictures: Storage,
        prepare: Prepare,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._settings = settings
        self._models = models
        self._placeable = placeable
        self._admission = admission
        self._quoter = quoter
        self._videos = videos
        self._pictures = pictures
        self._prepare = prepare
        self._metrics = metrics

    async def submit(
        self, parameters: VideoParameters, picture: bytes, caller: Caller, repetition: Repetition | None = None
    ) -> Job:
        """Queue it, unless it was sent before.

        Args:
            repetition: how it says that it may have been sent before; the answer may then be the job of before.

        Raises:
            BadRequest, ModelNotFound, UnsupportedMedia: the request or the picture is at fault.
            IdempotencyKeyReused, SubmissionInFlight: another submission of the caller's is.
            RateLimited, ServerOverloaded, StorageUnavailable: try again later.
        """

        async def accept(submission: str | None) -> Job:
            profile = self._models.profile(parameters.model)
            draft = self._resolved(parameters, profile)
            prepared = await self._prepare(picture, parameters, profile)
            request = _sized(draft, prepared)
            also = {"submission": submission, "webhook_url": parameters.webhook_url}
            return await asyncio.to_thread(self._enqueue, request, prepared, caller, also)

        mark = partial(fingerprint_of, parameters, picture)
        job = await once(self._store.submissions, caller.owner, repetition, mark, accept)
        return await self._videos.retrieve(job, caller) if isinstance(job, str) else job

    async def remix(self, video_id: str, prompt: str, caller: Caller, repetition: Repetition | None = None) -> Job:
        """Queue a video's picture and parameters again, its seed included, with another prompt.

        Raises:
            VideoNotFound: the caller has no such video. VideoExpired: its picture is no longer kept.
            InvalidPrompt, ModelNotFound, DoesNotFit, and what `submit` raises for a repetition or a full queue.
        """

        async def accept(submission: str | None) -> Job:
            source = await self._videos.retrieve(video_id, caller)
            self._models.profile(source.model)
            request = reworded(source.request, prompt)
            also = {"submission": submission, "remixed_from": source.id}
            return await asyncio.to_thread(self._enqueue_again, source, request, caller, also)

        mark = partial(fingerprint_of, VideoParameters(prompt=prompt), b"remix of " + video_id.encode())
        job = await once(self._store.submissions, caller.owner, repetition, mark, accept)
        return await self._videos.retrieve(job, caller) if isinstance(job, str) else job

    def _enqueue_again(self, source: Job, request: VideoRequest, caller: Caller, also: Mapping[str, Any]) -> Job:
        try:
            picture = b"".join(self._pictures.read(source.picture_key))
        except FileNotFoundError:
            message = "The picture of this video is no longer kept; submit it again with POST /v1/videos."
            raise VideoExpired(message, param="video_id") from None
        seen = tuple(caution for caution in source.warnings if caution.field == FIELD)
        prepared = Prepared(picture, request.width, request.height, source.source_size, seen)
        return self._enqueue(request, prepared, caller, also)

    async def quote(self, parameters: VideoParameters, picture: bytes | None, caller: Caller) -> Quote:
        """What `submit` would do with the same request now; nothing is queued or kept.

        Args:
            picture: may be left out where `size` or `aspect_ratio` says how large the clip is.

        Raises:
            BadRequest, ModelNotFound, UnsupportedMedia: as `submit` would; MissingImage where it cannot be left out.
            ServiceUnavailable: the picture or the queue cannot be looked at.
        """
        profile = self._models.profile(parameters.model)
        request = self._resolved(parameters, profile)
        if picture is not None:
            prepared = await self._prepare(picture, parameters, profile)
            request, about = _sized(request, prepared), prepared.warnings
        elif parameters.size is None and parameters.aspect_ratio is None:
            message = "the clip's size follows from the picture; send it, or say size or aspect_ratio"
            raise MissingImage(f"{FIELD}: {message}.", param=FIELD)
        else:
            about = (UNSEEN,)
        return await asyncio.to_thread(self._quote, request, about, caller)

    def _quote(self, request: VideoRequest, about: tuple[Caution, ...], caller: Caller) -> Quote:
        pools = self._placeable.now()
        placement = self._place(request, pools)
        refusal = self._admission.refusal(placement, caller)
        warnings = (*about, *self._models.lint(request))
        return self._quoter.quote(request, placement, pools, warnings, caller.owner, refusal)

    def _place(self, request: VideoRequest, pools: list[Pool]) -> Placement:
        profile = self._models.profiles[request.model]
        return place(request.shape, request.model, profile.cost, pools, choices(request, profile))

    def _enqueue(self, request: VideoRequest, prepared: Prepared, caller: Caller, also: Mapping[str, Any]) -> Job:
        """`also`: further fields of the new job."""
        placement = self._place(request, self._placeable.now())
        self._admission.check(placement)
        new = NewJob(
            request=request,
            picture_key=self._pictures.put_picture(prepared.picture),
            source_size=prepared.source_size,
            warnings=(*prepared.warnings, *self._models.lint(request)),
            estimates=placement.seconds,
            owner=caller.owner,
            deadline=None if request.deadline_s is None else time.time() + request.deadline_s,
            **also,
        )
        job = self._store.insert(new, **self._admission.bounds(caller))
        self._metrics.add(SUBMISSIONS, model=job.model, priority=job.priority)
        logger.info("accepted", extra={"job": job.id, "model": job.model, "estimate_s": job.estimate_s})
        return job

    def _resolved(self, parameters: VideoParameters, profile: ModelProfile) -> VideoRequest:
        if parameters.webhook_url is not None:
            check_url(parameters.webhook_url, self._settings)
        return resolve(parameters, profile, seed=secrets.randbelow(2**32))


def _sized(request: VideoRequest, prepared: Prepared) -> VideoRequest:
    return request.model_copy(update={"width": prepared.width, "height": prepared.height})
