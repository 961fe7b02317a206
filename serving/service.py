"""The use cases: submit, remix, follow, list, cancel, delete, content, readiness. Knows no HTTP and no Ray."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from serving.cautions import Caution
from serving.encoding import ENCODERS
from serving.errors import (
    I2VError,
    InvalidParameter,
    MissingImage,
    ModelNotFound,
    RateLimited,
    ServerOverloaded,
    StorageUnavailable,
    VideoExpired,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
)
from serving.feed import Feed
from serving.jobs.job import Job, JobStatus, NewJob, accepted_at
from serving.jobs.standing import Standing
from serving.jobs.store import JobStore
from serving.jobs.submissions import Repetition
from serving.keyring import Caller, KeyRing
from serving.metrics import CANCELS, SUBMISSIONS, UNMEASURED, Metrics
from serving.parameters import VideoParameters
from serving.picture_warnings import FIELD
from serving.placing import Placeable
from serving.pools import ServedPool
from serving.preprocessing import Prepared
from serving.presets import ModelProfile
from serving.prompts.lint import lint
from serving.prompts.tokens import tokenizer_of
from serving.publishing import files_of
from serving.quoting import Quote, Quoter
from serving.repetition import fingerprint_of, once
from serving.request import VideoRequest, choices, resolve, reworded
from serving.roster import Roster, roster
from serving.scheduling.placement import Placement, Pool, place
from serving.settings import Settings
from serving.storage import Storage
from serving.timetable import Timetable
from serving.webhooks import check_url

logger = logging.getLogger(__name__)
Prepare = Callable[[bytes, VideoParameters, ModelProfile], Awaitable[Prepared]]
UNSEEN = Caution(
    code="picture_not_seen",
    field=FIELD,
    message="No picture was sent; a submission looks at it, and may refuse it.",
    suggestion="Send it with the quote too.",
)
MEDIA_TYPES = {"thumbnail": "image/jpeg", "spritesheet": "image/jpeg", "recipe": "application/json"}


@dataclass(frozen=True)
class Content:
    """One stored file of a finished video."""

    key: str
    media_type: str
    size: int
    etag: str


class VideoService:
    """The service's use cases; safe to call from many tasks at once."""

    def __init__(
        self,
        *,
        settings: Settings,
        pools: tuple[ServedPool, ...],
        store: JobStore,
        pictures: Storage,
        outputs: Storage,
        prepare: Prepare,
        metrics: Metrics = UNMEASURED,
    ) -> None:
        self._settings = settings
        self._pools = pools
        self._store = store
        self._pictures = pictures
        self.outputs = outputs
        self._prepare = prepare
        self._metrics = metrics
        self.keyring = KeyRing(store.keys, required=settings.require_keys)
        self._placeable = Placeable(store, pools)
        self._quoter = Quoter(store, settings, pools)
        self._timetable = Timetable(store, settings, pools, self._placeable)
        self._feed = Feed(store, metrics)
        self.profiles: Mapping[str, ModelProfile] = {pool.profile.name: pool.profile for pool in pools}

    async def submit(
        self, parameters: VideoParameters, picture: bytes, caller: Caller, repetition: Repetition | None = None
    ) -> Job:
        """Check everything, then queue; after an error nothing is queued.

        Args:
            repetition: how it says that it may have been sent before; the answer may then be the job of before.

        Raises:
            BadRequest, ModelNotFound, UnsupportedMedia: the request or the picture is at fault.
            IdempotencyKeyReused, SubmissionInFlight: another submission of the caller's is.
            RateLimited, ServerOverloaded, StorageUnavailable: try again later.
        """

        async def accept(submission: str | None) -> Job:
            profile = self.profile(parameters.model)
            draft = self._resolved(parameters, profile)
            prepared = await self._prepare(picture, parameters, profile)
            request = _sized(draft, prepared)
            also = {"submission": submission, "webhook_url": parameters.webhook_url}
            return await asyncio.to_thread(self._enqueue, request, prepared, caller, also)

        mark = partial(fingerprint_of, parameters, picture)
        job = await once(self._store.submissions, caller.owner, repetition, mark, accept)
        return await self.retrieve(job, caller) if isinstance(job, str) else job

    async def remix(self, video_id: str, prompt: str, caller: Caller, repetition: Repetition | None = None) -> Job:
        """Queue a video's picture and parameters again, its seed included, with another prompt.

        Raises:
            VideoNotFound: the caller has no such video. VideoExpired: its picture is no longer kept.
            InvalidPrompt, ModelNotFound, DoesNotFit, and what `submit` raises for a repetition or a full queue.
        """

        async def accept(submission: str | None) -> Job:
            source = await self.retrieve(video_id, caller)
            self.profile(source.model)
            request = reworded(source.request, prompt)
            also = {"submission": submission, "remixed_from": source.id}
            return await asyncio.to_thread(self._enqueue_again, source, request, caller, also)

        mark = partial(fingerprint_of, VideoParameters(prompt=prompt), b"remix of " + video_id.encode())
        job = await once(self._store.submissions, caller.owner, repetition, mark, accept)
        return await self.retrieve(job, caller) if isinstance(job, str) else job

    def _enqueue_again(self, source: Job, request: VideoRequest, caller: Caller, also: Mapping[str, Any]) -> Job:
        try:
            png = b"".join(self._pictures.read(source.picture_key))
        except FileNotFoundError:
            message = "The picture of this video is no longer kept; submit it again with POST /v1/videos."
            raise VideoExpired(message, param="video_id") from None
        seen = tuple(caution for caution in source.warnings if caution.field == FIELD)
        prepared = Prepared(png, request.width, request.height, source.source_size, seen)
        return self._enqueue(request, prepared, caller, also)

    async def quote(self, parameters: VideoParameters, picture: bytes | None, caller: Caller) -> Quote:
        """What `submit` would do with the same request now; nothing is queued or kept.

        Args:
            picture: may be left out where `size` or `aspect_ratio` says how large the clip is.

        Raises:
            BadRequest, ModelNotFound, UnsupportedMedia: as `submit` would; MissingImage where it cannot be left out.
            ServiceUnavailable: the picture or the queue cannot be looked at.
        """
        profile = self.profile(parameters.model)
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
        refusal: I2VError | None = None
        try:
            self._check_cards(placement)
            self._check_disk()
            self._store.check_room(caller.owner, **self._bounds(caller))
        except (RateLimited, ServerOverloaded, StorageUnavailable) as error:
            refusal = error
        warnings = (*about, *self.lint(request))
        return self._quoter.quote(request, placement, pools, warnings, caller.owner, refusal)

    def lint(self, request: VideoRequest) -> tuple[Caution, ...]:
        """What there is to say about its words and its guidance."""
        model = next(pool.model for pool in self._pools if pool.profile.name == request.model)
        return lint(request, self.profiles[request.model], tokenizer_of(model, self._settings.revision))

    def _place(self, request: VideoRequest, pools: list[Pool]) -> Placement:
        profile = self.profiles[request.model]
        return place(request.shape, request.model, profile.cost, pools, choices(request, profile))

    def _enqueue(self, request: VideoRequest, prepared: Prepared, caller: Caller, also: Mapping[str, Any]) -> Job:
        """`also`: further fields of the new job."""
        placement = self._place(request, self._placeable.now())
        self._check_cards(placement)
        self._check_disk()
        new = NewJob(
            request=request,
            picture_key=self._pictures.put_picture(prepared.png),
            source_size=prepared.source_size,
            warnings=(*prepared.warnings, *self.lint(request)),
            estimates=placement.seconds,
            owner=caller.owner,
            deadline=None if request.deadline_s is None else time.time() + request.deadline_s,
            **also,
        )
        job = self._store.insert(new, **self._bounds(caller))
        self._metrics.add(SUBMISSIONS, model=job.model, priority=job.priority)
        logger.info("accepted", extra={"job": job.id, "model": job.model, "estimate_s": job.estimate_s})
        return job

    def _bounds(self, caller: Caller) -> dict[str, Any]:
        return {
            "max_waiting": self._settings.max_waiting_jobs,
            "max_waiting_s": self._settings.max_waiting_s,
            "max_owner_s": self._settings.max_owner_s,
            "max_owner_day_s": caller.daily_gpu_s,
        }

    def _check_cards(self, placement: Placement) -> None:
        if self._placeable.given_up(placement):
            raise ServerOverloaded("No card that can hold this is there; try again later.", retry_after_s=60)

    def _check_disk(self) -> None:
        if self._nearly_full():
            raise StorageUnavailable("The disk is nearly full; try again later.", retry_after_s=60)

    def _nearly_full(self) -> bool:
        rooms = (self._pictures.free_bytes(), self.outputs.free_bytes())
        return any(room is not None and room < self._settings.disk_reserve_bytes for room in rooms)

    def profile(self, model: str | None) -> ModelProfile:
        """Of the model of that name, the first one by default; raises ModelNotFound."""
        if model is None:
            return self._pools[0].profile
        if model not in self.profiles:
            served = ", ".join(self.profiles)
            raise ModelNotFound(f"model: {model[:100]!r} is not served here; served: {served}.", param="model")
        return self.profiles[model]

    def model_named(self, name: str) -> str:
        """The model of that name, or of that place on the hub.

        Raises:
            ModelNotFound: there is none.
        """
        found = [pool.profile.name for pool in self._pools if name in (pool.profile.name, pool.model)]
        return found[0] if found else self.profile(name).name

    def _resolved(self, parameters: VideoParameters, profile: ModelProfile) -> VideoRequest:
        if parameters.webhook_url is not None:
            check_url(parameters.webhook_url, self._settings)
        return resolve(parameters, profile, seed=secrets.randbelow(2**32))

    async def retrieve(self, video_id: str, caller: Caller) -> Job:
        """The caller's own video; another's is as unknown as one that never was.

        Raises:
            VideoNotFound.
        """
        _check_id(video_id)
        return _owned(await asyncio.to_thread(self._store.get, video_id), caller)

    async def look_up(self, video_id: str, caller: Caller) -> tuple[Job, int | None]:
        """The same, with its place in line, 1 for the next; None once it has left the queue."""
        _check_id(video_id)
        job, position = await self._store.look_up(video_id)
        return _owned(job, caller), position

    async def queue_position(self, job: Job) -> int | None:
        """Its place in line, 1 for the next; None once it has left the queue."""
        if job.status != JobStatus.QUEUED:
            return None
        return await asyncio.to_thread(self._store.queue_position, job.id)

    async def eta_s(self, job: Job) -> float | None:
        """Seconds until a card is done with it; None where nobody can tell, and after its end."""
        return await self._timetable.ends_in_s(job)

    async def standing(self, video_id: str, caller: Caller) -> Standing:
        """Where the caller's video stands now, as far as it changes while it is made.

        Raises:
            VideoNotFound.
        """
        _check_id(video_id)
        found = (await asyncio.to_thread(self._store.standings, [video_id])).get(video_id)
        if found is None or found.owner != caller.owner:
            raise VideoNotFound
        return found

    def follow(self, standing: Standing) -> AsyncIterator[Standing]:
        """Where the video stands, from `standing` on whenever that changes, up to its end.

        Raises:
            ServerOverloaded: too many follow already; at once. VideoNotFound: it was deleted; later.
        """
        if not standing.status.ended:
            self._feed.check_room()
        return self._feed.follow(standing)

    def check_room_to_follow(self) -> None:
        """Raises ServerOverloaded where as many follow their videos, or wait for them, as may."""
        self._feed.check_room()

    async def until_ended(self, video_id: str, caller: Caller) -> Job:
        """The caller's job once it has ended.

        Raises:
            VideoNotFound: it was deleted before.
        """
        async for _ in self._feed.follow(await self.standing(video_id, caller)):
            pass
        return await self.retrieve(video_id, caller)

    def abandon(self, video_id: str) -> None:
        """Cancel what nobody waits for any more; blocks. A job that has ended, or is gone, is no error."""
        try:
            job = self._store.cancel(video_id)
        except I2VError as error:
            logger.info("not cancelled: %s", error.message, extra={"job": video_id})
        else:
            self._count_cancel(job, JobStatus.QUEUED if job.cancelled else JobStatus.IN_PROGRESS)

    async def list_videos(
        self, caller: Caller, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[Sequence[Job], bool]:
        """One page of the caller's jobs, and whether more follow."""
        if not 1 <= limit <= 100:
            raise InvalidParameter(f"limit: {limit} given; allowed: 1 to 100.", param="limit")
        if after is not None:
            _check_id(after, param="after")
        return await asyncio.to_thread(self._store.list, after, limit, newest_first, caller.owner)

    async def cancel(self, video_id: str, caller: Caller) -> Job:
        await self.retrieve(video_id, caller)
        job = await asyncio.to_thread(self._store.cancel, video_id)
        self._count_cancel(job, JobStatus.QUEUED if job.cancelled else JobStatus.IN_PROGRESS)
        return job

    async def delete(self, video_id: str, caller: Caller) -> Job:
        """Remove the job and its files; a running job is cancelled first."""
        # Files first: while the storage is out of reach the record must stay, or nobody could delete them later.
        found = await self.retrieve(video_id, caller)
        before = set(_files(found).values()) | self._files_of_dead_attempts(found)
        await asyncio.to_thread(self._delete_files, before)
        job = await asyncio.to_thread(self._store.delete, video_id)
        if not job.status.ended:
            self._count_cancel(job, job.status)
        # Those of a job that was completed in between.
        await asyncio.to_thread(self._delete_files, set(_files(job).values()) - before)
        return job

    def _files_of_dead_attempts(self, job: Job) -> set[str]:
        """What they may have left behind; after its record nothing would tell whose it is."""
        attempts = range(1, job.attempt + (job.status is not JobStatus.IN_PROGRESS))
        prefix = self._settings.output_prefix
        return {key for attempt in attempts for key in files_of(job, attempt, prefix).values()}

    def _delete_files(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.outputs.delete(key)

    def _count_cancel(self, job: Job, was: JobStatus) -> None:
        self._metrics.add(CANCELS, status=was)
        logger.info("cancel asked for", extra={"job": job.id, "status": was})

    async def content(self, video_id: str, variant: str, caller: Caller) -> Content:
        """Where the bytes of `variant` (video, thumbnail, spritesheet or recipe) are.

        Raises:
            VideoNotReady, VideoFailed, VideoExpired, VideoNotFound, InvalidParameter.
        """
        job = await self.retrieve(video_id, caller)
        if job.status == JobStatus.FAILED:
            raise VideoFailed(f"The video's job failed: {job.error_message}")
        if job.status != JobStatus.COMPLETED:
            raise VideoNotReady(f"The video is {job.status.value} ({job.progress}%).")
        files = _files(job)
        if files == {} or (job.expires_at is not None and job.expires_at <= time.time()):
            raise VideoExpired
        if variant not in files:
            allowed = ", ".join(files)
            raise InvalidParameter(f"variant: {variant[:100]!r} given; allowed: {allowed}.", param="variant")
        key = files[variant]
        try:
            size = await asyncio.to_thread(self.outputs.size, key)
        except FileNotFoundError:
            raise VideoExpired from None
        media_type = MEDIA_TYPES.get(variant) or ENCODERS[job.request.format].media_type
        return Content(key, media_type, size, etag=f'"{job.id}.{job.attempt}.{variant}"')

    async def roster(self) -> Roster:
        """Every pool as it is now, and all that waits."""
        return await asyncio.to_thread(roster, self._store, self._pools, self._placeable)

    async def not_ready(self) -> list[str]:
        """Why the service cannot take work now, one sentence a reason; empty when it can."""
        return await asyncio.to_thread(self._not_ready)

    def _not_ready(self) -> list[str]:
        self._store.ping()
        workers = self._store.workers()
        reasons = []
        if not any(worker.role == "dispatcher" for worker in workers):
            reasons.append("The dispatcher is not running.")
        live = {worker.pool for worker in workers if worker.role == "generator"}
        self._placeable.look(live)
        # A pool that may sleep is woken by the first job.
        able = [p for p in self._pools if p.settings.name in live or p.settings.min_replicas == 0]
        if not able:
            reasons.append("No card is ready yet.")
        if self._nearly_full():
            reasons.append("The disk is nearly full.")
        return reasons


def _sized(request: VideoRequest, prepared: Prepared) -> VideoRequest:
    return request.model_copy(update={"width": prepared.width, "height": prepared.height})


def _owned(job: Job, caller: Caller) -> Job:
    if job.owner != caller.owner:
        raise VideoNotFound
    return job


def _check_id(video_id: str, param: str | None = None) -> None:
    """Not every database takes what a URL can hold, such as a NUL."""
    if accepted_at(video_id) is None:
        raise VideoNotFound(param=param)


def _files(job: Job) -> dict[str, str]:
    return dict((job.result or {}).get("files", {}))
