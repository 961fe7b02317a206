"""The table of metrics, the fake, the dashboard, and what the job store's gauges say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from serving import gauges
from serving.jobs.job import NewJob
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker
from serving.metrics import (
    ATTEMPTS,
    CARDS,
    QUEUE_JOBS,
    QUEUE_SECONDS,
    TABLE,
    UNMEASURED,
    WAIT_SECONDS,
    Counter,
    Gauge,
    Histogram,
    Metric,
)
from serving.pools import ServedPool
from serving.presets import BUILTIN, PUBLISHED, profile_for
from serving.settings import PoolSettings
from serving.testing import InMemoryMetrics

DASHBOARD = Path(__file__).parents[2] / "deployments" / "cluster" / "grafana-dashboard.json"


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_names_follow_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"i2v_[a-z0-9_]+", metric.name)
    assert isinstance(metric, Counter) == metric.name.endswith("_total")
    if isinstance(metric, Histogram):
        assert metric.name.endswith(("_seconds", "_bytes"))
        assert metric.buckets == tuple(sorted(set(metric.buckets)))
        assert metric.buckets[0] > 0
    # The first three are Ray Serve's own; the others have as many values as there are jobs or people.
    assert not set(metric.labels) & {"deployment", "replica", "application", "job", "id", "prompt", "le"}
    assert metric.help.endswith(".")


def test_names_are_unique() -> None:
    assert len({metric.name for metric in TABLE}) == len(TABLE)


def test_the_dashboard_draws_every_metric_and_no_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    drawn = {name for query in queries for name in re.findall(r"\bray_(i2v_\w+)", query)}
    # As Prometheus sees them: a histogram is its buckets and its count.
    shown = {
        metric.name: {f"{metric.name}_bucket", f"{metric.name}_count"}
        if isinstance(metric, Histogram)
        else {metric.name}
        for metric in TABLE
    }
    assert drawn <= set().union(*shown.values())
    assert [name for name, series in shown.items() if not series & drawn] == []


def test_the_dashboard_groups_only_by_labels_that_exist() -> None:
    labels = {label for metric in TABLE for label in metric.labels} | {"le", "replica"}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    for target in (target for panel in panels for target in panel.get("targets", [])):
        for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
            assert set(group.split(", ")) <= labels, target["expr"]


def test_the_fake_keeps_what_was_recorded() -> None:
    metrics = InMemoryMetrics()
    metrics.add(ATTEMPTS, pool="a100", model="builtin")
    metrics.add(ATTEMPTS, 2, pool="a100", model="builtin")
    metrics.set(CARDS, 3, pool="a100")
    metrics.set(CARDS, 0, pool="a100")
    metrics.observe(WAIT_SECONDS, 1.5, pool="a100", priority="batch")
    assert metrics.value(ATTEMPTS, pool="a100", model="builtin") == 3
    assert metrics.value(ATTEMPTS, pool="a100", model="i2vgen-xl") is None
    assert metrics.value(CARDS, pool="a100") == 0
    assert metrics.observations(WAIT_SECONDS, pool="a100", priority="batch") == [1.5]
    UNMEASURED.add(ATTEMPTS, pool="a100", model="builtin")


def test_the_fake_refuses_what_ray_would() -> None:
    metrics = InMemoryMetrics()
    with pytest.raises(ValueError, match="has the labels"):
        metrics.add(ATTEMPTS)
    with pytest.raises(ValueError, match="has the labels"):
        metrics.set(CARDS, 1, pool="a", card="b")
    with pytest.raises(ValueError, match="only grows"):
        metrics.add(ATTEMPTS, -1, pool="a100", model="builtin")


def test_gauges_by_pool_and_priority(sqlite_store: JobStore, new_job: Callable[..., NewJob]) -> None:
    for model, priority in [(BUILTIN, "batch"), (BUILTIN, "batch"), (BUILTIN, "interactive"), (PUBLISHED, "batch")]:
        fit = {"small": 10.0, "twin": 12.0}
        sqlite_store.insert(new_job(model=profile_for(model).name, priority=priority, estimates=fit))
    sqlite_store.beat(Worker(id="g", role="generator", pool="small"))
    sqlite_store.beat(Worker(id="d", role="dispatcher"))
    small, twin, idle = (
        ServedPool(PoolSettings(name=name), BUILTIN, profile_for(BUILTIN)) for name in ("small", "twin", "idle")
    )
    metrics = InMemoryMetrics()
    gauges.refresh(sqlite_store, [small, twin], metrics)

    def told(gauge: Gauge, **labels: str) -> float | None:
        return metrics.value(gauge, **labels)

    for pool, seconds in (("small", 20), ("twin", 24)):
        assert told(QUEUE_JOBS, pool=pool, priority="batch") == 2
        assert told(QUEUE_SECONDS, pool=pool, priority="batch") == seconds
        assert told(QUEUE_JOBS, pool=pool, priority="interactive") == 1
    assert (told(CARDS, pool="small"), told(CARDS, pool="twin")) == (1, 0)

    while sqlite_store.claim("small", small.profile.name, worker="w", lease_s=30) is not None:
        pass
    gauges.refresh(sqlite_store, [small, idle], metrics)
    assert told(QUEUE_JOBS, pool="small", priority="batch") == 0
    assert told(QUEUE_SECONDS, pool="idle", priority="interactive") == 0
