"""A submission's body, multipart or JSON, as `VideoParameters` and the picture's bytes. Knows nothing of jobs."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from serving.errors import (
    AmbiguousImage,
    InvalidDataUrl,
    InvalidParameter,
    InvalidPrompt,
    InvalidRequest,
    MissingImage,
    RequestTimedOut,
    RequestTooLarge,
    UnsupportedContentType,
    UrlNotAllowed,
)
from serving.request import METADATA_ENTRIES, VideoParameters

PICTURE = "input_reference"
LIST = "acceleration"
"""The field that may be a list; in a multipart body clients such as OpenAI's send NAME[] for each of its items."""
MAX_FIELDS = len(VideoParameters.model_fields) + METADATA_ENTRIES + 8


async def read_submission(request: Request, *, max_bytes: int, timeout_s: float) -> tuple[VideoParameters, bytes]:
    """The parameters and the picture of one submission.

    Raises:
        MissingImage: there is no picture.
        Whatever `read_parameters` raises.
    """
    parameters, picture = await read_parameters(request, max_bytes=max_bytes, timeout_s=timeout_s)
    if picture is None:
        raise MissingImage(param=PICTURE)
    return parameters, picture


async def read_parameters(
    request: Request, *, max_bytes: int, timeout_s: float
) -> tuple[VideoParameters, bytes | None]:
    """The parameters, and the picture where there is one.

    Raises:
        InvalidRequest, InvalidPrompt, InvalidParameter, UnsupportedContentType, RequestTooLarge, RequestTimedOut,
        AmbiguousImage, InvalidDataUrl, UrlNotAllowed: naming the field at fault.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    limited = Request(request.scope, _limited(request, max_bytes))
    try:
        async with asyncio.timeout(timeout_s):
            if kind == "multipart/form-data":
                return await _from_multipart(limited, max_bytes)
            if kind == "application/json":
                return _from_json(await limited.body())
    except TimeoutError:
        raise RequestTimedOut(f"The body did not arrive within {timeout_s:g} s.") from None
    except ClientDisconnect:
        raise RequestTimedOut("The client went away before all of the body was here.") from None
    raise UnsupportedContentType(
        f"content-type {kind[:100] or 'is missing'}; send multipart/form-data or application/json."
    )


def _limited(request: Request, max_bytes: int) -> Callable[[], Any]:
    too_large = RequestTooLarge(f"The body is larger than {max_bytes} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise too_large
        return message

    return receive


async def _from_multipart(request: Request, max_bytes: int) -> tuple[VideoParameters, bytes | None]:
    try:
        form = await request.form(max_files=8, max_fields=MAX_FIELDS, max_part_size=max_bytes)
    except HTTPException as error:
        raise InvalidRequest(f"The multipart body cannot be read: {error.detail}") from None
    except UnicodeError:  # some of Python's codecs raise more than a decoder may
        raise InvalidRequest("The multipart body cannot be read by the charset it names; use UTF-8.") from None
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    listed: list[str] = []
    pictures: list[bytes] = []
    for name, value in form.multi_items():
        if name == PICTURE and isinstance(value, UploadFile):
            pictures.append(await value.read())
        elif isinstance(value, UploadFile):
            raise InvalidRequest(f"{name[:100]}: is not a file field; the picture is {PICTURE}.", param=name)
        elif name in (PICTURE, f"{PICTURE}[image_url]"):
            pictures.append(_from_url(value))
        elif name.startswith("metadata[") and name.endswith("]"):
            _add(metadata, name[len("metadata[") : -1], value)
        elif name == f"{LIST}[]":
            listed.append(value)
        else:
            _add(values, name, value)
    if metadata:
        _add(values, "metadata", metadata)
    if listed:
        _add(values, LIST, listed)
    return _parameters(values, strict=False), _only(pictures)


def _from_json(body: bytes) -> tuple[VideoParameters, bytes | None]:
    try:
        values = json.loads(body, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InvalidRequest("The body is not a JSON object.")
    reference = values.pop(PICTURE, None)
    if isinstance(reference, dict):
        unknown = sorted(set(reference) - {"image_url"})
        if unknown:
            raise InvalidRequest(f"{PICTURE}[{unknown[0][:100]}]: unknown field.", param=PICTURE)
        reference = reference.get("image_url")
    if reference is not None and not isinstance(reference, str):
        raise InvalidRequest(f"{PICTURE}: give a data URL, or {{image_url: a data URL}}.", param=PICTURE)
    if isinstance(values.get("seconds"), str):  # a string in the OpenAI contract
        values["seconds"] = _number("seconds", values["seconds"])
    parameters = _parameters(values, strict=True)
    return parameters, _only([] if reference is None else [_from_url(reference)])


def _parameters(values: dict[str, Any], *, strict: bool) -> VideoParameters:
    for name, value in values.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            error = InvalidPrompt if name == "prompt" else InvalidRequest
            raise error(f"{name[:100]}: holds broken Unicode.", param=name) from None
    try:
        return VideoParameters.model_validate(values, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    given = ascii(first["input"])[:100]
    if first["type"] == "extra_forbidden":
        raise InvalidRequest(f"{ascii(field)[1:-1][:100]}: unknown field.", param=field)
    if first["type"] == "missing":
        raise InvalidPrompt(f"{field}: is missing; say what should move, and how.", param=field)
    if first["type"] == "literal_error":
        raise InvalidParameter(f"{field}: {given} given; allowed: {first['ctx']['expected']}.", param=field)
    raise InvalidRequest(f"{field}: {given} given; {first['msg'].lower()}.", param=field)


def _from_url(url: str) -> bytes:
    if not url.startswith("data:"):
        raise UrlNotAllowed(param=PICTURE)
    header, comma, payload = url.partition(",")
    if not comma or not header.endswith(";base64"):
        raise InvalidDataUrl(f"{PICTURE}: a data URL is data:image/png;base64,...", param=PICTURE)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDataUrl(f"{PICTURE}: the data URL's base64 is damaged.", param=PICTURE) from None


def _only(pictures: list[bytes]) -> bytes | None:
    if len(pictures) > 1:
        raise AmbiguousImage(f"{PICTURE}: {len(pictures)} pictures given; one is allowed.", param=PICTURE)
    return pictures[0] if pictures else None


def _add(values: dict[str, Any], name: str, value: Any) -> None:
    if name in values:
        raise InvalidRequest(f"{name[:100]}: given twice.", param=name)
    values[name] = value


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        _add(values, name, value)
    return values


def _no_constant(constant: str) -> None:
    raise InvalidRequest(f"The body holds {constant}, which is not JSON.")


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"{field}: {ascii(text)[:100]} given; give a number.", param=field) from None
