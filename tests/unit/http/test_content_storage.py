"""Downloads from S3, expired content, and a storage that is nearly full or out of reach."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hands import URL, Api, picture

from serving.storage import DirectoryStorage, S3Storage, open_storage, s3


def test_a_video_on_s3_from_submission_to_deletion(s3_api: Api) -> None:
    video_id = s3_api.submit()["id"]
    pictures = open_storage(s3_api.settings.pictures)
    assert isinstance(pictures, S3Storage)
    assert pictures.exists(s3_api.store.get(video_id).picture_key)
    job = s3_api.finish()
    assert job.result is not None
    files = job.result["files"]
    assert all(pictures.exists(f"outputs/{key}") for key in files.values())
    for variant, key in files.items():
        got = s3_api.http.get(f"{URL}/{video_id}/content?variant={variant}")
        assert got.status_code == 200
        assert got.content == b"".join(s3_api.outputs.read(key))
    assert s3_api.http.delete(f"{URL}/{video_id}").status_code == 200
    assert not any(s3_api.outputs.exists(key) for key in files.values())


def test_ranges_from_s3(s3_api: Api) -> None:
    url = f"{URL}/{s3_api.submit()['id']}/content"
    s3_api.finish()
    whole = s3_api.http.get(url).content
    size = len(whole)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=-5", size - 5, size),
        (f"bytes={size - 3}-", size - 3, size),
        (f"bytes=0-{size + 99}", 0, size),
    ):
        part = s3_api.http.get(url, headers={"range": asked})
        assert (part.status_code, part.content) == (206, whole[start:end]), asked
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    beyond = s3_api.http.get(url, headers={"range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    head = s3_api.http.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


def test_s3_out_of_reach(make_api: Callable[..., Api], s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = make_api(storage_url=s3_url)
    video_id = api.submit()["id"]
    api.finish()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(s3, "RETRIES", {"max_retries": 0})
    api = make_api(storage_url=s3_url)
    deleted = api.http.delete(f"{URL}/{video_id}")
    for refused in (api.http.get(f"{URL}/{video_id}/content"), _submit(api), deleted):
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "storage_unavailable"
        assert int(refused.headers["retry-after"]) > 0
    assert api.http.get(f"{URL}/{video_id}").status_code == 200
    assert api.count() == 1


def test_an_expired_video_is_gone_before_its_files_are(make_api: Callable[..., Api]) -> None:
    api = make_api(retention_days=1e-5)
    video_id = api.submit()["id"]
    before = time.time()
    job = api.finish()
    assert job.result is not None
    assert before + 0.864 <= job.expires_at <= time.time() + 0.864
    assert api.http.get(f"{URL}/{video_id}").json()["expires_at"] == int(job.expires_at)
    time.sleep(max(0.0, job.expires_at - time.time()))
    for variant in ("video", "thumbnail", "spritesheet", "recipe"):
        gone = api.http.get(f"{URL}/{video_id}/content?variant={variant}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (410, "video_expired")
    assert api.outputs.exists(job.result["files"]["video"])
    known = api.http.get(f"{URL}/{video_id}").json()
    assert (known["status"], known["file"]) == ("completed", None)


def test_without_retention_nothing_expires(api: Api) -> None:
    video_id = api.submit()["id"]
    api.finish()
    assert api.http.get(f"{URL}/{video_id}").json()["expires_at"] is None


def test_a_file_removed_between_look_and_download(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    video_id = api.submit()["id"]
    api.finish()
    read = DirectoryStorage.read

    def removed_just_now(self: DirectoryStorage, key: str, *span: int) -> object:
        self.delete(key)
        return read(self, key, *span)

    monkeypatch.setattr(DirectoryStorage, "read", removed_just_now)
    gone = api.http.get(f"{URL}/{video_id}/content")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "video_expired")


def test_below_the_reserve_nothing_is_taken_and_running_jobs_finish(make_api: Callable[..., Api]) -> None:
    running = make_api().submit()["id"]
    api = make_api(disk_reserve_bytes=2**62)
    refused = _submit(api)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    waiting = api.http.get("/readyz")
    assert waiting.status_code == 503
    assert "disk is nearly full" in waiting.json()["error"]["message"]
    assert api.count() == 1
    assert api.finish().id == running
    assert api.http.get(f"{URL}/{running}/content").status_code == 200


def test_a_bucket_has_no_reserve(make_api: Callable[..., Api], s3_url: str) -> None:
    api = make_api(storage_url=s3_url, disk_reserve_bytes=2**62)
    assert api.http.get("/readyz").status_code == 200
    api.submit()


def _submit(api: Api):  # type: ignore[no-untyped-def]
    return api.http.post(URL, data={"prompt": "pan left"}, files={"input_reference": picture()})
