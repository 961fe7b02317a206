"""The videos there are, as their owners see them: follow, list, cancel, delete, content. Knows no HTTP and no Ray."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from serving.encoding import ENCODERS
from serving.errors import I2VError, InvalidParameter, VideoExpired, VideoFailed, VideoNotFound, VideoNotReady
from serving.feed import Feed
from serving.jobs.job import Job, JobStatus, accepted_at
from serving.jobs.standing import Standing
from serving.jobs.store import JobStore
from serving.keyring import Caller
from serving.metrics import CANCELS, Metrics
from serving.publishing import files_of
from serving.storage import Storage
from serving.timetable import Timetable

logger = logging.getLogger(__name__)
MEDIA_TYPES = {"thumbnail": "image/jpeg", "spritesheet": "image/jpeg", "recipe": "application/json"}


@dataclass(frozen=True)
class Content:
    """One stored file of a finished video."""

    key: str
    media_type: str
    size: int
    etag: str


class Videos:
    """Over one store; what is not the caller's is as unknown as what never was."""

    def __init__(
        self,
        store: JobStore,
        outputs: Storage,
        timetable: Timetable,
        feed: Feed,
        metrics: Metrics,
        *,
        output_prefix: str,
    ) -> None:
        self._store = store
        self.outputs = outputs
        self._timetable = timetable
        self._feed = feed
        self._metrics = metrics
        self._prefix = output_prefix

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
        return await self._store.look_up_position(job.id)

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

    async def page(
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
        return {key for attempt in attempts for key in files_of(job, attempt, self._prefix).values()}

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
