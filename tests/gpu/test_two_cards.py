"""Two CUDA cards and one clip: the same frames as on one card, by the command that also times it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA cards"),
]


def test_two_cards_give_the_frames_of_one(tmp_path: Path) -> None:
    output = tmp_path / "two-cards.json"
    command = [sys.executable, "-m", "loadtest.two_cards", "--shapes", "256p/8,512p/16", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    rows = json.loads(output.read_text())["rows"]
    assert [row["levels_apart"] for row in rows] == [0, 0]
