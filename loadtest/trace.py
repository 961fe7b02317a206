"""Requests that a service once had, as `i2v trace export` wrote them: a scenario like the table's, but recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.scenarios import Fields, Request
from serving.tracing import FIELDS


@dataclass(frozen=True)
class Trace:
    """Recorded requests; every draw gives the same."""

    name: str
    drawn: Sequence[Request]

    @property
    def title(self) -> str:
        return f"{len(self.drawn)} recorded requests of {len({one.owner for one in self.drawn})} owners"

    @property
    def requests(self) -> float:
        return float(len(self.drawn))

    @property
    def kinds(self) -> set[str]:
        return {one.kind for one in self.drawn}

    @property
    def seconds(self) -> float:
        return self.drawn[-1].at

    def draw(self, seed: int = 0) -> Iterator[Request]:
        del seed
        return iter(self.drawn)


def read(path: Path) -> Trace:
    """
    Raises:
        ValueError: it cannot be read, or holds no request; naming the line at fault.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ValueError(f"trace: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"trace: {path} is no text.") from None
    drawn = []
    for number, text in enumerate(lines, start=1):
        try:
            drawn.append(_request(json.loads(text)))
        except json.JSONDecodeError as error:
            raise ValueError(f"trace: line {number} of {path} is not JSON: {error}.") from None
        except KeyError as error:
            raise ValueError(f"trace: line {number} of {path} has no {error}, as rows of a trace have.") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"trace: line {number} of {path} is no row of a trace: {error}.") from None
    if not drawn:
        raise ValueError(f"trace: {path} holds no request.")
    return Trace(path.stem, sorted(drawn, key=lambda request: request.at))


def _request(row: dict[str, Any]) -> Request:
    fields: dict[str, str | int | float] = {name: row[name] for name in FIELDS if row.get(name) is not None}
    return Request(float(row["at"]), _kind(fields), str(row["owner"]), fields)


def _kind(fields: Fields) -> str:
    """Such as "512x512/16/50", and "batch" behind it."""
    what = f"{fields['size']}/{fields['num_frames']}/{fields['num_inference_steps']}"
    return f"{what} batch" if fields.get("priority") == "batch" else what
