"""What a request's headers say about having been sent before. Knows nothing of bodies."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

from serving.errors import InvalidRequest
from serving.jobs.submissions import KEY, Repetition

RETRY_COUNT = "x-stainless-retry-count"
"""What the OpenAI clients send with every request: 0, and in their own retries 1 or more."""


def repetition_of(headers: Headers) -> Repetition | None:
    """None where the request can be no repetition, and nothing can repeat it.

    Raises:
        InvalidRequest: the Idempotency-Key is empty, too long, or not printable ASCII.
    """
    key, count = headers.get(KEY), headers.get(RETRY_COUNT)
    if key is not None and not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise InvalidRequest(f"{KEY}: send 1 to 255 printable ASCII characters.", param=KEY)
    if key is None and count is None:
        return None
    return Repetition(key, retried=re.fullmatch(r"[1-9]\d{0,3}", count or "") is not None)
