"""Compiled kernels on disk: where they are kept for the next process, and how many had to be compiled all the same.

Knows nothing of models or cards.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "TRITON_CACHE_DIR"
OnCompile = Callable[[str], object]
"""(the kernel's name)"""


def keep_in(folder: Path) -> Path:
    """Have this process find compiled kernels in `folder` and leave new ones there; where they are.

    To be called before the first kernel is. Triton's own variable goes first where it is set.
    """
    chosen = Path(os.environ.setdefault(VARIABLE, str(folder)))
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def tell(on_compile: OnCompile) -> None:
    """Have `on_compile` told of each kernel that is compiled from now on, not of those that are found on disk."""
    if importlib.util.find_spec("triton") is None:
        return
    knobs = importlib.import_module("triton").knobs

    def listen(*, src: Any, cache_hit: bool, **_: Any) -> None:
        if not cache_hit:
            on_compile(str(src.name))

    knobs.compilation.listener = listen


def kept(folder: Path) -> int:
    """How many kernels lie in `folder`."""
    return sum(1 for _ in folder.glob("*/*.cubin"))
