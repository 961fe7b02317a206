"""Clients that follow a video by server-sent events, and do nothing with what they hear."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def listening(url: str, path: str, count: int) -> Iterator[None]:
    """So many who follow the video at `path`, each on a connection of its own, read by a thread of their own.

    Raises:
        TimeoutError: they were not all heard within a minute.
    """
    over = threading.Event()
    ready = threading.Event()

    async def listen(client: httpx.AsyncClient, opened: asyncio.Semaphore) -> None:
        async with client.stream("GET", f"{path}/events") as response:
            response.raise_for_status()
            opened.release()
            async for _ in response.aiter_raw():
                pass

    async def all_of_them() -> None:
        opened = asyncio.Semaphore(0)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits) as client:  # noqa: S113 - they wait
            tasks = [asyncio.create_task(listen(client, opened)) for _ in range(count)]
            for _ in range(count):
                await asyncio.wait_for(opened.acquire(), 30)
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True)
    thread.start()
    try:
        if not ready.wait(60):
            raise TimeoutError(f"not all of {count} listeners were heard")
        yield
    finally:
        over.set()
        thread.join(30)
