"""The routes of /v1/videos. Knows the service's use cases and the wire's objects, nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from serving.http.auth import Asking
from serving.http.content import content_response
from serving.http.objects import DeletedVideo, Video, VideoList, poll_after_ms, video
from serving.http.quotes import VideoQuote, video_quote
from serving.http.repetition import repetition_of
from serving.http.submission import PICTURE, read_parameters, read_submission
from serving.jobs.job import Job
from serving.request import VideoParameters
from serving.service import VideoService
from serving.settings import Settings

POLL_AFTER = "openai-poll-after-ms"


def videos_router(service: VideoService, settings: Settings) -> APIRouter:
    router = APIRouter(prefix="/v1/videos", tags=["videos"])

    async def answer(job: Job, queue_position: int | None, response: Response) -> Video:
        eta_s = await service.eta_s(job)
        response.headers[POLL_AFTER] = str(poll_after_ms(job, queue_position, eta_s))
        return video(job, queue_position, eta_s, service.profiles.get(job.model))

    @router.post("", openapi_extra={"requestBody": _submission_schema()}, summary="Submit a video")
    async def submit(request: Request, response: Response, caller: Asking) -> Video:
        repetition = repetition_of(request.headers)
        parameters, picture = await read_submission(
            request, max_bytes=settings.max_upload_bytes, timeout_s=settings.body_timeout_s
        )
        job = await service.submit(parameters, picture, caller, repetition)
        return await answer(job, await service.queue_position(job), response)

    @router.post(
        "/quote",
        openapi_extra={"requestBody": _submission_schema(picture_required=False)},
        summary="What a submission would cost, where it would run, and when; queues nothing",
    )
    async def quote(request: Request, caller: Asking) -> VideoQuote:
        """The picture may be left out where `size` or `aspect_ratio` says how large the clip is.

        A request that could never be taken is refused as by a submission; one that the full queue would refuse just
        now is answered, with `admitted` false.
        """
        parameters, picture = await read_parameters(
            request, max_bytes=settings.max_upload_bytes, timeout_s=settings.body_timeout_s
        )
        return video_quote(await service.quote(parameters, picture, caller))

    @router.get("", summary="List videos")
    async def list_videos(
        caller: Asking,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> VideoList:
        jobs, has_more = await service.list_videos(caller, after=after, limit=limit, newest_first=order == "desc")
        data = [video(job, profile=service.profiles.get(job.model)) for job in jobs]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return VideoList(data=data, has_more=has_more, first_id=first, last_id=last)

    @router.get("/{video_id}", summary="Follow a video")
    async def retrieve(video_id: str, response: Response, caller: Asking) -> Video:
        return await answer(*await service.follow(video_id, caller), response)

    @router.delete("/{video_id}", summary="Delete a video; a running one is cancelled first")
    async def delete(video_id: str, caller: Asking) -> DeletedVideo:
        return DeletedVideo(id=(await service.delete(video_id, caller)).id)

    @router.post("/{video_id}/cancel", summary="Cancel a video")
    async def cancel(video_id: str, response: Response, caller: Asking) -> Video:
        job = await service.cancel(video_id, caller)
        return await answer(job, await service.queue_position(job), response)

    @router.get("/{video_id}/content", response_class=Response, summary="Download a finished video")
    @router.head("/{video_id}/content", response_class=Response, include_in_schema=False)
    async def content(request: Request, video_id: str, caller: Asking, variant: str = "video") -> Response:
        found = await service.content(video_id, variant, caller)
        return await content_response(request, found, service.outputs)

    return router


def _submission_schema(*, picture_required: bool = True) -> dict[str, Any]:
    schema = VideoParameters.model_json_schema()
    required = [*schema["required"], *([PICTURE] if picture_required else [])]

    def with_picture(picture: dict[str, str]) -> dict[str, Any]:
        return {"schema": schema | {"properties": schema["properties"] | {PICTURE: picture}, "required": required}}

    file = {"type": "string", "format": "binary", "description": "The still, a file; or a data URL."}
    data_url = {"type": "string", "description": "The still as a data URL: data:image/png;base64,..."}
    content = {"multipart/form-data": with_picture(file), "application/json": with_picture(data_url)}
    return {"required": True, "content": content}
