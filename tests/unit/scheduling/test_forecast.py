"""The forecast of a job's start: by its rules, by properties, and against the simulated discipline."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_simulation import Arrival, simulate

from serving.scheduling.forecast import LOOKS_FOR_ALL, MOST_LINES, Cards, Opening, Stretch, ends, starts
from serving.scheduling.queueing import DELAY_S, HALF_LIFE_S, PATIENCE, QUANTUM_S, Usage, rank

NOW = 1e9
SMALL, LARGE, BOTH = frozenset({"small"}), frozenset({"large"}), frozenset({"small", "large"})
IDLE = (Cards("small", (0.0,)), Cards("large", (0.0,)))


def line(
    jobs: int = 1,
    each_s: float = 10.0,
    fit: frozenset[str] = BOTH,
    age_s: float = 1.0,
    priority: str = "interactive",
    owner: str = "a",
) -> Stretch:
    place = rank(NOW - age_s, each_s, priority)
    return Stretch(fit, priority, owner, place, jobs, jobs * each_s, dict.fromkeys(fit, jobs * each_s))


def mine(**changes: object) -> Stretch:
    return line(**({"age_s": 0.0} | changes))  # type: ignore[arg-type]


def on(pool: str, *waiting: Stretch, job: Stretch | None = None, free: tuple[float, ...] = (0.0,)) -> float | None:
    return starts([Cards(pool, free)], waiting, job or mine(), NOW).get(pool)


def test_an_idle_card_takes_it_at_once() -> None:
    assert starts(IDLE, (), mine(), NOW) == {"small": 0.0, "large": 0.0}


def test_what_is_left_of_running_jobs_comes_first() -> None:
    assert on("large", free=(30.0, 12.0, 50.0)) == 12.0


def test_each_card_takes_its_part_of_what_goes_before() -> None:
    assert on("large", line(5), free=(0.0,)) == 50.0
    assert on("large", line(5), free=(0.0, 0.0)) == 20.0
    assert on("large", line(4), free=(0.0, 5.0)) == 20.0


def test_shorter_work_goes_before_and_longer_after() -> None:
    assert on("large", line(3, 5.0), line(3, 50.0)) == 15.0


def test_a_short_one_starts_between_two_steps_of_a_long_one_that_is_at_work() -> None:
    cards = [Cards("large", (300.0,), openings=(Opening(0, 4.0, 25.0),))]
    assert starts(cards, (), mine(), NOW) == {"large": 4.0}
    assert starts(cards, [line(owner="b")], mine(), NOW) == {"large": 14.0}
    # There is room for two of them; the third waits for the card, which is free later by what went before.
    assert starts(cards, [line(2, owner="b")], mine(), NOW) == {"large": 320.0}
    assert starts(cards, (), line(each_s=40.0, age_s=0.0), NOW) == {"large": 300.0}
    assert starts(cards, (), mine(priority="batch"), NOW) == {"large": 300.0}


def test_ends_count_what_goes_first() -> None:
    cards = [Cards("large", (300.0,), openings=(Opening(0, 0.0, 15.0),))]
    waiting = [replace(line(each_s=each_s), ids=(name,)) for name, each_s in (("short", 10.0), ("long", 50.0))]
    assert ends(cards, waiting, NOW) == {"short": 10.0, "long": 360.0}


def test_what_has_waited_long_goes_before_whatever_its_length() -> None:
    assert on("large", line(1, 50.0, age_s=PATIENCE * 50.0)) == 50.0


def test_batch_goes_after_interactive_work_and_interactive_before_batch() -> None:
    assert on("large", line(3, 5.0, priority="batch")) == 0.0
    assert on("large", line(3, 100.0), job=mine(priority="batch")) == 300.0


def test_due_batch_work_goes_before_within_its_share() -> None:
    due = line(20, 10.0, priority="batch", age_s=DELAY_S["batch"] + 1000.0)
    assert on("large", due) == 10.0
    assert on("large", due, line(10)) == 120.0 + 10.0


def test_an_owner_with_one_job_does_not_wait_for_a_flood() -> None:
    assert on("large", line(100, owner="flood"), job=mine(owner="single")) == pytest.approx(QUANTUM_S, abs=10.0)


def test_what_was_served_lately_counts() -> None:
    cards = Cards("large", (0.0,), Usage(by_owner={"a": 1000.0}))
    waits = [starts([cards], [line(9, owner="b", age_s=0.0)], mine(owner=owner), NOW)["large"] for owner in "ac"]
    assert waits == [90.0, pytest.approx(QUANTUM_S, abs=10.0)]


def test_what_was_served_is_forgotten_while_the_job_waits() -> None:
    cards = Cards("large", (4 * HALF_LIFE_S,), Usage(by_owner={"a": 2.5 * QUANTUM_S}))
    assert starts([cards], [line(9, 20.0, owner="b")], mine(), NOW)["large"] == 4 * HALF_LIFE_S


def test_a_large_card_does_first_what_only_it_can_hold() -> None:
    waiting = line(2, 30.0, fit=LARGE)
    assert starts(IDLE, [waiting], mine(), NOW) == {"small": 0.0, "large": 60.0}
    busy = (Cards("small", (500.0,)), Cards("large", (0.0,)))
    # Once it is due it goes by its rank.
    assert starts(busy, [line(9, 30.0, fit=LARGE)], mine(), NOW)["large"] == 60.0


def test_a_job_never_goes_where_it_does_not_fit_or_where_no_card_is() -> None:
    assert starts(IDLE, [line(3)], mine(fit=LARGE), NOW).keys() == {"large"}
    assert starts([Cards("small", ()), Cards("large", (7.0,))], (), mine(), NOW) == {"large": 7.0}


def test_each_pool_s_own_seconds_count() -> None:
    slow = Stretch(BOTH, "interactive", "a", NOW, 2, 20.0, {"small": 80.0, "large": 20.0})
    assert on("small", slow) == 80.0
    assert on("large", slow) == 20.0


def test_work_whose_pools_are_not_known_may_go_to_any() -> None:
    unknown = replace(line(4), fit=frozenset(), seconds={})
    # The job itself goes before it: whoever can wait for any card, waits.
    assert on("large", unknown, job=mine(fit=frozenset())) == 40.0
    assert on("large", unknown) == 0.0


def test_a_long_line_is_taken_several_at_a_time() -> None:
    abandoned = replace(line(), fit=frozenset(), seconds={"gone": 10.0})
    crowd = [line(owner=str(n)) for n in range(MOST_LINES)]
    others = [replace(abandoned, seconds={}), abandoned, line(500, 100.0)]
    found = on("large", line(20_000), *crowd, *others, free=(0.0,) * 8)
    assert found == pytest.approx(20_000 * 10.0 / 8, rel=0.02)


stretches = st.builds(
    line,
    jobs=st.integers(1, 30),
    each_s=st.floats(0.5, 300.0),
    fit=st.sampled_from([SMALL, LARGE, BOTH]),
    age_s=st.floats(0.0, 4000.0),
    priority=st.sampled_from(sorted(DELAY_S)),
    owner=st.sampled_from("abc"),
)
frees = st.lists(st.floats(0.0, 300.0), max_size=4).map(tuple)


@given(frees, frees, st.lists(stretches, max_size=6), stretches)
def test_every_pool_that_can_hold_it_has_a_start_and_no_other(
    small: tuple[float, ...], large: tuple[float, ...], waiting: list[Stretch], job: Stretch
) -> None:
    found = starts([Cards("small", small), Cards("large", large)], waiting, replace(job, jobs=1), NOW)
    assert found.keys() == {pool for pool, cards in (("small", small), ("large", large)) if cards and pool in job.fit}
    for pool, at in found.items():
        assert at >= min(small if pool == "small" else large)


@given(frees.filter(bool), st.lists(st.integers(1, 30), max_size=4), st.integers(1, 5))
def test_more_work_before_it_never_starts_it_sooner(free: tuple[float, ...], jobs: list[int], more: int) -> None:
    """Of jobs alike; with unequal ones list scheduling itself has its anomalies."""
    waiting = [line(count, age_s=100.0 + number) for number, count in enumerate(jobs)]
    before = on("large", *waiting, free=free)
    after = on("large", *waiting, line(more, age_s=50.0), free=free)
    assert before is not None
    assert after is not None
    assert before <= after


# Against the discipline itself.


def grouped(jobs: list[Arrival], job: Arrival) -> list[Stretch]:
    groups: dict[object, list[Arrival]] = defaultdict(list)
    for one in jobs:
        groups[one.group, one.rank <= job.rank].append(one)
    return [as_stretch(group) for group in groups.values()]


def as_stretch(jobs: list[Arrival]) -> Stretch:
    fit, priority, owner, _ = jobs[0].group
    total_s = sum(one.seconds for one in jobs)
    return Stretch(fit, priority, owner, min(one.rank for one in jobs), len(jobs), total_s, dict.fromkeys(fit, total_s))


@pytest.mark.parametrize("owners", [1, 4])
@pytest.mark.parametrize("most", [10, 200])
def test_the_forecast_is_near_to_what_the_discipline_does(owners: int, most: int) -> None:
    """Mean error below a tenth of the mean wait and two seconds, over random backlogs of short and long jobs."""
    errors, waits = [], []
    for seed in range(60):
        draw = random.Random(seed)

        def job(draw: random.Random = draw, **changes: float) -> Arrival:
            seconds, fit = draw.choice([(6.0, BOTH), (11.0, BOTH), (30.0, SMALL), (70.0, LARGE)])
            priority = draw.choice(["interactive", "interactive", "batch"])
            values = {"age_s": draw.uniform(0.0, 3000.0)} | changes
            owner = draw.choice("abcd"[:owners])
            return Arrival(0.0, seconds * draw.uniform(0.8, 1.2), fit, owner, priority, **values)

        waiting, new = [job() for _ in range(draw.randrange(most))], job(age_s=0.0)
        cards = {"small": draw.randint(1, 3), "large": draw.randint(1, 2)}
        real = next(run.start for run in simulate([*waiting, new], cards) if run.job is new)
        idle = [Cards(pool, (0.0,) * count) for pool, count in cards.items()]
        found = starts(idle, grouped(waiting, new), as_stretch([new]), 0.0)
        errors.append(abs(min(found.values()) - real))
        waits.append(real)
    assert fmean(waits) > 10.0
    assert fmean(errors) < 0.1 * fmean(waits) + 2.0


# Job by job.


def one_by_one(jobs: list[Arrival]) -> list[Stretch]:
    return [replace(as_stretch([job]), ids=(str(number),)) for number, job in enumerate(jobs)]


@pytest.mark.parametrize("owners", [1, 4])
def test_job_by_job_the_forecast_is_near_to_what_the_discipline_does(owners: int) -> None:
    errors, waits = [], []
    for seed in range(20):
        draw = random.Random(seed)
        waiting = [
            Arrival(
                0.0,
                draw.uniform(5.0, 80.0),
                draw.choice([SMALL, LARGE, BOTH]),
                draw.choice("abcd"[:owners]),
                draw.choice(["interactive", "batch"]),
                age_s=draw.uniform(0.0, 3000.0),
            )
            for _ in range(draw.randrange(60))
        ]
        cards = {"small": draw.randint(1, 3), "large": draw.randint(1, 2)}
        idle = [Cards(pool, (0.0,) * count) for pool, count in cards.items()]
        found = ends(idle, one_by_one(waiting), 0.0)
        for run in simulate(waiting, cards):
            errors.append(abs(found[str(waiting.index(run.job))] - run.end))
            waits.append(run.end)
    assert fmean(errors) < 0.1 * fmean(waits)


def test_a_job_that_no_card_can_hold_has_no_end() -> None:
    waiting = [replace(line(fit=fit), ids=(name,)) for name, fit in (("a", SMALL), ("b", LARGE))]
    assert ends([Cards("small", (5.0,)), Cards("large", ())], waiting, NOW) == {"a": 15.0}


def test_of_a_long_line_with_many_owners_the_ends_are_near() -> None:
    jobs, owners = LOOKS_FOR_ALL, 2 * MOST_LINES
    waiting = [
        replace(line(age_s=jobs - n, owner=str(n % owners), fit=SMALL if n % 2 else BOTH), ids=(str(n),))
        for n in range(2 * jobs)
    ]
    found = ends([Cards("small", (0.0,) * 4)], waiting, NOW)
    assert len(found) == len(waiting)
    assert max(found.values()) == pytest.approx(len(waiting) * 10.0 / 4, rel=0.02)
