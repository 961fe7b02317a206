"""API keys: random tokens of which the database holds digests alone.

A plain SHA-256 is right for them: nobody can try 2**256 tokens, and a slow or salted hash would protect no guessable
secret here. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, insert, select, update

from serving.errors import InvalidParameter, NotFound
from serving.jobs.database import Database
from serving.jobs.tables import api_keys

_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"i2v_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. Moments are epoch seconds."""

    id: str
    """The owner of the jobs it submits."""
    name: str
    digest: str = field(repr=False)
    created_at: float
    revoked_at: float | None
    rate: str | None
    """Requests it may make, such as "60/minute"; None bounds nothing."""
    daily_gpu_s: float | None
    """GPU seconds its jobs may have in a day; None bounds nothing."""

    def opened_by(self, token: str) -> bool:
        """Whether `token` is this key's, and counts; takes as long for any wrong one."""
        return hmac.compare_digest(self.digest, digest_of(token)) and self.revoked_at is None


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def id_in(token: str) -> str | None:
    """The id that a token names, which is no secret; None where it is not one of ours."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else f"key_{found.group(1)}"


class KeyStore:
    """The keys in one database; every method may block for some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def every(self) -> tuple[Key, ...]:
        """All keys, the revoked ones too, the oldest first."""
        order = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        return self._database.read(lambda c: tuple(map(_key_of, c.execute(order).mappings())))

    def create(self, name: str, *, rate: str | None = None, daily_gpu_s: float | None = None) -> tuple[Key, str]:
        """A new key, and its token, which nobody can show a second time.

        Raises:
            InvalidParameter: the name is taken, by a revoked key too, or is not of letters, digits, "_", "." and "-".
        """
        if not _NAME.fullmatch(name):
            raise InvalidParameter(f"name: {name[:100]!r} given; use letters, digits, '_', '.' and '-'.", param="name")
        number = secrets.token_hex(6)
        token = f"i2v_{number}_{secrets.token_urlsafe(32)}"
        new: dict[str, Any] = {"id": f"key_{number}", "name": name, "digest": digest_of(token)}
        new |= {"rate": rate, "daily_gpu_s": daily_gpu_s}

        def work(connection: Connection) -> Key:
            row = connection.execute(select(api_keys).where(api_keys.c.name == name)).mappings().first()
            if row is None:
                values = new | {"created_at": self._database.clock.wall()}
                row = connection.execute(insert(api_keys).values(values).returning(api_keys)).mappings().one()
            elif row["id"] != new["id"]:
                raise InvalidParameter(f"name: there is a key {name} already.", param="name")
            return _key_of(row)

        return self._database.write(work), token

    def named(self, name: str) -> Key:
        """
        Raises:
            NotFound: there is no key of that name.
        """
        return self._database.read(lambda c: _named(c, name))

    def revoke(self, name: str) -> Key:
        """End a key, for good; again changes nothing.

        Raises:
            NotFound: there is no key of that name.
        """

        def work(connection: Connection) -> Key:
            valid = and_(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
            connection.execute(update(api_keys).where(valid).values(revoked_at=self._database.clock.wall()))
            return _named(connection, name)

        return self._database.write(work)


def _named(connection: Connection, name: str) -> Key:
    row = connection.execute(select(api_keys).where(api_keys.c.name == name)).mappings().first()
    if row is None:
        raise NotFound(f"name: there is no key {name[:100]!r}.", param="name")
    return _key_of(row)


def _key_of(row: RowMapping) -> Key:
    return Key(**row)
