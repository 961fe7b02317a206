"""GET /metrics: Prometheus text, wherever it comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from fastapi import APIRouter, Response

from serving.errors import ServiceUnavailable

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
Expose = Callable[[], Awaitable[str]]


def exposition_router(expose: Expose) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics", tags=["health"], response_class=Response, summary="Metrics, as Prometheus text")
    async def metrics() -> Response:
        return Response(await expose(), media_type=TEXT_FORMAT)

    return router


async def nothing_exposed() -> str:
    """What a process without a backend for its metrics says."""
    raise ServiceUnavailable("Metrics are not recorded here.")


def merged(texts: Iterable[str], prefix: str) -> str:
    """The metrics of several Prometheus texts whose names begin with `prefix`, as one text.

    A metric's lines stay together, as the format demands, and its HELP and TYPE are said once.
    """
    families: dict[str, list[str]] = {}
    for text in texts:
        described: set[str] = set(families)
        name = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                name = line.split(" ", 3)[2]
                if not name.startswith(prefix) or name in described:
                    continue
            if name.startswith(prefix):
                families.setdefault(name, []).append(line)
    return "".join(f"{line}\n" for lines in families.values() for line in lines)
