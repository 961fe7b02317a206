"""What requests leave in the metrics, and GET /metrics."""

from __future__ import annotations

import asyncio

import pytest
from hands import URL, Api

from serving.errors import ServiceUnavailable
from serving.http.exposition import merged, nothing_exposed
from serving.metrics import CANCELS, COMPLETION_SECONDS, ENCODING_SECONDS, HTTP_SECONDS, REFUSALS, SUBMISSIONS

ITEM = f"{URL}/{{video_id}}"


def test_routes_are_measured_by_template(api: Api) -> None:
    video_id = api.submit()["id"]
    for _ in range(2):
        api.http.get(f"{URL}/{video_id}")
    api.http.get("/v1/../etc/passwd")
    api.http.request("BREW", URL)
    assert len(api.metrics.observations(HTTP_SECONDS, route=URL, method="POST", status="2xx")) == 1
    assert len(api.metrics.observations(HTTP_SECONDS, route=ITEM, method="GET", status="2xx")) == 2
    assert len(api.metrics.observations(HTTP_SECONDS, route="unmatched", method="GET", status="4xx")) == 1
    assert len(api.metrics.observations(HTTP_SECONDS, route=URL, method="other", status="4xx")) == 1


def test_refusals_are_counted_by_code(api: Api) -> None:
    api.http.post(URL, data={"prompt": "p"}, files={"input_reference": b"hello"})
    api.http.get(f"{URL}/video_{'0' * 32}")
    video_id = api.submit()["id"]
    api.finish()
    api.http.get(f"{URL}/{video_id}/content", headers={"range": "bytes=999999999-"})
    assert api.metrics.value(REFUSALS, route=URL, code="unsupported_image_format") == 1
    assert api.metrics.value(REFUSALS, route=ITEM, code="video_not_found") == 1
    assert api.metrics.value(REFUSALS, route=f"{ITEM}/content", code="range_not_satisfiable") == 1


def test_what_nobody_foresaw_is_counted_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.store, "look_up", lambda video_id: 1 / 0)
    assert api.http.get(f"{URL}/video_{'0' * 32}").status_code == 500
    assert api.metrics.value(REFUSALS, route=ITEM, code="server_error") == 1
    assert len(api.metrics.observations(HTTP_SECONDS, route=ITEM, method="GET", status="5xx")) == 1


def test_jobs_are_counted_from_submission_to_clip(api: Api) -> None:
    api.submit(priority="batch")
    job = api.finish()
    assert api.metrics.value(SUBMISSIONS, model="builtin", priority="batch") == 1
    assert api.metrics.observations(COMPLETION_SECONDS, model="builtin", priority="batch")[0] >= 0
    assert job.result is not None
    encoded_s = job.result["timings"]["encode"]
    assert api.metrics.observations(ENCODING_SECONDS, format="mp4") == [encoded_s]


def test_cancels_say_whether_a_card_had_the_job(api: Api) -> None:
    running, waiting, deleted = (api.submit()["id"] for _ in range(3))
    api.claim()
    api.http.post(f"{URL}/{running}/cancel")
    api.http.post(f"{URL}/{waiting}/cancel")
    api.http.delete(f"{URL}/{deleted}")
    api.http.delete(f"{URL}/{waiting}")  # has ended: nothing is cancelled
    assert api.metrics.value(CANCELS, status="in_progress") == 1
    assert api.metrics.value(CANCELS, status="queued") == 2


def test_metrics_are_served_as_text(api: Api) -> None:
    answer = api.http.get("/metrics")
    assert answer.text == "ray_i2v_cards 1.0\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_texts_of_several_nodes_become_one() -> None:
    one = (
        "# HELP ray_i2v_cards Cards.\n# TYPE ray_i2v_cards gauge\n"
        'ray_i2v_cards{node="1"} 1\n'
        "# HELP ray_tasks Tasks.\n# TYPE ray_tasks gauge\nray_tasks 7\n"
        "# HELP ray_i2v_x_seconds X.\n# TYPE ray_i2v_x_seconds histogram\n"
        'ray_i2v_x_seconds_bucket{le="1"} 2\nray_i2v_x_seconds_count 2\n'
    )
    two = '# HELP ray_i2v_cards Cards.\n# TYPE ray_i2v_cards gauge\nray_i2v_cards{node="2"} 3\n'
    assert merged([one, two], "ray_i2v_").splitlines() == [
        "# HELP ray_i2v_cards Cards.",
        "# TYPE ray_i2v_cards gauge",
        'ray_i2v_cards{node="1"} 1',
        'ray_i2v_cards{node="2"} 3',
        "# HELP ray_i2v_x_seconds X.",
        "# TYPE ray_i2v_x_seconds histogram",
        'ray_i2v_x_seconds_bucket{le="1"} 2',
        "ray_i2v_x_seconds_count 2",
    ]


def test_without_a_backend_there_is_no_text() -> None:
    with pytest.raises(ServiceUnavailable):
        asyncio.run(nothing_exposed())
