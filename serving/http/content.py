"""Stored bytes as an HTTP answer: single ranges (RFC 9110, section 14), ETag, HEAD. Knows nothing of jobs."""

from __future__ import annotations

import asyncio
import re

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from serving.errors import RangeNotSatisfiable, VideoExpired
from serving.http.errors import error_response
from serving.storage import Storage
from serving.videos import Content


async def content_response(request: Request, content: Content, storage: Storage) -> Response:
    """The whole file (200), the asked range (206), nothing new (304), or 416.

    Several ranges, and units other than bytes, are answered with the whole file, as the RFC allows.

    Raises:
        VideoExpired: the file was removed just now.
    """
    headers = {
        "accept-ranges": "bytes",
        "etag": content.etag,
        "cache-control": "private, max-age=31536000, immutable",
        "content-disposition": f'inline; filename="{content.key.rpartition("/")[2]}"',
    }
    known = request.headers.get("if-none-match", "")
    if content.etag in known or known.strip() == "*":
        return Response(status_code=304, headers=headers)
    start, end = 0, content.size
    asked = request.headers.get("range")
    fresh = request.headers.get("if-range", content.etag) == content.etag
    span = parse_range(asked, content.size) if asked and fresh else None
    if span is not None:
        start, end = span
        if start >= end:
            refusal = RangeNotSatisfiable(f"range: {ascii(asked)[:100]} given; the content has {content.size} bytes.")
            return error_response(refusal, {"content-range": f"bytes */{content.size}"})
        headers["content-range"] = f"bytes {start}-{end - 1}/{content.size}"
    headers["content-length"] = str(end - start)
    status = 200 if span is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=content.media_type)
    try:
        chunks = await asyncio.to_thread(storage.read, content.key, start, end)
    except FileNotFoundError:
        raise VideoExpired from None
    return StreamingResponse(chunks, status, headers, content.media_type)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """The half-open span of bytes asked for, empty where it lies outside; None where the header is to be ignored."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if first == "":
        return max(0, size - int(last)), size if int(last) else 0
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
