"""Processor time: of a service's processes, and of this one, which makes its load."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from deployments.child import ChildService


@dataclass(frozen=True)
class Spent:
    """Seconds."""

    served: float = 0.0
    generated: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.served + other.served, self.generated + other.generated)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.served - other.served, self.generated - other.generated)

    def each_ms(self, requests: float) -> tuple[float, float]:
        """Milliseconds for each of so many requests: the service's, whatever else it did meanwhile, and this one's."""
        return (self.served / requests * 1000, self.generated / requests * 1000)


def spent(service: ChildService) -> Spent:
    """Up to now; of processes that have ended nothing is known."""
    served = 0.0
    for process in service.processes():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        served += times.user + times.system
    return Spent(served, time.process_time())
