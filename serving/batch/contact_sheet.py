"""All clips of a batch on one static page that needs nothing but the files beside it. Knows nothing of the service."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from serving.batch.manifest import Entry, keep
from serving.batch.plan import PlannedClip
from serving.batch.sheet import Problem
from serving.batch.work import WAITING, known

FILE = "index.html"
_PAGE = Path(__file__).parents[1] / "assets" / "contact_sheet.html"


def write_contact_sheet(
    folder: Path,
    title: str,
    clips: Iterable[PlannedClip],
    entries: dict[str, Entry],
    problems: Sequence[Problem] = (),
    price_per_hour: float | None = None,
) -> Path:
    """Every planned clip by its entry, the clips of a row side by side, then the rows that could not be read.

    Args:
        price_per_hour: of one card; GPU seconds are shown as money too.
    """
    rows: dict[int, dict[str, Any]] = {}
    for clip in clips:
        entry = known(clip, entries)
        row = rows.setdefault(clip.row.number, _row(clip.row.number, clip.row.name, clip.row.prompt))
        row["clips"].append(_clip(clip, entry, price_per_hour))
        row["statuses"].append(row["clips"][-1]["status"])
        if entry is not None:
            row["prompt"] = entry.prompt or row["prompt"]
            row["warnings"] = row["warnings"] or [warning["message"] for warning in entry.warnings]
    for problem in problems:
        row = rows.setdefault(problem.row, _row(problem.row, f"row {problem.row}", None))
        row["problem"] = problem.message
        row["statuses"].append("failed")
    found = [rows[number] for number in sorted(rows)]
    counts = Counter(status for row in found for status in row["statuses"])
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_PAGE.read_text()).render(title=title, rows=found, counts=counts)
    path = folder / FILE
    keep(path, page.encode())
    return path


def cost_of(gpu_seconds: float, price_per_hour: float | None) -> str:
    money = (
        "" if price_per_hour is None else f", {gpu_seconds / 3600 * price_per_hour:.4g} at {price_per_hour:g} an hour"
    )
    return f"{gpu_seconds:.1f} GPU seconds{money}"


def _row(number: int, name: str, prompt: str | None) -> dict[str, Any]:
    return {
        "number": number,
        "name": name,
        "prompt": prompt,
        "problem": None,
        "clips": [],
        "statuses": [],
        "warnings": [],
    }


def _clip(clip: PlannedClip, entry: Entry | None, price_per_hour: float | None) -> dict[str, Any]:
    shown = {"name": clip.name, "seed": clip.seed, "status": WAITING}
    empty = dict.fromkeys(("file", "poster", "moves", "cost", "reason", "recipe"))
    if entry is None:
        return shown | empty
    done = entry.status == "completed"
    return shown | {
        "status": entry.status,
        "file": entry.file if done else None,
        "poster": entry.poster,
        "moves": not (entry.file or "").endswith(".gif"),
        "cost": cost_of(entry.gpu_seconds, price_per_hour) if done and entry.gpu_seconds is not None else None,
        "reason": None if entry.error is None else entry.error.message,
        "recipe": json.dumps(entry.recipe, indent=1, ensure_ascii=False) if done else None,
    }
