"""What README and pages promise is there: tables, commands, options, files and links; and their blocks parse.

The blocks themselves are run by tests/clients/test_examples.py.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import CHINESE, PAGES, README, ROOT, RUNNABLE, Block, anchors, blocks, first_columns, links, prose, table
from typer import Typer
from typer.main import get_command
from typer.testing import CliRunner

from deployments.launch import app
from loadtest.__main__ import app as loadtest_app
from serving.http.app import create_app
from serving.metrics import TABLE
from serving.placing import Placeable
from serving.pools import ServedPool
from serving.presets import BUILTIN, EMULATED, I2VGEN_XL, profile_for
from serving.roster import roster
from serving.scheduling.accelerations import ACCELERATIONS
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape
from serving.scheduling.plans import PLANS, least_gib, needed_gib
from serving.service import VideoService
from serving.settings import PoolSettings, Settings, load_settings

EVERYTHING = "\n".join(page.read_text() for page in (*PAGES, CHINESE))
BLOCKS = [block for page in (*PAGES, CHINESE) for block in blocks(page)]
OF_A_COMMAND = re.compile(r"(?:^[ ]*|`|\$\(|bin/|=\S+ )(i2v|python -m loadtest(?:\.\w+)?) ([^`|;&)\n]*)", re.MULTILINE)


def settings_table() -> str:
    """The settings table, from the settings themselves."""
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
    assert table("| variable | default | meaning |") == settings_table()


def test_the_metrics_table_is_true() -> None:
    rows = [f"| `{m.name}` | {type(m).__name__.lower()} | {', '.join(m.labels)} | {m.help} |" for m in TABLE]
    assert table("| metric | kind | labels | meaning |") == "\n".join(rows)


def test_the_accelerations_table_is_true() -> None:
    rows = [f"| `{row.name}` | {row.changes} |" for row in ACCELERATIONS.values()]
    assert table("| acceleration | what changes |") == "\n".join(rows)


def test_the_presets_table_is_true() -> None:
    rows = [
        f"| `{name}` | {row.resolution} | {row.num_frames} | {row.num_inference_steps} | {row.fps} |"
        for name, row in I2VGEN_XL.presets.items()
    ]
    assert table("| preset | resolution | num_frames | num_inference_steps | fps |") == "\n".join(rows)


def test_the_table_of_cards_is_what_sleeping_pools_of_them_say(sqlite_store) -> None:  # type: ignore[no-untyped-def]
    classes = [card for card in CARDS.values() if card.memory_gib]
    pools = tuple(
        ServedPool(PoolSettings(name=c.name, card=c.name, min_replicas=0), EMULATED, profile_for(EMULATED))
        for c in classes
    )
    rows = []
    for pool in roster(sqlite_store, pools, Placeable(sqlite_store, pools)).pools:
        frames = [str(most or "none") for most in pool.max_frames.values()]
        plans = [fit.plan or "no" for fit in pool.presets]
        rows.append(f"| `{pool.card}` | {pool.memory_gib:g} | {' | '.join([*frames, *plans])} |")
    header = f"| card class | GiB | {' | '.join([*I2VGEN_XL.resolutions, *I2VGEN_XL.presets])} |"
    assert table(header) == "\n".join(rows)


def test_the_table_of_presets_memory_is_true() -> None:
    rows = []
    for name, preset in I2VGEN_XL.presets.items():
        side = I2VGEN_XL.side(preset.resolution)
        shape = Shape(side, side, preset.num_frames, preset.num_inference_steps, True)
        fastest, least = needed_gib(PLANS[0], shape, I2VGEN_XL.cost), least_gib(shape, I2VGEN_XL.cost)
        rows.append(f"| `{name}` | {fastest:.1f} | {least:.1f} |")
    assert table("| preset | fastest plan | smallest plan |") == "\n".join(rows)


def test_every_route_is_in_its_table_and_the_other_way_round(sqlite_store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
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
    written = set(re.findall(r"`((?:GET|POST|DELETE) /[^`]*)`", table("| route | what it does |")))
    assert written == served


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in (README.read_text(), CHINESE.read_text()):
        assert set(re.findall(r"(?:`|^)make ([\w-]+)", text, re.MULTILINE)) == targets
    assert set(re.findall(r"(?:`|^)make ([\w-]+)", EVERYTHING, re.MULTILINE)) == targets


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
    "serve",
    "demo",
]


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_is_in_the_table_and_has_json(verb: str) -> None:
    assert f"`i2v {verb}" in table("| command | what it does |")
    assert "--json" in options_of(["i2v", *verb.split()])


def test_a_command_explains_itself() -> None:
    shown = CliRunner().invoke(app, ["batch", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "--dry-run" in shown.stdout


def test_every_load_test_is_in_its_table_and_the_other_way_round() -> None:
    written = set(re.findall(r"python -m loadtest[. ](\w+)", table("| command | what it shows |")))
    modules = {path.stem for path in (ROOT / "loadtest").glob("*.py") if "ArgumentParser(" in path.read_text()}
    assert written == modules | set(commands_of(loadtest_app))


def commands_of(program: Typer) -> dict[str, Any]:
    return get_command(program).commands  # type: ignore[attr-defined, no-any-return]


def options_of(words: list[str]) -> set[str] | None:
    """The options of the command that `words` begin with; None where there is no such command."""
    if words[0] == "python" and "." in words[2]:
        path = ROOT / f"{words[2].replace('.', '/')}.py"
        return set(re.findall(r'add_argument\("(--[\w-]+)', path.read_text())) | {"--help"} if path.is_file() else None
    table, rest = (commands_of(app), words[1:]) if words[0] == "i2v" else (commands_of(loadtest_app), words[3:])
    if not rest or rest[0].startswith("--"):
        return {"--help", "--json"}
    command = table.get(rest[0])
    if hasattr(command, "commands"):
        command = command.commands.get(rest[1])
    return None if command is None else {"--help", *chain.from_iterable(one.opts for one in command.params)}


def test_every_command_that_is_written_exists_with_its_options() -> None:
    found = 0
    for name, arguments in OF_A_COMMAND.findall(EVERYTHING.replace("\\\n", " ")):
        words = [*name.split(), *arguments.split()]
        if name == "i2v" and not re.fullmatch(r"[a-z-]+", words[1]):
            continue  # the word in a sentence or in a name
        options = options_of(words)
        assert options is not None, " ".join(words)
        asked = {word.partition("=")[0].rstrip(",.:") for word in words if word.startswith("--")}
        assert asked <= options, f"{' '.join(words)}: {asked - options}"
        found += 1
    assert found > 50


def test_every_variable_that_is_written_is_a_setting_or_the_commands_own() -> None:
    known = {f"I2V_{name.upper()}" for name in Settings.model_fields} | {"I2V_SERVER", "I2V_API_KEY"}
    assert set(re.findall(r"\bI2V_[A-Z_]*[A-Z]", EVERYTHING)) <= known


@pytest.mark.parametrize("page", [*PAGES, CHINESE], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_and_every_file_that_is_named_exists(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"
    for name in re.findall(r"`((?:serving|deployments|loadtest|tests|docs)/[\w./-]+)`", prose(page)):
        assert (ROOT / name).exists(), name


def test_every_page_is_linked_from_both_readmes() -> None:
    for readme in (README, CHINESE):
        assert {target for target, _ in links(readme)} >= set((ROOT / "docs").glob("*.md"))
    assert (CHINESE, "") in links(README)
    assert (README, "") in links(CHINESE)


def test_the_chinese_readme_has_the_same_blocks_commands_routes_and_links() -> None:
    def shown(block: Block) -> tuple[str, str, bool]:
        return block.language, block.text, block.not_run is None

    ours = [shown(block) for block in blocks(README)]
    assert [shown(block) for block in blocks(CHINESE)] == ours

    def code(page: Path) -> list[list[str]]:
        return [found for cell in first_columns(page) if (found := re.findall(r"`[^`]+`", cell))]

    assert code(CHINESE) == code(README)
    assert {target for target, _ in links(CHINESE)} - {README} == {target for target, _ in links(README)} - {CHINESE}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_parses(block: Block) -> None:
    if block.language == "bash":
        checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    elif block.language == "python":
        ast.parse(block.text)
    elif block.language == "js":
        if shutil.which("node") is None:
            pytest.skip("node is not installed")
        command = ["node", "--check", "--input-type=module"]
        checked = subprocess.run(command, input=block.text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    elif block.language in ("yaml", "json"):
        assert (yaml.safe_load if block.language == "yaml" else json.loads)(block.text)
    else:
        assert block.language in ("mermaid", "nginx", "text"), block.language
    # Only what a test can run needs a reason not to be.
    assert block.not_run is None or block.language in RUNNABLE
