"""What each acceleration gains, and how far its clips are from the exact ones.

    python -m loadtest.accelerations --model builtin --quality
    python -m loadtest.accelerations --model random-i2vgen-xl --resolution 512p --num-frames 16

Each is asked for as a request would, with the steps that it has by default, and stands beside the exact clip of the
same picture, prompt and seed: seconds of both, peak signal-to-noise ratio of the frames, relative error of the latents
before decoding. Names with commas between are taken together. Seconds are medians over the seeds, exact and accelerated
clips in turn. On a CPU fp8 is emulated: its distance is true, and seconds it has none. What needs guidance is measured
at a scale of 3 at least. `--distilled FOLDER` sets other weights, with their own defaults, beside the model's.
`--quality` is for the built-in model: all nine moves of the demo picture by the exact and by each accelerated pipeline,
judged as `python -m serving.training evaluate` does; minutes each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console

import serving
from loadtest.accelerations_report import Quality, Row, table_of
from serving.engine import card, products
from serving.engine.pause import Pauses
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.parameters import VideoParameters
from serving.request import VideoRequest, resolve
from serving.scheduling.accelerations import ACCELERATIONS, counted
from serving.scheduling.cost import tflop
from serving.scheduling.plans import PLANS

PICTURE = Path(serving.__file__).parent / "assets" / "demo.jpg"
PROMPT = "A blue ceramic mug and two lemons on a wooden table, the camera pans to the left, soft light"
GUIDANCE = 3.0
EMULATED_LEAST = 16
"""Sides of the products that emulated fp8 takes: the built-in model has none as large as a card's."""


@dataclass(frozen=True)
class Made:
    """One clip."""

    latents: torch.Tensor
    frames: npt.NDArray[np.uint8]
    seconds: float
    denoise_s: float


def main() -> None:
    args = _parsed()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = Pipeline.load(locate(args.model), device=device)
    if emulates := device.type == "cpu":
        most = max(row.compute_capability for row in ACCELERATIONS.values())
        pipeline.card = replace(pipeline.card, compute_capability=most)
        products.LEAST = EMULATED_LEAST
    still = Image.open(args.picture).convert("RGB")
    seeds = [int(seed) for seed in args.seeds.split(",")]
    judged: dict[str, Quality] = {}
    rows = []
    for names in args.accelerations or ACCELERATIONS:
        exact, faster = requests(pipeline, names.split(","), args)
        row = compare(pipeline, pipeline, still, names, exact, faster, seeds)
        if emulates and "fp8" in faster.acceleration:
            row = replace(row, seconds=None, speed_up=None, denoise_speed_up=None)
        if args.quality:
            for request in (exact, faster):
                key = request.model_dump_json()
                judged[key] = judged.get(key) or judge(pipeline, request)
            row = replace(row, exact_quality=judged[exact.model_dump_json()], quality=judged[faster.model_dump_json()])
        rows.append(row)
        print(json.dumps(asdict(row)), flush=True)
    if args.distilled is not None:
        exact, _ = requests(pipeline, [], args)
        other = Pipeline.load(locate(args.distilled), device=device)
        _, faster = requests(other, [], args)
        same = {name: getattr(exact, name) for name in ("width", "height", "num_frames", "fps")}
        rows.append(compare(pipeline, other, still, args.distilled, exact, faster.model_copy(update=same), seeds))
    where = pipeline.card.name if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    about: dict[str, Any] = {"model": pipeline.weights.name, "revision": pipeline.weights.revision, "card": where}
    about |= {"torch": torch.__version__, "seeds": seeds, "accelerations": [asdict(row) for row in rows]}
    args.output.write_text(json.dumps(about, indent=2) + "\n")
    Console(width=160).print(table_of(rows, f"{pipeline.weights.name} on {where}"))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin", help="as I2V_MODEL")
    parser.add_argument("--accelerations", nargs="*", help="such as: deepcache unipc,deepcache; by default each alone")
    parser.add_argument("--distilled", help="a folder of distilled weights")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--resolution")
    parser.add_argument("--num-frames", type=int)
    parser.add_argument("--num-inference-steps", type=int, help="of the exact clip")
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--quality", action="store_true", help="the built-in model's evaluation too")
    parser.add_argument("--output", type=Path, default=Path("accelerations.json"))
    return parser.parse_args()


def requests(pipeline: Pipeline, names: list[str], args: argparse.Namespace) -> tuple[VideoRequest, VideoRequest]:
    """The exact request, and the one with the accelerations `names`, offered by the model or not."""
    profile = pipeline.weights.profile
    profile = profile.model_copy(update={"accelerations": dict.fromkeys(ACCELERATIONS)})
    if args.num_inference_steps is not None:
        usual = profile.num_inference_steps.model_copy(update={"default": args.num_inference_steps})
        profile = profile.model_copy(update={"num_inference_steps": usual})
    guidance = args.guidance_scale
    if guidance is None and any(ACCELERATIONS[name].needs_guidance for name in names):
        guidance = max(GUIDANCE, profile.guidance_scale.default)
    asked = {
        "prompt": args.prompt,
        "resolution": args.resolution,
        "num_frames": args.num_frames,
        "guidance_scale": guidance,
    }
    exact, faster = (
        resolve(VideoParameters(**asked, acceleration=wanted), profile, seed=0) for wanted in (None, names)
    )
    return exact, faster


def compare(
    pipeline: Pipeline,
    other: Pipeline,
    still: Image.Image,
    names: str,
    exact: VideoRequest,
    faster: VideoRequest,
    seeds: list[int],
) -> Row:
    """`exact` by `pipeline` beside `faster` by `other`, seed for seed."""
    if pipeline.device.type == "cuda":  # kernels are chosen and steps recorded at first use
        for one, request in ((pipeline, exact), (other, faster)):
            make(one, still, request)
    pairs = []
    for seed in seeds:
        first, second = (request.model_copy(update={"seed": seed}) for request in (exact, faster))
        pairs.append((make(pipeline, still, first), make(other, still, second)))
    exact_s, seconds, exact_denoise_s, denoise_s = (
        statistics.median(getattr(pair[which], name) for pair in pairs)
        for name in ("seconds", "denoise_s")
        for which in (0, 1)
    )
    cost = pipeline.weights.profile.cost
    counts = other is pipeline and counted(faster.acceleration)
    return Row(
        acceleration=names,
        clip=exact.shape.words,
        exact_steps=exact.num_inference_steps,
        steps=faster.num_inference_steps,
        guidance_scale=faster.guidance_scale,
        exact_s=exact_s,
        seconds=seconds,
        speed_up=exact_s / seconds,
        denoise_speed_up=exact_denoise_s / denoise_s,
        counted_speed_up=tflop(exact.shape, cost) / tflop(faster.shape, cost) if counts else None,
        psnr_db=statistics.median(psnr(made.frames, true.frames) for true, made in pairs),
        latent_error=statistics.median(error(made.latents, true.latents) for true, made in pairs),
    )


@torch.inference_mode()
def make(pipeline: Pipeline, still: Image.Image, request: VideoRequest) -> Made:
    """What `Pipeline.generate` does, with the latents."""
    reading = pipeline.read(still, request)
    pipeline.encoders.clear()  # one clip after another of the same picture is not what is measured
    card.synchronize(pipeline.device)
    began = time.perf_counter()
    alone = Pauses(pipeline.device, give_way=None)
    denoised = pipeline._denoise(reading, request, lambda *_: None, lambda: False, PLANS[0], second=None, pauses=alone)
    frames = pipeline._decode(denoised.latents, request, lambda: False)
    assert frames is not None
    spent = time.perf_counter() - began
    return Made(denoised.latents.float().cpu(), frames, spent, denoised.timings["denoise"])


def judge(pipeline: Pipeline, request: VideoRequest) -> Quality:
    """Every move of the demo picture, one clip each."""
    from serving.training.demo import draw
    from serving.training.evaluation import judge as judged
    from serving.training.moves import FULL, MOVES
    from serving.training.phrases import Phrase

    def made(picture: torch.Tensor, prompt: str, seed: int) -> torch.Tensor:
        pixels = ((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
        asked = request.model_copy(update={"prompt": prompt, "seed": seed})
        frames = make(pipeline, Image.fromarray(pixels), asked).frames
        return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1

    still = torch.from_numpy(np.asarray(draw(request.width))).permute(2, 0, 1).float() / 127.5 - 1
    said = [Phrase(move.name, index, FULL) for index, move in enumerate(MOVES)]
    clips = judged(made, still.expand(len(said), -1, -1, -1), said, frames=request.num_frames)
    first, last = (statistics.mean(getattr(clip, name) for clip in clips) for name in ("first", "last"))
    return Quality(sum(clip.right for clip in clips), len(clips), first, last)


def psnr(frames: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8]) -> float:
    """In dB; infinite where they are the same."""
    square = np.square(frames.astype(np.float64) - true).mean()
    return float("inf") if square == 0 else float(10 * np.log10(255**2 / square))


def error(latents: torch.Tensor, true: torch.Tensor) -> float:
    return float((latents - true).norm() / true.norm())


if __name__ == "__main__":
    main()
