"""Whether a clip takes the memory that was predicted: every memory plan under a hard cap on the allocator.

    python -m loadtest.peaks [--shapes 256p/8,512p/16] [--steps 2] [--output peaks.json]
    python -m loadtest.peaks --device cpu --model builtin --shapes 64x64/2

The full architecture with random weights makes whole clips. In each shape every plan runs under a cap of what placement
says that a card must have for it; then the named shapes run on cards of 8, 12 and 24 GB (of 10^9 bytes, as cards are
sold) by the plan that placement chooses for them. Everything else is in GiB (2^30 bytes), and of the allocator, whose
cap is the card less what placement grants the driver (DRIVER_GIB); what the driver really keeps is shown at the end.
A row passes where the clip was made by the plan asked for, within the
cap, and its peak is at most what was predicted. Latents are compared with those of a clip by the first plan, without a
cap. Rows are written as they come; the exit code is 1 where one did not pass.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from serving.engine.contract import Clip
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.parameters import VideoParameters
from serving.presets import RANDOM
from serving.request import VideoRequest, resolve
from serving.scheduling.plans import (
    DRIVER_GIB,
    PLANS,
    MemoryPlan,
    decode_chunk,
    largest_fitting,
    needed_gib,
    stages_gib,
)

GB, GIB = 10**9, 2**30
SHAPES = (
    "256p/8",
    "512p/16",
    "512p/16/unguided",
    "768p/24",
    "768p/16/unguided",
    "1368x768/12",
    "768x1368/12",
    "1024p/8/unguided",
    "1024p/32",
)
CARDS = (("512p/16", 8), ("1024p/32", 24), ("1024p/32", 12))
"""Shapes, and the GB of the cards that they are to fit."""
GUIDANCE = 9.0


@dataclass(frozen=True)
class Row:
    """One clip; memory in GiB."""

    shape: str
    plan: str
    decode_chunk: int
    cap_gib: float | None
    """Of the allocator; None where there was none: on a CPU."""
    card_gb: int | None
    """The card that the cap stands for; None where it is what the plan needs."""
    predicted_gib: float
    predicted_stages_gib: dict[str, float]
    failure: str | None = None
    """Why there is no clip, or not the right one."""
    allocated_gib: float | None = None
    """The most that tensors took."""
    reserved_gib: float | None = None
    """The most that the allocator took."""
    stages_gib: dict[str, float] | None = None
    """`allocated_gib` by stage."""
    seconds: float | None = None
    latent_error: float | None = None
    """Relative to the latents of the first plan."""
    latents_apart: float | None = None
    """Largest absolute difference from them."""
    levels_apart: int | None = None
    """The same of the frames, of 255."""

    @property
    def over(self) -> float | None:
        """How much more was predicted than the tensors took, relative."""
        return None if self.allocated_gib is None else self.predicted_gib / self.allocated_gib - 1

    @property
    def passed(self) -> bool:
        return self.failure is None and (self.over is None or self.over >= 0)


@dataclass(frozen=True)
class Made:
    clip: Clip
    latents: torch.Tensor
    seconds: float


class Watched(Pipeline):
    """Keeps the latents of its last clip."""

    latents: torch.Tensor

    def _decode(self, latents: torch.Tensor, *rest: Any) -> Any:
        self.latents = latents.float().cpu()
        return super()._decode(latents, *rest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="such as 512p/16 or 704x1280/9/unguided")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default=RANDOM, help="a model setting; random weights by default")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("peaks.json"))
    args = parser.parse_args()
    pipeline = Watched.load(locate(args.model), device=args.device)
    assert isinstance(pipeline, Watched)
    rows: list[Row] = []
    console = Console(width=160)
    for row in rows_of(pipeline, args.shapes.split(","), args.steps):
        rows.append(row)
        console.print(f"{'ok' if row.passed else 'FAILED'}: {row}", highlight=False)
        about: dict[str, Any] = {"card": pipeline.card.name, "torch": torch.__version__, "steps": args.steps}
        about["driver_gib"] = driver_gib(pipeline)
        about["rows"] = [asdict(each) | {"over": each.over, "passed": each.passed} for each in rows]
        args.output.write_text(json.dumps(about, indent=2))
    console.print(table_of(rows, pipeline.card.name))
    console.print(f"GiB that the driver keeps: {_shown(driver_gib(pipeline), '.2f')}; granted: {DRIVER_GIB}")
    failed = sum(not row.passed for row in rows)
    console.print(f"{len(rows) - failed} of {len(rows)} rows passed; {args.output}")
    raise SystemExit(failed > 0)


def rows_of(pipeline: Watched, shapes: list[str], steps: int) -> Iterator[Row]:
    memory_bytes = pipeline.card.memory_bytes
    for name in shapes:
        request = request_of(pipeline, name, steps)
        cost, shape = pipeline.weights.profile.cost, request.shape
        try:
            true = made(pipeline, request, PLANS[0])  # also builds what the first clip of a shape needs
        except Exception as error:
            chunk = decode_chunk(PLANS[0], shape, cost, memory_bytes / GIB)
            yield replace(planned(name, request, pipeline, PLANS[0], chunk, None, None), failure=brief(error))
            continue
        wanted: list[tuple[MemoryPlan | None, float, int | None]] = [
            (plan, needed_gib(plan, shape, cost), None) for plan in PLANS if shape.guided or not plan.sequential
        ]
        wanted += [
            (largest_fitting(shape, cost, gb * GB / GIB), gb * GB / GIB, gb) for each, gb in CARDS if each == name
        ]
        for plan, cap_gib, card_gb in wanted:
            if plan is None:
                chunk = decode_chunk(PLANS[-1], shape, cost, cap_gib)
                row = planned(name, request, pipeline, PLANS[-1], chunk, cap_gib, card_gb)
                yield replace(row, failure="placement finds no plan")
            else:
                yield measured(pipeline, name, request, plan, cap_gib, card_gb, true)
        pipeline.replay.clear()


def measured(
    pipeline: Watched,
    name: str,
    request: VideoRequest,
    plan: MemoryPlan,
    cap_gib: float,
    card_gb: int | None,
    true: Made,
) -> Row:
    on_card = pipeline.device.type == "cuda"
    chunk = decode_chunk(plan, request.shape, pipeline.weights.profile.cost, cap_gib if on_card else None)
    row = planned(name, request, pipeline, plan, chunk, cap_gib - DRIVER_GIB if on_card else None, card_gb)
    try:
        with card_of(pipeline, cap_gib):
            ours = made(pipeline, request, plan)
            reserved = torch.cuda.max_memory_reserved() / GIB if on_card else None
    except Exception as error:
        return replace(row, failure=brief(error))
    difference = ours.latents - true.latents
    return replace(
        row,
        failure=None if ours.clip.plan == plan.name else f"it ran by {ours.clip.plan}",
        allocated_gib=None if ours.clip.peak_memory_bytes is None else ours.clip.peak_memory_bytes / GIB,
        reserved_gib=reserved,
        stages_gib={stage: peak / GIB for stage, peak in ours.clip.peaks.items()},
        seconds=ours.seconds,
        latent_error=float(difference.norm() / true.latents.norm()),
        latents_apart=float(difference.abs().max()),
        levels_apart=int(np.abs(ours.clip.frames.astype(int) - true.clip.frames).max()),
    )


def planned(
    name: str,
    request: VideoRequest,
    pipeline: Pipeline,
    plan: MemoryPlan,
    chunk: int,
    cap_gib: float | None,
    card_gb: int | None,
) -> Row:
    stages = stages_gib(plan, request.shape, pipeline.weights.profile.cost, chunk)
    return Row(name, plan.name, chunk, cap_gib, card_gb, max(stages.values()), stages)


def made(pipeline: Watched, request: VideoRequest, plan: MemoryPlan) -> Made:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (request.height, request.width, 3), np.uint8))
    pipeline.encoders.clear()  # else a clip of the same picture would not have to encode it
    pipeline.replay.clear()
    if pipeline.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    clip = pipeline.generate(picture, request, plan=plan)
    return Made(clip, pipeline.latents, time.perf_counter() - began)


@contextmanager
def card_of(pipeline: Pipeline, gib: float) -> Iterator[None]:
    """As on a card of so many GiB, less what placement grants the driver."""
    if pipeline.device.type != "cuda":
        yield
        return
    cap = int((gib - DRIVER_GIB) * GIB)
    card, total = pipeline.card, torch.cuda.get_device_properties(pipeline.device).total_memory
    pipeline.card = replace(card, memory_bytes=int(gib * GIB))
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total), pipeline.device)
    try:
        yield
    finally:
        pipeline.card = card
        torch.cuda.set_per_process_memory_fraction(1.0, pipeline.device)
        torch.cuda.empty_cache()


def driver_gib(pipeline: Pipeline) -> float | None:
    """What of the card is taken, and not by the allocator; other processes would be in it too."""
    if pipeline.device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(pipeline.device)
    return (total - free - torch.cuda.memory_reserved(pipeline.device)) / GIB


def request_of(pipeline: Pipeline, name: str, steps: int) -> VideoRequest:
    size, frames, *unguided = name.split("/")
    width, height = (int(side) for side in (size.split("x") if "x" in size else [size.removesuffix("p")] * 2))
    changes = {"width": width, "height": height, "num_frames": int(frames), "num_inference_steps": steps}
    guidance = {"guidance_scale": 1.0 if unguided else GUIDANCE}
    usual = resolve(VideoParameters(prompt="a slow pan"), pipeline.weights.profile, seed=0)
    return usual.model_copy(update={**changes, **guidance})


def brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def table_of(rows: list[Row], card: str) -> Table:
    heads = ("shape", "plan", "cap", "predicted", "allocated", "over", "reserved", "s", "latent error", "levels", "")
    table = Table(*heads, title=f"memory of whole clips, GiB, {card}")
    for row in rows:
        cap = "" if row.cap_gib is None else f"{row.cap_gib:.2f}" + (f" ({row.card_gb} GB)" if row.card_gb else "")
        table.add_row(
            row.shape,
            f"{row.plan}, decodes {row.decode_chunk}",
            cap,
            f"{row.predicted_gib:.2f}",
            _shown(row.allocated_gib, ".2f"),
            _shown(row.over, ".0%"),
            _shown(row.reserved_gib, ".2f"),
            _shown(row.seconds, ".1f"),
            _shown(row.latent_error, ".1e"),
            _shown(row.levels_apart, "d"),
            row.failure or ("" if row.passed else "more than predicted"),
        )
    return table


def _shown(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


if __name__ == "__main__":
    main()
