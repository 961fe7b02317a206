"""POST /api/predict: the older Gradio-style call, which answers when the video is there. Knows nothing of jobs."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from serving.errors import InvalidRequest, MissingImage, UnsupportedContentType
from serving.http.auth import Asking
from serving.http.objects import Video, video
from serving.http.references import picture_of
from serving.http.submission import content_kind, json_object, read_body, video_parameters
from serving.http.waiting import finished_video
from serving.parameters import VideoParameters
from serving.remote_picture import FIELD, Fetch
from serving.service import VideoService
from serving.settings import Settings

FIELDS = ("prompt", "resolution", "num_frames", "fps", "num_inference_steps", "guidance_scale")
"""What stands in `data` behind the picture."""
SENT_BESIDE = {"data", "fn_index", "session_hash", "event_data", "trigger_id"}
"""Names in the body; Gradio's own clients send all of them."""


class Prediction(BaseModel):
    """The finished video: its URL, which a plain GET reads, then the whole object."""

    data: tuple[str, Video]
    is_generating: bool = False
    duration: float


def predict_router(service: VideoService, settings: Settings, fetch: Fetch | None) -> APIRouter:
    """`fetch` gets pictures by their web addresses; without it those are refused."""
    router = APIRouter(tags=["other wires"])

    @router.post("/api/predict", openapi_extra={"requestBody": _schema()}, summary="The Gradio-style call: waits")
    async def predict(request: Request, caller: Asking) -> Prediction:
        """`data` holds the picture, the prompt, and as many of the others as you like, in this order.

        A client that goes away before the end cancels its video.
        """
        began = time.monotonic()
        if content_kind(request) != "application/json":
            raise UnsupportedContentType("Send application/json.")
        body = await read_body(request, max_bytes=settings.max_upload_bytes, timeout_s=settings.body_timeout_s)
        parameters, reference = _understood(json_object(body))
        job = await finished_video(service, request, caller, parameters, await picture_of(reference, fetch))
        at = request.url_for("content", video_id=job.id)
        url = str(at) if settings.public_url is None else settings.public_url + at.path
        return Prediction(data=(url, video(job)), duration=round(time.monotonic() - began, 3))

    return router


def _understood(body: dict[str, Any]) -> tuple[VideoParameters, str]:
    """The parameters, and the picture's data URL or web address."""
    unknown = sorted(set(body) - SENT_BESIDE)
    if unknown:
        raise InvalidRequest(f"{ascii(unknown[0])[1:-1][:100]}: unknown field.", param=unknown[0])
    data = body.get("data")
    if not isinstance(data, list) or len(data) > 1 + len(FIELDS):
        allowed = ", ".join(("picture", *FIELDS))
        raise InvalidRequest(f"data: give a list of {allowed}; those at its end may be left out.", param="data")
    picture, *others = data or [None]
    if isinstance(picture, dict):
        picture = picture.get("data")
    if picture is None:
        raise MissingImage(f"{FIELD}: the first of data is the picture, as a data URL or {{name, data}}.", param=FIELD)
    if not isinstance(picture, str):
        raise InvalidRequest(f"{FIELD}: give the picture as a data URL or {{name, data}}.", param=FIELD)
    values = {name: value for name, value in zip(FIELDS, others, strict=False) if value is not None}
    resolution = values.get("resolution")
    if isinstance(resolution, int | float) or str(resolution).isdigit():
        values["resolution"] = f"{resolution:g}p" if isinstance(resolution, float) else f"{resolution}p"
    return video_parameters(values, strict=False), picture


def _schema() -> dict[str, Any]:
    example = [{"name": "still.png", "data": "data:image/png;base64,..."}, "pan left", "512p", 16, 8, 50, 9.0]
    data = {"type": "array", "items": {}, "minItems": 2, "maxItems": 1 + len(FIELDS), "example": example}
    schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}
