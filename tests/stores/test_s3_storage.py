"""S3 as storage: prefixes, multipart uploads, what killed uploads leave, and a server that refuses or is not there."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from serving.errors import ConfigurationInvalid, StorageUnavailable
from serving.storage import S3Storage, s3
from serving.storage.s3 import MULTIPART_BYTES, SCRATCH


@pytest.fixture
def storage(s3_url: str) -> S3Storage:
    return S3Storage(s3_url)


def test_a_prefix_is_a_storage_of_its_own(s3_url: str) -> None:
    outer, inner = S3Storage(s3_url), S3Storage(f"{s3_url}/outputs")
    inner.put_bytes("clip.mp4", b"bytes")
    assert not outer.exists("clip.mp4")
    assert [entry.key for entry in outer.entries("outputs")] == ["outputs/clip.mp4"]


def test_a_large_file_goes_up_in_parts(storage: S3Storage, s3_url: str, s3_server: str) -> None:
    storage.publish("clip.mp4", lambda path: _grow(path, 2 * MULTIPART_BYTES + 1))
    etag = httpx.head(f"{s3_server}/{s3_url.removeprefix('s3://')}/clip.mp4").headers["etag"]
    assert etag.endswith('-3"')


def _grow(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def test_every_page_of_a_listing(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE_ENTRIES", 2)
    for number in range(5):
        storage.put_bytes(f"a/{number}", b"")
    assert sorted(entry.key for entry in storage.entries("a")) == [f"a/{number}" for number in range(5)]


def test_what_killed_uploads_left_on_the_disk_is_swept(storage: S3Storage) -> None:
    scratch = Path(tempfile.gettempdir())
    storage.publish("clip.mp4", Path.touch)
    assert list(scratch.iterdir()) == []
    left = scratch / f"{SCRATCH}x"
    left.mkdir()
    (left / "clip.mp4").touch()
    assert list(storage.sweep(time.time() - 3600)) == [False]
    assert list(storage.sweep(time.time() + 1)) == [True]
    assert not left.exists()


def test_a_bucket_that_is_not_there(s3_environment: None) -> None:
    storage = S3Storage("s3://no-such-bucket")
    with pytest.raises(StorageUnavailable, match="no such bucket"):
        storage.put_bytes("clip.mp4", b"")
    with pytest.raises(StorageUnavailable, match="no such bucket"):
        storage.put_picture(b"png")
    with pytest.raises(StorageUnavailable):
        list(storage.entries("pictures"))


class _Refusing(BaseHTTPRequestHandler):
    status = 403

    def _refuse(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_DELETE = _refuse  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Refusing]]:
    """A server in S3's place that answers everything with one status."""
    server = HTTPServer(("127.0.0.1", 0), _Refusing)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(s3, "RETRIES", {**s3.RETRIES, "max_retries": 1})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield _Refusing
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "said"), [(403, "access denied"), (401, "access denied"), (503, "out of reach")])
def test_a_server_that_refuses(
    refusing: type[_Refusing], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusing, "status", status)
    storage = S3Storage("s3://clips")
    for use in (
        lambda: storage.put_bytes("clip.mp4", b""),
        lambda: storage.size("clip.mp4"),
        lambda: storage.exists("clip.mp4"),
        lambda: storage.open("clip.mp4"),
        lambda: storage.read("clip.mp4", 3),
        lambda: storage.delete("clip.mp4"),
        lambda: storage.delete_stale("clip.mp4", 0),
    ):
        with pytest.raises(StorageUnavailable, match=said) as refusal:
            use()
        assert refusal.value.retry_after_s is not None
        assert "127.0.0.1" not in refusal.value.message
    with pytest.raises(StorageUnavailable):
        list(storage.entries("pictures"))


def test_a_server_that_is_not_there(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "RETRIES", {**s3.RETRIES, "max_retries": 1})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StorageUnavailable, match="out of reach"):
        S3Storage("s3://clips").size("clip.mp4")


def test_plain_http_only_where_the_endpoint_says_so(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def allows_http() -> bool:
        return str((S3Storage("s3://clips")._store.client_options or {}).get("allow_http")).lower() == "true"

    assert allows_http()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.com")
    assert not allows_http()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.com")
    assert allows_http()
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert not allows_http()


@pytest.mark.parametrize("endpoint", ["not a url", "localhost:9000", "ftp://s3.example.com", "http://", "http://a b"])
def test_an_endpoint_that_is_none(s3_environment: None, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ConfigurationInvalid, match="AWS_ENDPOINT_URL"):
        S3Storage("s3://clips")
