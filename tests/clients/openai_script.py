"""The unmodified OpenAI client of Python, from 2.2.0 on, against a service: `openai_script.py URL PICTURE`.

The service's model must allow a clip of one step. Exits with an error at the first broken promise, and prints the
client's version at the end.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

QUICK = {"num_inference_steps": 1}
SLOW = {"num_inference_steps": 50}


def refused(error: type[openai.APIStatusError], call: Callable[[], Any], code: str, param: str | None = None) -> None:
    caught = raised_by(call)
    assert isinstance(caught, error), repr(caught)
    assert (caught.code, caught.param) == (code, param), (caught.code, caught.param)
    assert caught.message
    assert caught.request_id


def raised_by(call: Callable[[], Any]) -> Exception:
    try:
        call()
    except openai.OpenAIError as error:
        return error
    raise AssertionError("not refused")


def main(url: str, picture: Path) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    videos = client.videos

    # A file by its path, polled to the end.
    video = videos.create_and_poll(prompt="pan left", input_reference=picture, seconds="1", extra_body=QUICK)  # type: ignore[arg-type]
    assert (video.status, video.progress, video.error) == ("completed", 100, None), video
    assert (video.object, video.seconds, video.prompt) == ("video", "1", "pan left")
    assert video.completed_at is not None
    assert video.completed_at >= video.created_at
    assert videos.retrieve(video.id).to_dict()["recipe"]["parameters"]["num_inference_steps"] == 1  # type: ignore[index]

    # Its content, whole and streamed, and the stills beside it.
    whole = videos.download_content(video.id).read()
    assert whole[4:8] == b"ftyp"
    with videos.with_streaming_response.download_content(video.id) as answer:
        assert b"".join(answer.iter_bytes()) == whole
        assert answer.headers["content-type"] == "video/mp4"
    assert videos.download_content(video.id, variant="thumbnail").read()[:2] == b"\xff\xd8"
    assert videos.download_content(video.id, variant="spritesheet").read()[:2] == b"\xff\xd8"

    # Bytes without a name; then the same picture with another prompt.
    unnamed = videos.create(prompt="pan right", input_reference=io.BytesIO(picture.read_bytes()), extra_body=SLOW)
    assert unnamed.status in ("queued", "in_progress")
    remixed = videos.remix(unnamed.id, prompt="zoom in")
    assert remixed.remixed_from_video_id == unnamed.id
    assert remixed.prompt == "zoom in"
    assert remixed.size == unnamed.size

    # Without a file version 2.2.0 sends JSON; the picture is a data URL then.
    data_url = "data:image/jpeg;base64," + base64.b64encode(picture.read_bytes()).decode()
    by_url = videos.create(prompt="pan", extra_body={"input_reference": {"image_url": data_url}, **QUICK})

    # A cancelled video ends the wait, and says why there is no content.
    for job in (by_url, remixed, unnamed):
        client.post(f"/videos/{job.id}/cancel", cast_to=object)
    cancelled = videos.poll(remixed.id)
    assert cancelled.status == "failed"
    assert cancelled.error is not None
    assert cancelled.error.code == "cancelled"
    refused(openai.ConflictError, lambda: videos.download_content(remixed.id), "video_failed")

    # Listed newest first, page after page.
    ids = [row.id for row in videos.list(limit=2)]
    assert [remixed.id, unnamed.id] == [row for row in ids if row in (remixed.id, unnamed.id)]
    assert video.id in ids
    assert next(iter(videos.list(order="asc", limit=1))).id == ids[-1]

    # Refusals, each as the client's own exception, naming the field.
    bad = {"num_frames": 99}
    create = videos.create
    refused(
        openai.BadRequestError,
        lambda: create(prompt="p", input_reference=picture, extra_body=bad),
        "invalid_parameter",
        "num_frames",
    )
    refused(openai.BadRequestError, lambda: create(prompt="p"), "missing_image", "input_reference")
    refused(openai.BadRequestError, lambda: create(prompt=" ", input_reference=picture), "invalid_prompt", "prompt")
    refused(openai.NotFoundError, lambda: videos.retrieve("video_unknown"), "video_not_found")
    refused(openai.NotFoundError, lambda: videos.list(after="video_unknown"), "video_not_found", "after")
    refused(openai.NotFoundError, lambda: client.get("/nowhere", cast_to=object), "not_found")
    refused(openai.APIStatusError, lambda: client.post("/models", cast_to=object), "method_not_allowed")

    for row in ids:
        assert videos.delete(row).deleted
    assert asyncio.run(remaining(url)) == []
    print(json.dumps({"version": openai.__version__}))


async def remaining(url: str) -> list[str]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        return [row.id async for row in client.videos.list()]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
