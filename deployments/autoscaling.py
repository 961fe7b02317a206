"""Serve's application-level policy: every pool has as many replicas as the dispatcher says.

The dispatcher sees what waits and sizes the pools (`serving.scheduling.capacity`); its figures reach the controller as
autoscaling stats. This module runs in the controller ten times a second, where an exception would stop the scaling of
every application: whatever is missing or odd leaves a pool as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)
POLICY = "deployments.autoscaling:FollowDispatcher"
STAT = "replicas:"
"""Prefix of a stat's name; the generator's deployment follows."""


class FollowDispatcher:
    """Called with the context of every deployment that scales; answers with a number of replicas for each."""

    def __call__(self, contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        wanted: dict[str, int] = {}
        for context in contexts.values():
            try:
                wanted |= _stats(context)
            except Exception:
                logger.exception("autoscaling stats")
        return {
            key: wanted.get(context.deployment_name, context.target_num_replicas) for key, context in contexts.items()
        }, {}


def _stats(context: Any) -> dict[str, int]:
    found = {}
    for name, by_replica in (context.raw_metrics or {}).items():
        if name.startswith(STAT):
            newest = max((series[-1] for series in by_replica.values() if series), key=lambda point: point.timestamp)
            found[name.removeprefix(STAT)] = int(newest.value)
    return found
