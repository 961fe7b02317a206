"""Jobs go to the free card that Serve would stop last, so that a pool shrinks by cards that are idle.

Where a pool is to have fewer replicas, Serve empties the node that has the fewest; of several such, that of the oldest
replica; and on a node it stops the newest first. Whether they work does not matter to it: a replica ends its job, and
takes no other from the dispatcher. Nodes count here with this pool's replicas alone, as a router knows no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ray.serve.request_router import FIFOMixin, PendingRequest, RequestRouter, RunningReplica

from deployments import departures


class StoppedLast(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Asks those that may be free, the one stopped last first; then all, as what is known of them may be old."""

    def initialize_state(self, **_: Any) -> None:
        self._up: dict[str, None] = {}
        """The oldest first."""

    def update_replicas(self, replicas: Sequence[RunningReplica]) -> None:
        super().update_replicas(replicas)
        up = dict.fromkeys(one.replica_id.unique_id for one in replicas)
        departures.note([one for one in self._up if one not in up], up)
        self._up = {**{one: None for one in self._up if one in up}, **up}

    async def choose_replicas(
        self, candidate_replicas: Sequence[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True  # else Serve asks again without a pause
        free = self.select_available_replicas(self._stopped_last_first(candidate_replicas))
        return [*([one] for one in free), list(candidate_replicas)]

    def _stopped_last_first(self, replicas: Sequence[RunningReplica]) -> list[RunningReplica]:
        known = {replica: number for number, replica in enumerate(self._up)}
        order = {one.replica_id: known.get(one.replica_id.unique_id, len(known)) for one in replicas}
        by_age = sorted(replicas, key=lambda one: order[one.replica_id])
        on_node = Counter(one.node_id for one in by_age)
        oldest_on = {one.node_id: order[one.replica_id] for one in reversed(by_age)}
        return sorted(by_age, key=lambda one: (-on_node[one.node_id], -oldest_on[one.node_id]))
