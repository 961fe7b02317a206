"""Fakes for tests of this service and of what is built on it."""

from __future__ import annotations

import threading
from collections import defaultdict

from serving.metrics import Counter, Gauge, Histogram, Metric, check_labels

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


def _key(metric: Metric, labels: dict[str, str]) -> _Key:
    check_labels(metric, labels)
    return metric.name, frozenset(labels.items())
