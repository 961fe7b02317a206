"""Accepts what may be sent more than once, once. Knows nothing of HTTP, and not how anything is accepted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from serving.errors import I2VError
from serving.jobs.job import Job
from serving.jobs.submissions import Repetition, SubmissionStore
from serving.parameters import VideoParameters

logger = logging.getLogger(__name__)


async def once(
    notes: SubmissionStore,
    owner: str,
    repetition: Repetition | None,
    fingerprint: Callable[[], str],
    accept: Callable[[str | None], Awaitable[Job]],
) -> Job | str:
    """What `accept` made of the submission's token; or the id of the job that the submission was before.

    Raises:
        IdempotencyKeyReused, SubmissionInFlight: another submission of the owner's is.
        Whatever `accept` raises; the submission can then be sent again.
    """
    if repetition is None:
        return await accept(None)
    noted = await asyncio.to_thread(lambda: notes.begin(owner, repetition, fingerprint()))
    if noted.job_id is not None:
        logger.info("sent again", extra={"job": noted.job_id})
        return noted.job_id
    try:
        return await accept(noted.token)
    except BaseException:
        # Its client's going away included.
        with suppress(I2VError):
            await asyncio.shield(asyncio.to_thread(notes.forget, noted.token))
        raise


def fingerprint_of(parameters: VideoParameters, picture: bytes) -> str:
    """Of what was asked, however it was sent: multipart's boundaries differ from one retry to the next."""
    asked = json.dumps(parameters.model_dump(mode="json", exclude_none=True), sort_keys=True)
    return hashlib.sha256(b"%s\0%s" % (asked.encode(), picture)).hexdigest()
