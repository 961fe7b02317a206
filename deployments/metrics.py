"""Metrics over `ray.serve.metrics`, and their way out: each node's agent exposes what its replicas recorded.

Ray puts `ray_` before every name and adds its own labels, such as `deployment` and `replica`. A histogram's `_sum` is
an estimate there, rebuilt from the middles of its buckets; counters, and a histogram's counts, are exact.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import ray
from ray.serve import metrics as ray_metrics

from serving.errors import ServiceUnavailable
from serving.http.exposition import merged
from serving.metrics import Counter, Gauge, Histogram, Metric, check_labels

EXPOSED_PREFIX = "ray_i2v_"
SCRAPE_TIMEOUT_S = 5.0


class RayMetrics:
    """`serving.metrics.Metrics` of this replica."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}

    def add(self, counter: Counter, value: float = 1.0, /, **labels: str) -> None:
        check_labels(counter, labels)
        if value > 0:  # Ray refuses a zero
            self._of(counter).inc(value, tags=labels)

    def set(self, gauge: Gauge, value: float, /, **labels: str) -> None:
        check_labels(gauge, labels)
        self._of(gauge).set(value, tags=labels)

    def observe(self, histogram: Histogram, value: float, /, **labels: str) -> None:
        check_labels(histogram, labels)
        self._of(histogram).observe(value, tags=labels)

    def _of(self, metric: Metric) -> Any:
        with self._lock:
            if metric.name not in self._made:
                self._made[metric.name] = _make(metric)
            return self._made[metric.name]


def _make(metric: Metric) -> Any:
    said = {"description": metric.help, "tag_keys": metric.labels}
    if isinstance(metric, Histogram):
        return ray_metrics.Histogram(metric.name, boundaries=list(metric.buckets), **said)
    kind = ray_metrics.Counter if isinstance(metric, Counter) else ray_metrics.Gauge
    return kind(metric.name, **said)


async def expose() -> str:
    """The service's metrics on every node of the cluster, whichever replica is asked.

    Raises:
        ServiceUnavailable: a node's agent does not answer; a part of the truth would look like a fall in load.
    """
    nodes = await asyncio.to_thread(ray.nodes)
    addresses = [(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in nodes if node["Alive"]]
    try:
        async with httpx.AsyncClient(timeout=SCRAPE_TIMEOUT_S) as client:
            texts = await asyncio.gather(*(_scrape(client, host, port) for host, port in addresses))
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"A node's metrics cannot be read: {error!r}") from error
    return merged(texts, EXPOSED_PREFIX)


async def _scrape(client: httpx.AsyncClient, host: str, port: int) -> str:
    answer = await client.get(f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
    return answer.raise_for_status().text
