"""Where a step of the engine spends its time, and the least that it could: operations by kind, beside the card's rates.

    python -m loadtest.roofline [--shapes 768p/24,1024p/32] [--output roofline.json]
    python -m loadtest.roofline --tflops 640 --gbps 4200

The full architecture with random weights, one guided float16 step, run plainly. An operation's least is its
arithmetic at the rate that the card keeps up in large products, or its reads and writes at the rate of large copies,
whichever takes longer. The sum over all is about the least that these operations can take: a step that is to be
faster needs others. Both rates are measured first, for seconds each: a card's power may not leave it its best, and
what takes less power may take less than its least. With both given no card is needed: the operations are counted,
those of Hopper's kernels but for upsampling (which then comes before its convolution), and none is timed. Those that
are furthest from their least follow, by the shapes of what they take; all are in the JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.engine import CUDA, SHAPES, SUSTAINED_S, inputs, matmul_tflops, milliseconds
from loadtest.operations import Operations
from serving.engine import kernels, random_weights
from serving.engine.unet import UNet

K = TypeVar("K", bound=Hashable)
ROUNDS = 5
MOST = 15
"""Operations that are named by their shapes."""
LARGE = ("768p/24", "1024p/32")
"""Shapes whose operations take long enough for what looks at them to keep ahead of the card."""
META = torch.device("meta")
COPIED_BYTES = 2**30


@dataclass(frozen=True)
class Rates:
    """What a card keeps up."""

    tflops: float
    gbps: float
    """Gigabytes (10^9) a second, read and written together."""


@dataclass(frozen=True)
class Row:
    """Operations of one kind in a step, all or those that take tensors of the same shapes."""

    kind: str
    shapes: str
    calls: int
    tflop: float
    gb: float
    least_ms: float
    ms: float | None
    """Medians of several steps, summed; None where nothing is timed."""


@dataclass(frozen=True)
class Step:
    """One step, operation by operation."""

    rows: list[Row]
    """By kind and shapes."""
    ms: float | None
    """Of a step in which nothing is looked at, median."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", help=f"of {', '.join(SHAPES)}; timed are {', '.join(LARGE)}")
    parser.add_argument("--tflops", type=float, help="of large float16 products; with --gbps no card is needed")
    parser.add_argument("--gbps", type=float, help="of copies, read and written together, in 10^9 bytes a second")
    parser.add_argument("--output", type=Path, default=Path("roofline.json"))
    args = parser.parse_args()
    if (args.tflops is None) != (args.gbps is None):
        parser.error("--tflops and --gbps go together.")
    timed = args.tflops is None
    if not timed and min(args.tflops, args.gbps) <= 0:
        parser.error("--tflops and --gbps: use numbers above 0.")
    shapes = args.shapes.split(",") if args.shapes else LARGE if timed else tuple(SHAPES)
    if unknown := set(shapes) - set(SHAPES):
        parser.error(f"--shapes: {', '.join(sorted(unknown))}; there are {', '.join(SHAPES)}.")
    if timed and (small := set(shapes) - set(LARGE)):
        parser.error(f"--shapes: operations of {', '.join(small)} are too short to be timed one by one; count them.")
    if timed and not torch.cuda.is_available():
        parser.error("there is no CUDA card: give --tflops and --gbps to count for one.")
    console = Console()
    with torch.no_grad():
        if timed:
            device, rates = CUDA, Rates(matmul_tflops(SUSTAINED_S), copy_gbps(SUSTAINED_S))
        else:
            device, rates = META, Rates(args.tflops, args.gbps)
        console.print(f"{rates.tflops:.0f} TFLOP/s, {rates.gbps:.0f} GB/s kept up")
        unet, steps = UNet(build(device)), {}
        for name in shapes:
            steps[name] = look(unet, SHAPES[name], rates)
            console.print(table_of(name, steps[name]))
            if timed:
                console.print(furthest(steps[name]))
    about = {
        "card": torch.cuda.get_device_name() if timed else None,
        "torch": torch.__version__,
        "rates": asdict(rates),
        "steps": {name: asdict(step) for name, step in steps.items()},
    }
    args.output.write_text(json.dumps(about, indent=2))


def build(device: torch.device) -> Any:
    """The published architecture, float16."""
    if device == META:
        with device:
            module = diffusers.I2VGenXLUNet(**random_weights.I2VGEN_XL.unet)
    else:
        module = random_weights.build(random_weights.I2VGEN_XL, device)["unet"]
    return module.half().eval().requires_grad_(False)


def look(unet: UNet, cells: tuple[int, int, int], rates: Rates) -> Step:
    """At one guided step."""
    conditioning, latents = inputs(cells, 0, torch.float16, unet.device)
    timestep = torch.tensor(501, device=unet.device)
    with kernels.outlined():
        step = partial(unet, latents, timestep, unet.prepare(conditioning))
        if unet.device == META:
            return Step(rows_of([counted(step)], rates), None)
        for _ in range(2):
            step()  # compiles kernels, chooses algorithms
        ms = statistics.median(milliseconds(step) for _ in range(ROUNDS))
        rounds = [counted(step) for _ in range(ROUNDS)]
        torch.cuda.synchronize()
        return Step(rows_of(rounds, rates), ms)


def counted(step: partial[torch.Tensor]) -> Operations:
    with Operations() as operations:
        step()
    return operations


def rows_of(rounds: Sequence[Operations], rates: Rates) -> list[Row]:
    """By kind and shapes, of rounds that did the same."""
    found = []
    for same in zip(*(each.done for each in rounds), strict=True):
        one = same[0]
        tflop, gb = one.flop / 1e12, one.moved / 1e9
        least = 1000 * max(tflop / rates.tflops, gb / rates.gbps)
        ms = statistics.median(each.ms for each in same) if one.spent else None
        found.append(Row(one.kind, one.shapes, 1, tflop, gb, least, ms))
    return [total(rows, *key) for key, rows in grouped(found, lambda row: (row.kind, row.shapes)).items()]


def grouped(rows: Iterable[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    found: dict[K, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def total(rows: Sequence[Row], kind: str, shapes: str = "") -> Row:
    times = [row.ms for row in rows if row.ms is not None]
    return Row(
        kind,
        shapes,
        sum(row.calls for row in rows),
        sum(row.tflop for row in rows),
        sum(row.gb for row in rows),
        sum(row.least_ms for row in rows),
        sum(times) if times else None,
    )


def table_of(name: str, step: Step) -> Table:
    """By kind, what takes longest first."""
    rows = [total(rows, kind) for kind, rows in grouped(step.rows, lambda row: row.kind).items()]
    rows.sort(key=lambda row: row.ms or row.least_ms, reverse=True)
    title = name if step.ms is None else f"{name}: a step takes {step.ms:.1f} ms"
    return _table(title, [*rows, total(rows, "all")], timed=step.ms is not None)


def furthest(step: Step) -> Table:
    rows = sorted(step.rows, key=lambda row: (row.ms or 0.0) - row.least_ms, reverse=True)
    return _table("furthest from their least", rows[:MOST], timed=True)


def _table(title: str, rows: Iterable[Row], *, timed: bool) -> Table:
    heads = ["kind", "calls", "TFLOP", "GB", "least ms", *(["ms", "of least", "TFLOP/s", "GB/s"] if timed else [])]
    table = Table(*heads, title=title, box=box.SIMPLE)
    for row in rows:
        name = f"{row.kind} {row.shapes}".strip()
        cells = [name, f"{row.calls}", f"{row.tflop:.2f}", f"{row.gb:.2f}", f"{row.least_ms:.2f}"]
        if row.ms is not None:
            rates = (1000 * row.tflop / row.ms, 1000 * row.gb / row.ms)
            cells += [f"{row.ms:.2f}", f"{row.least_ms / row.ms:.0%}", *(f"{rate:.0f}" for rate in rates)]
        table.add_row(*cells)
    return table


def copy_gbps(seconds: float) -> float:
    """The card's rate of copies, read and written together: the median of the last half of so long."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=CUDA)
    target = torch.empty_like(source)
    times: list[float] = []
    until = time.monotonic() + seconds
    while not times or time.monotonic() < until:
        times.append(milliseconds(lambda: target.copy_(source)))
    return 2 * COPIED_BYTES / statistics.median(times[len(times) // 2 :]) / 1e6


if __name__ == "__main__":
    main()
