"""When requests arrive: moments drawn from a rate that changes with time. Knows nothing of what is requested."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Literal

Process = Literal["poisson", "constant"]
Rates = Sequence[tuple[float, float]]
"""(second, arrivals a second), in order: the rate runs straight from each point to the next, and is 0 outside."""

HOUR = 3600.0


def hourly(*points: tuple[float, float]) -> Rates:
    """The same from (hour, arrivals an hour)."""
    return [(hour * HOUR, rate / HOUR) for hour, rate in points]


def steady(rate: float, seconds: float) -> Rates:
    """`rate` arrivals a second for so long."""
    return [(0.0, rate), (seconds, rate)]


def expected(rates: Rates) -> float:
    """How many arrive, on the average."""
    return sum((after[0] - before[0]) * (before[1] + after[1]) / 2 for before, after in pairwise(rates))


def moments(rates: Rates, process: Process, chance: random.Random) -> Iterator[float]:
    """Seconds at which requests arrive, in order.

    Args:
        process: "poisson": independently of each other; "constant": as evenly as the rate allows.
        chance: where the Poisson process draws from.
    """
    # In units of the integrated rate, arrivals are one apart, or exponentially so.
    gaps = repeat(1.0) if process == "constant" else iter(lambda: chance.expovariate(1.0), None)
    counts = accumulate(gaps)
    count = next(counts) - (0.5 if process == "constant" else 0.0)
    shift = count - 1.0 if process == "constant" else 0.0
    passed = 0.0
    for (begin, low), (end, high) in pairwise(rates):
        area = (end - begin) * (low + high) / 2
        while count <= passed + area:
            yield begin + _reached(count - passed, low, (high - low) / (end - begin))
            count = next(counts) + shift
        passed += area


def _reached(area: float, rate: float, slope: float) -> float:
    """Seconds until a rate that starts at `rate` and grows by `slope` a second has added up to `area`."""
    if abs(slope) < 1e-15:
        return area / rate
    return float((max(0.0, rate * rate + 2 * slope * area) ** 0.5 - rate) / slope)
