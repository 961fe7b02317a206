"""Which job puts off one at work."""

from __future__ import annotations

import pytest

from serving.scheduling.preemption import MOST_S, AtWork, preempting, room_s
from serving.scheduling.queueing import Head


@pytest.mark.parametrize(
    ("estimate_s", "left_s", "preempted_s", "room"),
    [
        (40.0, 40.0, 0.0, 20.0),  # half of its own
        (40.0, 12.0, 0.0, 12.0),  # what takes longer than the rest of it waits for its end
        (40.0, 40.0, 16.0, 14.0),  # three quarters of its own in all
        (1000.0, 900.0, 35.0, 10.0),  # three quarters of a minute in all
        (1000.0, 900.0, MOST_S, 0.0),
    ],
)
def test_a_job_gives_way_to_much_shorter_ones_and_not_for_long(
    estimate_s: float, left_s: float, preempted_s: float, room: float
) -> None:
    assert room_s(estimate_s, left_s, preempted_s) == pytest.approx(room)


def test_it_gives_way_to_none_where_that_is_wished() -> None:
    assert room_s(1000.0, 900.0, 0.0, most_s=0.0) <= 0.0


def test_a_card_that_does_one_first_has_room_for_the_rest() -> None:
    card = AtWork(left_s=48.0, estimate_s=40.0, preempted_s=10.0, another_s=8.0, gives_way=True)
    assert card.room_s(MOST_S) == pytest.approx(12.0)
    assert AtWork(left_s=40.0, estimate_s=40.0).room_s(MOST_S) == 0.0


def test_batch_jobs_put_off_nothing() -> None:
    def head(name: str, estimate_s: float, priority: str = "interactive") -> Head:
        return Head(name, frozenset({"a"}), priority, "", 0.0, estimate_s)

    heads = [head("short", 5.0), head("long", 50.0), head("batch", 5.0, "batch")]
    assert [one.job_id for one in preempting(heads, 10.0)] == ["short"]
