"""API keys in the database: made once, kept as digests, ended for good; and lists of one owner's jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from serving.errors import InvalidParameter, NotFound
from serving.jobs.job import NewJob
from serving.jobs.keys import id_in
from serving.jobs.store import JobStore
from serving.jobs.tables import api_keys

Make = Callable[..., NewJob]


def test_a_key_opens_with_its_own_token_alone(store: JobStore) -> None:
    key, token = store.keys.create("shop")
    other, others = store.keys.create("press")
    assert token.startswith("i2v_")
    assert (id_in(token), id_in(others)) == (key.id, other.id)
    assert store.keys.every() == (key, other)
    assert key.opened_by(token)
    assert not key.opened_by(others)
    assert not key.opened_by(token[:-1])
    assert abs(key.created_at - time.time()) < 60
    assert token not in repr(key)
    assert key.digest not in repr(key)


def test_the_token_is_not_in_the_database(store: JobStore, tmp_path: Path) -> None:
    _, token = store.keys.create("shop")
    secret = token.rpartition("_")[2]
    rows = store._database.read(lambda c: [str(row) for row in c.execute(select(api_keys))])
    assert "shop" in rows[0]
    assert secret not in rows[0]
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.glob("jobs.db*"))


def test_a_revoked_key_stays_and_its_name_stays_taken(store: JobStore) -> None:
    key, token = store.keys.create("shop")
    revoked = store.keys.revoke("shop")
    assert revoked.revoked_at is not None
    assert not revoked.opened_by(token)
    assert store.keys.revoke("shop") == revoked
    assert store.keys.every() == (revoked,)
    assert revoked.id == key.id
    with pytest.raises(InvalidParameter) as refusal:
        store.keys.create("shop")
    assert refusal.value.param == "name"


def test_an_unknown_key_cannot_be_revoked(store: JobStore) -> None:
    with pytest.raises(NotFound):
        store.keys.revoke("shop")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "caf\u00e9", "a\n", "[red]"])
def test_names_are_plain(sqlite_store: JobStore, name: str) -> None:
    with pytest.raises(InvalidParameter):
        sqlite_store.keys.create(name)
    assert sqlite_store.keys.every() == ()


@pytest.mark.parametrize("token", ["", "i2v_", "i2v_0123456789ab_short", "key_0123456789ab", "i2v_" + "x" * 60])
def test_what_is_no_token_names_no_key(token: str) -> None:
    assert id_in(token) is None


@pytest.mark.parametrize("newest_first", [True, False])
def test_an_owner_s_list_goes_on_after_what_is_another_s(store: JobStore, new_job: Make, newest_first: bool) -> None:
    ids = [store.insert(new_job(owner="ab"[n % 2])).id for n in range(6)]
    mine = [job_id for n, job_id in enumerate(ids) if n % 2 == 0]
    ordered = mine[::-1] if newest_first else mine
    listed, more = store.list(None, 2, newest_first, "a")
    assert ([job.id for job in listed], more) == (ordered[:2], True)
    listed, more = store.list(listed[-1].id, 2, newest_first, "a")
    assert ([job.id for job in listed], more) == (ordered[2:], False)
    listed, _ = store.list(ids[3], 10, newest_first, "a")
    assert [job.id for job in listed] == [job_id for job_id in ordered if (job_id < ids[3]) == newest_first]
    assert len(store.list()[0]) == 6
