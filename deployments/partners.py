"""A second card for a job whose deadline asks for it: reserved beside the first, for as long as the job is there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from serving.engine.link import Meeting
from serving.jobs.job import Job
from serving.jobs.store import JobStore
from serving.pairing import Pairing
from serving.pools import ServedPool

logger = logging.getLogger(__name__)
FIND_S = 2.0
"""Longest wait for a card that is thought to be idle: the job waits with its first card meanwhile."""
END_S = 5.0
"""Longest wait for its last words."""
LOOPBACK = "127.0.0.1"


class Partners:
    """Finds them; whatever goes wrong on the way costs the job no more than the help."""

    def __init__(self, store: JobStore, pools: Sequence[ServedPool]) -> None:
        self._pairing = Pairing(store, pools)

    @asynccontextmanager
    async def beside(
        self, pool: ServedPool, cards: DeploymentHandle[Any], first: Any, job: Job
    ) -> AsyncIterator[Meeting | None]:
        """Where a second card of `pool` waits for the `first`, a selection that the job is about to go to.

        None where none is wanted or free. It is let go within the block, when the first needs it no more; else at
        its end.
        """
        async with AsyncExitStack() as held:
            meeting = None
            try:
                if await asyncio.to_thread(self._pairing.wanted, job, pool, time.time()):
                    async with asyncio.timeout(FIND_S):
                        meeting = await _meet(held, cards, first, job)
            except TimeoutError:
                logger.info("no second card was free")
                await held.aclose()
            except Exception:
                logger.exception("no second card")
                await held.aclose()
            yield meeting


async def _meet(held: AsyncExitStack, cards: DeploymentHandle[Any], first: Any, job: Job) -> Meeting:
    second = await held.enter_async_context(cards.options(method_name="assist", stream=True).choose_replica())
    host = LOOPBACK if second.node_id == first.node_id else second.node_ip
    stream = cards.dispatch(second, job, host)
    held.push_async_callback(_end, stream)
    meeting: Meeting = await anext(stream)
    logger.info("a second card helps: %s", second.replica_id)
    return meeting


async def _end(stream: Any) -> None:
    """Let the card go, if it has not gone by itself, and hear it out: Serve wants every response read."""
    stream.cancel()
    try:
        async with asyncio.timeout(END_S):
            async for _ in stream:
                pass
    except (TimeoutError, RayError, RayServeException) as error:
        logger.debug("the second card ended: %r", error)
