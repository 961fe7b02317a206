"""Which card is asked for a job first: the one that Serve would stop last."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.oldest_first import OldestFirst


def replica(name: str, node: str = "one") -> Any:
    return SimpleNamespace(replica_id=name, node_id=node)


@pytest.fixture
def router() -> OldestFirst:
    made = object.__new__(OldestFirst)  # without a cluster, for whose gauges there is nobody
    made.initialize_state()
    return made


def asked(router: Any, replicas: list[Any], free: str) -> list[str]:
    """The ranks' names, all those of one rank together."""
    router.select_available_replicas = lambda those: [one for one in those if one.replica_id in free]
    ranks = asyncio.run(router.choose_replicas(replicas))
    return ["".join(one.replica_id for one in rank) for rank in ranks]


def test_the_oldest_free_one_in_whatever_order_they_are_told(router: OldestFirst) -> None:
    a, b, c, d = map(replica, "abcd")
    assert asked(router, [a, b], "ab") == ["a", "b", "ab"]
    assert asked(router, [c, b, a], "bc") == ["b", "c", "abc"]
    # One that is gone and comes back is new.
    assert asked(router, [d, c, b], "bcd") == ["b", "c", "d", "bcd"]
    assert asked(router, [d, a, c, b], "")[-1] == "bcda"


def test_all_are_asked_where_none_is_known_to_be_free(router: OldestFirst) -> None:
    assert asked(router, [replica("a"), replica("b")], "") == ["ab"]


def test_a_node_with_few_is_emptied_first(router: OldestFirst) -> None:
    replicas = [replica("a", "small"), replica("b", "large"), replica("c", "large")]
    assert asked(router, replicas, "abc") == ["b", "c", "a", "bca"]
