"""Carries clips from "to do" to files: submits, follows, downloads, and notes every step before it relies on it.

Killed or cancelled anywhere, it leaves a manifest from which the next run goes on. Knows nothing of sheets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.batch.checking import HOPELESS
from serving.batch.manifest import Entry, Manifest, Reason, keep
from serving.batch.wire import Wire
from serving.client import ApiError, Video
from serving.encoding import ENCODERS
from serving.errors import VideoNotFound

SENDERS, FETCHERS = 4, 4
POLL_S = (0.5, 10.0)
CARD_STAGES = ("condition", "denoise", "decode")
OnChange = Callable[[Entry], object]


@dataclass(frozen=True)
class ToDo:
    """A clip to be had: as the manifest knows it, or will."""

    entry: Entry
    source: str | Path
    """The picture's URL, or its file."""


async def carry_out(wire: Wire, manifest: Manifest, clips: Iterable[ToDo], in_flight: int, tell: OnChange) -> None:
    """Returns once every clip is completed or failed, in the manifest.

    Args:
        in_flight: how many jobs of the batch wait or run at the service at once.
        tell: told of every line of the manifest.

    Raises:
        ApiError: the service cannot be reached any more, or refuses everything.
    """
    run = _Run(wire, manifest, in_flight, tell)
    # What has been accepted is there already, whatever the window.
    clips = sorted(clips, key=lambda clip: clip.entry.status != "accepted")
    try:
        async with asyncio.TaskGroup() as following:
            follower = following.create_task(run.follow())
            async with asyncio.TaskGroup() as carrying:
                for clip in clips:
                    carrying.create_task(run.carry(clip))
            follower.cancel()
    except* (ApiError, OSError) as errors:
        raise next(_leaves(errors)) from None


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class _Run:
    def __init__(self, wire: Wire, manifest: Manifest, in_flight: int, tell: OnChange) -> None:
        self._wire = wire
        self._manifest = manifest
        self._tell = tell
        self._window = asyncio.Semaphore(in_flight)
        self._senders = asyncio.Semaphore(SENDERS)
        self._fetchers = asyncio.Semaphore(FETCHERS)
        self._open: dict[str, asyncio.Future[Video]] = {}
        self._news = asyncio.Event()

    async def carry(self, clip: ToDo) -> None:
        entry = clip.entry
        try:
            async with self._window:
                if entry.video_id is None:
                    entry = await self._submit(clip)
                video = await self._end_of(entry)
            await self._take(entry, video)
        except ApiError as error:
            if error.code in HOPELESS:
                raise
            entry = self._manifest.entries.get(entry.clip, entry)
            self._failed(entry, Reason(code=error.code, message=str(error), param=error.param))

    async def _submit(self, clip: ToDo) -> Entry:
        assert clip.entry.key is not None
        async with self._senders:
            entry = self._note(clip.entry, status="sending")
            try:
                picture = await asyncio.to_thread(_read, clip.source)
            except OSError as error:
                raise ApiError(f"picture: {error}.", code="file_error", param="picture") from None
            fields = {"prompt": entry.prompt or "", **entry.fields, "seed": str(entry.seed)}
            video = await self._wire.submit(picture, fields, clip.entry.key)
            return self._note(entry, status="accepted", video_id=video["id"], warnings=tuple(video["warnings"]))

    async def _end_of(self, entry: Entry) -> Video:
        assert entry.video_id is not None
        end = self._open[entry.video_id] = asyncio.get_running_loop().create_future()
        self._news.set()
        try:
            ended: Video = await end
            return ended
        finally:
            self._open.pop(entry.video_id, None)

    async def _take(self, entry: Entry, video: Video) -> None:
        if video["status"] == "failed":
            self._failed(entry, Reason.model_validate(video["error"]))
            return
        file = f"{entry.clip}{ENCODERS[video['parameters']['format']].suffix}"
        poster = f"{entry.clip}.jpg"
        async with self._fetchers:
            for variant, name in (("thumbnail", poster), ("video", file)):
                content = await self._wire.content(video["id"], variant)
                await asyncio.to_thread(keep, self._manifest.folder / name, content)
        seconds = round(sum(video["timings"].get(stage, 0.0) for stage in CARD_STAGES), 3)
        found = {"file": file, "poster": poster, "gpu_seconds": seconds, "recipe": video["recipe"], "error": None}
        self._note(entry, status="completed", **found)

    async def follow(self) -> None:
        """Tell those who wait of their videos' ends, with a few requests for all of them."""
        while True:
            await self._news.wait()
            if not self._open:
                self._news.clear()
                continue
            wait_s = await self._look()
            await asyncio.sleep(min(max(wait_s, POLL_S[0]), POLL_S[1]))

    async def _look(self) -> float:
        """One look at every open video; after how many seconds to look again.

        The oldest says when. The others come in pages, from there on; one that is in none of them is asked for.
        """
        wanted, oldest = set(self._open), next(iter(self._open))
        wait_s = await self._ask(oldest)
        wanted.discard(oldest)
        after, more = oldest, True
        while wanted and more:
            page, more = await self._wire.videos_after(after)
            for video in page:
                wanted.discard(video["id"])
                self._told(video)
            after = page[-1]["id"] if page else after
            more = more and bool(page)
        for video_id in wanted:
            await self._ask(video_id)
        return wait_s

    async def _ask(self, video_id: str) -> float:
        try:
            video, wait_s = await self._wire.retrieve(video_id)
        except ApiError as error:
            end = self._open.get(video_id)
            if error.code == VideoNotFound.code and end is not None and not end.done():
                end.set_exception(ApiError(f"{video_id}: the service does not know it any more.", code=error.code))
                return 0.0
            raise
        self._told(video)
        return wait_s

    def _told(self, video: Video) -> None:
        end = self._open.get(video["id"])
        if end is not None and not end.done() and video["status"] in ("completed", "failed"):
            end.set_result(video)

    def _failed(self, entry: Entry, reason: Reason) -> None:
        self._note(entry, status="failed", error=reason)

    def _note(self, entry: Entry, **changes: object) -> Entry:
        entry = self._manifest.note(entry.model_copy(update=changes))
        self._tell(entry)
        return entry


def _read(source: str | Path) -> bytes | str:
    return source.read_bytes() if isinstance(source, Path) else source
