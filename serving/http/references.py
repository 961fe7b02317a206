"""A picture as text: a data URL, plain base64, or a web address where that is allowed. Knows nothing of submissions."""

from __future__ import annotations

import base64
import binascii

from serving.errors import InvalidDataUrl, UrlNotAllowed
from serving.remote_picture import FIELD, Fetch


def from_data_url(url: str) -> bytes:
    """
    Raises:
        UrlNotAllowed: it is no data URL. InvalidDataUrl: it is a damaged one.
    """
    if url[:5].lower() != "data:":
        raise UrlNotAllowed(f"{FIELD}: give the picture as a file or a data URL.", param=FIELD)
    header, comma, payload = url.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise InvalidDataUrl(f"{FIELD}: a data URL is data:image/png;base64,...", param=FIELD)
    return from_base64(payload)


def from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidDataUrl(f"{FIELD}: the base64 is damaged.", param=FIELD) from None


async def picture_of(reference: str, fetch: Fetch | None) -> bytes:
    """The picture's bytes.

    Args:
        reference: a data URL, or a web address where there is a `fetch`.

    Raises:
        UrlNotAllowed, InvalidDataUrl, ImageFetchFailed, ServerOverloaded: naming the field.
    """
    if reference[:8].lower().startswith(("http://", "https://")):
        if fetch is None:
            message = "this service fetches no pictures; send the file, or a data URL"
            raise UrlNotAllowed(f"{FIELD}: {message}.", param=FIELD)
        return await fetch(reference)
    return from_data_url(reference)
