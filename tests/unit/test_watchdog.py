"""When silence is taken for a hang: real threads, short limits, and a clock that stands still until it is let go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from held_clock import HeldClock

from serving import watchdog as watchdog_module
from serving.watchdog import STAGE_S, Limits, Watchdog, limits_for

FOR_EVER = 60.0


class Told:
    """Remembers what it was told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.event = threading.Event()
        self.at = 0.0

    def __call__(self, missing: str) -> None:
        self.missing.append(missing)
        self.at = time.monotonic()
        self.event.set()


@pytest.fixture
def told() -> Iterator[Told]:
    yield Told()
    assert [thread.name for thread in threading.enumerate() if thread.name == "watchdog" and not _ends(thread)] == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HeldClock:
    held = HeldClock()
    monkeypatch.setattr(watchdog_module, "time", held)
    return held


def _ends(thread: threading.Thread) -> bool:
    thread.join(60)
    return not thread.is_alive()


def test_no_further_step_is_a_hang(told: Told) -> None:
    with Watchdog(Limits(step_s=0.1, stage_s=FOR_EVER), told) as watchdog:
        watchdog.step(1, 5)
        assert told.event.wait(120)
    assert told.missing == ["no step within 0 s"]


def test_steps_in_time_are_none_however_many(told: Told, clock: HeldClock) -> None:
    with Watchdog(Limits(step_s=10.0, stage_s=FOR_EVER), told) as watchdog:
        for step in range(1, 16):
            watchdog.step(step, 100)
            time.sleep(0.01)
            clock.now += 9.0
        assert not told.event.wait(0.1)


@pytest.mark.parametrize("last", [0, 5])
def test_what_has_no_steps_has_its_own_limit(told: Told, clock: HeldClock, last: int) -> None:
    """Conditioning, and decoding: longer than a step may take, and not for ever."""
    limits = Limits(step_s=0.05, stage_s=0.6)
    with Watchdog(limits, told) as watchdog:
        for step in range(1, last + 1):
            watchdog.step(step, last)
        began = time.monotonic()
        clock.let_go()
        assert told.event.wait(120)
    assert told.at - began >= limits.stage_s
    assert told.missing == ["no end of decoding within 1 s" if last else "no first step within 1 s"]


def test_another_clip_between_two_steps_is_no_hang_unless_it_is(told: Told, clock: HeldClock) -> None:
    with Watchdog(Limits(step_s=10.0, stage_s=100.0), told) as watchdog:
        watchdog.step(1, 5)
        with watchdog.paused():
            time.sleep(0.01)
            clock.now += 150.0
            assert not told.event.wait(0.1)
        clock.now += 9.0
        assert not told.event.wait(0.1)
        with watchdog.paused():
            clock.now += 201.0
            assert told.event.wait(120)
    assert told.missing == ["no end of another clip within 200 s"]


def test_work_that_has_ended_is_watched_no_more(told: Told, clock: HeldClock) -> None:
    with pytest.raises(ZeroDivisionError), Watchdog(Limits(0.1, 0.1), told):
        raise ZeroDivisionError
    clock.let_go()
    assert not told.event.wait(0.3)


def test_limits_follow_what_is_expected() -> None:
    assert limits_for(expected_s=50.0, steps=50, least_step_s=60.0) == Limits(60.0, STAGE_S)
    assert limits_for(expected_s=1000.0, steps=50, least_step_s=60.0) == Limits(100.0, 5000.0)
    assert limits_for(expected_s=1.0, steps=10, least_step_s=1e6) == Limits(1e6, 1e6)
