"""What was measured of clips is counted, averaged and told as it was."""

from __future__ import annotations

import json

import pytest

from serving.training import report
from serving.training.evaluation import Judged


def judged(move: str, found: str, last: float, *, prompt: str = "go", still: float = 0.0) -> Judged:
    return Judged(
        move=move, found=found, picture=3, prompt=prompt, strength=1.0, first=last + 4, last=last, worst=last - 1,
        still=still,
    )  # fmt: skip


CLIPS = [
    judged("static", "static", 26.0),
    judged("pan left", "pan left", 22.0, prompt="over to the left", still=15.0),
    judged("pan left", "static", 18.0, prompt="portside", still=17.0),
]


def test_clips_together() -> None:
    row = report.together(CLIPS, "all")
    assert (row.move, row.right, row.clips) == ("all", 2, 3)
    assert (row.first, row.last, row.worst) == (26.0, 22.0, 17.0)
    assert row.still == 16.0  # of the clips that should move


def test_a_row_is_a_line_of_the_table() -> None:
    lines = [report.line(report.together(CLIPS[:1], "static")), report.line(report.together(CLIPS[1:], "pan left"))]
    assert lines == ["| static | 1/1 | 30.0 | 26.0 | 25.0 |  |", "| pan left | 1/2 | 24.0 | 20.0 | 17.0 | 16.0 |"]
    assert {line.count("|") for line in (*lines, *report.HEADER.splitlines())} == {7}


@pytest.mark.parametrize(("misheard", "said"), [(["portside"], "misheard"), ([], "heard right")])
def test_a_miss_says_whether_its_prompt_was_heard(misheard: list[str], said: str) -> None:
    assert report.misses(CLIPS, misheard) == [f"pan left went static on picture 3, {said}: 'portside'"]


def test_json_has_every_row_and_clip() -> None:
    told = json.loads(json.dumps(report.as_json(CLIPS, ["portside"], 144, {"side": 256})))
    assert told["settings"] == {"side": 256}
    assert told["prompts"] == {"of": 144, "right": 143, "misheard": ["portside"]}
    assert [(row["move"], row["right"], row["clips"]) for row in told["rows"]] == [
        ("static", 1, 1), ("pan left", 1, 2), ("all", 2, 3),
    ]  # fmt: skip
    assert [(clip["move"], clip["found"], clip["last"]) for clip in told["clips"]] == [
        ("static", "static", 26.0), ("pan left", "pan left", 22.0), ("pan left", "static", 18.0),
    ]  # fmt: skip
    assert len(told["misses"]) == 1
