"""What `evaluate` found, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serving.training.evaluation import Judged

HEADER = """\
| move | right | first frame dB | last frame dB | worst frame dB | doing nothing dB |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """Clips together: how many were right, means in dB, and the worst frame of all."""

    move: str
    right: int
    clips: int
    first: float
    last: float
    worst: float
    still: float


def together(clips: Sequence[Judged], move: str) -> Row:
    """Means of all clips under one name; `still` counts those that move."""
    moved = [clip.still for clip in clips if clip.still]
    return Row(
        move=move,
        right=sum(clip.right for clip in clips),
        clips=len(clips),
        first=sum(clip.first for clip in clips) / len(clips),
        last=sum(clip.last for clip in clips) / len(clips),
        worst=min(clip.worst for clip in clips),
        still=sum(moved) / len(moved) if moved else 0.0,
    )


def line(row: Row) -> str:
    """The row of a Markdown table."""
    still = f"{row.still:.1f}" if row.still else ""
    return f"| {row.move} | {row.right}/{row.clips} | {row.first:.1f} | {row.last:.1f} | {row.worst:.1f} | {still} |"


def misses(clips: Sequence[Judged], misheard: Sequence[str]) -> list[str]:
    """A line on every clip that went another way, and whether its prompt had been heard right."""
    return [
        f"{clip.move} went {clip.found} on picture {clip.picture}, "
        f"{'misheard' if clip.prompt in misheard else 'heard right'}: {clip.prompt!r}"
        for clip in clips
        if not clip.right
    ]


def as_json(clips: Sequence[Judged], misheard: Sequence[str], of: int, settings: dict[str, Any]) -> dict[str, Any]:
    """All of it: settings, prompts heard wrong of so many, rows and clips."""
    moves = list(dict.fromkeys(clip.move for clip in clips))
    rows = [together([clip for clip in clips if clip.move == move], move) for move in moves]
    return {
        "settings": settings,
        "prompts": {"of": of, "right": of - len(misheard), "misheard": list(misheard)},
        "rows": [asdict(row) for row in (*rows, together(clips, "all"))],
        "misses": misses(clips, misheard),
        "clips": [asdict(clip) for clip in clips],
    }
