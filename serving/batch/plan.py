"""Which clips a row asks for, and what makes each of them the same clip in every run. Knows nothing of the service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.batch.sheet import Problem, Row
from serving.errors import InvalidParameter
from serving.parameters import MAX_SEED

SEED_BITS = 32
"""Of a seed that nobody gave: safe in JavaScript."""
_BESIDE = ("priority", "deadline", "webhook_url")
"""What a clip does not depend on."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip of one row."""

    row: Row
    number: int
    """1 for the row's first."""
    seed: int
    content: str
    """A digest of all that the clip comes from; another one is another clip."""

    @property
    def name(self) -> str:
        """No other clip's of the sheet; the first bears the row's, so that more seeds rename nothing."""
        # No row's name holds a "~".
        return self.row.name if self.number == 1 else f"{self.row.name}~{self.number}"


def plan(rows: Iterable[Row], seeds: int) -> Iterator[PlannedClip | Problem]:
    """`seeds` clips of each row, or what is wrong with it; reads every picture."""
    for row in rows:
        try:
            yield from _clips(row, seeds)
        except InvalidParameter as error:
            yield Problem(row.number, error.message, error.code, error.param, row.name)
        except OSError as error:
            message = f"picture: {row.picture} cannot be read: {error.strerror or error}."
            yield Problem(row.number, message, param="picture", name=row.name)


def submission_key(clip: PlannedClip, attempt: int) -> str:
    """The Idempotency-Key of an attempt at it: sent again it is the same job."""
    beside = {name: text for name, text in clip.row.fields.items() if _is_beside(name)}
    return f"i2v-batch-{_digest(clip.content, attempt, beside)[:40]}"


def _clips(row: Row, seeds: int) -> Iterator[PlannedClip]:
    given = row.fields.get("seed")
    if given is not None and not (given.isascii() and given.isdigit() and int(given) + seeds - 1 <= MAX_SEED):
        raise InvalidParameter(f"seed: {given[:100]!r} given; allowed: 0 to 2**63 - {seeds}.", param="seed")
    picture = row.url or hashlib.sha256(Path(row.picture).read_bytes()).hexdigest()
    fields = {name: text for name, text in row.fields.items() if name != "seed" and not _is_beside(name)}
    asked = (row.name, picture, row.prompt, row.template, row.title, row.category, fields)
    for number in range(1, seeds + 1):
        first = int(_digest(asked, number), 16) % 2**SEED_BITS
        seed = first if given is None else int(given) + number - 1
        yield PlannedClip(row, number, seed, _digest(asked, seed))


def _is_beside(field: str) -> bool:
    return field in _BESIDE or field.startswith("metadata[")


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
