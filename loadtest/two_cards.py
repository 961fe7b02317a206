"""One clip on one card and on two: milliseconds of a guided step, and whether the frames are the same.

    python -m loadtest.two_cards [--shapes 512p/16,768p/24,1024p/32] [--steps 12] [--output two-cards.json]
    python -m loadtest.two_cards --device cpu --model builtin --shapes 64x64/2

The second card has a process of its own, as in the service, and whole clips are made: "half" is a step without
guidance, so what two cards take beyond it is the exchange. Of each way one clip warms up, then all take turns; a
step's time is its clip's denoising over the number of steps, and the median of the clips. The frames of two cards must
be those of the halves in sequence on one, or the exit code is 1. A CPU shows no more than that all of it works.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from loadtest.peaks import request_of
from serving.engine.contract import Clip
from serving.engine.link import Door, Meeting
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.presets import RANDOM
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS

LOOPBACK = "127.0.0.1"
SHAPES = ("512p/16", "768p/24", "1024p/32")
ROUNDS = 3
START_S = 300.0
SEQUENTIAL = next(plan for plan in PLANS if plan.sequential)
Meet = Callable[[VideoRequest], Meeting]


@dataclass(frozen=True)
class Row:
    """Medians of one step, milliseconds."""

    shape: str
    one_ms: float
    sequential_ms: float
    half_ms: float
    two_ms: float
    shared_steps: int
    levels_apart: int
    """The worst difference, of 255, between the frames of two cards and those of the halves in sequence on one."""

    @property
    def ratio(self) -> float:
        return self.one_ms / self.two_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="such as 512p/16 or 704x1280/9")
    parser.add_argument("--steps", type=int, default=12, help="of a clip")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default=RANDOM, help="a model setting; random weights by default")
    parser.add_argument("--output", type=Path, default=Path("two-cards.json"))
    parser.add_argument("--assist", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cpu":
        torch.set_num_threads(1)
    elif not args.assist and torch.cuda.device_count() < 2:
        raise SystemExit("two CUDA cards are needed, or --device cpu")
    pipeline = Pipeline.load(locate(args.model), device=args.device)
    if args.assist:
        assist(pipeline)
        return
    with second_card(args.device, args.model) as meet:
        rows = [measure(pipeline, meet, shape, args.steps) for shape in args.shapes.split(",")]
    Console().print(table_of(rows, pipeline.card.name))
    about = {"card": pipeline.card.name, "torch": torch.__version__, "steps": args.steps, "rounds": ROUNDS}
    about["rows"] = [asdict(row) | {"ratio": row.ratio} for row in rows]
    args.output.write_text(json.dumps(about, indent=2))
    same = all(row.levels_apart == 0 and row.shared_steps == args.steps for row in rows)
    print(f"the frames are {'the same' if same else 'NOT the same'}; {args.output}")
    raise SystemExit(not same)


@contextmanager
def second_card(device: str, model: str) -> Iterator[Meet]:
    """Asks a process with the second card to wait for one clip."""
    environment = dict(os.environ)
    if device != "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = (os.environ.get("CUDA_VISIBLE_DEVICES") or "0,1").split(",")[1]
    command = [sys.executable, "-m", "loadtest.two_cards", "--assist", "--device", device, "--model", model]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    asked, answers = process.stdin, process.stdout
    assert asked is not None
    assert answers is not None

    def meet(request: VideoRequest) -> Meeting:
        print(request.model_dump_json(), file=asked, flush=True)
        port, key = answers.readline().split()
        return Meeting(LOOPBACK, int(port), bytes.fromhex(key))

    try:
        yield meet
    finally:
        asked.close()
        process.wait(60)


def assist(pipeline: Pipeline) -> None:
    """The second process: for each request that comes in, help with its clip."""
    for line in sys.stdin:
        request = VideoRequest.model_validate_json(line)
        with Door(LOOPBACK) as door:
            print(door.meeting.port, door.meeting.key.hex(), flush=True)
            with door.accept(START_S, lambda: False) as link:
                pipeline.assist(link, request)


def measure(pipeline: Pipeline, meet: Meet, shape: str, steps: int) -> Row:
    guided = request_of(pipeline, shape, steps)
    picture = noise(guided.width, guided.height)
    ways: dict[str, Callable[[], Clip]] = {
        "one": lambda: pipeline.generate(picture, guided),
        "sequential": lambda: pipeline.generate(picture, guided, plan=SEQUENTIAL),
        "half": lambda: pipeline.generate(picture, guided.model_copy(update={"guidance_scale": 1.0})),
        "two": lambda: pipeline.generate(picture, guided, meeting=meet(guided)),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    clips: dict[str, Clip] = {}
    for counts in [False] + [True] * ROUNDS:
        for name, render in ways.items():
            clips[name] = render()
            if counts:
                spent[name].append(clips[name].timings["denoise"] / steps * 1000)
    pipeline.replay.clear()
    apart = np.abs(clips["two"].frames.astype(int) - clips["sequential"].frames).max()
    medians = {f"{name}_ms": statistics.median(times) for name, times in spent.items()}
    return Row(shape, **medians, shared_steps=clips["two"].shared_steps, levels_apart=int(apart))


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def table_of(rows: list[Row], card: str) -> Table:
    heads = ("shape", "one card", "halves in sequence", "half", "two cards", "faster", "levels apart")
    table = Table(*heads, title=f"ms of one guided step, {card}")
    for row in rows:
        times = (f"{value:.1f}" for value in (row.one_ms, row.sequential_ms, row.half_ms, row.two_ms))
        table.add_row(row.shape, *times, f"{row.ratio:.2f} x", str(row.levels_apart))
    return table


if __name__ == "__main__":
    main()
