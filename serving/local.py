"""One clip in this process, without a service: the same stages in a row. Knows nothing of HTTP, Ray or jobs."""

from __future__ import annotations

import io
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from serving.cautions import Caution
from serving.encoding import encode
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.joining import generate_parts, read_parts
from serving.parameters import VideoParameters
from serving.preprocessing import prepare
from serving.prompts.lint import lint
from serving.prompts.tokens import tokenizer_of
from serving.prompts.tuning import Hint, hints
from serving.recipe import make_recipe
from serving.request import resolve

OnStage = Callable[[str, int, int], None]


def generate_locally(
    picture: bytes,
    parameters: VideoParameters,
    path: Path,
    *,
    model: str,
    revision: str | None = None,
    on_stage: OnStage,
) -> tuple[dict[str, Any], list[Caution], list[Hint]]:
    """Write the clip to `path`, whole or not at all; returns its recipe, the warnings, and what to try next.

    Args:
        picture: the still's bytes, as uploaded.
        on_stage: told (stage, step, steps) as the work goes on.

    Raises:
        I2VError: the picture, a parameter, the weights, the card or FFmpeg is at fault.
        OSError: `path` cannot be written; known before any work is done.
    """
    on_stage("preprocessing", 0, 0)
    weights = locate(model, revision)
    profile = weights.profile
    request = resolve(parameters, profile, seed=secrets.randbelow(2**32))
    began = time.perf_counter()
    prepared = prepare(picture, parameters, profile)
    request = request.model_copy(update={"width": prepared.width, "height": prepared.height})
    timings = {"preprocess": time.perf_counter() - began}
    aside = _aside(path)
    on_stage("loading", 0, 0)
    began = time.perf_counter()
    pipeline = Pipeline.load(weights, device="cuda" if torch.cuda.is_available() else "cpu")
    timings["load"] = time.perf_counter() - began
    on_stage("denoising", 0, request.all_steps)
    joined = generate_parts(
        pipeline,
        read_parts(pipeline, Image.open(io.BytesIO(prepared.picture)).convert("RGB"), request),
        request,
        on_step=lambda step, steps: on_stage("denoising", step, steps),
        should_stop=lambda: False,
    )
    clip = joined.clip
    timings.update(clip.timings)
    recipe = make_recipe(
        request,
        picture=prepared.picture,
        model=pipeline.source.name,
        revision=pipeline.source.revision,
        card=pipeline.card.name,
        dtype=pipeline.source.dtype,
        kernels=pipeline.source.kernels,
        scheduler=pipeline.source.scheduler,
        timings_s=timings,
    )
    if joined.recipe is not None:
        recipe["montage"] = joined.recipe
    on_stage("encoding", 0, 0)
    began = time.perf_counter()
    try:
        encode(clip.frames, request.fps, aside, request.format, recipe=recipe)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    timings["encode"] = time.perf_counter() - began
    warnings = [*prepared.warnings, *lint(request, profile, tokenizer_of(model, revision))]
    return recipe | {"timings_s": timings}, warnings, list(hints(request, profile))


def _aside(path: Path) -> Path:
    """Where the clip is written until it is whole; raises OSError where nothing can be written there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.touch()
    aside.unlink()
    return aside
