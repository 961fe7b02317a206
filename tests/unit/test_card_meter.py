"""What a card's work leaves in the metrics."""

from __future__ import annotations

import numpy as np
import pytest

from serving.card_meter import CardMeter
from serving.engine.contract import Clip
from serving.errors import GenerationFailed, InsufficientGpuMemory
from serving.metrics import BUSY_SECONDS, FAILURES, GENERATION_SECONDS, OUT_OF_MEMORY, PEAK_MEMORY, STEPS
from serving.testing import InMemoryMetrics


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("serving.card_meter.time.perf_counter", lambda: now[0])
    return now


def test_busy_seconds_grow_with_each_step(clock: list[float]) -> None:
    metrics = InMemoryMetrics()
    meter = CardMeter(metrics, "a100")
    with meter.at_work():
        clock[0] += 2
        meter.step()
        assert metrics.value(BUSY_SECONDS, pool="a100") == 2
        clock[0] += 3
    clock[0] += 50
    with meter.at_work():
        clock[0] += 1
    assert metrics.value(BUSY_SECONDS, pool="a100") == 6
    assert metrics.value(STEPS, pool="a100") == 1


def test_stages_and_memory_of_a_clip() -> None:
    metrics = InMemoryMetrics()
    meter = CardMeter(metrics, "a100")
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    meter.clip(Clip(frames, {"condition": 0.5, "denoise": 20.0}, peak_memory_bytes=2**34))
    meter.clip(Clip(frames, {"denoise": 21.0}, peak_memory_bytes=None))
    assert metrics.observations(GENERATION_SECONDS, pool="a100", stage="denoise") == [20.0, 21.0]
    assert metrics.observations(PEAK_MEMORY, pool="a100") == [2**34]


def test_failures_and_out_of_memory() -> None:
    metrics = InMemoryMetrics()
    meter = CardMeter(metrics, "a100")
    for error in (InsufficientGpuMemory(), GenerationFailed()):
        with pytest.raises(type(error)), meter.at_work():
            raise error
        meter.failed("i2vgen-xl", error.code)
    assert metrics.value(OUT_OF_MEMORY, pool="a100") == 1
    assert metrics.value(FAILURES, model="i2vgen-xl", code="generation_failed") == 1
