"""What is shown: each state of a clip, and that nothing which came from outside is taken for HTML."""

from __future__ import annotations

from typing import Any

import pytest

from serving.client import ApiError
from serving.http.objects import video as as_video
from serving.jobs.job import JobStatus
from serving.jobs.store import JobStore
from serving.ui import html
from serving.ui.words import Words

EN, ZH = Words("en"), Words("zh")
EVIL = "<img src=x onerror=alert(1)>\"'"


@pytest.fixture
def video(sqlite_store: JobStore, new_job: Any) -> dict[str, Any]:
    """As the API has it."""
    job = sqlite_store.insert(new_job(prompt=EVIL, seed=5))
    return as_video(job).model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "english", "chinese"),
    [
        (
            {"queue_position": 3, "eta_s": 42.0},
            "Place 3 in the queue · about 42 s left",
            "排队第 3 位 · 预计还需 42 秒",
        ),
        ({"queue_position": None}, "Waiting", "排队中"),
        (
            {"status": "in_progress", "stage": "denoising", "step": 2, "steps": 6, "eta_s": 9.0},
            "Step 2 of 6 · about 9 s left",
            "第 2 / 6 步 · 预计还需 9 秒",
        ),
        (
            {"status": "in_progress", "stage": "paused", "step": 2, "steps": 6},
            "A shorter video goes first; step 2 of 6",
            "先生成较短的视频；第 2 / 6 步",
        ),
        (
            {"status": "in_progress", "stage": "encoding", "attempt": 2},
            "Writing the video · attempt 2",
            "正在编码视频 · 第 2 次尝试",
        ),
        ({"status": "in_progress", "stage": None}, "In progress", "生成中"),
        ({"status": "completed"}, "Done", "已完成"),
        ({"status": "failed", "error": {"code": "cancelled", "message": ""}}, "Cancelled", "已取消"),
        ({"status": "failed", "error": {"code": "worker_crashed", "message": "x"}}, "Failed", "失败"),
    ],
)
def test_where_a_video_stands(video: dict[str, Any], changes: dict[str, Any], english: str, chinese: str) -> None:
    assert html.status(video | changes, EN) == english
    assert html.status(video | changes, ZH) == chinese


def test_nothing_from_outside_is_html(video: dict[str, Any]) -> None:
    done = video | {"status": "completed", "file": f"/out/{EVIL}.mp4", "id": EVIL}
    failed = video | {"status": "failed", "error": {"code": "encoding_failed", "message": EVIL}}
    caution = {"code": EVIL, "field": "prompt", "message": EVIL, "suggestion": EVIL}
    known = caution | {"code": "no_motion"}
    shown = [
        *(html.take(one, words) for one in (video, done, failed) for words in (EN, ZH)),
        html.gallery([video, done, failed], EN),
        *(html.warnings([one], words) for one in (caution, known) for words in (EN, ZH)),
        *(html.refusal(ApiError(EVIL, code="invalid_parameter", param=EVIL), words) for words in (EN, ZH)),
        *(html.quote({"refusal": {"code": "server_overloaded", "message": EVIL}}, 1, words) for words in (EN, ZH)),
    ]
    for text in shown:
        assert "<img src=x" not in text
        assert 'alert(1)>"' not in text


def test_what_it_would_cost_is_said_in_short() -> None:
    found = {"refusal": None, "size": "512x512", "num_frames": 16, "seconds": "1.33333", "gpu_seconds": 90.4}
    told = html.quote(found | {"finishes_in_s": 95.0, "queue": {"jobs": 0}}, 1, EN)
    assert told.endswith(" 512x512, 16 frames, 1.33 s; about 90 s of a card for each clip; done in about 95 s</p>")


def test_a_finished_clip_has_all_that_makes_it_again(video: dict[str, Any]) -> None:
    done = video | {"status": JobStatus.COMPLETED.value, "file": "/out/a.mp4", "prompt": "pan left"}
    shown = html.take(done, EN)
    assert f'<video src="../clips/{video["id"]}?variant=video"' in shown
    assert "<code>/out/a.mp4</code>" in shown
    assert '<th scope="row">Steps</th><td>50</td>' in shown
    assert f'data-act="use" data-id="{video["id"]}"' in shown
    gif = done | {"parameters": done["parameters"] | {"format": "gif"}}
    assert "<video" not in html.take(gif, EN)
    expired = html.take(done | {"file": None}, EN)
    assert "<video" not in expired
    assert "has expired" in expired


def test_a_clip_offers_its_picture_for_another_prompt(video: dict[str, Any]) -> None:
    done = video | {"status": "completed", "file": None, "prompt": "</textarea>&"}
    failed = video | {"status": "failed", "error": {"code": "cancelled", "message": ""}}
    for one in (done, failed):
        assert f'data-act="remix" data-id="{video["id"]}"' in html.take(one, EN)
    assert ">&lt;/textarea&gt;&amp;</textarea>" in html.take(done, EN)
    assert "remix" not in html.take(video, EN)


def test_what_the_service_says_is_chinese_on_the_chinese_page_with_the_details_beneath(video: dict[str, Any]) -> None:
    caution = {"code": "no_motion", "field": "prompt", "message": "Nothing moves.", "suggestion": "Add it."}
    chinese = html.warnings([caution], ZH)
    assert "<b>没有描述动作</b> · 提示词没有说明什么在动" in chinese
    assert '<small class="detail" lang="en">Nothing moves. Add it.</small>' in chinese
    assert html.warnings([caution], EN).count("Nothing moves. Add it.") == 1
    assert "<small" not in html.warnings([caution], EN)
    error = ApiError("The queue holds 5 jobs.", code="server_overloaded")
    assert "队列已满" in html.refusal(error, ZH)
    assert "The queue holds 5 jobs.</small>" in html.refusal(error, ZH)
    failed = video | {"status": "failed", "error": {"code": "encoding_failed", "message": "FFmpeg failed."}}
    assert "视频编码失败" in html.take(failed, ZH)
    of_tomorrow = ApiError("Something new.", code="of_tomorrow")
    assert "Something new." in html.refusal(of_tomorrow, ZH)


def test_a_refusal_names_the_field_as_the_page_does() -> None:
    error = ApiError("num_frames: 99 given; allowed: 8 to 32.", code="invalid_parameter", param="num_frames")
    assert "<b>Frames</b> · num_frames: 99 given; allowed: 8 to 32." in html.refusal(error, EN)
    assert "<b>帧数</b>" in html.refusal(error, ZH)
    assert "API 密钥" in html.refusal(ApiError("Invalid API key.", code="invalid_api_key"), ZH)
    assert "cannot be reached" in html.refusal(ApiError("[Errno 111]", code="connection_lost"), EN)
