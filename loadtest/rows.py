"""What a load test writes down first, one line of JSON a request, and reads again for every report.

All moments are seconds since the run's start, by a clock that never goes back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from serving.scheduling.cost import Shape
from serving.scheduling.simulated import Arrival, Outcome

REQUESTS = "requests.jsonl"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
REFUSED: Final = "refused"
UNFINISHED: Final = "unfinished"
CARD_STAGES = ("condition", "denoise", "decode")
_NO_SHAPE = Shape(0, 0, 0, 0, guided=True)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request, from the moment it was due until its clip was here, or until it was clear that it would not be."""

    number: int
    kind: str
    owner: str = ""
    priority: str = "interactive"
    at: float
    """When it was due. Every latency counts from here: a server that stalls must not make its own figures better."""
    sent: float
    answered: float | None = None
    status: int = 0
    """Of the answer to the submission; 0 where there was none."""
    outcome: Literal["completed", "failed", "refused", "unfinished"]
    reason: str = ""
    """The error's code, of a refusal or a failure."""
    id: str = ""
    accepted: float | None = None
    """By the server's own word, where its ids tell it; else when it had answered."""
    began: float | None = None
    """When a card took it: by its timings, else when it was first seen in progress."""
    done: float | None = None
    """When a poll first found it ended."""
    downloaded: float | None = None
    bytes: int = 0
    polls: int = 0
    timings: Mapping[str, float] = field(default_factory=dict)
    """The server's own, seconds by stage, where it tells them."""
    card: str = ""

    @property
    def ended(self) -> float | None:
        """When its user had what there was to have."""
        return self.done if self.downloaded is None else self.downloaded

    @property
    def whole_s(self) -> float | None:
        """From when it was due until the clip was here; None where it never came."""
        ended = self.ended
        return None if self.outcome != COMPLETED or ended is None else ended - self.at

    @property
    def card_s(self) -> float | None:
        """Seconds that a card spent on it, where the server tells."""
        return sum(self.timings.get(stage, 0.0) for stage in CARD_STAGES) if self.timings else None

    @property
    def phases(self) -> Mapping[str, float]:
        """Its seconds by phase, of those that are known.

        "submit" is from when it was due until it was accepted, so it holds the time that the sender was late by; "rest"
        is what lies between the others: the way from the card to the encoder, and until the next poll.
        """
        found: dict[str, float] = {}
        if self.answered is not None:
            found["submit"] = self.answered - self.at
        if self.outcome != COMPLETED or self.accepted is None or self.done is None:
            return found
        if self.began is not None:
            found["queue"] = max(0.0, self.began - self.accepted)
        if self.card_s is not None:
            found["generation"] = self.card_s
            found["encode"] = self.timings.get("encode", 0.0)
            known = found.get("queue", 0.0) + found["generation"] + found["encode"]
            found["rest"] = max(0.0, self.done - self.accepted - known)
        elif self.began is not None:
            found["generation"] = self.done - self.began
        if self.downloaded is not None:
            found["download"] = self.downloaded - self.done
        return found

    @property
    def outcome_on_virtual_time(self) -> Outcome:
        """As the simulator has it, so that promises and figures are the same functions for both."""
        arrival = Arrival(self.at, _NO_SHAPE, self.kind, self.owner, self.priority)
        if self.outcome != COMPLETED:
            return Outcome(arrival, refused=self.reason or self.outcome)
        assert self.done is not None
        began = self.done if self.began is None else self.began
        return Outcome(arrival, "", self.card, began, self.done if self.downloaded is None else self.downloaded)


@dataclass(frozen=True)
class Recorded:
    """A run as it was written down."""

    about: Mapping[str, Any]
    """The first line: scenario, address, seed, speed, machine."""
    rows: Sequence[Row]
    name: str = ""

    @property
    def seconds(self) -> float:
        """From the start until the last request was over."""
        return max((row.ended or row.answered or row.sent for row in self.rows), default=0.0)


_NAMES = {one.name for one in fields(Row)}


def line(row: Row) -> str:
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(row).items()}
    return json.dumps(rounded) + "\n"


def read(folder: Path) -> Recorded:
    """A last line that was cut off, by a full disk or a kill, is left out.

    Raises:
        ValueError: the folder holds no run, or a line of it is none of a run's, which is named.
    """
    path = folder / REQUESTS
    try:
        texts = path.read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"folder: {folder} holds no {REQUESTS} that can be read.") from None
    if texts and not texts[-1].endswith("\n"):
        texts.pop()
    if not texts:
        raise ValueError(f"folder: {path} is empty.")
    rows = []
    for number, text in enumerate(texts, start=1):
        try:
            one = json.loads(text)
            if number == 1:
                about = dict(one)
            else:
                rows.append(Row(**{name: value for name, value in one.items() if name in _NAMES}))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"folder: line {number} of {path} is none of a run: {error}.") from None
    return Recorded(about, sorted(rows, key=lambda row: row.at), folder.name)
