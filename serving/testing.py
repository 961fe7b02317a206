"""Fakes for tests of this service and of what is built on it."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext, suppress

import numpy as np
from PIL import Image

from serving.engine.contract import Card, Clip, GiveWay, OnHalf, OnStep, ShouldStop, Source
from serving.engine.link import Link, LinkLost, Meeting, connect
from serving.errors import Cancelled
from serving.metrics import Counter, Gauge, Histogram, Metric, check_labels
from serving.presets import EMULATED, ModelProfile
from serving.request import VideoRequest
from serving.scheduling.cards import CardClass
from serving.scheduling.cost import shared_stage_seconds, speed_of, stage_seconds
from serving.scheduling.plans import PLANS, MemoryPlan, largest_fitting, peak_gib

GIB = 2**30
FRAME_SIDE = 64
_Key = tuple[str, frozenset[tuple[str, str]]]


class InMemoryMetrics:
    """Metrics that a test can read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[_Key, float] = defaultdict(float)
        self._observations: dict[_Key, list[float]] = defaultdict(list)

    def add(self, counter: Counter, value: float = 1.0, /, **labels: str) -> None:
        if value < 0:
            raise ValueError(f"{counter.name} only grows; {value} given")
        with self._lock:
            self._values[_key(counter, labels)] += value

    def set(self, gauge: Gauge, value: float, /, **labels: str) -> None:
        with self._lock:
            self._values[_key(gauge, labels)] = value

    def observe(self, histogram: Histogram, value: float, /, **labels: str) -> None:
        with self._lock:
            self._observations[_key(histogram, labels)].append(value)

    def value(self, metric: Counter | Gauge, /, **labels: str) -> float | None:
        """The counter's sum or the gauge's last value; None where it was never recorded with these labels."""
        return self._values.get(_key(metric, labels))

    def observations(self, histogram: Histogram, /, **labels: str) -> list[float]:
        """What was observed with these labels, in order."""
        return list(self._observations.get(_key(histogram, labels), []))


class EmulatedPipeline:
    """A card that is as busy as the cost model says, without a card: it sleeps through every stage.

    Its clips are as long as asked for, but small: 64 x 64 pixels of a pattern that the seed decides.
    """

    source = Source(EMULATED, revision="none", dtype="none", kernels="none", scheduler="none")

    def __init__(
        self,
        profile: ModelProfile,
        card: CardClass,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`profile.cost` says what work there is, and `card` how fast it is done."""
        self._profile = profile
        self._class = card
        self._sleep, self._clock = sleep, clock
        memory = int(card.memory_gib * GIB)
        self.card = Card(f"emulated {card.name}", memory, compute_capability=card.compute_capability)

    def warm_up(self) -> None:
        pass

    def plan_for(self, request: VideoRequest) -> MemoryPlan:
        """The fastest plan that the emulated card's memory holds."""
        return largest_fitting(request.shape, self._profile.cost, self._class.memory_gib) or PLANS[-1]

    def read(self, picture: Image.Image, request: VideoRequest) -> Image.Image:
        """There is nothing to prepare."""
        return picture

    def generate(
        self,
        picture: Image.Image,
        request: VideoRequest,
        *,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
        plan: MemoryPlan = PLANS[0],
        meeting: Meeting | None = None,
        give_way: GiveWay | None = None,
    ) -> Clip:
        """The clip of one request, after the seconds it would take; of two cards for as long as one `assist`s.

        Raises:
            Cancelled: `should_stop` said so, before a step.
        """
        cost, steps = self._profile.cost, request.num_inference_steps
        speed = speed_of(self._class.tflops, cost)
        expected = stage_seconds(request.shape, cost, speed)
        together_s = shared_stage_seconds(request.shape, cost, speed)["denoise"]
        shared_steps, preempted_s = 0, 0.0
        started = self._clock()
        pace = _Pace(self._sleep, self._clock)
        pace.spend(expected["condition"])
        conditioned = self._clock()
        second = _met(meeting)
        with second or nullcontext():
            for step in range(1, steps + 1):
                if step > 1 and give_way is not None and (other := give_way()) is not None:
                    paused = self._clock()
                    other()
                    preempted_s += self._clock() - paused
                    pace = _Pace(self._sleep, self._clock)
                if should_stop is not None and should_stop():
                    raise Cancelled
                pace.spend((expected["denoise"] if second is None else together_s) / steps)
                if second is not None:
                    try:
                        second.send(_HALF)
                        second.receive(math.inf, should_stop or _never)
                        shared_steps += 1
                    except LinkLost:
                        second = None
                if on_step is not None:
                    on_step(step, steps)
        denoised = self._clock()
        pace.spend(expected["decode"])
        timings = {
            "condition": conditioned - started,
            "denoise": denoised - conditioned - preempted_s,
            "decode": self._clock() - denoised,
        }
        peak = int(peak_gib(plan, request.shape, cost) * GIB)
        frames = _pattern(request.seed, request.num_frames)
        return Clip(frames, timings, peak, plan.name, shared_steps, preempted_s=preempted_s)

    def assist(
        self,
        link: Link,
        request: VideoRequest,
        *,
        on_half: OnHalf | None = None,
        should_stop: ShouldStop | None = None,
    ) -> int:
        """Answer the card at the other end of `link`, which sleeps for both, until it is gone; how many times."""
        halves = 0
        with suppress(LinkLost):
            while True:
                link.send(link.receive(math.inf, should_stop or _never))
                halves += 1
                if on_half is not None:
                    on_half(halves)
        return halves


class _Pace:
    """Spends seconds one after another; what it was late with one by is made up for with those after."""

    def __init__(self, sleep: Callable[[float], object], clock: Callable[[], float]) -> None:
        self._sleep, self._clock = sleep, clock
        self._due = clock()

    def spend(self, seconds: float) -> None:
        self._due += seconds
        self._sleep(max(0.0, self._due - self._clock()))
        # Where a sleep takes no time, as in a test, the next one is not the longer for it.
        self._due = min(self._due, self._clock())


_HALF = b"half"


def _met(meeting: Meeting | None) -> Link | None:
    with suppress(LinkLost):
        return None if meeting is None else connect(meeting)
    return None


def _never() -> bool:
    return False


def _pattern(seed: int, num_frames: int) -> np.ndarray:
    """Frames (F, 64, 64, 3) of the seed's noise, moving to the right."""
    noise = np.random.default_rng(seed).integers(0, 256, (FRAME_SIDE, FRAME_SIDE, 3), dtype=np.uint8)
    return np.stack([np.roll(noise, frame, axis=1) for frame in range(num_frames)])


def _key(metric: Metric, labels: dict[str, str]) -> _Key:
    check_labels(metric, labels)
    return metric.name, frozenset(labels.items())
