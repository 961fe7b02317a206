"""Seconds of whole clips by the built-in model on this machine, as a request gets them by default.

    python -m loadtest.builtin [--rounds 3] [--device cpu]

The model is loaded and has made one clip before; a clip is timed from the decoded picture to the finished MP4.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

import serving
from serving.encoding import encode
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.parameters import VideoParameters
from serving.request import VideoRequest, resolve

PICTURE = Path(serving.__file__).parent / "assets" / "demo.jpg"
PROMPT = "A blue ceramic mug and two lemons on a wooden table, the camera pans to the left, soft light"
CLIPS = (("256p", 8), ("256p", 16), ("512p", 8))
"""Resolution and frames."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    began = time.perf_counter()
    pipeline = Pipeline.load(locate("builtin"), device=args.device)
    print(f"loaded in {time.perf_counter() - began:.1f} s; {torch.get_num_threads()} threads")
    still = Image.open(PICTURE).convert("RGB")
    made(pipeline, still, asked(pipeline, *CLIPS[0]))
    for resolution, frames in CLIPS:
        request = asked(pipeline, resolution, frames)
        each = [made(pipeline, still, request) for _ in range(args.rounds)]
        said = ", ".join(f"{seconds:.2f}" for seconds in each)
        print(f"{resolution}, {frames} frames, {request.num_inference_steps} steps: "
              f"{statistics.median(each):.2f} s (of {said})", flush=True)  # fmt: skip


def asked(pipeline: Pipeline, resolution: str, frames: int) -> VideoRequest:
    parameters = VideoParameters(prompt=PROMPT, resolution=resolution, num_frames=frames)
    return resolve(parameters, pipeline.weights.profile, seed=0)


def made(pipeline: Pipeline, still: Image.Image, request: VideoRequest) -> float:
    """Seconds of one clip."""
    pipeline.encoders.clear()  # no request has had this picture before
    began = time.perf_counter()
    clip = pipeline.generate(still, request)
    with tempfile.TemporaryDirectory() as folder:
        encode(clip.frames, request.fps, Path(folder) / "clip.mp4", "mp4")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
