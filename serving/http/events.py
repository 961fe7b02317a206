"""A video's way as server-sent events: GET /v1/videos/{video_id}/events. Knows nothing of the store."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from serving.errors import VideoNotFound
from serving.http.objects import DeletedVideo, VideoEvent, video_event
from serving.jobs.standing import Standing

EtaOf = Callable[[Standing], Awaitable[float | None]]
"""In how many seconds a card is done with the video."""
KEEP_ALIVE_S = (15.0, 25.0)
"""Between two comments that keep a silent stream open through proxies. Each stream has its own pause: those which began
together would all speak at once."""
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `video.queued`, `video.in_progress`, `video.completed`, `video.failed`, whose data is "
        "where the video stands, and `video.deleted`; the stream ends behind the last.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": "event: video.completed"}},
    },
    204: {"description": "The last event had been seen already, by `Last-Event-ID`."},
}


def events_response(
    standing: Standing, news: AsyncIterator[Standing], eta_s: EtaOf, last_event_id: str | None
) -> Response:
    """The stream of `news`, whose first is `standing`; it ends behind the video's last event.

    An event's id names the state it tells of. To a client that comes back with the id of the present state, nothing
    is said again; to one that has seen the last event, 204, which tells a browser not to come back.
    """
    if standing.status.ended and last_event_id == _id(standing):
        return Response(status_code=204)
    events = _events(standing.id, news, eta_s, last_event_id)
    pause_s = random.uniform(*KEEP_ALIVE_S)  # noqa: S311 - no secret
    return EventSourceResponse(events, ping=pause_s, ping_message_factory=_keep_alive)


async def _events(
    video_id: str, news: AsyncIterator[Standing], eta_s: EtaOf, last_event_id: str | None
) -> AsyncIterator[ServerSentEvent]:
    seen = last_event_id
    try:
        async for standing in news:
            if _id(standing) != seen:
                yield _event(standing.status, _id(standing), video_event(standing, await eta_s(standing)))
            seen = None
    except VideoNotFound:
        yield _event("deleted", "deleted", DeletedVideo(id=video_id))


def _id(standing: Standing) -> str:
    parts = (standing.attempt, standing.stage or standing.status, standing.step, standing.queue_position)
    return "-".join(str(part) for part in parts if part is not None)


def _event(what: str, event_id: str, data: VideoEvent | DeletedVideo) -> ServerSentEvent:
    return ServerSentEvent(event=f"video.{what}", id=event_id, data=data.model_dump_json())


def _keep_alive() -> ServerSentEvent:
    return ServerSentEvent(comment="keep-alive")
