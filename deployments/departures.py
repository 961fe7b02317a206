"""Which replicas Serve is stopping, as this process's handles hear of it; nothing else of Serve's tells.

A module of its own: Serve hands routers to processes by value, their module's variables too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

MOST = 200
"""That are kept in mind: a replica has at most a quarter of an hour to end its job."""
_departed: tuple[str, ...] = ()


def leaving() -> frozenset[str]:
    """Replicas' ids, of all pools: of those that are being stopped, and of the last that were, or died."""
    return frozenset(_departed)


def note(gone: Iterable[str], up: Collection[str]) -> None:
    """Replicas that a handle is not told of any more, and those that it is told of; in the routers' thread."""
    global _departed
    _departed = tuple(one for one in (*_departed, *gone) if one not in up)[-MOST:]
