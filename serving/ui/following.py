"""Several videos followed at once, up to the end of the last. Knows nothing of how they are shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from serving.client import ApiError, Video
from serving.ui.api import Api

AGAIN_S = 1.0
"""Between two attempts at a stream that broke."""
ENDED = ("completed", "failed")
GONE = ("video_not_found", "invalid_api_key")


async def follow(api: Api, video_ids: Sequence[str]) -> AsyncIterator[dict[str, Video]]:
    """The videos by id, first as they are now, then whenever one changes; those that are unknown are left out.

    Raises:
        ApiError: the first look failed, for another reason than that a video is gone.
    """
    videos: dict[str, Video] = {}
    for video_id in video_ids:
        try:
            videos[video_id] = await api.video(video_id)
        except ApiError as error:
            if error.code != "video_not_found":
                raise
    yield dict(videos)
    changed = asyncio.Event()

    async def watch(video_id: str) -> None:
        while not ended(videos[video_id]):
            try:
                async for event in api.events(video_id):
                    if event["object"] != "video.event":  # it was deleted
                        del videos[video_id]
                        return
                    # Only the video itself tells what a finished one is.
                    whole = await api.video(video_id) if ended(event) else event
                    videos[video_id] = videos[video_id] | whole | {"object": "video"}
                    changed.set()
            except ApiError as error:
                if error.code in GONE:
                    videos.pop(video_id)
                    return
            if not ended(videos[video_id]):
                await asyncio.sleep(AGAIN_S)

    tasks = [asyncio.create_task(watch(video_id)) for video_id in videos]
    everything = asyncio.gather(*tasks)
    everything.add_done_callback(lambda _: changed.set())
    try:
        while not everything.done():
            await changed.wait()
            changed.clear()
            yield dict(videos)
        await everything
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def ended(video: Video) -> bool:
    return video["status"] in ENDED
