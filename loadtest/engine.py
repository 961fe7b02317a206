"""The engine beside diffusers on one CUDA card: how exact, how fast, and how near the arithmetic's floor.

    python -m loadtest.engine [--shapes 256p/8,512p/16] [--compiled] [--output engine.json]

Both run the full architecture with random weights; no published ones are needed. Exactness: one guided step's
prediction, and the latents after ten steps, in float16, each against diffusers in float32 without TF32; ours passes
where its error is at most 1.1 times that of diffusers in float16. Speed: one process, the same weights and inputs, the
paths in turn again and again, CUDA events, medians. The floor is the stock forward's counted operations at the card's
rate in a large matrix product, measured in the same run; what of that rate the card keeps up for seconds, which its
power may limit, stands beside it. A plot stands beside the JSON.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from loadtest.engine_report import Exactness, Speed, plot, speed_table, table_of
from serving.engine import kernels, random_weights, sampler
from serving.engine.conditioning import Conditioning
from serving.engine.replay import Replay
from serving.engine.unet import UNet
from serving.presets import I2VGEN_XL
from serving.scheduling.accelerations import EXACT as EXACT_STEP
from serving.scheduling.accelerations import Step
from serving.scheduling.cost import Shape, tflop

CUDA = torch.device("cuda")
SHAPES = {
    "256p/8": (8, 32, 32),
    "512p/16": (16, 64, 64),
    "768p/24": (24, 96, 96),
    "1024p/32": (32, 128, 128),
}
"""Frames and latent cells of the shapes that are timed."""
EXACT = {"256p/8": (8, 32, 32), "704x1280/9": (9, 88, 160), "200x280/5": (5, 25, 35), "512p/1": (1, 64, 64)}
"""Of those that are compared: among them sides not divisible by 64, an odd number of frames, and one."""
SEEDS = (0, 1)
PASSES = 1.1
STEPS = 10
ROUNDS = 5
SUSTAINED_S = 5.0
GUIDANCE = 9.0


@dataclass(frozen=True)
class Subject:
    """The same weights as diffusers runs them in float32 and in float16, and as we do in float16."""

    exact: Any
    stock: Any
    ours: Replay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="which are timed")
    parser.add_argument("--compiled", action="store_true", help="also torch.compile of diffusers: minutes a shape")
    parser.add_argument("--output", type=Path, default=Path("engine.json"))
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    console = Console()
    subject = build()
    with torch.inference_mode():
        exactness = [row for name in EXACT for row in compare(subject, name)]
        exactness.append(compare_latents(subject, "256p/8"))
        subject = replace(subject, exact=None)
        rate, sustained = matmul_tflops(), matmul_tflops(SUSTAINED_S)
        speeds = [time_paths(subject, name, rate, compiled=args.compiled) for name in args.shapes.split(",")]
    console.print(table_of(exactness), speed_table(speeds, rate, sustained))
    card = torch.cuda.get_device_name()
    about = {
        "card": card,
        "torch": torch.__version__,
        "kernels": kernels.path(CUDA),
        "matmul_tflops": rate,
        "sustained_matmul_tflops": sustained,
        "exactness": [asdict(row) | {"ratio": row.ratio} for row in exactness],
        "speed": [asdict(row) for row in speeds],
    }
    args.output.write_text(json.dumps(about, indent=2))
    plot(speeds, card, args.output.with_suffix(".png"))
    worst = max(row.ratio for row in exactness)
    console.print(f"worst error ratio {worst:.2f} ({'passes' if worst <= PASSES else 'FAILS'}); {args.output}")
    raise SystemExit(worst > PASSES)


def build() -> Subject:
    unet = random_weights.build(random_weights.I2VGEN_XL, CUDA)["unet"].eval().requires_grad_(False)
    stock = copy.deepcopy(unet).half()
    return Subject(unet, stock, Replay(UNet(copy.deepcopy(stock))))


def inputs(
    cells: tuple[int, int, int], seed: int, dtype: torch.dtype, device: torch.device = CUDA
) -> tuple[Conditioning, torch.Tensor]:
    """A guided request's conditioning and latents, the same numbers in every dtype."""
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device).half().to(dtype)

    conditioning = Conditioning(
        text=noise(2, 77, 1024),
        image=noise(2, 1, 1024),
        image_latents=noise(1, 4, *cells).repeat(2, 1, 1, 1, 1),
        fps=torch.full((2,), 8, device=device),
        noise=noise(1, 4, *cells),
    )
    return conditioning, noise(1, 4, *cells)


def stock_predictor(unet: Any, conditioning: Conditioning) -> sampler.Predict:
    """diffusers' own forward of both halves at once."""

    def predict(latents: torch.Tensor, timestep: torch.Tensor, step: Step) -> torch.Tensor:
        prediction: torch.Tensor = unet(
            latents.repeat(2, 1, 1, 1, 1),
            timestep,
            encoder_hidden_states=conditioning.text,
            fps=conditioning.fps,
            image_latents=conditioning.image_latents,
            image_embeddings=conditioning.image,
            return_dict=False,
        )[0]
        return prediction

    return predict


def compare(subject: Subject, name: str) -> list[Exactness]:
    """One step's prediction: both halves, and what guidance makes of them."""
    errors: dict[str, list[tuple[float, float]]] = {"halves": [], "guided": []}
    timestep = torch.tensor(501, device=CUDA)
    for seed in SEEDS:
        full, latents = inputs(EXACT[name], seed, torch.float32)
        exact = stock_predictor(subject.exact, full)(latents, timestep, EXACT_STEP)
        half, latents = inputs(EXACT[name], seed, torch.float16)
        stock = stock_predictor(subject.stock, half)(latents, timestep, EXACT_STEP).float()
        ours = sampler.unet_predictor(subject.ours, half)(latents, timestep, EXACT_STEP).float()
        errors["halves"].append((error(stock, exact), error(ours, exact)))
        stock, ours, exact = (sampler.guide(each, GUIDANCE) for each in (stock, ours, exact))
        errors["guided"].append((error(stock, exact), error(ours, exact)))
    return [Exactness(name, what, *map(max, zip(*pairs, strict=True))) for what, pairs in errors.items()]


def compare_latents(subject: Subject, name: str) -> Exactness:
    """The latents at the end of a short clip; our steps from the third on are replayed."""

    def latents(make: Callable[[Conditioning], sampler.Predict], dtype: torch.dtype) -> torch.Tensor:
        conditioning, _ = inputs(EXACT[name], SEEDS[0], dtype)
        return sampler.denoise(
            make(conditioning),
            conditioning.noise,
            random_weights.scheduler(random_weights.I2VGEN_XL),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=torch.Generator(),
            on_step=lambda step, steps: None,
            should_stop=lambda: False,
        ).float()

    exact = latents(lambda conditioning: stock_predictor(subject.exact, conditioning), torch.float32)
    stock = latents(lambda conditioning: stock_predictor(subject.stock, conditioning), torch.float16)
    ours = latents(lambda conditioning: sampler.unet_predictor(subject.ours, conditioning), torch.float16)
    return Exactness(name, f"latents after {STEPS} steps", error(stock, exact), error(ours, exact))


def error(x: torch.Tensor, exact: torch.Tensor) -> float:
    return float((x - exact).norm() / exact.norm())


def time_paths(subject: Subject, name: str, rate: float, *, compiled: bool) -> Speed:
    """Every path in turn, `ROUNDS` times."""
    conditioning, latents = inputs(SHAPES[name], SEEDS[0], torch.float16)
    timestep = torch.tensor(501, device=CUDA)
    predictors = {
        "stock": stock_predictor(subject.stock, conditioning),
        "plain": sampler.unet_predictor(Replay(subject.ours.unet, record=False), conditioning),
        "replayed": sampler.unet_predictor(subject.ours, conditioning),
    }
    compile_s = None
    if compiled:
        torch.compiler.reset()
        predictors["compiled"] = stock_predictor(torch.compile(subject.stock, dynamic=False), conditioning)
        began = time.perf_counter()
        predictors["compiled"](latents, timestep, EXACT_STEP)
        torch.cuda.synchronize()
        compile_s = time.perf_counter() - began
    peaks: dict[str, float] = {}
    for path, predict in predictors.items():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        predict(latents, timestep, EXACT_STEP)
        peaks[path] = (torch.cuda.max_memory_allocated() - before) / 2**30
        for _ in range(2):
            predict(latents, timestep, EXACT_STEP)  # the second is timed, the third recorded
    spent: dict[str, list[float]] = {path: [] for path in predictors}
    for _ in range(ROUNDS):
        for path, predict in predictors.items():
            spent[path].append(milliseconds(partial(predict, latents, timestep, EXACT_STEP)))
    subject.ours.clear()
    torch.cuda.empty_cache()
    medians = {path: statistics.median(times) for path, times in spent.items()}
    frames, height, width = SHAPES[name]
    counted = tflop(Shape(8 * width, 8 * height, frames, 1, True), I2VGEN_XL.cost)
    return Speed(
        shape=name,
        floor_ms=counted / rate * 1000,
        stock_ms=medians["stock"],
        compiled_ms=medians.get("compiled"),
        plain_ms=medians["plain"],
        replayed_ms=medians["replayed"],
        stock_gib=peaks["stock"],
        ours_gib=peaks["plain"],
        compile_s=compile_s,
    )


def milliseconds(work: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def matmul_tflops(seconds: float = 0.0, side: int = 8192) -> float:
    """The card's float16 rate on random numbers: the median of twenty products, or of the last half of so long."""
    a, b = torch.randn(2, side, side, device=CUDA, dtype=torch.float16)
    times: list[float] = []
    until = time.monotonic() + seconds
    while len(times) < 20 or time.monotonic() < until:
        times.append(milliseconds(lambda: a @ b))
    return 2 * side**3 / statistics.median(times[len(times) // 2 :]) / 1e9


if __name__ == "__main__":
    main()
