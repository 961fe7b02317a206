"""The endpoint for programs: what their parameters become, and what becomes of a clip that nobody waits for."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from serving.client import ApiError
from serving.parameters import VideoParameters
from serving.ui import endpoint
from serving.ui.api import Api
from serving.ui.endpoint import form_of, until_ended


def test_every_kind_of_value() -> None:
    given = {
        "num_frames": 9, "guidance_scale": 3.5, "seed": None, "size": "256x256", "angles": ["pan, slowly", "zoom in"],
        "acceleration": ["unipc", "deepcache"], "metadata": {"sku": "A-1"},
    }  # fmt: skip
    form = form_of(given)
    assert all(isinstance(text, str) for text in form.values())
    notes = form.pop("metadata[sku]")
    asked = VideoParameters.model_validate({"prompt": "p", **form, "metadata": {"sku": notes}})
    assert asked == VideoParameters.model_validate({"prompt": "p", **given})
    assert form_of(None) == form_of({}) == {}


@pytest.mark.parametrize("given", [[1], "seed=5", 7, {"metadata": "sku"}], ids=str)
def test_what_is_no_object(given: Any) -> None:
    with pytest.raises(ApiError, match="give an object"):
        form_of(given)


VIDEO = {"id": "a", "object": "video", "status": "queued", "stage": None, "error": None}


def visited(most: int, *, ends: bool) -> tuple[list[str], list[str]]:
    """The states that a client saw who takes `most` of them, and what was asked of the service."""
    asked: list[str] = []
    done = VIDEO | {"status": "completed"}

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path.removeprefix('/v1/videos/')}")
        if asked[-1] != "GET a/events":
            return httpx.Response(200, json=VIDEO if len(asked) == 1 else done)
        if not ends:
            await asyncio.Event().wait()
        return httpx.Response(200, text=f"data: {json.dumps(done | {'object': 'video.event'})}\n\n")

    async def visit() -> list[str]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://i2v") as http:
            seen: list[str] = []
            async with aclosing(until_ended(Api(http, None), VIDEO)) as states:
                async for state in states:
                    seen.append(state["status"])
                    if len(seen) == most:
                        break
            return seen

    return asyncio.run(asyncio.wait_for(visit(), 60)), asked


def test_a_clip_that_nobody_waits_for_any_more_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "LOOK_S", 0.01)
    # Though nothing changes about it, there is always a next time to look whether the client is there.
    seen, asked = visited(5, ends=False)
    assert seen == ["queued"] * 5
    assert asked[-1] == "POST a/cancel"


def test_a_clip_that_is_done_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "LOOK_S", 60.0)
    seen, asked = visited(100, ends=True)
    assert seen[-1] == "completed"
    assert not [one for one in asked if one.startswith("POST")]
