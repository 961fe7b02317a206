"""Which card is asked for a job first: the one that Serve would stop last."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.request_router import RequestRouter

from deployments import departures
from deployments.departures import leaving
from deployments.oldest_first import OldestFirst


def replica(name: str, node: str = "one") -> Any:
    return SimpleNamespace(replica_id=SimpleNamespace(unique_id=name), node_id=node)


class Router(OldestFirst):
    """Without a cluster, for whose gauges there is nobody."""

    def __init__(self) -> None:
        self.initialize_state()
        self.free = ""

    def select_available_replicas(self, candidates: Any = None) -> list[Any]:
        return [one for one in candidates if one.replica_id.unique_id in self.free]

    def asked(self, *replicas: Any, free: str = "") -> list[str]:
        """The ranks' names, all those of one rank together."""
        self.free = free
        ranks = asyncio.run(self.choose_replicas(replicas))
        return ["".join(one.replica_id.unique_id for one in rank) for rank in ranks]


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    monkeypatch.setattr(RequestRouter, "update_replicas", lambda *_: None)
    monkeypatch.setattr(departures, "_departed", ())
    return Router()


A, B, C, D = map(replica, "abcd")


def test_the_oldest_free_one_in_whatever_order_they_are_told(router: Router) -> None:
    router.update_replicas([A, B])
    assert router.asked(A, B, free="ab") == ["a", "b", "ab"]
    router.update_replicas([C, B, A])
    assert router.asked(C, B, A, free="bc") == ["b", "c", "abc"]
    # One that is gone and comes back is new; one that nobody told of is newer.
    router.update_replicas([C, B])
    router.update_replicas([A, C, B])
    assert router.asked(D, A, C, B) == ["bcad"]


def test_all_are_asked_where_none_is_known_to_be_free(router: Router) -> None:
    assert router.asked(A, B) == ["ab"]


def test_a_node_with_few_is_emptied_first(router: Router) -> None:
    replicas = [replica("a", "small"), replica("b", "large"), replica("c", "large")]
    router.update_replicas(replicas)
    assert router.asked(*replicas, free="abc") == ["b", "c", "a", "bca"]


def test_which_of_all_pools_are_leaving(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Router()
    router.update_replicas([A, B])
    other.update_replicas([C])
    assert leaving() == frozenset()
    router.update_replicas([B])
    other.update_replicas([])
    assert leaving() == {"a", "c"}
    router.update_replicas([B, A])
    assert leaving() == {"c"}
    monkeypatch.setattr(departures, "MOST", 1)
    router.update_replicas([])
    assert len(leaving()) == 1
