"""Requests per time: how many pass, and when the next one does."""

from __future__ import annotations

import pytest

from serving import rates
from serving.errors import InvalidParameter, RateLimited
from serving.keyring import ANYONE, Caller
from serving.rates import Rates, parse_rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("limits.storage.memory.time", clock)
    monkeypatch.setattr(rates, "time", clock)
    return clock


def wait_s(counted: Rates, caller: Caller) -> float:
    with pytest.raises(RateLimited) as refusal:
        counted.count(caller, "requests")
    assert refusal.value.retry_after_s is not None
    return refusal.value.retry_after_s


def test_the_refusal_says_when_the_next_one_passes(clock: Clock) -> None:
    counted, caller = Rates(), Caller("a", "3/minute")
    for _ in range(3):
        counted.count(caller, "requests")
        clock.now += 10.0
    assert wait_s(counted, caller) == pytest.approx(30.0)
    # What was refused does not count.
    clock.now += 29.0
    assert wait_s(counted, caller) == pytest.approx(1.0)
    clock.now += 1.1
    counted.count(caller, "requests")
    assert wait_s(counted, caller) == pytest.approx(10.0, abs=0.2)


def test_callers_are_counted_apart(clock: Clock) -> None:
    counted = Rates()
    counted.count(Caller("a", "1/minute"), "requests")
    counted.count(Caller("b", "1/minute"), "requests")
    assert wait_s(counted, Caller("a", "1/minute")) == pytest.approx(60.0)
    for _ in range(100):
        counted.count(ANYONE, "requests")
        counted.count(Caller("c"), "requests")


def test_kinds_are_counted_apart(clock: Clock) -> None:
    counted, caller = Rates(), Caller("a", "2/minute")
    for kind in ("quotes", "requests", "quotes", "requests"):
        counted.count(caller, kind)
    for kind in ("quotes", "requests"):
        with pytest.raises(RateLimited):
            counted.count(caller, kind)


@pytest.mark.parametrize("rate", ["", "many", "60", "60/fortnight", "0/minute", "-1/minute", "60/minute/x"])
def test_what_is_no_rate(rate: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        parse_rate(rate)
    assert refusal.value.param == "rate"
