"""What is done around each request in Serve's HTTP proxy, over an application that answers as Serve does."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from deployments.proxy import middlewares

IDS = {"X-Request-ID": "r-1"}


def answer(request: Request) -> Response:
    status, text = request.path_params["status"], "Path '/v1/videos/x' not found."
    if request.url.path.startswith("/json"):
        return JSONResponse({"error": {"code": "video_not_found"}}, status, headers=IDS)
    return PlainTextResponse(text, status, headers=IDS)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """As Serve's proxy is where the replica dies before its answer."""


def headers(request: Request) -> Response:
    return JSONResponse(dict(request.headers))


@pytest.fixture
def client() -> TestClient:
    routes = [
        Route("/headers", headers),
        Mount("/silent", silent),
        *(Route(f"{path}/{{status:int}}", answer) for path in ("", "/json", "/-")),
    ]
    return TestClient(Starlette(routes=routes, middleware=middlewares()))


@pytest.mark.parametrize("status", [404, 500, 503])
def test_serves_own_refusals_are_in_the_apis_shape(client: TestClient, status: int) -> None:
    got = client.get(f"/{status}", headers=IDS)
    assert (got.status_code, got.json()["error"]["code"]) == (503, "service_unavailable")
    assert (got.headers["retry-after"], got.headers.get_list("x-request-id")) == ("1", ["r-1"])
    assert int(got.headers["content-length"]) == len(got.content)


def test_a_request_whose_replica_died_is_answered(client: TestClient) -> None:
    got = client.get("/silent", headers=IDS)
    assert (got.status_code, got.json()["error"]["code"]) == (503, "service_unavailable")
    assert "may have carried it out or not" in got.json()["error"]["message"]
    assert got.headers.get_list("x-request-id") == ["r-1"]


@pytest.mark.parametrize("path", ["/json/404", "/json/503", "/-/503", "/200"])
def test_other_answers_pass_unchanged(client: TestClient, path: str) -> None:
    got = client.get(path)
    assert got.status_code == int(path.rpartition("/")[2])
    assert got.headers["x-request-id"] == "r-1"
    assert "service_unavailable" not in got.text


def test_what_serves_proxy_would_obey_does_not_reach_it(client: TestClient) -> None:
    sent = {"X-Request-Timeout-Seconds": "0.001", "x-request-disconnect-disabled": "?1", "x-other": "1"}
    seen = client.get("/headers", headers=sent).json()
    assert seen["x-other"] == "1"
    assert not set(seen) & {"x-request-timeout-seconds", "x-request-disconnect-disabled"}
