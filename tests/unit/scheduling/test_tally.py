"""What a pool has served on virtual time, beside the store's own rule."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.scheduling.queueing import HALF_LIFE_S, Usage, faded
from serving.scheduling.tally import Tally

runs = st.tuples(st.floats(0.0, 5000.0), st.floats(1.0, 2000.0), st.sampled_from("ab"), st.booleans(), st.booleans())


def test_a_job_counts_whole_while_it_runs_and_by_half_a_half_life_later() -> None:
    tally = Tally(Usage({"a": 8.0}, batch_s=8.0, jobs={"a": 2.0}))
    tally.charge("b", 600.0, batch=True, timed=True, until=HALF_LIFE_S)
    assert tally.usage(0.0) == Usage({"a": 8.0, "b": 600.0}, 608.0, 600.0, {"a": 2.0, "b": 1.0})
    assert tally.usage(HALF_LIFE_S) == Usage({"a": 4.0, "b": 600.0}, 604.0, 600.0, {"a": 1.0, "b": 1.0})
    assert tally.usage(2 * HALF_LIFE_S) == Usage({"a": 2.0, "b": 300.0}, 302.0, 300.0, {"a": 0.5, "b": 0.5})


def test_seconds_of_nobody_knows_how_many_jobs_count_whole() -> None:
    tally = Tally(Usage({"a": 8.0}))
    tally.charge("a", 600.0, batch=False, timed=False, until=10.0, jobs=3)
    assert tally.usage(0.0).beside_s("a", 1.0) == 608.0


@given(st.lists(runs, max_size=8), st.lists(st.floats(0.0, 10_000.0), min_size=1, max_size=4).map(sorted))
def test_looks_between_change_nothing(charged: list[tuple[float, float, str, bool, bool]], looks: list[float]) -> None:
    """Each job alone: whole up to its end, faded after; however often it was looked at."""
    tally = Tally()
    for start, seconds, owner, batch, timed in charged:
        tally.charge(owner, seconds, batch=batch, timed=timed, until=start + seconds, jobs=2)
    for at in looks:
        found = tally.usage(at)
        by_owner: dict[str, float] = defaultdict(float)
        jobs: dict[str, float] = defaultdict(float)
        batch_s = timed_s = 0.0
        for start, seconds, owner, batch, timed in charged:
            counts_s = faded(seconds, at - start - seconds)
            by_owner[owner] += counts_s
            jobs[owner] += faded(2.0, at - start - seconds)
            batch_s += counts_s if batch else 0.0
            timed_s += counts_s if timed else 0.0
        assert found.by_owner == pytest.approx(by_owner)
        assert found.jobs == pytest.approx(jobs)
        assert (found.batch_s, found.deadline_s) == (pytest.approx(batch_s), pytest.approx(timed_s))
