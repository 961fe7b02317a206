"""A request that waits for its video: whoever goes away cancels it. Knows nothing of wires."""

from __future__ import annotations

import asyncio

from fastapi import Request

from serving.errors import I2VError, RequestTimedOut, ServerFault, VideoFailed
from serving.jobs.job import Job, JobStatus
from serving.keyring import Caller
from serving.parameters import VideoParameters
from serving.service import VideoService


async def finished_video(
    service: VideoService, request: Request, caller: Caller, parameters: VideoParameters, picture: bytes
) -> Job:
    """Submit, and wait for as long as it takes; a client that goes away before the end cancels the job.

    The job is as durable as any other: where this process dies, it goes on, and can be found in the list.

    Raises:
        ServerOverloaded: too many wait already; nothing was queued. RequestTimedOut: the client went away.
        VideoFailed: the job was cancelled. ServerFault: it failed, with its own code.
        Whatever `submit` raises.
    """
    service.videos.check_room_to_follow()
    job = await service.intake.submit(parameters, picture, caller)
    ending = asyncio.ensure_future(service.videos.until_ended(job.id, caller))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((ending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            raise RequestTimedOut("The client went away; its video was cancelled.")
        job = ending.result()
    finally:
        leaving.cancel()
        if not ending.done():
            ending.cancel()
            # Not awaited: this request may be at its end already.
            asyncio.get_running_loop().run_in_executor(None, service.videos.abandon, job.id)
    if job.status is JobStatus.FAILED:
        raise _failure(job)
    return job


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _failure(job: Job) -> I2VError:
    if job.cancelled:
        return VideoFailed(f"{job.id}: the video was cancelled.")
    error = ServerFault(f"{job.id}: {job.error_message}")
    error.code = job.error_code or ServerFault.code
    return error
