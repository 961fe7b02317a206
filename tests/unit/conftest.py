"""A model for tests that run all of a clip, or several; and how Hypothesis works here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from serving.presets import BUILTIN_FOLDER, PROFILE_FILE

# The same examples at every run, however long they take: what a test finds depends on the code alone.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


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
