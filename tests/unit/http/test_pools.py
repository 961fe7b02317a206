"""GET /v1/pools, `i2v pools` and `i2v status`: cards, what they do, what they can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hands import Api, listening
from typer.testing import CliRunner

from serving.cli import app
from serving.jobs.worker import Worker
from serving.presets import PUBLISHED

POOLS = [
    {"name": "small", "card": "rtx4060", "model": PUBLISHED, "min_replicas": 0, "max_replicas": 2},
    {"name": "default", "card": "auto", "model": PUBLISHED},
]


def pools(api: Api) -> dict[str, dict[str, Any]]:
    answer = api.http.get("/v1/pools")
    assert answer.status_code == 200, answer.text
    return {pool["name"]: pool for pool in answer.json()["data"]}


def command(api: Api, *words: str) -> Any:
    with listening(api) as server:
        return CliRunner().invoke(app, [*words, "--server", server])


@pytest.fixture
def cards(make_api: Callable[..., Api]) -> Api:
    """A pool that sleeps, and one with the test's own card."""
    return make_api(pools=POOLS)


def test_what_cards_can_hold(cards: Api) -> None:
    cards.store.beat(
        Worker(id="g", role="generator", pool="default", card={"name": "NVIDIA H200", "memory_bytes": 141 * 2**30})
    )
    found = pools(cards)
    small, large = found["small"], found["default"]
    assert (small["card"], small["memory_gib"], small["cards"], small["idle"]) == ("rtx4060", 8, [], 0)
    assert (small["min_replicas"], small["max_replicas"]) == (0, 2)
    assert (large["card"], large["cards"]) == ("NVIDIA H200", [{"name": "NVIDIA H200", "memory_gib": 141}])
    assert large["max_frames"] == {"256p": 32, "512p": 32, "768p": 32, "1024p": 32}
    # As a submission would be refused or taken.
    assert (small["max_frames"]["768p"], small["max_frames"]["1024p"]) == (32, 0)
    for side, frames, status in ((768, 32, 200), (1024, 8, None)):
        body = {"prompt": "p", "size": f"{side}x{side}", "num_frames": frames}
        (quoted,) = [
            pool for pool in cards.http.post("/v1/videos/quote", json=body).json()["pools"] if pool["name"] == "small"
        ]
        assert quoted["fits"] is (status == 200)
    extreme = {pool["name"]: pool["presets"][-1] for pool in found.values()}
    assert (extreme["small"]["preset"], extreme["small"]["fits"], extreme["small"]["plan"]) == ("extreme", False, None)
    assert (extreme["default"]["fits"], extreme["default"]["plan"]) == (True, "resident")
    assert extreme["default"]["gpu_seconds"] > 0


def test_what_cards_do_now(api: Api) -> None:
    (idle,) = pools(api).values()
    assert (idle["model"], idle["cards"]) == ("builtin", [{"name": "x86", "memory_gib": None}])
    assert (idle["busy"], idle["idle"], idle["waiting"]) == (0, 1, {"jobs": 0, "gpu_seconds": 0})
    for _ in range(3):
        api.submit()
    api.claim()
    answer = api.http.get("/v1/pools").json()
    (busy,) = answer["data"]
    assert (busy["busy"], busy["idle"], busy["waiting"]["jobs"]) == (1, 0, 2)
    assert answer["queue"] == busy["waiting"]
    api.store.leave("g")
    (gone,) = pools(api).values()
    assert (gone["cards"], gone["busy"], gone["idle"]) == ([], 0, 0)


def test_the_pools_as_a_table_and_as_json(cards: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cli.out.width", 250, raising=False)
    shown = command(cards, "pools")
    assert shown.exit_code == 0, shown.output
    (small,) = [line for line in shown.stdout.splitlines() if "small" in line]
    assert all(words in small for words in ("rtx4060", "8 GiB", "0 of 0 to 2", "768p ", "preview"))
    assert "extreme" not in small
    as_json = command(cards, "pools", "--json")
    assert [pool["name"] for pool in json.loads(as_json.stdout)["data"]] == ["small", "default"]


def test_the_status_of_a_service(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cli.out.width", 200, raising=False)
    waiting, cancelled = (api.submit()["id"] for _ in range(2))
    api.http.post(f"/v1/videos/{cancelled}/cancel")
    shown = command(api, "status")
    assert shown.exit_code == 0, shown.output
    assert "ready" in shown.stdout
    assert "1 jobs wait" in shown.stdout
    rows = {video: line for line in shown.stdout.splitlines() for video in (waiting, cancelled) if video in line}
    assert "queued" in rows[waiting]
    assert "cancelled" in rows[cancelled]
    api.store.leave("g")
    found = command(api, "status", "--json", "--limit", "1")
    assert found.exit_code == 1
    answer = json.loads(found.stdout)
    assert (answer["ready"], [video["id"] for video in answer["videos"]]) == (False, [cancelled])
    assert "No card is ready" in answer["reason"]


def test_without_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_SERVER", "http://127.0.0.1:1")
    for verb in ("status", "pools"):
        result = CliRunner().invoke(app, [verb, "--json"])
        assert result.exit_code == 1
        assert json.loads(result.stdout)["error"]["code"] == "connection_refused"
