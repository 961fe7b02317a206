"""POST /v1/videos/quote and `i2v quote`: what is told, what is refused, and that nothing is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hands import URL, Api, listening, picture
from typer.testing import CliRunner

from serving.cli import app
from serving.jobs.worker import Worker
from serving.parameters import VideoParameters
from serving.presets import PUBLISHED

QUOTE = f"{URL}/quote"
LARGE = {"size": "1024x1024", "num_frames": "32"}
START_S = 90.0
POOLS = [
    {"name": "small", "card": "rtx4060", "model": PUBLISHED, "min_replicas": 0, "max_replicas": 2, "start_s": START_S},
    {"name": "large", "card": "a100-40gb", "model": PUBLISHED, "min_replicas": 0, "max_replicas": 1},
]


@pytest.fixture
def cards(make_api: Callable[..., Api]) -> Api:
    """Two pools of the published model, both asleep."""
    return make_api(pools=POOLS)


def ask(api: Api, still: bytes | None = None, **fields: str) -> Any:
    files = {"input_reference": picture() if still is None else still}
    return api.http.post(QUOTE, data={"prompt": "pan left", **fields}, files=files)


def quote(api: Api, **fields: str) -> dict[str, Any]:
    response = ask(api, **fields)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def codes(body: dict[str, Any]) -> set[tuple[str, str]]:
    """Of its warnings, with the fields they are about."""
    return {(warning["code"], warning["field"]) for warning in body["warnings"]}


def test_a_quote_of_an_idle_service(api: Api) -> None:
    before = int(time.time())
    found = quote(api, num_frames="9", guidance_scale="2")
    assert before <= found["starts_at"] <= time.time() + 1
    assert (found["object"], found["model"], found["size"], found["num_frames"]) == (
        "video.quote",
        "builtin",
        "296x224",
        9,
    )
    assert (found["admitted"], found["refusal"], found["pool"]) == (True, None, "default")
    assert found["starts_in_s"] == 0
    assert found["finishes_in_s"] == found["gpu_seconds"] > 0
    assert found["finishes_at"] - found["starts_at"] == pytest.approx(found["gpu_seconds"], abs=1.5)
    (pool,) = found["pools"]
    assert (pool["card"], pool["fits"], pool["cold"], pool["memory_gib"]) == ("x86", True, False, None)
    assert pool["plan"] == {
        "name": "resident",
        "offload": False,
        "sequential": False,
        "chunked": False,
        "decode_chunk": 1,
    }
    assert any("320x240" in warning["message"] for warning in found["warnings"])


def test_a_quote_queues_nothing_and_keeps_nothing(api: Api) -> None:
    before = sorted(path for path in api.settings.data_dir.rglob("pictures/*"))
    quote(api)
    assert api.count() == 0
    assert sorted(path for path in api.settings.data_dir.rglob("pictures/*")) == before
    api.submit()
    assert len(list(api.settings.data_dir.rglob("pictures/*"))) == 1


def test_what_waits_and_what_runs_comes_before(api: Api) -> None:
    alone = quote(api)
    running, waiting = (api.store.get(api.submit()["id"]) for _ in range(2))
    api.submit(num_inference_steps="50")
    api.claim()
    api.store.renew(running.id, 1, 30.0, progress=50)
    found = quote(api)
    assert found["gpu_seconds"] == alone["gpu_seconds"]
    assert found["starts_in_s"] == pytest.approx(1.5 * waiting.estimate_s, abs=0.2)
    assert found["queue"]["jobs"] == 2
    batch = quote(api, priority="batch")
    assert batch["starts_in_s"] > found["starts_in_s"]


def test_a_quote_is_what_the_submission_is_then_told(api: Api) -> None:
    found, submitted = quote(api, seed="7", preset="high"), api.submit(seed="7", preset="high")
    for field in ("size", "seconds", "parameters", "warnings"):
        assert found[field] == submitted[field], field
    assert found["gpu_seconds"] == round(api.store.get(submitted["id"]).estimate_s, 1)


def test_pools_that_sleep_are_woken_the_small_one_first(cards: Api) -> None:
    found = quote(cards, size="512x512")
    small, large = found["pools"]
    assert (small["name"], small["cold"], small["starts_in_s"]) == ("small", True, START_S)
    assert (large["name"], large["fits"], large["starts_in_s"], large["finishes_in_s"]) == ("large", True, None, None)
    assert found["pool"] == "small"
    assert found["finishes_in_s"] == pytest.approx(START_S + small["gpu_seconds"], abs=0.2)
    card = {"name": "A100", "memory_bytes": 40 * 2**30}
    cards.store.beat(Worker(id="l", role="generator", pool="large", card=card))
    found = quote(cards, size="512x512")
    assert (found["pool"], found["starts_in_s"], found["pools"][0]["cold"]) == ("large", 0, False)


@pytest.mark.parametrize(("preempt_s", "pool", "starts_in_s"), [(45.0, "large", 0), (0.0, "small", START_S)])
def test_a_short_clip_starts_between_two_steps_of_a_long_one(
    make_api: Callable[..., Api], preempt_s: float, pool: str, starts_in_s: float
) -> None:
    api = make_api(pools=POOLS, preempt_s=preempt_s)
    api.store.beat(Worker(id="l", role="generator", pool="large", card={"name": "A100", "memory_bytes": 40 * 2**30}))
    api.submit(**LARGE)
    assert api.store.claim("large", "i2vgen-xl", "l", 30.0) is not None
    found = quote(api, size="256x256", num_frames="8")
    assert (found["pool"], found["starts_in_s"]) == (pool, starts_in_s)
    assert quote(api, **LARGE)["starts_in_s"] > START_S


def test_each_pool_says_how_and_why_not(cards: Api) -> None:
    found = quote(cards, **LARGE)
    rows = {pool["name"]: pool for pool in found["pools"]}
    plan = {"name": "resident", "offload": False, "sequential": False, "chunked": False, "decode_chunk": 4}
    assert rows["large"]["plan"] == plan
    assert (rows["large"]["memory_needed_gib"], rows["large"]["memory_gib"]) == (14.7, 40)
    assert (rows["small"]["fits"], rows["small"]["plan"], rows["small"]["gpu_seconds"]) == (False, None, None)
    assert rows["small"]["reason"] == "needs 8.2 GiB; a card has 8 GiB"
    assert found["pool"] == "large"
    fitted = {pool["name"]: pool["plan"] for pool in quote(cards, size="768x768", num_frames="32")["pools"]}
    assert (fitted["small"]["offload"], fitted["small"]["chunked"]) == (True, True)
    assert (fitted["large"]["offload"], fitted["large"]["chunked"]) == (False, False)


def test_accelerations_cost_less_and_are_named(cards: Api) -> None:
    exact = quote(cards, size="512x512")
    assert exact["parameters"]["acceleration"] == []
    assert not any(warning["code"] == "inexact" for warning in exact["warnings"])
    costs = {"unipc": 0.5, "deepcache": 0.68, "guidance-interval": 0.76, "deepcache,guidance-interval": 0.51}
    for names, share in costs.items():
        found = quote(cards, size="512x512", acceleration=names)
        assert found["gpu_seconds"] / exact["gpu_seconds"] == pytest.approx(share, abs=0.02), names
        assert found["parameters"]["acceleration"] == names.split(",")
        told = [warning["message"] for warning in found["warnings"] if warning["code"] == "inexact"]
        assert [name for name in names.split(",") if not any(name in message for message in told)] == []


def test_a_pool_whose_cards_cannot_says_so(cards: Api, make_api: Callable[..., Api]) -> None:
    pools = {pool["name"]: pool for pool in quote(cards, size="512x512", acceleration="fp8")["pools"]}
    assert pools["small"]["fits"]
    assert (pools["large"]["fits"], pools["large"]["plan"], pools["large"]["gpu_seconds"]) == (False, None, None)
    assert pools["large"]["reason"] == "fp8 needs compute capability 8.9; a card has 8"
    ask_for = {"size": "512x512", "acceleration": "fp8"}
    refused = ask(make_api(pools=POOLS[1:]), **ask_for).json()["error"]
    assert (refused["code"], refused["param"]) == ("does_not_fit", "acceleration")
    assert "large: fp8 needs compute capability 8.9" in refused["message"]


def test_an_auto_pool_can_do_what_its_card_reports(make_api: Callable[..., Api]) -> None:
    api = make_api(pools=[{"name": "any", "card": "auto", "model": PUBLISHED}])
    fields = {"size": "512x512", "acceleration": "fp8"}
    assert ask(api, **fields).json()["error"]["param"] == "acceleration"
    card = {"name": "NVIDIA Something", "memory_bytes": 40 * 2**30, "compute_capability": 12.0}
    api.store.beat(Worker(id="a", role="generator", pool="any", card=card))
    assert quote(api, **fields)["pools"][0]["fits"]


def test_what_fits_nowhere_is_refused_as_by_a_submission(make_api: Callable[..., Api]) -> None:
    api = make_api(pools=POOLS[:1])
    refused = ask(api, **LARGE)
    data = {"prompt": "pan left", **LARGE}
    submitted = api.http.post(URL, data=data, files={"input_reference": picture()})
    assert refused.status_code == submitted.status_code == 400
    assert refused.json() == submitted.json()
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("does_not_fit", "num_frames")
    for words in ("needs 8.2 GiB", "small 8 GiB", "With 32 frames 768p (768x768)"):
        assert words in error["message"]


def test_a_full_queue_is_told_with_when_to_come_back(make_api: Callable[..., Api]) -> None:
    api = make_api(max_waiting_jobs=1)
    api.submit()
    found = quote(api)
    assert found["admitted"] is False
    assert found["refusal"]["code"] == "server_overloaded"
    assert found["refusal"]["retry_after_s"] >= 1
    full = make_api(disk_reserve_bytes=2**62)
    assert quote(full)["refusal"]["code"] == "storage_unavailable"


def test_a_deadline_that_would_be_missed_is_warned_of(api: Api) -> None:
    assert ("late", "deadline") in codes(quote(api, deadline="0.001"))
    assert ("late", "deadline") not in codes(quote(api, deadline="9999"))


@pytest.fixture
def pair(make_api: Callable[..., Api]) -> Api:
    """Two cards of one pool, both idle."""
    card = {"name": "NVIDIA H200", "memory_bytes": 141 * 2**30}
    api = make_api(pools=[{"name": "h200", "card": "h200", "model": PUBLISHED, "min_replicas": 2, "max_replicas": 2}])
    for name in ("one", "two"):
        api.store.beat(Worker(id=name, role="generator", pool="h200", card=card))
    return api


def test_two_cards_where_the_deadline_asks_for_them(pair: Api) -> None:
    alone = quote(pair, size="512x512")
    (pool,) = alone["pools"]
    assert (pool["cards"], pool["shared_seconds"]) == (1, None)
    assert alone["finishes_in_s"] == alone["gpu_seconds"]
    # Too little for one card, enough for two.
    tight = f"{0.7 * alone['gpu_seconds']:.1f}"
    found = quote(pair, size="512x512", deadline=tight)
    (pool,) = found["pools"]
    assert pool["cards"] == 2
    assert found["finishes_in_s"] == pool["finishes_in_s"] == pool["shared_seconds"] < float(tight)
    assert found["gpu_seconds"] == pool["gpu_seconds"] == alone["gpu_seconds"]
    assert "late" not in {warning["code"] for warning in found["warnings"]}
    missed = quote(pair, size="512x512", deadline="0.1")
    assert missed["pools"][0]["cards"] == 2
    late_s = missed["finishes_in_s"] - 0.1
    said = {warning["code"]: warning["message"] for warning in missed["warnings"]}
    assert said["late"] == f"The clip is expected {late_s:.0f} s after its deadline."


@pytest.mark.parametrize("fields", [{"deadline": "600"}, {"deadline": "1", "guidance_scale": "1"}])
def test_one_card_where_it_is_enough_or_has_no_halves(pair: Api, fields: dict[str, str]) -> None:
    assert quote(pair, size="512x512", **fields)["pools"][0]["cards"] == 1


def test_no_second_card_where_somebody_has_it_or_waits_for_it(pair: Api) -> None:
    asked = {"size": "512x512", "deadline": "1"}
    pair.submit()
    assert quote(pair, **asked)["pools"][0]["cards"] == 1
    job = pair.store.claim("h200", "i2vgen-xl", worker="test", lease_s=30)
    assert job is not None
    found = quote(pair, **asked)
    assert (found["starts_in_s"], found["pools"][0]["cards"]) == (0, 1)
    # A card that helps is as little free as the one that it helps.
    pair.store.beat(Worker(id="two", role="generator", pool="h200", assists=job.id))
    assert quote(pair, **asked)["starts_in_s"] > 0


@pytest.mark.parametrize("sized", [{"size": "256x256"}, {"aspect_ratio": "1:1"}])
def test_without_a_picture_where_the_size_is_known(api: Api, sized: dict[str, str]) -> None:
    response = api.http.post(QUOTE, json={"prompt": "pan left", **sized})
    assert response.status_code == 200, response.text
    assert response.json()["size"] == "256x256"
    assert ("picture_not_seen", "input_reference") in codes(response.json())


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({}, "missing_image", "input_reference"),
        ({"size": "256x256", "num_frames": 64}, "invalid_parameter", "num_frames"),
        ({"size": "256x256", "colour": "red"}, "invalid_request", "colour"),
        ({"size": "256x256", "prompt": " "}, "invalid_prompt", "prompt"),
        ({"size": "256x256", "model": "sora-2"}, "model_not_found", "model"),
    ],
)
def test_refused(api: Api, fields: dict[str, Any], code: str, param: str) -> None:
    error = api.http.post(QUOTE, json={"prompt": "pan left"} | fields).json()["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_a_bad_picture_is_refused(api: Api) -> None:
    assert ask(api, still=picture()[:-200]).json()["error"]["code"] == "invalid_image"


def test_the_schema_has_the_body_and_the_answer(api: Api) -> None:
    schema = api.http.get("/openapi.json").json()
    operation = schema["paths"][QUOTE]["post"]
    body = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(body["required"]) == {"prompt"}
    assert {*body["properties"], "metadata"} == {*VideoParameters.model_fields, "input_reference"}
    assert list(body["patternProperties"]) == [r"^metadata\[[^\]]+\]$"]
    assert body["properties"]["num_frames"]["type"] == "integer"
    assert "VideoQuote" in json.dumps(operation["responses"]["200"])


# The command.


def command(api: Api, folder: Path, *options: str) -> Any:
    still = folder / "still.png"
    still.write_bytes(picture())
    with listening(api) as server:
        return CliRunner().invoke(app, ["quote", str(still), "pan left", "--server", server, *options])


def test_the_command_prints_a_table(cards: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cli.out.width", 200, raising=False)
    result = command(cards, tmp_path, "--size", "1024x1024", "--num-frames", "32")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any("large (asleep)" in line and "14.7 of 40 GiB" in line and "resident" in line for line in lines)
    assert any("small" in line and "needs 8.2 GiB" in line for line in lines)
    assert cards.count() == 0


def test_the_command_says_that_two_cards_would_work(pair: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.cli.out.width", 200, raising=False)
    result = command(pair, tmp_path, "--size", "512x512", "--deadline", "1")
    assert result.exit_code == 0, result.output
    assert "on two cards" in result.stdout


def test_the_command_prints_json(api: Api, tmp_path: Path) -> None:
    result = command(api, tmp_path, "--json", "--num-frames", "9")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["num_frames"] == 9


def test_the_command_s_refusal(api: Api, tmp_path: Path) -> None:
    result = command(api, tmp_path, "--json", "--num-frames", "99")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["param"] == "num_frames"


def test_the_command_sends_lists(api: Api, tmp_path: Path) -> None:
    result = command(api, tmp_path, "--json", "--angle", "a pan, to the left", "--angle", "a zoom")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["parameters"]["angles"] == ["a pan, to the left", "a zoom"]
