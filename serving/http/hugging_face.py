"""POST /models/{name}: the wire of Hugging Face's inference API for image-to-video. Knows nothing of jobs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from serving.errors import InvalidParameter, InvalidRequest, MissingImage, UnsupportedContentType
from serving.http.auth import Asking
from serving.http.content import content_response
from serving.http.references import from_base64, picture_of
from serving.http.submission import content_kind, json_object, read_body, video_parameters
from serving.http.waiting import finished_video
from serving.parameters import VideoParameters
from serving.remote_picture import Fetch
from serving.service import VideoService
from serving.settings import Settings

PROMPT = "the scene comes to life with gentle, natural motion"
"""Where none is given: this wire does not ask for one."""
SENT_BESIDE = {"inputs", "parameters", "options"}


def hugging_face_router(service: VideoService, settings: Settings, fetch: Fetch | None) -> APIRouter:
    """`fetch` gets pictures by their web addresses; without it those are refused."""
    router = APIRouter(tags=["other wires"])

    @router.post(
        "/models/{name:path}",
        response_class=Response,
        openapi_extra={"requestBody": _schema()},
        responses={200: {"description": "The video.", "content": {"video/*": {}, "image/gif": {}}}},
        summary="Hugging Face's image-to-video: answers with the video's bytes",
    )
    async def generate(request: Request, name: str, caller: Asking) -> Response:
        """JSON, or the picture's bytes alone, with parameters in the query. `x-video-id` names the video.

        A client that goes away before the end cancels its video.
        """
        model = service.models.named(name)
        body = await read_body(request, max_bytes=settings.max_upload_bytes, timeout_s=settings.body_timeout_s)
        values: dict[str, Any]
        inputs: str | bytes
        if content_kind(request) == "application/json":
            values, inputs = _from_json(json_object(body))
        else:
            values, inputs = _from_query(request), body
        parameters = _parameters(values, model)
        picture = await _picture(inputs, fetch) if isinstance(inputs, str) else inputs
        if not picture:
            raise MissingImage("inputs: send the picture as base64 in inputs, or its bytes alone.", param="inputs")
        job = await finished_video(service, request, caller, parameters, picture)
        found = await service.videos.content(job.id, "video", caller)
        response = await content_response(request, found, service.videos.outputs)
        response.headers["x-video-id"] = job.id
        return response

    return router


def _from_json(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    unknown = sorted(set(body) - SENT_BESIDE)
    if unknown:
        raise InvalidRequest(f"{ascii(unknown[0])[1:-1][:100]}: unknown field.", param=unknown[0])
    inputs, parameters = body.get("inputs", ""), body.get("parameters") or {}
    if not isinstance(inputs, str):
        raise InvalidRequest("inputs: give the picture as base64.", param="inputs")
    if not isinstance(parameters, dict):
        raise InvalidRequest("parameters: give an object.", param="parameters")
    return {name: value for name, value in parameters.items() if value is not None}, inputs


def _from_query(request: Request) -> dict[str, Any]:
    kind = content_kind(request)
    # The last is what curl calls any bytes that it is not told the kind of.
    if not kind.startswith("image/") and kind not in (
        "",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ):
        raise UnsupportedContentType(f"content-type {kind[:100]}; send application/json, or the picture's bytes alone.")
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in values:
            raise InvalidRequest(f"{name[:100]}: given twice.", param=name)
        values[name] = value
    return values


def _parameters(values: dict[str, Any], model: str) -> VideoParameters:
    values = {"prompt": PROMPT} | values
    if "model" in values:
        raise InvalidRequest("model: the address names it.", param="model")
    if "target_size" in values:
        size = values.pop("target_size")
        if not isinstance(size, dict) or set(size) != {"width", "height"}:
            raise InvalidParameter("target_size: give {width, height} in pixels.", param="target_size")
        values["size"] = f"{size['width']}x{size['height']}"
    return video_parameters(values | {"model": model}, strict=False)


async def _picture(inputs: str, fetch: Fetch | None) -> bytes:
    return await picture_of(inputs, fetch) if ":" in inputs[:8] else from_base64(inputs)


def _schema() -> dict[str, Any]:
    parameters = VideoParameters.model_json_schema()["properties"]
    side = {"type": "integer"}
    parameters["target_size"] = {"type": "object", "properties": {"width": side, "height": side}}
    inputs = {"type": "string", "description": "The picture as base64."}
    schema = {
        "type": "object",
        "properties": {"inputs": inputs, "parameters": {"type": "object", "properties": parameters}},
        "required": ["inputs"],
    }
    content = {"application/json": {"schema": schema}, "image/*": {"schema": {"type": "string", "format": "binary"}}}
    return {"required": True, "content": content}
