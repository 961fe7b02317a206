"""Jobs go to the free card that Serve would stop last, so that a pool shrinks by cards that are idle.

Where a pool is to have fewer replicas, Serve stops those of the node that has the fewest, the newest first, whatever
they do: one at work ends its job, and takes no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ray.serve.request_router import FIFOMixin, RequestRouter, RunningReplica

from deployments import departures


class OldestFirst(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Asks those that are known to be free, one by one; then all, as what is known may be old."""

    def initialize_state(self, **_: Any) -> None:
        self._up: dict[str, None] = {}
        """The oldest first."""

    def update_replicas(self, replicas: Sequence[RunningReplica]) -> None:
        super().update_replicas(replicas)
        up = dict.fromkeys(one.replica_id.unique_id for one in replicas)
        departures.note([one for one in self._up if one not in up], up)
        self._up = {**{one: None for one in self._up if one in up}, **up}

    async def choose_replicas(
        self, candidate_replicas: Sequence[RunningReplica], pending_request: Any = None
    ) -> list[list[RunningReplica]]:
        order = {replica: number for number, replica in enumerate(self._up)}
        on_node = Counter(one.node_id for one in candidate_replicas)

        def stopped_last(one: RunningReplica) -> tuple[int, int]:
            return -on_node[one.node_id], order.get(one.replica_id.unique_id, len(order))

        ordered = sorted(candidate_replicas, key=stopped_last)
        return [*([one] for one in self.select_available_replicas(ordered)), ordered]
