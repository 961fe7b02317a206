"""A model for tests that run all of a clip, or several."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from serving.presets import BUILTIN_FOLDER, PROFILE_FILE


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """The built-in model's folder, whose largest clip is a hundredth of what it is."""
    folder = tmp_path / "tiny"
    shutil.copytree(BUILTIN_FOLDER, folder)
    profile = json.loads((BUILTIN_FOLDER / PROFILE_FILE).read_text())
    profile |= {"name": "tiny", "resolutions": {"256p": 32, "512p": 64}}
    profile["num_frames"] |= {"low": 2, "high": 6, "default": 2}
    (folder / PROFILE_FILE).write_text(json.dumps(profile))
    return str(folder)
