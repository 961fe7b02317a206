"""A submission's body, multipart or JSON, as `VideoParameters` and the picture's bytes. Knows nothing of jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from serving.errors import (
    AmbiguousImage,
    InvalidParameter,
    InvalidPrompt,
    InvalidRequest,
    MissingImage,
    RequestTimedOut,
    RequestTooLarge,
    UnsupportedContentType,
)
from serving.http.references import picture_of
from serving.parameters import METADATA_ENTRIES, VideoParameters
from serving.remote_picture import FIELD as PICTURE
from serving.remote_picture import Fetch

LISTS = {"acceleration[]": "acceleration", "angles[]": "angles"}
"""Fields that may be lists: in a multipart body clients such as OpenAI's send NAME[] for each of their items."""
MAX_FIELDS = len(VideoParameters.model_fields) + METADATA_ENTRIES + 16


async def read_submission(
    request: Request, *, max_bytes: int, timeout_s: float, fetch: Fetch | None = None
) -> tuple[VideoParameters, bytes]:
    """The parameters and the picture of one submission.

    Raises:
        MissingImage: there is no picture.
        Whatever `read_parameters` raises.
    """
    parameters, picture = await read_parameters(request, max_bytes=max_bytes, timeout_s=timeout_s, fetch=fetch)
    if picture is None:
        raise MissingImage(param=PICTURE)
    return parameters, picture


async def read_prompt(request: Request, *, max_bytes: int, timeout_s: float) -> str:
    """The new prompt of a remix.

    Raises:
        InvalidRequest: there is more than the prompt. And whatever `read_parameters` raises.
    """
    parameters, picture = await _read(request, max_bytes, timeout_s)
    more = sorted(parameters.model_fields_set - {"prompt"}) + [PICTURE] * (picture is not None)
    if more:
        raise InvalidRequest(f"{more[0]}: a remix takes another prompt, and the rest as it was.", param=more[0])
    return parameters.prompt


async def read_parameters(
    request: Request, *, max_bytes: int, timeout_s: float, fetch: Fetch | None = None
) -> tuple[VideoParameters, bytes | None]:
    """The parameters, and the picture where there is one.

    Args:
        fetch: gets pictures by their web addresses; without it those are refused.

    Raises:
        InvalidRequest, InvalidPrompt, InvalidParameter, UnsupportedContentType, RequestTooLarge, RequestTimedOut,
        AmbiguousImage, InvalidDataUrl, UrlNotAllowed, ImageFetchFailed: naming the field at fault.
    """
    parameters, picture = await _read(request, max_bytes, timeout_s)
    return parameters, await picture_of(picture, fetch) if isinstance(picture, str) else picture


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """
    Raises:
        RequestTooLarge, RequestTimedOut.
    """
    async with _arriving(request, max_bytes, timeout_s) as limited:
        return await limited.body()


async def _read(request: Request, max_bytes: int, timeout_s: float) -> tuple[VideoParameters, bytes | str | None]:
    """The picture's bytes, or what refers to it."""
    kind = content_kind(request)
    async with _arriving(request, max_bytes, timeout_s) as limited:
        if kind == "multipart/form-data":
            return await _from_multipart(limited, max_bytes)
        if kind == "application/json":
            return _from_json(await limited.body())
    raise UnsupportedContentType(
        f"content-type {kind[:100] or 'is missing'}; send multipart/form-data or application/json."
    )


def content_kind(request: Request) -> str:
    """The content type without its parameters; empty where there is none."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


@asynccontextmanager
async def _arriving(request: Request, max_bytes: int, timeout_s: float) -> AsyncIterator[Request]:
    """`request` with a bound on its body, within which it has to be read."""
    try:
        async with asyncio.timeout(timeout_s):
            yield Request(request.scope, _limited(request, max_bytes))
    except TimeoutError:
        raise RequestTimedOut(f"The body did not arrive within {timeout_s:g} s.") from None
    except ClientDisconnect:
        raise RequestTimedOut("The client went away before all of the body was here.") from None


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


async def _from_multipart(request: Request, max_bytes: int) -> tuple[VideoParameters, bytes | str | None]:
    try:
        form = await request.form(max_files=8, max_fields=MAX_FIELDS, max_part_size=max_bytes)
    except HTTPException as error:
        raise InvalidRequest(f"The multipart body cannot be read: {error.detail}") from None
    except UnicodeError:  # some of Python's codecs raise more than a decoder may
        raise InvalidRequest("The multipart body cannot be read by the charset it names; use UTF-8.") from None
    values: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    listed: dict[str, list[str]] = {}
    pictures: list[bytes | str] = []
    for name, value in form.multi_items():
        if name == PICTURE and isinstance(value, UploadFile):
            pictures.append(await value.read())
        elif isinstance(value, UploadFile):
            raise InvalidRequest(f"{name[:100]}: is not a file field; the picture is {PICTURE}.", param=name)
        elif name in (PICTURE, f"{PICTURE}[image_url]"):
            pictures.append(value)
        elif name.startswith("metadata[") and name.endswith("]"):
            _add(metadata, name[len("metadata[") : -1], value)
        elif name in LISTS:
            listed.setdefault(LISTS[name], []).append(value)
        else:
            _add(values, name, value)
    if metadata:
        _add(values, "metadata", metadata)
    for name, items in listed.items():
        _add(values, name, items)
    return video_parameters(values, strict=False), _only(pictures)


def json_object(body: bytes) -> dict[str, Any]:
    """
    Raises:
        InvalidRequest: it is no JSON object, or a name is in it twice.
    """
    try:
        values = json.loads(body, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InvalidRequest("The body is not a JSON object.")
    return values


def _from_json(body: bytes) -> tuple[VideoParameters, bytes | str | None]:
    values = json_object(body)
    reference = values.pop(PICTURE, None)
    if isinstance(reference, dict):
        unknown = sorted(set(reference) - {"image_url"})
        if unknown:
            raise InvalidRequest(f"{PICTURE}[{unknown[0][:100]}]: unknown field.", param=PICTURE)
        reference = reference.get("image_url")
    if reference is not None and not isinstance(reference, str):
        raise InvalidRequest(f"{PICTURE}: give a data URL, or {{image_url: a URL}}.", param=PICTURE)
    if isinstance(values.get("seconds"), str):  # a string in the OpenAI contract
        values["seconds"] = _number("seconds", values["seconds"])
    return video_parameters(values, strict=True), reference


def video_parameters(values: dict[str, Any], *, strict: bool) -> VideoParameters:
    """
    Args:
        strict: whether a number must not come as text, nor a whole one as 8.0.

    Raises:
        InvalidRequest, InvalidPrompt, InvalidParameter: naming the first field at fault.
    """
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


def _only(pictures: list[bytes | str]) -> bytes | str | None:
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
