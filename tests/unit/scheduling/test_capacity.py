"""How many replicas for what waits: examples of the rules, and properties over random pools."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.scheduling.capacity import PoolState, Target, Waiting, replicas

TARGET = Target(wait_s=60, overflow_s=600)
SMALL = PoolState("rtx4090", size=24, least=0, most=4)
LARGE = PoolState("a100", size=80, least=0, most=2)


def sized(*waiting: Waiting, small: PoolState = SMALL, large: PoolState = LARGE) -> tuple[int, int]:
    found = replicas([large, small], waiting, TARGET)
    return found["rtx4090"], found["a100"]


def shared(seconds: float) -> Waiting:
    """Work that both can hold; the large card is twice as fast."""
    return Waiting({"rtx4090": seconds, "a100": seconds / 2}, jobs=max(1, int(seconds / 5)))


def test_nothing_waits_nothing_runs() -> None:
    assert sized() == (0, 0)


def test_one_short_job_starts_one_small_card() -> None:
    assert sized(shared(5)) == (1, 0)


def test_replicas_follow_the_waiting_seconds() -> None:
    assert [sized(shared(seconds))[0] for seconds in (60, 61, 120, 180, 240, 2000)] == [1, 2, 2, 3, 4, 4]


def test_a_burst_of_small_jobs_does_not_start_a_large_card() -> None:
    assert sized(shared(2000)) == (4, 0)


def test_unless_it_would_wait_far_too_long() -> None:
    assert sized(shared(4 * 600 + 200))[1] > 0


def test_a_large_job_starts_only_a_large_card() -> None:
    assert sized(Waiting({"a100": 50.0})) == (0, 1)
    assert sized(Waiting({"a100": 170.0}, jobs=2)) == (0, 2)


def test_more_cards_than_jobs_are_of_no_use() -> None:
    assert sized(Waiting({"a100": 1000.0}, jobs=1)) == (0, 1)
    assert sized(Waiting({"rtx4090": 1000.0}, jobs=2)) == (2, 0)


def test_a_large_card_that_is_up_takes_what_the_small_ones_cannot_do_in_time() -> None:
    up = PoolState("a100", size=80, least=0, most=2, running=1)
    assert sized(shared(300), large=up) == (4, 1)
    assert sized(shared(200), large=up) == (4, 0)


def test_work_only_a_large_card_holds_has_the_first_claim_on_it() -> None:
    up = PoolState("a100", size=80, least=0, most=1, running=1)
    assert sized(shared(300), Waiting({"a100": 60.0}), large=up) == (4, 1)


def at_work(*left_s: float) -> PoolState:
    return PoolState("rtx4090", size=24, least=0, most=4, running=len(left_s), left_s=left_s)


def test_cards_at_work_are_kept() -> None:
    assert sized(small=at_work(10.0, 100.0)) == (2, 0)


def test_what_a_card_can_do_after_its_job_needs_no_other() -> None:
    assert sized(shared(50), small=at_work(5.0)) == (1, 0)
    assert sized(shared(50), small=at_work(30.0, 30.0)) == (2, 0)


def test_a_card_with_a_long_job_does_none_of_the_waiting_work() -> None:
    assert sized(shared(50), small=at_work(300.0)) == (2, 0)
    assert sized(shared(60), small=at_work(300.0, 60.0)) == (3, 0)


def test_bounds_hold() -> None:
    always = PoolState("rtx4090", size=24, least=1, most=1)
    assert sized(small=always) == (1, 0)
    assert sized(shared(500), small=always)[0] == 1


pools = st.builds(
    lambda i, size, least, more, left_s: PoolState(f"p{i}", size, least, least + more, len(left_s), tuple(left_s)),
    st.integers(0, 3),
    st.floats(1, 200),
    st.integers(0, 2),
    st.integers(1, 5),
    st.lists(st.floats(0, 500), max_size=3),
)


@given(
    st.lists(pools, min_size=1, max_size=4, unique_by=lambda pool: pool.name),
    st.lists(st.dictionaries(st.sampled_from(["p0", "p1", "p2", "p3"]), st.floats(0.1, 1e5), min_size=1), max_size=6),
)
def test_bounds_hold_and_work_always_finds_a_card(known: list[PoolState], groups: list[dict[str, float]]) -> None:
    found = replicas(known, [Waiting(group) for group in groups], TARGET)
    for pool in known:
        assert pool.least <= found[pool.name] <= pool.most
    for group in groups:
        able = [pool.name for pool in known if pool.name in group]
        assert not able or any(found[name] > 0 for name in able)


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_more_work_never_asks_for_fewer_cards(less: float, more: float) -> None:
    low, high = sorted((less, more))
    assert sum(sized(shared(low))) <= sum(sized(shared(high)))
