"""Which card is asked for a job first: the one that Serve would stop last."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID
from ray.serve._private.request_router.common import RequestRoutingContext
from ray.serve.request_router import ReplicaID, RequestRouter

from deployments import departures
from deployments.departures import leaving
from deployments.stopped_last import StoppedLast


def replica(name: str, node: str = "one") -> Any:
    return SimpleNamespace(replica_id=ReplicaID(name, DeploymentID("Generator")), node_id=node)


class Router(StoppedLast):
    """Without a cluster, for whose gauges there is nobody."""

    def __init__(self) -> None:
        self.initialize_state()
        self.free = ""

    def select_available_replicas(self, candidates: Any = None) -> list[Any]:
        return [one for one in candidates if one.replica_id.unique_id in self.free]

    def asked(self, *replicas: Any, free: str) -> str:
        """The names of those that are asked by themselves."""
        self.free = free
        *ranks, last = asyncio.run(self.choose_replicas(replicas))
        assert last == list(replicas)
        return "".join(one.replica_id.unique_id for (one,) in ranks)


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Router:
    monkeypatch.setattr(RequestRouter, "update_replicas", lambda *_: None)
    monkeypatch.setattr(departures, "_departed", ())
    return Router()


A, B, C, D = map(replica, "abcd")


def test_the_oldest_free_one_in_whatever_order_they_are_told(router: Router) -> None:
    router.update_replicas([A, B])
    assert router.asked(A, B, free="ab") == "ab"
    router.update_replicas([C, B, A])
    assert router.asked(C, B, A, free="bc") == "bc"
    # One that is gone and comes back is new; one that nobody told of is newer.
    router.update_replicas([C, B])
    router.update_replicas([A, C, B])
    assert router.asked(D, A, C, B, free="abcd") == "bcad"


def test_all_are_asked_where_none_is_known_to_be_free(router: Router) -> None:
    assert router.asked(A, B, free="") == ""


def test_nodes_that_serve_empties_first_come_last(router: Router) -> None:
    small, large = [replica("a", "small")], [replica(name, "large") for name in "bc"]
    router.update_replicas([*small, *large])
    assert router.asked(*small, *large, free="abc") == "bca"
    alone = [replica(name, name) for name in "abc"]
    router.update_replicas(alone)
    assert router.asked(*alone, free="abc") == "cba"


def test_serve_waits_a_moment_before_it_asks_again(router: Router) -> None:
    request = SimpleNamespace(routing_context=RequestRoutingContext())
    asyncio.run(router.choose_replicas([A], request))
    assert request.routing_context.should_backoff


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
    assert leaving() == {"a"}
