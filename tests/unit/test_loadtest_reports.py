"""The load tests' verdicts: a broken promise is told from a kept one, and gaps are those of one card."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loadtest.burst import SCENARIOS
from loadtest.burst_report import Played, draw, promises, read
from loadtest.saturation import Clip, Length, Run, gaps_s, read_clips

FIRST = SCENARIOS[0]


@pytest.fixture
def kept() -> list[dict[str, Any]]:
    """Rows of a scenario that went as promised."""
    scenario = json.loads(json.dumps({"row": "scenario", **asdict(FIRST)}))
    rows: list[dict[str, Any]] = [scenario]
    for moment, cards in ((0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 0.0)):
        replicas = {"rtx4090": cards, "a100-80gb": 0.0}
        rows.append(
            {"row": "sample", "scenario": FIRST.name, "t": moment, "backlog_s": dict(replicas), "replicas": replicas}
        )
    job = {"row": "job", "scenario": FIRST.name, "kind": "256p", "submitted_s": 0.0, "status": "completed"}
    return rows + [{**job, "pool": "rtx4090", "wait_s": 2.0, "card_s": 4.7} for _ in range(FIRST.bursts[0].jobs)]


def played(rows: list[dict[str, Any]], folder: Path) -> Played:
    path = folder / "burst.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    (one,) = read(path)
    return one


def test_a_scenario_as_promised(kept: list[dict[str, Any]], tmp_path: Path) -> None:
    one = played(kept, tmp_path)
    assert all(held for _, held in promises(one))
    assert (one.peak("rtx4090"), one.card_seconds("rtx4090"), one.busy_seconds("rtx4090")) == (
        2,
        5.0,
        pytest.approx(141),
    )
    draw([one], tmp_path / "burst.png")
    assert (tmp_path / "burst.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("row", "change", "promise"),
    [
        (2, {"replicas": {"rtx4090": 1.0, "a100-80gb": 1.0}}, "a100-80gb asleep throughout"),
        (1, {"replicas": {"rtx4090": 1.0, "a100-80gb": 0.0}}, "every pool asleep at the start"),
        (4, {"replicas": {"rtx4090": 1.0, "a100-80gb": 0.0}}, "every pool asleep at the end"),
        (5, {"status": "failed"}, "all 30 jobs completed (29 did)"),
        (5, {"pool": "a100-80gb"}, "every 256p job done by rtx4090"),
    ],
)
def test_a_broken_promise_is_named(
    kept: list[dict[str, Any]], tmp_path: Path, row: int, change: dict[str, Any], promise: str
) -> None:
    kept[row] |= change
    assert [told for told, held in promises(played(kept, tmp_path)) if not held] == [promise]


def test_gaps_are_between_clips_of_one_card(tmp_path: Path) -> None:
    times = [(1, 0.0, 2.0), (2, 1.0, 3.0), (1, 2.5, 4.5), (2, 3.25, 5.0)]
    clips = [Clip(card, began, ended, {}) for card, began, ended in times]
    assert gaps_s(clips) == [0.5, 0.25]
    run = Run(Length("standard", 1.0, 4.0, promise=0.9), 2, 0.89, (0.5, 4.5), clips)
    assert run.by_stages == (1.5 + 2.0 + 2.0 + 1.25) / 8
    assert run.per_minute == 3 * 60 / 4
    assert not run.kept
    log = tmp_path / "app.log"
    row = {
        "logger": "serving.rendering",
        "process": 7,
        "job": "video_1",
        "time": datetime.fromtimestamp(100, UTC).isoformat(),
    }
    rows = [
        {**row, "timings_s": {"denoise": 1.0, "decode": 0.5}, "preempted_s": 2.0},
        {**row, "logger": "serving.publishing", "timings_s": {}},
    ]
    log.write_text("\n".join(json.dumps(line) for line in rows))
    assert read_clips(log) == [Clip(7, 96.5, 100.0, {"denoise": 1.0, "decode": 0.5}, "video_1")]
