"""What the controller is told, and that nothing odd in it can stop the scaling of every application."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deployments.autoscaling import STAT, FollowDispatcher


def context(name: str, target: int, metrics: Any = None) -> Any:
    return SimpleNamespace(deployment_name=name, target_num_replicas=target, raw_metrics=metrics)


def point(timestamp: float, value: float) -> Any:
    return SimpleNamespace(timestamp=timestamp, value=value)


def test_the_newest_figure_of_the_dispatcher_decides() -> None:
    stats = {STAT + "Generator-a": {"r1": [point(1, 0), point(2, 3)], "r0": [point(1.5, 9)]}, "other": {}}
    contexts = {"D": context("Dispatcher", 1, stats), "A": context("Generator-a", 0), "B": context("Generator-b", 2)}
    assert FollowDispatcher()(contexts) == ({"D": 1, "A": 3, "B": 2}, {})


def test_whatever_is_missing_or_odd_leaves_a_pool_as_it_is() -> None:
    for odd in (None, {}, {STAT + "Generator-a": {}}, {STAT + "Generator-a": {"r": []}}, {STAT + "Generator-a": 3}):
        contexts = {"D": context("Dispatcher", 1, odd), "A": context("Generator-a", 2)}
        assert FollowDispatcher()(contexts) == ({"D": 1, "A": 2}, {})


def test_metrics_that_raise_leave_all_pools_as_they_are() -> None:
    class Broken:
        deployment_name, target_num_replicas = "Dispatcher", 1

        @property
        def raw_metrics(self) -> Any:
            raise RuntimeError

    assert FollowDispatcher()({"D": Broken(), "A": context("Generator-a", 2)}) == ({"D": 1, "A": 2}, {})
