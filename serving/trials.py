"""Short clips that measure a card: some that its speed is fitted to, and others that the fit is judged by.

Knows nothing of stores, Ray or consoles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from PIL import Image

from serving.engine.contract import Clip
from serving.engine.pipeline import Pipeline
from serving.errors import InsufficientGpuMemory
from serving.parameters import VideoParameters
from serving.presets import ModelProfile, target_size
from serving.request import resolve
from serving.scheduling.calibration import MEASURED_NOISE, Calibration, Observation, calibrated
from serving.scheduling.cards import CardClass, recognise
from serving.scheduling.cost import Shape, speed_of, stage_seconds
from serving.scheduling.plans import PLANS, MemoryPlan, decode_chunk, largest_fitting, peak_gib

GIB = 2**30
STEPS = 4
"""Steps of a trial; the first is not counted."""
PASSES = 2
"""Times that every clip is measured, minutes apart; the least counts, as whatever else a machine does slows a clip."""
PATIENCE_S = 120.0
"""A clip that is expected to take longer is left out, once there are `ENOUGH` of its kind."""
ENOUGH = 2

OnTrial = Callable[[Shape, int, int], None]
"""(shape, trials done, trials in all)"""


@dataclass(frozen=True)
class Trial:
    """One measured clip."""

    shape: Shape
    """Of one step."""
    plan: MemoryPlan
    seconds: dict[str, float]
    """Of each stage, the least of its passes; "denoise" is the median of a pass's steps."""
    peak_gib: float | None
    """The most memory allocated on the card; None on a CPU."""
    judges: bool
    """Whether it was kept from the fit."""
    decode_chunk: int = 1
    """Frames decoded at once."""
    spread: float = 0.0
    """How far its steps lie from their median, relative to it, in the calmest pass: on a busy machine, far."""

    @property
    def observation(self) -> Observation:
        noise = max(MEASURED_NOISE, self.spread)
        return Observation(self.shape, self.seconds, self.plan.sequential, self.plan.chunked, noise)


@dataclass(frozen=True)
class Verdict:
    """What was predicted of a clip that the fit had not seen, and what was measured."""

    shape: Shape
    plan: MemoryPlan
    predicted_s: float
    measured_s: float
    predicted_gib: float | None
    """None, as the measured one, on a CPU."""
    measured_gib: float | None

    @property
    def error(self) -> float:
        """Relative to what was measured; positive where too much was predicted."""
        return self.predicted_s / self.measured_s - 1


def card_class(pipeline: Pipeline) -> CardClass:
    """The class of the card that `pipeline` is on."""
    memory = pipeline.card.memory_bytes / GIB if pipeline.device.type == "cuda" else 0.0
    return recognise(pipeline.card.name, memory)


def shapes(profile: ModelProfile) -> Iterator[tuple[Shape, bool]]:
    """The clips of one step to be measured, and whether each only judges: mixed, so that a change of pace meets both.

    Those of the fit are few and far apart, the shortest and the longest, the smallest and the largest; the others lie
    between them.
    """
    sides, low, high = sorted(profile.resolutions.values()), int(profile.num_frames.low), int(profile.num_frames.high)
    usual = profile.guidance_scale.default > 1

    def square(side: float, num_frames: int, guided: bool = usual) -> Shape:
        return Shape(*target_size(round(side), 1.0), num_frames, 1, guided)

    small, large = sides[0], sides[-1]
    yield square(small, low), False
    yield square(small, 2 * low), True
    yield square(small, min(3 * low, high)), False
    yield square(small, high), True
    if len(sides) > 2:
        yield square(sides[1], 2 * low), False
    yield square((small + large) / 2, low + low // 2), True
    yield square(sides[-2], 2 * low, not usual), True
    yield square(large, low), False
    yield Shape(*target_size(large, 16 / 9), low + low // 2, 1, usual), True
    yield square(large, 2 * low), False
    yield square(large, (2 * low + high) // 2), True
    yield square(large, high), False


def measure(pipeline: Pipeline, on_trial: OnTrial) -> tuple[Trial, ...]:
    """Measure a card; shapes that it cannot hold are left out.

    Raises:
        InsufficientGpuMemory: it holds next to none, or has less free memory than its size says.
    """
    profile = pipeline.weights.profile
    wanted = [(shape, judges) for shape, judges in shapes(profile) if _plan(pipeline, shape) is not None]
    if not any(judges for _, judges in wanted):
        raise InsufficientGpuMemory(f"The card is too small for clips of {profile.name!r}.")
    pipeline.warm_up()
    trials: dict[int, Trial] = {}
    for done in range(PASSES * len(wanted)):
        index = done % len(wanted)
        shape, judges = wanted[index]
        on_trial(shape, done, PASSES * len(wanted))
        others = [trials[other] for other in trials if other != index]
        enough = sum(trial.judges == judges for trial in others) >= ENOUGH
        if enough and _expected_s(pipeline, shape, others) > PATIENCE_S:
            continue
        trial = _trial(pipeline, shape, judges)
        trials[index] = _calmest(trials[index], trial) if index in trials else trial
    return tuple(trials.values())


def fit(pipeline: Pipeline, trials: tuple[Trial, ...]) -> Calibration:
    """The card's speed by the trials that do not judge."""
    cost = pipeline.weights.profile.cost
    seen = [trial.observation for trial in trials if not trial.judges]
    return calibrated(speed_of(card_class(pipeline).tflops, cost), seen, cost)


def judge(trial: Trial, calibration: Calibration, profile: ModelProfile) -> Verdict:
    """Prediction and measurement of a clip of the trial's shape, in the model's usual number of steps."""
    steps, cost = int(profile.num_inference_steps.default), profile.cost
    shape = replace(trial.shape, num_inference_steps=steps)
    plan, speed = trial.plan, calibration.speed
    predicted = stage_seconds(shape, cost, speed, sequential=plan.sequential, chunked=plan.chunked)
    measured = trial.seconds | {"denoise": steps * trial.seconds["denoise"]}
    return Verdict(
        shape,
        trial.plan,
        predicted_s=sum(predicted.values()),
        measured_s=sum(measured.values()),
        predicted_gib=None if trial.peak_gib is None else peak_gib(trial.plan, shape, cost, trial.decode_chunk),
        measured_gib=trial.peak_gib,
    )


def _plan(pipeline: Pipeline, shape: Shape) -> MemoryPlan | None:
    if pipeline.device.type != "cuda":
        return PLANS[0]
    return largest_fitting(shape, pipeline.weights.profile.cost, pipeline.card.memory_bytes / GIB)


def _expected_s(pipeline: Pipeline, shape: Shape, trials: list[Trial]) -> float:
    """Seconds of a trial, by those before it."""
    expected = fit(pipeline, tuple(trials)).speed
    clip = replace(shape, num_inference_steps=STEPS)
    return sum(stage_seconds(clip, pipeline.weights.profile.cost, expected).values())


def _trial(pipeline: Pipeline, shape: Shape, judges: bool) -> Trial:
    plan = _plan(pipeline, shape) or PLANS[-1]
    if pipeline.device.type == "cuda":
        # Its libraries choose and build kernels at the first call of each shape.
        _generate(pipeline, shape, 1, plan)
    clip, ends = _generate(pipeline, shape, STEPS, plan)
    steps = [end - start for start, end in pairwise(ends)]
    step_s = statistics.median(steps)
    spread = (max(steps) - min(steps)) / 2 / step_s
    peak = None if clip.peak_memory_bytes is None else clip.peak_memory_bytes / GIB
    # Where memory was short the clip ran by a smaller plan than was asked for.
    ran = next(row for row in PLANS if row.name == clip.plan)
    memory_gib = pipeline.card.memory_bytes / GIB if pipeline.device.type == "cuda" else None
    chunk = decode_chunk(ran, shape, pipeline.weights.profile.cost, memory_gib)
    return Trial(shape, ran, clip.timings | {"denoise": step_s}, peak, judges, chunk, spread)


def _calmest(one: Trial, other: Trial) -> Trial:
    """Each stage's lesser seconds, of two trials of one shape."""
    if one.plan != other.plan:
        return other
    return replace(
        one,
        seconds={stage: min(seconds, other.seconds[stage]) for stage, seconds in one.seconds.items()},
        spread=min(one.spread, other.spread),
    )


def _generate(pipeline: Pipeline, shape: Shape, steps: int, plan: MemoryPlan) -> tuple[Clip, list[float]]:
    """A clip, and when each of its steps was done."""
    profile = pipeline.weights.profile
    guidance = max(2.0, profile.guidance_scale.default) if shape.guided else 1.0
    request = resolve(VideoParameters(prompt="a slow pan"), profile, seed=0).model_copy(
        update={
            "width": shape.width,
            "height": shape.height,
            "num_frames": shape.num_frames,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
        }
    )
    picture = Image.new("RGB", (shape.width, shape.height), "grey")
    ends: list[float] = []
    clip = pipeline.generate(picture, request, on_step=lambda *_: ends.append(time.perf_counter()), plan=plan)
    # A clip that was begun anew by a smaller plan counts from there.
    return clip, ends[-steps:]
