"""Keys over HTTP: which routes need one, what a bad one is answered, and that each key sees its own videos alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hands import URL, Api, listening, picture
from typer.testing import CliRunner

from serving import cli
from serving.http import errors
from serving.http.auth import Asking

OPEN = {"/healthz", "/readyz", "/metrics"}
GOOD = {"prompt": "pan left"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def tokens(api: Api) -> list[str]:
    """Those of two keys."""
    return [api.store.keys.create(name)[1] for name in ("shop", "press")]


def routes(api: Api) -> list[tuple[str, str]]:
    app: FastAPI = api.http.app._app  # type: ignore[attr-defined]
    schema = app.openapi()
    found = [(method.upper(), path) for path, methods in schema["paths"].items() for method in methods]
    assert len(found) > 10
    return [(method, path.replace("{video_id}", "video_" + "0" * 32)) for method, path in found]


def test_every_route_but_health_and_metrics_needs_a_key(api: Api, tokens: list[str]) -> None:
    for method, path in [*routes(api), ("HEAD", f"{URL}/video_{'0' * 32}/content")]:
        response = api.http.request(method, path)
        if path in OPEN:
            assert response.status_code == 200, path
            continue
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer"), path
        if method != "HEAD":
            error = response.json()["error"]
            assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error"), path
        assert response.headers["x-request-id"]
        allowed = api.http.request(method, path, headers=bearer(tokens[0]))
        assert allowed.status_code not in (401, 500), path


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {}x", "Bearer \u00e9"]
)
def test_what_is_no_key(api: Api, tokens: list[str], value: str) -> None:
    given = value.format(tokens[0]).encode("latin-1")
    response = api.http.get(URL, headers={b"authorization": given})
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert tokens[0] not in response.text


def test_without_any_key_a_key_is_not_looked_at(api: Api) -> None:
    assert api.http.get(URL, headers=bearer("none")).status_code == 200


def test_keys_required_before_there_is_one(make_api: Callable[..., Api]) -> None:
    api = make_api(require_keys=True)
    assert api.http.get(URL).status_code == 401
    assert api.http.get("/healthz").status_code == 200


def test_a_body_is_not_read_before_the_key(api: Api, tokens: list[str]) -> None:
    response = api.http.post(URL, content=b"x" * 2**21, headers={"content-type": "application/json"})
    assert response.status_code == 401


def test_each_key_sees_its_own_videos_alone(api: Api, tokens: list[str]) -> None:
    mine, other = (bearer(token) for token in tokens)
    sent = [api.http.post(URL, data=GOOD, files={"input_reference": picture()}, headers=mine).json() for _ in range(2)]
    finished, waiting = (video["id"] for video in sent)
    api.finish()
    unknown = "video_" + "0" * 32
    asks = [("GET", ""), ("GET", "/content"), ("HEAD", "/content"), ("POST", "/cancel"), ("DELETE", "")]
    asks += [("GET", "/events"), ("POST", "/remix")]
    for method, path in asks:
        body = {"json": {"prompt": "pan right"}} if path == "/remix" else {}
        for video_id in (finished, waiting):
            theirs = api.http.request(method, f"{URL}/{video_id}{path}", headers=other, **body)  # type: ignore[arg-type]
            never = api.http.request(method, f"{URL}/{unknown}{path}", headers=other, **body)  # type: ignore[arg-type]
            assert (theirs.status_code, theirs.content) == (404, never.content), (method, path)
    assert api.http.get(URL, headers=other).json()["data"] == []
    assert api.http.get(f"{URL}?after={finished}&order=asc", headers=other).json()["data"] == []
    assert [video["id"] for video in api.http.get(URL, headers=mine).json()["data"]] == [waiting, finished]
    assert api.http.get(f"{URL}/{finished}/content", headers=mine).status_code == 200
    assert api.http.post(f"{URL}/{waiting}/cancel", headers=mine).status_code == 200
    assert api.http.delete(f"{URL}/{finished}", headers=mine).status_code == 200


def test_what_was_made_before_the_first_key_is_nobody_s(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.keyring.KEPT_S", 0.0)
    video_id = api.submit()["id"]
    _, token = api.store.keys.create("shop")
    assert api.http.get(f"{URL}/{video_id}", headers=bearer(token)).status_code == 404


def test_thumbnails_are_counted_apart(api: Api) -> None:
    """The page asks for those of a whole gallery."""
    mine = bearer(api.store.keys.create("shop", rate="2/hour")[1])
    content = f"{URL}/video_{'0' * 32}/content"

    def asked(variant: str) -> int:
        return api.http.get(content, params={"variant": variant}, headers=mine).status_code

    assert [asked("thumbnail") for _ in range(3)] == [404, 404, 429]
    assert [asked("video") for _ in range(3)] == [404, 404, 429]


def test_the_share_of_the_cards_is_the_key_s(api: Api, tokens: list[str]) -> None:
    sent = api.http.post(URL, data=GOOD, files={"input_reference": picture()}, headers=bearer(tokens[1]))
    _, press = api.store.keys.every()
    assert api.store.get(sent.json()["id"]).owner == press.id


def test_one_key_s_quota_is_not_another_s(make_api: Callable[..., Api]) -> None:
    api = make_api(max_owner_s=0.001)
    first, second = (bearer(api.store.keys.create(name)[1]) for name in ("shop", "press"))

    def send(headers: dict[str, str]) -> tuple[int, str | None]:
        response = api.http.post(URL, data=GOOD, files={"input_reference": picture()}, headers=headers)
        return response.status_code, response.headers.get("retry-after")

    assert send(first)[0] == 200
    status, retry_after = send(first)
    assert status == 429
    assert int(retry_after or 0) >= 1
    assert send(second)[0] == 200


def test_a_key_s_own_bounds(api: Api) -> None:
    slow, frugal = (
        bearer(api.store.keys.create(name, **bounds)[1])  # type: ignore[arg-type]
        for name, bounds in {"slow": {"rate": "2/hour"}, "frugal": {"daily_gpu_s": 0.001}}.items()
    )
    answers = [api.http.get("/v1/models", headers=slow) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 3500 < int(answers[2].headers["retry-after"]) <= 3600
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    sent = [api.http.post(URL, data=GOOD, files={"input_reference": picture()}, headers=frugal) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [200, 429]
    assert 1 <= int(sent[1].headers["retry-after"]) <= 86_400
    quoted = api.http.post(f"{URL}/quote", data=GOOD, files={"input_reference": picture()}, headers=frugal).json()
    assert (quoted["admitted"], quoted["refusal"]["code"]) == (False, "rate_limit_exceeded")


def test_a_route_that_forgot_its_guard_answers_nobody() -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/")
    async def whose(caller: Asking) -> str:
        return caller.owner

    with TestClient(app, raise_server_exceptions=False) as http:
        assert http.get("/").status_code == 500


def test_the_command_and_the_openai_client_send_their_key(
    api: Api, tokens: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = tmp_path / "still.png"
    still.write_bytes(picture())
    with listening(api) as server:
        command = ["quote", str(still), "pan left", "--server", server, "--json"]
        refused = CliRunner().invoke(cli.app, command)
        assert json.loads(refused.stdout)["error"]["code"] == "invalid_api_key"
        monkeypatch.setenv("I2V_API_KEY", tokens[0])
        assert CliRunner().invoke(cli.app, command).exit_code == 0
        with openai.OpenAI(base_url=f"{server}/v1", api_key=tokens[0]) as client:
            assert client.models.list().data[0].id == "builtin"
        wrong = openai.OpenAI(base_url=f"{server}/v1", api_key="wrong")
        with wrong, pytest.raises(openai.AuthenticationError) as refusal:
            wrong.models.list()
        assert refusal.value.code == "invalid_api_key"
