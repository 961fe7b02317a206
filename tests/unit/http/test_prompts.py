"""GET /v1/prompts/*, warnings and hints on the wire, and `i2v prompts`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hands import URL, Api
from typer.testing import CliRunner

from serving.cli import app
from serving.presets import PUBLISHED

PROMPTS = "/v1/prompts"
POOLS = [{"name": "large", "card": "a100-40gb", "model": PUBLISHED, "min_replicas": 0, "max_replicas": 1}]
WARNING = {"code", "field", "message", "suggestion"}


@pytest.fixture
def published(make_api: Callable[..., Api]) -> Api:
    """A pool of the published model, asleep."""
    return make_api(pools=POOLS)


def get(api: Api, path: str, **query: str) -> dict[str, Any]:
    response = api.http.get(f"{PROMPTS}/{path}", params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_templates_are_listed_with_all_that_a_submission_needs(published: Api) -> None:
    rows = get(published, "templates")["data"]
    assert len({row["category"] for row in rows}) >= 9
    (coffee,) = [row for row in rows if row["template"] == "food-steam"]
    assert coffee["text"] == "steam rising from the {subject}, close-up view"
    assert coffee["prompt"] == "steam rising from the hot coffee, close-up view"
    assert coffee["parameters"] == {"resolution": "512p", "num_frames": 16, "num_inference_steps": 50}
    assert "melting plate" in coffee["negative_prompt"]
    drinks = get(published, "templates", category="drinks")["data"]
    assert drinks == [row for row in rows if row["category"] == "food"]


def test_a_composed_prompt_can_be_submitted(published: Api) -> None:
    found = get(published, "compose", title="Handmade Mug (blue, 300 ml)", category="home")
    assert found["prompt"] == "camera orbiting slowly around the Handmade Mug on a table"
    assert (found["object"], found["template"], found["warnings"]) == ("prompt", "home-orbit", [])
    fields = {"prompt": found["prompt"], "negative_prompt": found["negative_prompt"], **found["parameters"]}
    video = published.submit(**fields)
    assert video["prompt"] == found["prompt"]
    assert {warning["code"] for warning in video["warnings"]} == {"low_resolution"}


def test_parameters_are_those_that_suit_the_model(api: Api) -> None:
    found = get(api, "compose", title="cat", category="pets", model="builtin")
    assert found["parameters"] == {}
    assert found["negative_prompt"] is None


def test_what_is_composed_is_linted(published: Api) -> None:
    found = get(published, "compose", title="红色连衣裙", category="apparel")
    assert [set(warning) for warning in found["warnings"]] == [WARNING]
    assert found["warnings"][0]["code"] == "not_english"


@pytest.mark.parametrize(
    ("path", "query", "status", "param"),
    [
        ("templates", {"category": "weapons"}, 400, "category"),
        ("templates", {"model": "sora-2"}, 404, "model"),
        ("compose", {"category": "home"}, 400, "title"),
        ("compose", {"title": "mug"}, 400, "category"),
        ("compose", {"title": "", "category": "home"}, 400, "title"),
        ("compose", {"title": "mug", "template": "none"}, 400, "template"),
    ],
)
def test_refusals_name_the_field(api: Api, path: str, query: dict[str, str], status: int, param: str) -> None:
    response = api.http.get(f"{PROMPTS}/{path}", params=query)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")


def test_words_and_guidance_are_warned_of_and_never_refused(published: Api) -> None:
    fields = {"prompt": "a beautiful river", "guidance_scale": "13"}
    video = published.submit(**fields)
    codes = {warning["code"]: warning for warning in video["warnings"]}
    assert set(codes) == {"low_resolution", "abstract_words", "no_motion", "backward_flow", "guidance_stiffens"}
    assert all(set(warning) == WARNING for warning in codes.values())
    quote = published.http.post(f"{URL}/quote", json={**fields, "guidance_scale": 13, "size": "512x512"}).json()
    assert set(codes) - {"low_resolution"} | {"picture_not_seen"} == {w["code"] for w in quote["warnings"]}


def test_only_a_finished_video_has_hints(api: Api) -> None:
    video = api.submit(num_inference_steps="20", num_frames="16")
    assert video["hints"] == []
    api.finish()
    (weak, large) = api.http.get(f"{URL}/{video['id']}").json()["hints"]
    assert (weak["symptom"], weak["parameters"]) == ("weak_or_warped_motion", {})
    assert (large["symptom"], large["parameters"]) == ("too_large_or_slow", {"num_frames": 8})
    assert api.http.get(URL).json()["data"][0]["hints"] == [weak, large]


def test_ground_and_focus_are_in_parameters_and_recipe(api: Api) -> None:
    video = api.submit(fit="pad", background="#FA0", focus="center")
    wanted = {"fit": "pad", "background": "#ffaa00", "focus": "center"}
    assert wanted.items() <= video["parameters"].items()
    api.finish()
    recipe = api.http.get(f"{URL}/{video['id']}").json()["recipe"]
    assert wanted.items() <= recipe["parameters"].items()
    refused = api.http.post(URL, data={"prompt": "p", "background": "pink"}, files={"input_reference": b"x"})
    assert refused.json()["error"]["param"] == "background"


def i2v(*arguments: str) -> Any:
    result = CliRunner().invoke(app, ["prompts", *arguments, "--model", PUBLISHED, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_the_command_writes_as_the_service_does(published: Api) -> None:
    code, found = i2v("write", "--title", "Handmade Mug (blue, 300 ml)", "--category", "home")
    assert code == 0
    composed = get(published, "compose", title="Handmade Mug (blue, 300 ml)", category="home")
    assert found == {name: composed[name] for name in found}
    assert {"prompt", "parameters", "negative_prompt"} <= set(found)
    assert i2v("templates", "--category", "food") == (0, get(published, "templates", category="food")["data"])


def test_the_command_lints() -> None:
    assert i2v("lint", "camera orbiting around the smartphone, showing all sides") == (0, [])
    code, found = i2v("lint", "a nice mug")
    assert (code, [warning["code"] for warning in found]) == (0, ["abstract_words", "no_motion"])
    shown = CliRunner().invoke(app, ["prompts", "lint", "a nice mug", "--model", "builtin"])
    assert shown.exit_code == 0
    assert '"nice"' in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        (("templates", "--category", "weapons"), "category"),
        (("write", "--title", "mug"), "category"),
        (("write", "--title", "mug", "--template", "none"), "template"),
        (("lint", " "), "prompt"),
    ],
)
def test_the_commands_errors_name_the_field(arguments: tuple[str, ...], param: str) -> None:
    code, found = i2v(*arguments)
    assert (code, found["error"]["param"]) == (1, param)


def test_what_people_read_is_plain() -> None:
    shown = CliRunner().invoke(app, ["prompts", "write", "--title", "mug", "--category", "home", "--model", PUBLISHED])
    assert shown.stdout.startswith("prompt: camera orbiting slowly around the mug on a table\n")
    table = CliRunner().invoke(app, ["prompts", "templates", "--model", PUBLISHED], env={"COLUMNS": "200"})
    assert "food-steam" in table.stdout
