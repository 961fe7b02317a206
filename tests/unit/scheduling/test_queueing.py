"""The queue discipline, by what it promises: over single choices, and over simulated hours."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_simulation import Arrival, Served, simulate

from serving.scheduling.queueing import (
    BATCH_SHARE,
    DEADLINE_SHARE,
    DEADLINE_SLACK,
    DELAY_S,
    HALF_LIFE_S,
    PATIENCE,
    QUANTUM_S,
    Head,
    Usage,
    choose,
    faded,
    rank,
)

POOLS = ("large", "medium", "small")
SMALL, LARGE, BOTH = frozenset({"small"}), frozenset({"large"}), frozenset({"small", "large"})
fits = st.frozensets(st.sampled_from(POOLS), min_size=1)
priorities = st.sampled_from(sorted(DELAY_S))
estimates = st.floats(1.0, 600.0)
moments = st.floats(0.0, 1e5)
arrivals = st.builds(
    Arrival,
    at=st.floats(0.0, 500.0),
    seconds=st.floats(1.0, 200.0),
    fit=fits,
    owner=st.sampled_from("abc"),
    priority=priorities,
    deadline=st.none() | st.floats(0.0, 1500.0),
)
heads = st.builds(
    Head,
    job_id=st.uuids().map(str),
    fit=st.frozensets(st.sampled_from(POOLS)),
    priority=priorities,
    owner=st.sampled_from("abc"),
    rank=moments,
    estimate_s=estimates,
    deadline=st.none() | moments,
)
usages = st.builds(
    Usage,
    by_owner=st.dictionaries(st.sampled_from("abc"), st.floats(0.0, 1e4)),
    batch_s=st.floats(0.0, 1e4),
    deadline_s=st.floats(0.0, 1e4),
    jobs=st.dictionaries(st.sampled_from("abc"), st.floats(0.0, 1e3)),
)


def head(job_id: str, **changes: object) -> Head:
    values = {"fit": BOTH, "priority": "interactive", "owner": "a", "rank": 1000.0, "estimate_s": 50.0}
    return Head(job_id=job_id, **(values | changes))  # type: ignore[arg-type]


def taken(*offered: Head, pool: str = "large", now: float = 0.0, usage: Usage | None = None) -> str:
    """The job chosen, whichever way round the heads are offered."""
    found = {choose(order, pool, now, usage) for order in itertools.permutations(offered)}
    assert len(found) == 1
    chosen = found.pop()
    assert chosen is not None
    return chosen.job_id


# Rank.


@given(moments, estimates, priorities, st.none() | moments, st.floats(0.001, 1e5), estimates, priorities)
def test_a_job_is_never_passed_by_one_accepted_after_its_rank(
    accepted: float,
    estimate_s: float,
    priority: str,
    deadline: float | None,
    later_s: float,
    other_s: float,
    other_priority: str,
) -> None:
    mine = rank(accepted, estimate_s, priority)
    after = mine + later_s
    assert rank(after, other_s, other_priority, deadline) > mine
    assert mine - accepted == pytest.approx(PATIENCE * estimate_s + DELAY_S[priority])


@given(moments, estimates, estimates, priorities)
def test_of_two_accepted_together_the_shorter_goes_first(a: float, one_s: float, other_s: float, p: str) -> None:
    short_s, long_s = sorted((one_s, other_s))
    assert rank(a, short_s, p) <= rank(a, long_s, p)
    assert rank(a, short_s, p) < rank(a, long_s + 0.1, p)


@given(moments, estimates, priorities, moments)
def test_a_deadline_only_ever_helps_and_makes_a_job_due_in_time(
    accepted: float, estimate_s: float, priority: str, deadline: float
) -> None:
    found = rank(accepted, estimate_s, priority, deadline)
    assert accepted <= found <= rank(accepted, estimate_s, priority)
    if deadline - accepted >= DEADLINE_SLACK * estimate_s:
        assert found + DEADLINE_SLACK * estimate_s <= deadline + 1e-6


# One choice.


@given(st.lists(heads, max_size=8), st.sampled_from(POOLS), moments, usages)
def test_never_an_unfit_card_and_never_an_idle_one(offered: list[Head], pool: str, now: float, usage: Usage) -> None:
    able = [one for one in offered if not one.fit or pool in one.fit]
    chosen = choose(offered, pool, now, usage)
    assert (chosen is None) is (not able)
    assert chosen is None or chosen in able


def test_a_large_card_prefers_what_only_it_can_hold_until_the_other_is_due() -> None:
    shared, own = head("shared", rank=100.0), head("own", fit=LARGE, rank=900.0)
    assert taken(shared, own, now=99.0) == "own"
    assert taken(shared, own, now=100.0) == "shared"
    assert taken(shared, own, now=99.0, pool="small") == "shared"


def test_a_large_card_helps_with_shared_jobs_when_it_has_none_of_its_own() -> None:
    assert taken(head("shared"), head("other", fit=SMALL)) == "shared"


def test_one_late_job_opens_the_large_card_to_all_that_share_its_pools() -> None:
    late, fresh = head("late", rank=100.0), head("fresh", owner="b", rank=900.0)
    own = head("own", fit=LARGE, rank=500.0)
    assert taken(late, fresh, own, now=200.0, usage=Usage({"a": 1000.0})) == "fresh"


def test_a_late_batch_job_does_not_open_the_large_card_to_interactive_ones() -> None:
    late, fresh = head("late", priority="batch", rank=100.0), head("fresh", rank=300.0)
    own = head("own", fit=LARGE, rank=500.0)
    enough = Usage({"a": 100.0}, batch_s=50.0)
    assert taken(late, fresh, own, now=200.0, usage=enough) == "own"
    assert taken(late, fresh, own, now=300.0, usage=enough) == "fresh"


def test_of_two_alike_the_one_accepted_first_goes_first() -> None:
    assert taken(head("video_2"), head("video_1"), head("video_3", owner="b")) == "video_1"


def test_a_job_whose_pools_are_not_known_goes_to_any_after_those_that_are() -> None:
    unknown = head("unknown", fit=frozenset(), rank=1.0)
    assert taken(unknown, pool="anything") == "unknown"
    assert taken(unknown, head("known")) == "known"
    assert taken(unknown, head("known"), now=2.0) == "unknown"


def test_the_owner_served_less_goes_first_beyond_a_quantum() -> None:
    first, second = head("first", rank=1.0), head("second", owner="b", rank=2.0)
    within = Usage({"a": 100.0 + QUANTUM_S * 0.9, "b": 100.0})
    beyond = Usage({"a": 100.0 + QUANTUM_S * 1.1, "b": 100.0})
    assert taken(first, second, usage=within) == "first"
    assert taken(first, second, usage=beyond) == "second"


def test_a_long_job_counts_little_against_its_owner_s_short_ones() -> None:
    one_long, many_short = (Usage({"a": 1000.0}, jobs={"a": count}) for count in (1.0, 250.0))
    short = head("short", estimate_s=4.0, rank=1.0), head("other's", owner="b", estimate_s=4.0, rank=2.0)
    assert taken(*short, usage=one_long) == "short"
    assert taken(*short, usage=many_short) == "other's"
    long = head("long", estimate_s=900.0, rank=1.0), head("other's", owner="b", estimate_s=900.0, rank=2.0)
    assert taken(*long, usage=one_long) == "other's"


def test_interactive_goes_before_batch_until_the_batch_job_is_due() -> None:
    batch, other = head("batch", priority="batch", rank=500.0), head("interactive", rank=600.0)
    for now, usage, expected in (
        (499.0, Usage(), "interactive"),
        (500.0, Usage(), "batch"),
        (500.0, Usage({"a": 100.0}, batch_s=100.0 * BATCH_SHARE), "batch"),
        (500.0, Usage({"a": 100.0}, batch_s=101.0 * BATCH_SHARE), "interactive"),
    ):
        assert taken(batch, other, now=now, usage=usage) == expected


def test_a_close_deadline_overtakes_within_its_share_of_the_pool() -> None:
    urgent, older = head("urgent", rank=900.0, deadline=1000.0), head("older", rank=1.0)
    for now, usage, expected in (
        (899.0, Usage(), "older"),
        (900.0, Usage(), "urgent"),
        (1200.0, Usage(), "urgent"),
        (900.0, Usage({"a": 100.0}, deadline_s=100.0 * DEADLINE_SHARE), "urgent"),
        (900.0, Usage({"a": 100.0}, deadline_s=101.0 * DEADLINE_SHARE), "older"),
    ):
        assert taken(urgent, older, now=now, usage=usage) == expected


def test_a_slow_card_starts_on_a_deadline_earlier() -> None:
    older = head("older", rank=1.0)
    assert taken(older, head("urgent", deadline=1000.0, estimate_s=50.0), now=850.0) == "older"
    assert taken(older, head("urgent", deadline=1000.0, estimate_s=100.0), now=850.0) == "urgent"


def test_a_batch_job_with_a_close_deadline_goes_before_interactive_ones() -> None:
    batch = head("batch", priority="batch", deadline=100.0)
    assert taken(batch, head("interactive", rank=1.0), now=10.0) == "batch"


def test_a_deadline_is_no_way_around_the_fair_share() -> None:
    urgent, other = head("urgent", deadline=10.0), head("other", owner="b")
    assert taken(urgent, other, usage=Usage({"a": 500.0, "b": 100.0}), now=20.0) == "other"


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e5))
def test_what_was_served_is_forgotten_by_half(gpu_s: float, elapsed_s: float) -> None:
    assert faded(gpu_s, 0.0) == faded(gpu_s, -5.0) == gpu_s
    assert faded(gpu_s, elapsed_s + HALF_LIFE_S) == pytest.approx(faded(gpu_s, elapsed_s) / 2)


# Simulated hours. The simulation itself asserts that no card idles beside work it could hold, nor takes other work.


@given(st.lists(arrivals, max_size=40), st.fixed_dictionaries({pool: st.integers(1, 2) for pool in POOLS}))
def test_every_job_is_served_once_where_it_fits(jobs: list[Arrival], cards: dict[str, int]) -> None:
    done = simulate(jobs, cards)
    assert sorted(map(id, jobs)) == sorted(id(served.job) for served in done)
    for one, other in itertools.permutations(done, 2):
        if one.job.group == other.job.group and one.job.at > other.job.rank:
            assert one.start >= other.start


@settings(max_examples=25)
@given(
    seconds=st.floats(1.0, 200.0),
    priority=priorities,
    deadline=st.none() | st.floats(0.0, 5000.0),
    shared=st.booleans(),
    past_s=st.sampled_from([0.0, 500.0, 20_000.0]),
    flood_s=st.floats(5.0, 60.0),
    flood_priority=priorities,
    flood_deadline=st.none() | st.floats(0.0, 300.0),
    flood_owner=st.sampled_from(["same", "other", "a new one each"]),
    load=st.sampled_from([0.9, 1.0, 1.1]),
)
def test_a_job_is_served_in_bounded_time_under_endless_arrivals(
    seconds: float,
    priority: str,
    deadline: float | None,
    shared: bool,
    past_s: float,
    flood_s: float,
    flood_priority: str,
    flood_deadline: float | None,
    flood_owner: str,
    load: float,
) -> None:
    """Due by its rank; by then no flood job that comes later passes it, and its owner's past is soon forgotten."""
    victim = Arrival(100.0, seconds, BOTH if shared else LARGE, "victim", priority, deadline)
    forgotten_s = HALF_LIFE_S * math.log2(max(1.0, past_s / QUANTUM_S))
    due_s = max(PATIENCE * seconds + DELAY_S[priority], forgotten_s)
    # Beyond capacity, the backlog that stood before it when it came due is served first.
    bound_s = due_s + (max(load, 1.0) - 1.0) * (due_s + 100.0) + PATIENCE * flood_s + 4 * flood_s
    owners = {"same": "victim", "other": "other"}
    flood = [
        Arrival(
            at,
            flood_s,
            frozenset({pool}),
            owners.get(flood_owner, str(number)),
            flood_priority,
            None if flood_deadline is None else at + flood_deadline,
        )
        for pool in ("large", "small")
        for number in range(int((bound_s + 300.0) * load / flood_s))
        for at in (number * flood_s / load,)
    ]
    done = simulate([*flood, victim], {"large": 1, "small": 1}, until=100.0 + bound_s, past={"victim": past_s})
    waits = [served.wait for served in done if served.job is victim]
    assert waits
    assert waits[0] <= bound_s


def test_long_jobs_wait_for_short_ones_as_long_as_promised_and_no_longer() -> None:
    long = Arrival(0.0, 100.0)
    short = [Arrival(at * 10.0, 10.0) for at in range(200)]
    start = next(served.start for served in simulate([long, *short], {"pool": 1}) if served.job is long)
    assert (PATIENCE - 1) * 100.0 <= start <= PATIENCE * 100.0 + 10.0


def test_shorter_first_shortens_the_mean_wait() -> None:
    sizes = [200.0, 10.0, 150.0, 20.0, 100.0, 5.0]
    done = simulate([Arrival(0.0, size) for size in sizes], {"pool": 1})
    assert [served.job.seconds for served in done] == sorted(sizes)


@settings(max_examples=20)
@given(st.floats(5.0, 60.0), st.floats(5.0, 60.0), st.integers(1, 4), st.integers(1, 3))
def test_owners_with_unequal_floods_get_about_half_each(one_s: float, other_s: float, unequal: int, cards: int) -> None:
    hours = 3600.0
    many = [Arrival(0.0, one_s, owner="many") for _ in range(int(unequal * 2 * cards * hours / one_s))]
    few = [Arrival(300.0, other_s, owner="few") for _ in range(int(cards * hours / other_s))]
    done = simulate([*many, *few], {"pool": cards}, until=hours)
    served = {
        owner: sum(run.job.seconds for run in done if run.job.owner == owner and run.start >= 1000.0)
        for owner in ("many", "few")
    }
    assert served["few"] / sum(served.values()) == pytest.approx(0.5, abs=0.1)


@settings(max_examples=20)
@given(st.floats(2.0, 10.0), st.floats(100.0, 400.0), st.floats(5.0, 60.0), st.integers(1, 3))
def test_an_owner_of_short_and_long_jobs_gets_at_most_twice_another_s_share(
    short_s: float, long_s: float, other_s: float, cards: int
) -> None:
    hours = 2 * 3600.0
    both = [
        Arrival(0.0, seconds, owner="both")
        for seconds in (short_s, long_s)
        for _ in range(int(2 * cards * hours / seconds))
    ]
    other = [Arrival(0.0, other_s, owner="other") for _ in range(int(2 * cards * hours / other_s))]
    done = simulate([*both, *other], {"pool": cards}, until=hours)
    late = [run for run in done if run.start >= 1800.0]
    share = sum(run.job.seconds for run in late if run.job.owner == "other") / sum(run.job.seconds for run in late)
    assert 1 / 3 - 0.05 <= share <= 0.6


def test_an_owner_s_short_job_does_not_wait_for_its_long_one() -> None:
    """Behind the long job that its owner has on another card, where an equal short job of another owner waits too."""
    long = Arrival(0.0, 1000.0, owner="a")
    other = [Arrival(at * 9.0, 10.0, owner="b") for at in range(60)]
    short = Arrival(100.0, 10.0, owner="a")
    done = simulate([long, *other, short], {"pool": 2})
    assert next(run.wait for run in done if run.job is short) <= 40.0


def test_an_owner_with_one_job_does_not_wait_for_another_s_flood() -> None:
    flood = [Arrival(0.0, 50.0, BOTH, owner="flood") for _ in range(200)]
    single = Arrival(1000.0, 50.0, BOTH, owner="single")
    done = simulate([*flood, single], {"small": 1, "large": 1})
    assert next(run.wait for run in done if run.job is single) <= 50.0


@settings(max_examples=20)
@given(st.floats(5.0, 60.0), st.floats(20.0, 120.0))
def test_batch_gets_its_share_under_endless_interactive_work_and_no_more(flood_s: float, batch_s: float) -> None:
    end = 4 * DELAY_S["batch"]
    # A little more than the card can do, so that it is never free by rounding.
    interactive = [Arrival(at * flood_s * 0.99, flood_s) for at in range(int(end / flood_s))]
    batch = [Arrival(0.0, batch_s, priority="batch") for _ in range(int(end / batch_s))]
    done = simulate([*interactive, *batch], {"pool": 1}, until=end)
    due = DELAY_S["batch"] + PATIENCE * batch_s
    late = [run for run in done if run.start >= due]
    share = sum(run.job.seconds for run in late if run.job.priority == "batch") / sum(run.job.seconds for run in late)
    assert share == pytest.approx(BATCH_SHARE, abs=0.1)
    early = [run for run in done if 0.0 < run.start < due]
    assert all(run.job.priority == "interactive" for run in early)


def test_a_deadline_is_met_although_the_queue_is_long() -> None:
    backlog = [Arrival(0.0, 50.0) for _ in range(100)]
    wanted = Arrival(10.0, 50.0, deadline=400.0)
    run: Served = next(run for run in simulate([*backlog, wanted], {"pool": 1}) if run.job is wanted)
    assert run.end <= 400.0


def test_a_flood_of_deadlines_leaves_the_others_half() -> None:
    hurried = [Arrival(at * 10.0, 10.0, deadline=at * 10.0 + 15.0) for at in range(400)]
    patient = [Arrival(0.0, 10.0) for _ in range(400)]
    done = simulate([*hurried, *patient], {"pool": 1}, until=3600.0)
    without = sum(run.job.deadline is None for run in done)
    assert without / len(done) == pytest.approx(1 - DEADLINE_SHARE, abs=0.05)


def test_large_cards_stay_free_for_large_jobs_while_small_ones_keep_up() -> None:
    small = [Arrival(at * 12.0, 20.0, BOTH) for at in range(100)]
    large = [Arrival(at * 60.0, 55.0, LARGE) for at in range(20)]
    done = simulate([*small, *large], {"small": 2, "large": 1})
    assert max(run.wait for run in done if run.job.fit == LARGE) <= 20.0
