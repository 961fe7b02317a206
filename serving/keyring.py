"""Who asks: the caller behind a token, by the keys as this process read them last. Knows nothing of HTTP or Ray."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from serving.errors import InvalidApiKey
from serving.jobs.keys import Key, KeyStore, id_in

KEPT_S = 1.0
"""How long what was read counts, seconds: a new key, or a revoked one, is known to every process after that."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose videos a request is about."""

    owner: str = ""
    """The id of its key; empty where the service asks for none."""
    rate: str | None = None
    """Requests the key may make, such as "60/minute"; None bounds nothing."""
    daily_gpu_s: float | None = None
    """GPU seconds the key's jobs may have in a day; None bounds nothing."""


ANYONE = Caller()


class KeyRing:
    """Use from one event loop."""

    def __init__(self, keys: KeyStore, *, required: bool) -> None:
        """`required`: let nobody in without a key, even while there is none."""
        self._keys = keys
        self._required = required
        self._known: Mapping[str, Key] = {}
        self._read_at = -math.inf
        self._reading: asyncio.Task[None] | None = None

    async def caller(self, token: str | None) -> Caller:
        """Who comes with `token`; anyone at all while no key was ever made.

        Raises:
            InvalidApiKey: a key is needed, and this is none, or was revoked.
            StorageUnavailable: the keys cannot be read.
        """
        await self._refresh()
        if not self._known and not self._required:
            return ANYONE
        key = self._known.get(id_in(token or "") or "")
        if token is None or key is None or not key.opened_by(token):
            raise InvalidApiKey
        return Caller(key.id, key.rate, key.daily_gpu_s)

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at < KEPT_S:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        # All who wait share one look, and its failure; one who goes away does not end it.
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            keys = await asyncio.to_thread(self._keys.every)
            self._known, self._read_at = {key.id: key for key in keys}, began
        finally:
            self._reading = None
