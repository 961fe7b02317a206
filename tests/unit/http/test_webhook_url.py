"""The field webhook_url: what is refused, and that it goes to the job's row alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hands import URL, Api, picture

from serving.jobs.tables import webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = "https://example.com/hook?token=s3cret"


@pytest.fixture
def hooked(make_api: Callable[..., Api]) -> Api:
    return make_api(webhook_secret=SECRET)


@pytest.mark.parametrize("path", [URL, f"{URL}/quote"])
@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://169.254.169.254/", "ftp://example.com/", "hook", ""])
def test_a_url_inside_or_none_at_all_is_refused(hooked: Api, url: str, path: str) -> None:
    data = {"prompt": "pan left", "webhook_url": url}
    refused = hooked.http.post(path, data=data, files={"input_reference": picture()})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "invalid_parameter", "webhook_url")
    assert hooked.count() == 0


def test_without_a_secret_no_webhook_is_promised(api: Api) -> None:
    data = {"prompt": "pan left", "webhook_url": HOOK}
    refused = api.http.post(URL, data=data, files={"input_reference": picture()})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "webhook_url")


def test_it_is_told_to_the_receiver_alone(hooked: Api) -> None:
    video_id = hooked.submit(webhook_url=HOOK)["id"]
    job = hooked.finish()
    assert job.id == video_id
    answers = [hooked.http.get(path).text for path in (URL, f"{URL}/{video_id}")]
    answers.append(hooked.http.get(f"{URL}/{video_id}/content?variant=recipe").text)
    assert not any("s3cret" in answer for answer in answers)
    (row,) = hooked.store._database.read(lambda c: c.execute(webhooks.select()).all())
    assert (row.url, row.job_id) == (HOOK, video_id)
