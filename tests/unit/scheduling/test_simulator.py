"""The service on virtual time: arithmetic that can be done by hand, and what holds for any arrivals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.baseline import RequestCounting
from serving.presets import I2VGEN_XL
from serving.scheduling.capacity import Held, Target
from serving.scheduling.cost import Shape
from serving.scheduling.placement import Pool, place
from serving.scheduling.policies import Policy, ResolutionAware
from serving.scheduling.preemption import MOST_S
from serving.scheduling.simulated import Arrival, Fleet, Rules, Simulated
from serving.scheduling.simulator import simulate

SMALL = Pool("small", "m", 43, 8)
LARGE = Pool("large", "m", 62, 80)
SHORT = Shape(256, 256, 8, 30, guided=True)
LONG = Shape(1024, 1024, 32, 100, guided=True)
COST = I2VGEN_XL.cost
SECONDS_LONG = place(LONG, "m", COST, [LARGE]).seconds["large"]
SECONDS = {name: place(SHORT, "m", COST, [SMALL, LARGE]).seconds[name] for name in ("small", "large")}


def fleet(pool: Pool, least: int, most: int, start_s: float = 60.0) -> Fleet:
    return Fleet(pool, pool.memory_gib or 0.0, least, most, start_s)


def policy(**changes: float) -> Policy:
    return ResolutionAware(Target(changes.get("wait_s", 60.0), 600.0), changes.get("hold_s", 120.0))


def run(arrivals: list[Arrival], *fleets: Fleet, by: Policy | None = None, **rules: float) -> Simulated:
    return simulate(arrivals, fleets, by or policy(), "m", COST, Rules(gap_s=0.0, **rules))  # type: ignore[arg-type]


def test_one_card_serves_one_after_the_other() -> None:
    found = run([Arrival(0.0, SHORT)] * 3, fleet(SMALL, 1, 1))
    each_s = SECONDS["small"]
    assert [outcome.started for outcome in found.outcomes] == pytest.approx([0.0, each_s, 2 * each_s])
    assert found.busy_s["small"] == pytest.approx(3 * each_s)
    assert found.up_s["small"] == pytest.approx(found.ended)


def test_a_sleeping_pool_starts_and_sleeps_again() -> None:
    found = run([Arrival(100.0, SHORT)], fleet(SMALL, 0, 2, start_s=45.0))
    (only,) = found.outcomes
    assert only.wait_s == pytest.approx(45.5, abs=0.1)
    # Paid for: its start, the job, and the time it is kept.
    assert found.up_s["small"] == pytest.approx(45.0 + SECONDS["small"] + 120.0, abs=2.0)


def test_cards_that_start_beside_others_take_longer() -> None:
    fleets = (fleet(SMALL, 0, 2, start_s=10.0), fleet(LARGE, 0, 1, start_s=10.0))
    together = [Arrival(0.0, LONG), Arrival(0.0, SHORT), Arrival(0.0, SHORT)]
    found = run(together, *fleets, by=policy(wait_s=1.0), start_beside_s=3.0)
    # Wished for half a second later; with two others each takes six seconds more.
    assert sorted(outcome.started for outcome in found.outcomes)[:3] == pytest.approx([16.5] * 3)
    alone = run(together[:1], *fleets, by=policy(wait_s=1.0), start_beside_s=3.0)
    assert alone.outcomes[0].started == pytest.approx(10.5)


def test_what_fits_nowhere_and_what_is_too_much_is_refused() -> None:
    found = run([Arrival(0.0, LONG), *[Arrival(1.0, SHORT)] * 4], fleet(SMALL, 1, 1), most_waiting=2)
    assert sorted(outcome.refused for outcome in found.outcomes) == ["", "", "", "does_not_fit", "server_overloaded"]


def test_short_jobs_pass_long_ones() -> None:
    arrivals = [*[Arrival(0.0, LONG, "long")] * 3, Arrival(1.0, SHORT, "short")]
    ours = run(arrivals, fleet(LARGE, 1, 1), preempt_s=0.0)
    serves = run(arrivals, fleet(LARGE, 1, 1), by=RequestCounting({"large": 80.0}))
    assert [outcome.arrival.kind for outcome in ours.outcomes] == ["long", "short", "long", "long"]
    assert [outcome.arrival.kind for outcome in serves.outcomes] == ["long", "long", "long", "short"]


def test_a_short_job_puts_off_a_long_one_that_is_at_work_but_no_like_one() -> None:
    arrivals = [Arrival(0.0, LONG, "long"), Arrival(1.0, SHORT, "short"), Arrival(1.0, LONG, "late")]
    found = {outcome.arrival.kind: outcome for outcome in run(arrivals, fleet(LARGE, 1, 1)).outcomes}
    short, long, late = found["short"], found["long"], found["late"]
    step_s = SECONDS_LONG / LONG.num_inference_steps
    assert 0.3 <= short.wait_s <= 0.3 + step_s
    assert long.ended == pytest.approx(SECONDS_LONG + SECONDS["large"])
    assert long.preempted_s == pytest.approx(SECONDS["large"])
    assert late.started == pytest.approx(long.ended)


def test_a_job_is_put_off_for_so_long_and_no_longer() -> None:
    shorts = [Arrival(1.0 + at, SHORT, "short") for at in range(40)]
    found = run([Arrival(0.0, LONG, "long"), *shorts], fleet(LARGE, 1, 1), preempt_s=10.0).outcomes
    (long,) = [outcome for outcome in found if outcome.arrival.kind == "long"]
    assert 10.0 - SECONDS["large"] < long.preempted_s <= 10.0
    assert sum(outcome.ended > long.ended for outcome in found) > 20


def test_a_job_with_a_deadline_is_not_put_off_nor_for_batch() -> None:
    timed = run([Arrival(0.0, LONG, deadline=2000.0), Arrival(1.0, SHORT)], fleet(LARGE, 1, 1))
    batch = run([Arrival(0.0, LONG), Arrival(1.0, SHORT, priority="batch")], fleet(LARGE, 1, 1))
    for found in (timed, batch):
        assert [outcome.preempted_s for outcome in found.outcomes] == [0.0, 0.0]


def test_serve_counts_requests_and_waits_before_it_scales() -> None:
    found = run([Arrival(0.0, LONG)] * 5, fleet(LARGE, 0, 9, start_s=0.0), by=RequestCounting({"large": 80.0}))
    first, *others = sorted(outcome.started for outcome in found.outcomes)
    assert first < 2.0
    # Five requests are three cards at two each, thirty seconds later.
    assert others[:2] == pytest.approx([31.0, 31.0], abs=2.0)
    assert others[2] > 60.0


def test_it_ends_where_enough_was_seen() -> None:
    seen: list[float] = []

    def enough(outcome: object) -> bool:
        seen.append(0.0)
        return len(seen) == 2

    arrivals = [Arrival(0.0, SHORT)] * 9
    found = simulate(arrivals, [fleet(SMALL, 1, 1)], policy(), "m", COST, enough=enough)
    assert len(found.outcomes) == 2


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        at=st.floats(0, 2000),
        shape=st.sampled_from([SHORT, LONG, Shape(512, 512, 16, 50, guided=True)]),
        owner=st.sampled_from("ab"),
        priority=st.sampled_from(["interactive", "batch"]),
        deadline=st.none() | st.floats(0, 4000),
    ),
    max_size=25,
)


@settings(max_examples=25)
@given(ARRIVALS, st.integers(0, 1), st.integers(1, 3), st.booleans())
def test_every_arrival_has_one_end_on_a_card_that_holds_it(
    arrivals: list[Arrival], least: int, most: int, counting: bool
) -> None:
    arrivals.sort(key=lambda arrival: arrival.at)
    fleets = [fleet(SMALL, least, most), fleet(LARGE, 0, most)]
    by = RequestCounting({"small": 8.0, "large": 80.0}) if counting else policy()
    found = run(arrivals, *fleets, by=by, noise=0.1)
    assert len(found.outcomes) == len(arrivals)
    for outcome in found.outcomes:
        assert not outcome.refused
        assert outcome.pool in place(outcome.arrival.shape, "m", COST, [SMALL, LARGE]).seconds
        assert outcome.arrival.at <= outcome.started < outcome.ended
    for one in fleets:
        name = one.pool.name
        assert found.busy_s[name] <= found.up_s[name] + 1e-6
        whole = [o for o in found.outcomes if o.pool == name and not o.preempts]
        within = [o for o in found.outcomes if o.pool == name and o.preempts]
        moments = [(o.started, 1) for o in whole] + [(o.ended, -1) for o in whole]
        working = 0
        for _, change in sorted(moments):
            working += change
            assert working <= one.most
        assert sum(o.preempted_s for o in whole) == pytest.approx(sum(o.ended - o.started for o in within))
        assert all(o.preempted_s <= MOST_S * 1.5 for o in whole)
        for shorter in within:
            assert shorter.arrival.priority == "interactive"
            assert any(o.preempted_s and o.started <= shorter.started < shorter.ended <= o.ended for o in whole)
    by = RequestCounting({"small": 8.0, "large": 80.0}) if counting else policy()
    assert run(arrivals, *fleets, by=by, noise=0.1).outcomes == found.outcomes


def test_sizes_fall_only_after_a_while() -> None:
    held = Held(100.0)
    wanted = [(0.0, 3), (10.0, 1), (50.0, 2), (109.9, 0), (110.1, 0), (150.0, 0), (209.0, 0), (210.5, 0)]
    found = [held.sizes(now, {"a": size})["a"] for now, size in wanted]
    # A size counts until the next was said: 3 until 10, 2 until 109.9.
    assert found == [3, 3, 3, 3, 2, 2, 2, 0]
