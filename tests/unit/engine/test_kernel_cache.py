"""Kernels compiled by one process are found by the next; compiled for a card that need not be there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.engine import kernel_cache

SCRIPT = """
import json, sys
from pathlib import Path
from serving.engine import kernel_cache

kernel_cache.keep_in(Path(sys.argv[1]))
told = []
kernel_cache.tell(told.append)
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def doubled(x, count):
    lane = tl.arange(0, 32)
    tl.store(x + lane, 2 * tl.load(x + lane, mask=lane < count), mask=lane < count)

signature = {"x": "*fp32", "count": "i32"}
triton.compile(ASTSource(fn=doubled, signature=signature, constexprs={}), target=GPUTarget("cuda", 90, 32))
print(json.dumps(told))
"""


def test_the_next_process_compiles_nothing(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}

    def told(folder: str) -> object:
        command = [sys.executable, "script.py", folder]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert kernel_cache.kept(tmp_path / "one") == 0
    assert told("one") == ["doubled"]
    assert kernel_cache.kept(tmp_path / "one") == 1
    assert told("one") == []


def test_tritons_own_variable_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel_cache.VARIABLE, str(tmp_path / "own"))
    assert kernel_cache.keep_in(tmp_path / "ours") == tmp_path / "own"
    monkeypatch.delenv(kernel_cache.VARIABLE)
    assert kernel_cache.keep_in(tmp_path / "ours") == tmp_path / "ours"
    assert os.environ[kernel_cache.VARIABLE] == str(tmp_path / "ours")
