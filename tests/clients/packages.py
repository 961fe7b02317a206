"""The clients themselves, each in a folder of its own under .cache/clients, by the usual package managers.

A registry that does not give a client skips its test, visibly: that is no fault of the project. Without npm it fails
where CI=true.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from missing import missing

from deployments.child import ROOT

CACHE = ROOT / ".cache" / "clients"
NEWEST = "newest"
NEWEST_FOR_S = 7 * 86_400
"""How long an installed "newest" counts as that."""


def python_package(name: str, version: str) -> Path:
    """The folder that holds the package with all it needs, for PYTHONPATH."""
    wanted = name if version == NEWEST else f"{name}=={version}"
    return _installed(
        f"{name}-{version}",
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-conflicts", "--no-compile", "--target", "."],
        wanted,
    )


def npm_package(name: str, version: str) -> Path:
    """The folder whose node_modules holds it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed")
    wanted = f"{name}@{'latest' if version == NEWEST else version}"
    return _installed(f"npm-{name}-{version}", ["npm", "install", "--no-fund", "--no-audit", "--prefix", "."], wanted)


def _installed(folder: str, command: list[str], wanted: str) -> Path:
    """The folder, filled by the package manager unless it was before."""
    path = CACHE / folder
    done = path / ".installed"
    stale = folder.endswith(NEWEST) and done.is_file() and done.stat().st_mtime < time.time() - NEWEST_FOR_S
    if stale or not done.is_file():
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        result = subprocess.run([*command, wanted], cwd=path, capture_output=True, text=True, check=False, timeout=600)
        if result.returncode != 0:
            pytest.skip(f"{wanted} cannot be installed: {result.stderr.strip()[-300:]}")
        done.touch()
    return path
