"""POST /v1/videos/{video_id}/remix: the same picture and parameters with another prompt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hands import URL, Api, finishing, listening, picture
from typer.testing import CliRunner

from serving.cli import app
from serving.storage import open_storage


def remix(api: Api, video_id: str, body: Any) -> Any:
    return api.http.post(f"{URL}/{video_id}/remix", json=body)


def test_only_the_prompt_is_another(api: Api) -> None:
    video_id = api.submit(num_frames="9", priority="batch", fit="pad", segments="2", **{"metadata[sku]": "A-1"})["id"]
    source = api.store.get(video_id)
    answer = remix(api, video_id, {"prompt": "pan right"})
    assert answer.status_code == 200, answer.text
    video = answer.json()
    assert (video["prompt"], video["remixed_from_video_id"], video["status"]) == ("pan right", video_id, "queued")
    assert video["id"] != video_id
    job = api.store.get(video["id"])
    assert job.request == source.request.model_copy(update={"prompt": "pan right"})
    assert (job.picture_key, job.source_size) == (source.picture_key, source.source_size)
    assert job.warnings == source.warnings
    assert job.estimates == source.estimates
    assert 500 <= int(answer.headers["openai-poll-after-ms"]) <= 10_000


def test_a_remix_s_deadline_counts_from_the_remix(api: Api) -> None:
    source = api.submit(deadline="90")
    before = time.time()
    job = api.store.get(remix(api, source["id"], {"prompt": "p"}).json()["id"])
    assert job.deadline is not None
    assert before + 90 <= job.deadline <= time.time() + 90


def test_a_failed_or_expired_video_and_a_remix_can_be_remixed(make_api: Callable[..., Api]) -> None:
    api = make_api(retention_days=1e-9)
    failed = api.submit()["id"]
    api.http.post(f"{URL}/{failed}/cancel")
    expired = api.submit()["id"]
    api.finish()
    assert api.http.get(f"{URL}/{expired}/content").status_code == 410
    for video_id in (failed, expired):
        again = remix(api, video_id, {"prompt": "a"}).json()["id"]
        assert remix(api, again, {"prompt": "b"}).json()["remixed_from_video_id"] == again


def test_a_picture_that_is_gone(api: Api) -> None:
    video_id = api.submit()["id"]
    open_storage(api.settings.pictures).delete(api.store.get(video_id).picture_key)
    refused = remix(api, video_id, {"prompt": "p"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (410, "video_expired")
    assert "picture" in refused.json()["error"]["message"]
    assert api.count() == 1


def test_the_picture_s_date_is_renewed(api: Api) -> None:
    """Its first video may be deleted at the same moment, and old pictures that nobody uses are removed."""
    video_id = api.submit()["id"]
    pictures = open_storage(api.settings.pictures)
    key = api.store.get(video_id).picture_key
    (before,) = pictures.entries("pictures")
    remix(api, video_id, {"prompt": "p"})
    assert not pictures.delete_stale(key, before.modified_at + 1e-6)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "invalid_prompt", "prompt"),
        ({"prompt": " "}, "invalid_prompt", "prompt"),
        ({"prompt": "a" * 2001}, "invalid_prompt", "prompt"),
        ({"prompt": 3}, "invalid_request", "prompt"),
        ({"prompt": "p", "seed": 1}, "invalid_request", "seed"),
        ({"prompt": "p", "input_reference": "data:image/png;base64,AAAA"}, "invalid_request", "input_reference"),
        ({"prompt": "p", "colour": "red"}, "invalid_request", "colour"),
        ([], "invalid_request", None),
    ],
)
def test_refused(api: Api, body: Any, code: str, param: str | None) -> None:
    refused = remix(api, api.submit()["id"], body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert refused.json()["error"]["param"] == param
    assert api.count() == 1


def test_a_remix_that_is_sent_again_is_the_same_job(make_api: Callable[..., Api]) -> None:
    api = make_api(max_waiting_jobs=20)
    first, second = (api.submit()["id"] for _ in range(2))
    sent = [(first, "a"), (first, "a"), (first, "b"), (second, "a")]
    retried = {"x-stainless-retry-count": "1"}
    ids = [
        api.http.post(f"{URL}/{video_id}/remix", json={"prompt": prompt}, headers=retried).json()["id"]
        for video_id, prompt in sent
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    key = {"idempotency-key": "k"}
    answers = [api.http.post(f"{URL}/{first}/remix", json={"prompt": prompt}, headers=key) for prompt in "aab"]
    assert [answer.status_code for answer in answers] == [200, 200, 422]


def test_an_unknown_video_and_a_full_queue(api: Api) -> None:
    unknown = remix(api, "video_" + "0" * 32, {"prompt": "p"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "video_not_found")
    video_id = api.submit()["id"]
    for _ in range(4):
        assert remix(api, video_id, {"prompt": "p"}).status_code == 200
    full = remix(api, video_id, {"prompt": "p"})
    assert (full.status_code, full.json()["error"]["code"]) == (503, "server_overloaded")
    assert int(full.headers["retry-after"]) >= 1


def test_angles_and_the_loop_stay_and_may_make_the_new_prompt_too_long(api: Api) -> None:
    source = api.submit(loop="pingpong", **{"angles[]": ["a pan", "a" * 500]})
    video = remix(api, source["id"], {"prompt": "a cup"}).json()
    assert video["parameters"] == source["parameters"]
    assert api.store.get(video["id"]).request.parts[0].prompt == "a cup, a pan"
    refused = remix(api, source["id"], {"prompt": "p" * 1600})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "angles")


@pytest.mark.parametrize(
    "fields",
    [
        {"fit": "pad"},
        {"segments": "2", "loop": "pingpong"},
        {"angles[]": ["pan left, slowly", "zoom in"], "acceleration": "unipc"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_clip_is_reproduced_from_what_the_service_keeps(api: Api, tmp_path: Path, fields: dict[str, Any]) -> None:
    video = api.submit(num_frames="9", seed="5", **fields)
    api.finish()
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(api.http.get(f"{URL}/{video['id']}/content").content)
    (tmp_path / "still.png").write_bytes(picture())
    runner = CliRunner()
    with listening(api) as server, finishing(api):
        answers = [
            runner.invoke(app, ["reproduce", str(clip), "--json", "--server", server, *more])
            for more in ([], ["--picture", str(tmp_path / "still.png")])
        ]
        api.http.delete(f"{URL}/{video['id']}")
        gone = runner.invoke(app, ["reproduce", str(clip), "--json", "--server", server])
    for answer in answers:
        assert answer.exit_code == 0, answer.output
        told = json.loads(answer.stdout)
        assert (told["verdict"], told["differences"], len(told["frames"])) == ("identical", [], 9)
    remixed, submitted = (job.request for job in reversed(api.store.list()[0]))
    assert remixed == submitted
    assert gone.exit_code == 2
    assert json.loads(gone.stdout)["error"]["param"] == "picture"
