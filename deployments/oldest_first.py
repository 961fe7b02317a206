"""Jobs go to the free card that Serve would stop last, so that a pool shrinks by cards that are idle.

Where a pool is to have fewer replicas, Serve stops those of the node that has the fewest, the newest first, whatever
they do: one at work ends its job, takes no other, and holds its card up to then, beside an idle one that is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ray.serve.request_router import FIFOMixin, ReplicaID, RequestRouter, RunningReplica


class OldestFirst(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Asks those that are known to be free, one by one; then all, as what is known may be old."""

    def initialize_state(self, **_: Any) -> None:
        self._up: dict[ReplicaID, None] = {}
        """The oldest first."""

    async def choose_replicas(
        self, candidate_replicas: Sequence[RunningReplica], pending_request: Any = None
    ) -> list[list[RunningReplica]]:
        last_stopped_first = self._in_order({one.replica_id: one for one in candidate_replicas})
        return [*([one] for one in self.select_available_replicas(last_stopped_first)), last_stopped_first]

    def _in_order(self, replicas: Mapping[ReplicaID, RunningReplica]) -> list[RunningReplica]:
        self._up = {**{one: None for one in self._up if one in replicas}, **dict.fromkeys(replicas)}
        on_node = Counter(one.node_id for one in replicas.values())
        return sorted((replicas[one] for one in self._up), key=lambda one: -on_node[one.node_id])
