"""The routes of /v1/videos. Knows the service's use cases and the wire's objects, nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from serving.http import events
from serving.http.auth import Asking
from serving.http.content import content_response
from serving.http.objects import DeletedVideo, Video, VideoList, poll_after_ms, video
from serving.http.quotes import VideoQuote, video_quote
from serving.http.repetition import repetition_of
from serving.http.submission import read_parameters, read_prompt, read_submission
from serving.jobs.job import Job
from serving.jobs.standing import Standing
from serving.limits import MAX_PROMPT_CHARACTERS
from serving.parameters import VideoParameters
from serving.remote_picture import FIELD as PICTURE
from serving.remote_picture import Fetch
from serving.service import VideoService
from serving.settings import Settings

POLL_AFTER = "openai-poll-after-ms"
Variant = Literal["video", "thumbnail", "spritesheet", "recipe"]


def videos_router(service: VideoService, settings: Settings, fetch: Fetch | None) -> APIRouter:
    """`fetch` gets pictures by their web addresses; without it those are refused."""
    router = APIRouter(prefix="/v1/videos", tags=["videos"])
    limits: dict[str, Any] = {"max_bytes": settings.max_upload_bytes, "timeout_s": settings.body_timeout_s}

    async def answer(job: Job, queue_position: int | None, response: Response) -> Video:
        eta_s = await service.videos.eta_s(job)
        response.headers[POLL_AFTER] = str(poll_after_ms(job, queue_position, eta_s))
        return video(job, queue_position, eta_s, service.models.profiles.get(job.model), settings.outputs)

    @router.post("", openapi_extra={"requestBody": _submission_schema()}, summary="Submit a video")
    async def submit(request: Request, response: Response, caller: Asking) -> Video:
        repetition = repetition_of(request.headers)
        parameters, picture = await read_submission(request, **limits, fetch=fetch)
        job = await service.intake.submit(parameters, picture, caller, repetition)
        return await answer(job, await service.videos.queue_position(job), response)

    @router.post(
        "/{video_id}/remix",
        openapi_extra={"requestBody": _remix_schema()},
        summary="The same picture and parameters with another prompt",
    )
    async def remix(request: Request, video_id: str, response: Response, caller: Asking) -> Video:
        """The seed stays too. The video may have failed or expired; its picture is kept as long as its record."""
        repetition = repetition_of(request.headers)
        prompt = await read_prompt(request, **limits)
        job = await service.intake.remix(video_id, prompt, caller, repetition)
        return await answer(job, await service.videos.queue_position(job), response)

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
        parameters, picture = await read_parameters(request, **limits, fetch=fetch)
        return video_quote(await service.intake.quote(parameters, picture, caller))

    @router.get("", summary="List videos")
    async def list_videos(
        caller: Asking,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> VideoList:
        jobs, has_more = await service.videos.page(caller, after=after, limit=limit, newest_first=order == "desc")
        data = [video(job, profile=service.models.profiles.get(job.model), outputs=settings.outputs) for job in jobs]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return VideoList(data=data, has_more=has_more, first_id=first, last_id=last)

    @router.get("/{video_id}", summary="Follow a video")
    async def retrieve(video_id: str, response: Response, caller: Asking) -> Video:
        return await answer(*await service.videos.look_up(video_id, caller), response)

    @router.delete("/{video_id}", summary="Delete a video; a running one is cancelled first")
    async def delete(video_id: str, caller: Asking) -> DeletedVideo:
        return DeletedVideo(id=(await service.videos.delete(video_id, caller)).id)

    @router.post("/{video_id}/cancel", summary="Cancel a video")
    async def cancel(video_id: str, response: Response, caller: Asking) -> Video:
        job = await service.videos.cancel(video_id, caller)
        return await answer(job, await service.videos.queue_position(job), response)

    @router.get(
        "/{video_id}/events",
        response_class=Response,
        responses=events.RESPONSES,
        summary="Follow a video as server-sent events",
    )
    async def follow(video_id: str, caller: Asking, last_event_id: Annotated[str | None, Header()] = None) -> Response:
        job = await service.videos.retrieve(video_id, caller)
        standing = await service.videos.standing(video_id, caller)

        async def eta_s(now: Standing) -> float | None:
            return await service.videos.eta_s(now.of(job))

        return events.events_response(standing, service.videos.follow(standing), eta_s, last_event_id)

    @router.get("/{video_id}/content", response_class=Response, summary="Download a finished video")
    @router.head("/{video_id}/content", response_class=Response, include_in_schema=False)
    async def content(request: Request, video_id: str, caller: Asking, variant: Variant = "video") -> Response:
        found = await service.videos.content(video_id, variant, caller)
        return await content_response(request, found, service.videos.outputs)

    return router


def _submission_schema(*, picture_required: bool = True) -> dict[str, Any]:
    schema = VideoParameters.model_json_schema()
    fields = schema["properties"] | {"prompt": _prompt_schema()}
    required = [*schema["required"], *([PICTURE] if picture_required else [])]

    def body(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"schema": schema | {"properties": properties, "required": required} | more}

    file = {"type": "string", "format": "binary", "description": "The still, a file; or a data URL."}
    data_url = {"type": "string", "description": "The still as a data URL: data:image/png;base64,..."}
    # A form has no null, and each of its fields is one value.
    form = {name: _without_null(field) for name, field in fields.items() if name != "metadata"} | {PICTURE: file}
    notes = {"^metadata\\[[^\\]]+\\]$": {"type": "string"}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": body(form, patternProperties=notes),
            "application/json": body(fields | {PICTURE: data_url}),
        },
    }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    return {name: value for name, value in field.items() if name not in ("anyOf", "default")} | (kinds or [{}])[0]


def _prompt_schema() -> dict[str, Any]:
    """As `request.resolve` checks it."""
    described: dict[str, Any] = VideoParameters.model_json_schema()["properties"]["prompt"]
    text = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*"
    pattern = rf"^{text}[!-~\u00a1-\u167f\u3001-\ud7ff]{text}$"  # no control characters, and one that shows
    return described | {"minLength": 1, "maxLength": MAX_PROMPT_CHARACTERS, "pattern": pattern}


def _remix_schema() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"prompt": _prompt_schema()},
        "required": ["prompt"],
        "additionalProperties": False,
    }
    return {"required": True, "content": {"application/json": {"schema": schema}}}
