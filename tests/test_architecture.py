"""The house's rules that a program can check: who may import whom, and what happens at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Top to bottom: a room imports only rooms above it, or of its own name.
ORDER = [
    "errors",
    "addresses",
    "remote_picture",
    "scheduling",
    "metrics",
    "presets",
    "cautions",
    "limits",
    "framing",
    "montage",
    "parameters",
    "request",
    "prompts",
    "subject",
    "picture_warnings",
    "picture",
    "preprocessing",
    "decoder",
    "settings",
    "pools",
    "engine",
    "joining",
    "recipe",
    "ffmpeg",
    "encoding",
    "clip",
    "comparing",
    "jobs",
    "tracing",
    "storage",
    "logs",
    "card_meter",
    "card_speed",
    "watchdog",
    "patience",
    "fault_points",
    "webhooks",
    "courier",
    "giving_way",
    "rendering",
    "assisting",
    "publishing",
    "retention",
    "local",
    "trials",
    "calibrating",
    "absence",
    "placing",
    "pairing",
    "sizing",
    "quoting",
    "timetable",
    "roster",
    "feed",
    "keyring",
    "rates",
    "repetition",
    "models",
    "admission",
    "videos",
    "intake",
    "service",
    "gauges",
    "http",
    "client",
    "ui",
    "doctor",
    "console",
    "following",
    "reproduce_commands",
    "key_commands",
    "trace_commands",
    "clip_options",
    "batch",
    "batch_commands",
    "prompt_commands",
    "overview",
    "cli",
    "testing",
]
FORBIDDEN = {
    "serving": {"ray", "deployments", "loadtest"},
    "serving/prompts": {"torch", "numpy", "PIL", "fastapi", "sqlalchemy", "diffusers", "transformers"},
    "serving/scheduling": {"torch", "numpy", "pydantic", "fastapi", "sqlalchemy", "PIL"},
    "serving/engine": {"fastapi", "starlette", "sqlalchemy", "imageio_ffmpeg"},
    "serving/jobs": {"fastapi", "starlette", "torch", "PIL", "imageio_ffmpeg"},
    "serving/ui": {"torch", "numpy", "PIL", "sqlalchemy", "imageio_ffmpeg", "diffusers", "transformers"},
    "serving/http": {"torch", "sqlalchemy", "imageio_ffmpeg", "diffusers", "transformers"},
}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "serving").parts[0].removesuffix(".py")


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_forbidden_imports(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[folder]
    ]
    assert found == []


def test_rooms_import_only_rooms_above_them() -> None:
    found = []
    for path in sources("serving"):
        room = room_of(path)
        if room in ("__init__", "training"):
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "serving" or len(parts) < 2 or parts[1] not in ORDER:
                continue
            if ORDER.index(parts[1]) > ORDER.index(room):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    assert found == []


def test_every_room_has_its_place() -> None:
    rooms = {room_of(path) for path in sources("serving")} - {"__init__", "training"}
    assert rooms == set(ORDER)


def test_nothing_in_the_request_path_imports_the_training_room() -> None:
    paths = [path for path in sources("serving") if room_of(path) != "training"] + sources("deployments")
    assert [path for path in paths if any(name.startswith("serving.training") for name in imports(path))] == []


def test_rooms_bear_nouns() -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "misc", "manager"}
    assert [
        path for folder in ("serving", "deployments", "loadtest") for path in sources(folder) if path.stem in vague
    ] == []


LIGHT = ["serving.http.app", "serving.cli", "serving.scheduling.placement", "serving.engine.weights"]


@pytest.mark.parametrize("module", LIGHT)
def test_light_rooms_stay_light(module: str) -> None:
    """The ingress, the command, the Serve controller and who looks for weights must not wait for PyTorch."""
    code = f"import sys, {module}; sys.exit(int(any(m in sys.modules for m in ('torch', 'ray', 'diffusers'))))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
