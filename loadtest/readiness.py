"""Seconds from a process's start until its card can take a job, without and with compiled kernels on disk.

    python -m loadtest.readiness [--shape 512p/16] [--output readiness.json]
    python -m loadtest.readiness --device cpu --model builtin --shape 64x64/2

Two fresh processes, one after the other, over one kernel cache that is empty at first. Each loads the model (random
weights by default, which takes longer than reading them), warms up as a replica does, and then makes a clip of a shape
that it never saw: no compiler holds it up where nothing is compiled. The exit code is 1 where the second process
compiled anything, or was not ready within a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from serving.engine import kernel_cache
from serving.presets import RANDOM

READY_S = 60.0
LIMIT_S = 280.0


@dataclass(frozen=True)
class Start:
    """One process; seconds from its beginning."""

    imported_s: float
    loaded_s: float
    ready_s: float
    compiled: int
    """Kernels compiled until then."""
    clip_s: float
    """Of a clip of two steps of the other shape, by itself."""
    again_s: float
    """Of the same once more."""
    compiled_for_clip: int
    kept: int
    """Kernels on disk at the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="512p/16", help="of the clip after the warm-up")
    parser.add_argument("--device", default=None, help="cuda where there is a card, else cpu")
    parser.add_argument("--model", default=RANDOM, help="a model setting; random weights by default")
    parser.add_argument("--cache", type=Path, help="a kernel cache to begin with; an empty one by default")
    parser.add_argument("--output", type=Path, default=Path("readiness.json"))
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.began is not None:
        print(json.dumps(asdict(start(args))))
        return
    with tempfile.TemporaryDirectory() as empty:
        starts = [child(args, args.cache or Path(empty)) for _ in range(2)]
    args.output.write_text(json.dumps([asdict(each) for each in starts], indent=2))
    Console().print(table_of(starts))
    passes = starts[-1].compiled == starts[-1].compiled_for_clip == 0 and starts[-1].ready_s <= READY_S
    print(f"{'passes' if passes else 'FAILS'}; {args.output}")
    raise SystemExit(not passes)


def child(args: argparse.Namespace, cache: Path) -> Start:
    """A fresh process over `cache`."""
    options = ["--shape", args.shape, "--model", args.model, "--cache", str(cache)]
    options += [] if args.device is None else ["--device", args.device]
    command = [sys.executable, "-m", "loadtest.readiness", *options, "--began", str(time.time())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True)
    return Start(**json.loads(done.stdout.splitlines()[-1]))


def start(args: argparse.Namespace) -> Start:
    """What a replica does."""
    kernel_cache.keep_in(args.cache)
    compiled: list[str] = []
    kernel_cache.tell(compiled.append)
    import torch

    from loadtest.peaks import request_of
    from loadtest.two_cards import noise
    from serving.engine.pipeline import Pipeline
    from serving.engine.weights import locate

    imported = time.time()
    pipeline = Pipeline.load(locate(args.model), device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    loaded = time.time()
    pipeline.warm_up()
    ready, before = time.time(), len(compiled)
    request = request_of(pipeline, args.shape, 2)

    def clip_s() -> float:
        began = time.perf_counter()
        pipeline.generate(noise(request.width, request.height), request)
        return time.perf_counter() - began

    return Start(
        imported_s=imported - args.began,
        loaded_s=loaded - args.began,
        ready_s=ready - args.began,
        compiled=before,
        clip_s=clip_s(),
        again_s=clip_s(),
        compiled_for_clip=len(compiled) - before,
        kept=kernel_cache.kept(args.cache),
    )


def table_of(starts: list[Start]) -> Table:
    table = Table("cache", "imported", "loaded", "ready", "compiled", "clip", "again", "compiled for it", "kept")
    for name, each in zip(("as it was", "warm"), starts, strict=True):
        times = (f"{value:.1f} s" for value in (each.imported_s, each.loaded_s, each.ready_s))
        clips = (f"{each.clip_s:.2f} s", f"{each.again_s:.2f} s", str(each.compiled_for_clip), str(each.kept))
        table.add_row(name, *times, str(each.compiled), *clips)
    return table


if __name__ == "__main__":
    main()
