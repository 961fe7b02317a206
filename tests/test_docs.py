"""What the README promises is there: settings with their defaults, routes, commands, files, figures' commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli import app
from serving.http.app import create_app
from serving.metrics import TABLE
from serving.pools import ServedPool
from serving.presets import BUILTIN, profile_for
from serving.scheduling.accelerations import ACCELERATIONS
from serving.service import VideoService
from serving.settings import PoolSettings, Settings, load_settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def settings_table() -> str:
    """The README's settings table, from the settings themselves."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if name == "pools":
            shown = "one, `auto`"
        elif default is None:
            shown = ""
        else:
            shown = f"`{default}`"
        rows.append(f"| `I2V_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def test_the_settings_table_is_true() -> None:
    table = README.split("| variable | default | meaning |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert table == settings_table()


def test_the_metrics_table_is_true() -> None:
    rows = [f"| `{m.name}` | {type(m).__name__.lower()} | {', '.join(m.labels)} | {m.help} |" for m in TABLE]
    table = README.split("| metric | kind | labels | meaning |\n|---|---|---|---|\n")[1].split("\n\n")[0]
    assert table == "\n".join(rows)


def test_the_accelerations_table_is_true() -> None:
    rows = [f"| `{row.name}` | {row.changes} |" for row in ACCELERATIONS.values()]
    table = README.split("| acceleration | what changes |\n|---|---|\n")[1].split("\n\n")[0]
    assert table == "\n".join(rows)


def test_every_route_is_in_the_readme_and_the_other_way_round(sqlite_store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    async def no_pictures(*_: object) -> None:
        raise AssertionError

    service = VideoService(
        settings=load_settings(),
        pools=(ServedPool(PoolSettings(), BUILTIN, profile_for(BUILTIN)),),
        store=sqlite_store,
        pictures=None,  # type: ignore[arg-type]
        outputs=None,  # type: ignore[arg-type]
        prepare=no_pictures,  # type: ignore[arg-type]
    )
    app = create_app(service, load_settings())
    schema = app._app.openapi()  # type: ignore[attr-defined]
    served = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    written = set(re.findall(r"`((?:GET|POST|DELETE) /[^`]*)`", README.split("| route |")[1].split("\n\n")[0]))
    assert written == served


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE)) == targets


COMMANDS = [
    "generate",
    "quote",
    "batch",
    "reproduce",
    "status",
    "pools",
    "prompts templates",
    "prompts write",
    "prompts lint",
    "doctor",
    "calibrate",
    "keys create",
    "trace export",
]


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_explains_itself_and_has_json(verb: str) -> None:
    assert f"`i2v {verb}" in README
    shown = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "--json" in shown.stdout


@pytest.mark.parametrize("verb", ["serve", "demo"])
def test_the_verbs_that_need_ray_are_there(verb: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "deployments", verb, "--help"], capture_output=True, text=True, check=True
    )
    assert f"`i2v {verb}" in README
    assert "--json" in shown.stdout


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_python_example_compiles() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        compile(block, "README.md", "exec")
