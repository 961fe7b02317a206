"""Following, listing, downloading, cancelling and deleting over HTTP."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hands import URL, Api
from PIL import Image

from serving.clip import probe
from serving.http.content import parse_range
from serving.publishing import files_of


def test_the_video_object_has_every_field_of_the_contract(api: Api) -> None:
    video = api.submit()
    contract = {"id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "size"}
    contract |= {"seconds", "prompt", "remixed_from_video_id", "error", "queue_position", "eta_s", "stage", "recipe"}
    assert contract | {"warnings"} <= set(video)
    again = api.http.get(f"{URL}/{video['id']}").json()
    assert again.pop("eta_s") <= video.pop("eta_s")
    assert again == video


def test_a_finished_video(api: Api, tmp_path: Path) -> None:
    video_id = api.submit(num_frames="9", fps="5")["id"]
    api.finish()
    video = api.http.get(f"{URL}/{video_id}").json()
    assert (video["status"], video["progress"], video["error"]) == ("completed", 100, None)
    assert video["recipe"]["parameters"]["fps"] == 5
    assert "encode" in video["timings"]
    assert Path(video["file"]).parent == api.settings.output_dir
    assert api.http.get(URL).json()["data"][0]["file"] == video["file"]
    content = api.http.get(f"{URL}/{video_id}/content", headers={"accept": "application/binary"})
    assert content.headers["content-type"] == "video/mp4"
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(content.content)
    assert Path(video["file"]).read_bytes() == content.content
    assert (probe(clip).frames, probe(clip).fps) == (9, 5)
    for variant, size in (("thumbnail", (296, 224)), ("spritesheet", (8 * 160, 2 * 121))):
        still = api.http.get(f"{URL}/{video_id}/content?variant={variant}")
        assert still.headers["content-type"] == "image/jpeg"
        with Image.open(io.BytesIO(still.content), formats=("JPEG",)) as image:
            assert image.size == size


@pytest.mark.parametrize(
    ("format", "media_type", "codec"),
    [("mp4", "video/mp4", "h264"), ("webm", "video/webm", "vp9"), ("gif", "image/gif", "gif")],
)
def test_a_video_in_the_format_that_was_asked_for(
    api: Api, tmp_path: Path, format: str, media_type: str, codec: str
) -> None:
    video_id = api.submit(format=format)["id"]
    api.finish()
    url = f"{URL}/{video_id}/content"
    content = api.http.get(url)
    assert content.headers["content-type"] == media_type
    assert content.headers["content-disposition"].endswith(f'_{video_id}.{format}"')
    clip = tmp_path / f"clip.{format}"
    clip.write_bytes(content.content)
    assert (probe(clip).frames, probe(clip).codec) == (8, codec)
    head = api.http.head(url)
    assert {name: head.headers[name] for name in ("content-type", "content-length", "etag")} == {
        name: content.headers[name] for name in ("content-type", "content-length", "etag")
    }
    part = api.http.get(url, headers={"range": "bytes=0-2", "if-range": content.headers["etag"]})
    assert (part.status_code, part.content) == (206, content.content[:3])


def test_the_etag_differs_between_variants(api: Api) -> None:
    url = f"{URL}/{api.submit()['id']}/content?variant="
    api.finish()
    variants = ("video", "thumbnail", "spritesheet", "recipe")
    assert len({api.http.head(url + variant).headers["etag"] for variant in variants}) == len(variants)


def test_ranges(api: Api) -> None:
    url = f"{URL}/{api.submit()['id']}/content"
    api.finish()
    whole = api.http.get(url).content
    part = api.http.get(url, headers={"range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert part.content == whole[10:20]
    assert api.http.get(url, headers={"range": "bytes=-5"}).content == whole[-5:]
    assert api.http.get(url, headers={"range": f"bytes={len(whole) - 3}-"}).content == whole[-3:]
    beyond = api.http.get(url, headers={"range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    assert beyond.json()["error"]["code"] == "range_not_satisfiable"
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    assert api.http.get(url, headers={"range": "lines=1-2"}).content == whole
    stale = api.http.get(url, headers={"range": "bytes=0-1", "if-range": '"other"'})
    assert stale.status_code == 200


def test_head_and_etag(api: Api) -> None:
    url = f"{URL}/{api.submit()['id']}/content"
    api.finish()
    whole = api.http.get(url)
    head = api.http.head(url)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.content))
    same = api.http.get(url, headers={"if-none-match": whole.headers["etag"]})
    assert same.status_code == 304


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=0-99", (0, 10)),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
    ],
)
def test_range_headers(header: str, span: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_ranges_outside_are_empty(header: str) -> None:
    span = parse_range(header, 10)
    assert span is not None
    assert span[0] >= span[1]


def test_content_that_is_not_there(api: Api) -> None:
    video_id = api.submit()["id"]
    early = api.http.get(f"{URL}/{video_id}/content")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "video_not_ready")
    api.http.post(f"{URL}/{video_id}/cancel")
    failed = api.http.get(f"{URL}/{video_id}/content")
    assert (failed.status_code, failed.json()["error"]["code"]) == (409, "video_failed")


def test_a_file_removed_from_the_disk_is_expired(api: Api) -> None:
    video_id = api.submit()["id"]
    job = api.finish()
    assert job.result is not None
    api.outputs.delete(job.result["files"]["video"])
    gone = api.http.get(f"{URL}/{video_id}/content")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "video_expired")


def test_an_unknown_variant_names_those_there_are(api: Api) -> None:
    video_id = api.submit()["id"]
    api.finish()
    wrong = api.http.get(f"{URL}/{video_id}/content?variant=hologram").json()["error"]
    assert (wrong["code"], wrong["param"]) == ("invalid_parameter", "variant")
    assert "thumbnail" in wrong["message"]


def test_list_pages(api: Api) -> None:
    ids = [api.submit()["id"] for _ in range(5)]
    first = api.http.get(f"{URL}?limit=2").json()
    assert [video["id"] for video in first["data"]] == ids[:-3:-1]
    assert (first["object"], first["has_more"], first["first_id"], first["last_id"]) == ("list", True, ids[4], ids[3])
    rest = api.http.get(f"{URL}?limit=5&after={first['last_id']}").json()
    assert [video["id"] for video in rest["data"]] == ids[2::-1]
    assert rest["has_more"] is False
    ascending = api.http.get(f"{URL}?order=asc").json()
    assert [video["id"] for video in ascending["data"]] == ids


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up"])
def test_bad_list_queries(api: Api, query: str) -> None:
    response = api.http.get(f"{URL}?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == query.split("=")[0]


def test_cancel_a_waiting_video(api: Api) -> None:
    video_id = api.submit()["id"]
    video = api.http.post(f"{URL}/{video_id}/cancel").json()
    assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")
    again = api.http.post(f"{URL}/{video_id}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "not_cancellable")


def test_delete(api: Api) -> None:
    video_id = api.submit()["id"]
    job = api.finish()
    assert job.result is not None
    answer = api.http.delete(f"{URL}/{video_id}")
    assert answer.json() == {"id": video_id, "object": "video.deleted", "deleted": True}
    assert not any(api.outputs.exists(key) for key in job.result["files"].values())
    again = api.http.delete(f"{URL}/{video_id}")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "video_not_found")


def test_delete_takes_what_dead_attempts_left_behind(api: Api) -> None:
    video_id = api.submit()["id"]
    dead = api.claim()
    keys = list(files_of(dead, dead.attempt, "video_").values())
    for key in keys:
        api.outputs.put_bytes(key, b"bytes")
    api.store.release(video_id, dead.attempt, reason_code="worker_crashed", reason="died", charge=True)
    api.finish()
    api.http.delete(f"{URL}/{video_id}")
    assert not any(api.outputs.exists(key) for key in keys)


@pytest.mark.parametrize("path", [f"{URL}/", "/nope", "/healthz/"])
def test_an_unknown_address_is_refused_and_not_redirected(api: Api, path: str) -> None:
    response = api.http.get(path, follow_redirects=False)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("after", ["nonsense", "", "video_%00"])
def test_a_cursor_that_is_no_id(api: Api, after: str) -> None:
    response = api.http.get(f"{URL}?after={after}")
    assert (response.status_code, response.json()["error"]["param"]) == (404, "after")


@pytest.mark.parametrize("video_id", ["video_" + "0" * 32, "nonsense", "..%2f..%2fetc", "video_%00"])
def test_unknown_ids(api: Api, video_id: str) -> None:
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/content")]:
        response = api.http.request(method, f"{URL}/{video_id}{path}")
        assert response.status_code == 404, (method, path)
        assert set(response.json()["error"]) == {"message", "type", "code", "param"}


def test_routing_errors_have_the_same_shape(api: Api) -> None:
    assert api.http.get("/nowhere").json()["error"]["code"] == "not_found"
    wrong = api.http.put(URL)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, POST"
    assert api.http.put(f"{URL}/x").headers["allow"] == "GET, DELETE"
    assert api.http.put(f"{URL}/x/content").headers["allow"] == "GET, HEAD"
    assert api.http.put("/healthz").headers["allow"] == "GET"


def test_request_ids_are_kept_or_made(api: Api) -> None:
    assert api.http.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert api.http.get("/healthz").headers["x-request-id"].startswith("req_")
    assert api.http.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"].startswith("req_")


def test_health_and_readiness(api: Api) -> None:
    assert api.http.get("/healthz").json() == {"status": "ok"}
    assert api.http.get("/readyz").json() == {"status": "ready"}
    api.store.leave("g")
    waiting = api.http.get("/readyz")
    assert waiting.status_code == 503
    assert "No card is ready" in waiting.json()["error"]["message"]
    assert waiting.headers["retry-after"]


def test_catalog(api: Api) -> None:
    (model,) = api.http.get("/v1/models").json()["data"]
    assert (model["id"], model["object"]) == ("builtin", "model")
    assert model["parameters"]["num_frames"]["high"] == 32
    assert api.http.get("/v1/models/builtin").json() == model
    assert api.http.get("/v1/models/x").status_code == 404
    assert {row["model"] for row in api.http.get("/v1/presets").json()["data"]} == {"builtin"}


def test_the_documentation_needs_no_outside_host(api: Api) -> None:
    page = api.http.get("/docs").text
    assert "swagger-ui" in page
    assert "https://" not in page.replace("https://fastapi.tiangolo.com", "")
    schema = api.http.get("/openapi.json").json()
    assert not any("422" in operation["responses"] for path in schema["paths"].values() for operation in path.values())
    assert set(schema["components"]["schemas"]["ErrorObject"]["required"]) == {"message", "type", "code", "param"}
    body = schema["paths"][URL]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"prompt", "input_reference"} == set(body["required"])


def test_what_is_no_id_never_reaches_the_database(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL takes no NUL, and its driver's error would be a 500."""
    for name in ("get", "follow", "cancel", "delete", "list"):
        monkeypatch.setattr(api.store, name, lambda *_, **__: 1 / 0)
    for method, path in [("GET", "/x%00"), ("DELETE", "/x%00"), ("POST", "/x%00/cancel"), ("GET", "?after=x%00")]:
        assert api.http.request(method, f"{URL}{path}").status_code == 404, (method, path)
