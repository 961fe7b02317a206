"""Who may come in, and how seldom the database is asked."""

from __future__ import annotations

import asyncio
import time

import pytest

from serving import keyring
from serving.errors import InvalidApiKey, StorageUnavailable
from serving.jobs.keys import Key, KeyStore
from serving.jobs.store import JobStore
from serving.keyring import ANYONE, Caller, KeyRing


class Counted(KeyStore):
    """The real store, counting its reads; `down` is a database out of reach."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store._database)
        self.reads = 0
        self.down = False

    def every(self) -> tuple[Key, ...]:
        self.reads += 1
        if self.down:
            time.sleep(0.1)
            raise StorageUnavailable
        return super().every()


@pytest.fixture
def keys(sqlite_store: JobStore) -> Counted:
    return Counted(sqlite_store)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the key ring's clock says."""
    now = [1000.0]

    class Time:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(keyring, "time", Time)
    return now


def test_open_to_all_until_there_is_a_key_and_never_again(keys: Counted, clock: list[float]) -> None:
    async def visit() -> None:
        ring = KeyRing(keys, required=False)
        assert await ring.caller(None) == await ring.caller("none") == ANYONE
        key, token = keys.create("shop")
        clock[0] += keyring.KEPT_S
        assert await ring.caller(token) == Caller(key.id)
        for other in (None, "", "none", token[:-1], token + "x", token.upper()):
            with pytest.raises(InvalidApiKey):
                await ring.caller(other)
        keys.revoke("shop")
        clock[0] += keyring.KEPT_S
        for other in (token, None):
            with pytest.raises(InvalidApiKey):
                await ring.caller(other)

    asyncio.run(visit())


def test_keys_can_be_asked_for_before_there_is_one(keys: Counted) -> None:
    with pytest.raises(InvalidApiKey):
        asyncio.run(KeyRing(keys, required=True).caller(None))


def test_the_database_is_asked_once_a_second_and_a_revoked_key_ends_then(keys: Counted, clock: list[float]) -> None:
    _, token = keys.create("shop")

    async def visit() -> None:
        ring = KeyRing(keys, required=False)
        await asyncio.gather(*(ring.caller(token) for _ in range(20)))
        keys.revoke("shop")
        clock[0] += keyring.KEPT_S * 0.99
        await ring.caller(token)
        assert keys.reads == 1
        clock[0] += keyring.KEPT_S * 0.02
        with pytest.raises(InvalidApiKey):
            await ring.caller(token)
        assert keys.reads == 2

    asyncio.run(visit())
    assert keyring.KEPT_S <= 1.0


def test_an_outage_lets_nobody_in_and_is_waited_for_once(keys: Counted, clock: list[float]) -> None:
    _, token = keys.create("shop")

    async def visit() -> None:
        ring = KeyRing(keys, required=False)
        await ring.caller(token)
        keys.down = True
        clock[0] += keyring.KEPT_S
        refused = await asyncio.gather(*(ring.caller(token) for _ in range(20)), return_exceptions=True)
        assert [type(refusal) for refusal in refused] == [StorageUnavailable] * 20
        assert keys.reads == 2
        keys.down = False
        await ring.caller(token)

    asyncio.run(visit())
