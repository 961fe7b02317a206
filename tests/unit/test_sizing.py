"""Pools sized from a real store's backlog, and held for a while."""

from __future__ import annotations

from collections.abc import Callable

from serving.jobs.job import NewJob
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker
from serving.pools import ServedPool
from serving.presets import PUBLISHED, profile_for
from serving.scheduling.capacity import Target
from serving.settings import PoolSettings
from serving.sizing import Sizer

SMALL, LARGE = (
    ServedPool(PoolSettings(name=name, card=card), PUBLISHED, profile_for(PUBLISHED), 0, most)
    for name, card, most in (("small", "rtx4090", 4), ("large", "a100-80gb", 2))
)


def sizer(store: JobStore, hold_s: float = 0) -> Sizer:
    return Sizer(store, [LARGE, SMALL], Target(wait_s=60, overflow_s=600), hold_s)


def test_a_burst_starts_the_small_cards_and_a_large_job_the_large_one(
    sqlite_store: JobStore, new_job: Callable[..., NewJob]
) -> None:
    sizes = sizer(sqlite_store)
    assert sizes.wanted(0) == {"small": 0, "large": 0}
    for _ in range(5):
        sqlite_store.insert(new_job(estimates={"small": 30.0, "large": 15.0}))
    assert sizes.wanted(1) == {"small": 3, "large": 0}
    sqlite_store.insert(new_job(estimates={"large": 50.0}))
    assert sizes.wanted(2) == {"small": 3, "large": 1}


def test_a_card_at_work_counts(sqlite_store: JobStore, new_job: Callable[..., NewJob]) -> None:
    sqlite_store.insert(new_job(estimates={"small": 30.0}))
    assert sqlite_store.claim("small", "i2vgen-xl", "w", 30.0) is not None
    assert sizer(sqlite_store).wanted(0) == {"small": 1, "large": 0}


def test_a_card_that_is_being_stopped_does_not_count(sqlite_store: JobStore, new_job: Callable[..., NewJob]) -> None:
    """To count it at work would keep an idle one beside it."""
    sqlite_store.insert(new_job(estimates={"small": 30.0}))
    assert sqlite_store.claim("small", "i2vgen-xl", "w", 30.0) is not None
    for name in ("w", "idle"):
        sqlite_store.beat(Worker(id=name, role="generator", pool="small"))
    sizes = sizer(sqlite_store)
    assert (sizes.wanted(0), sizes.up["small"]) == ({"small": 1, "large": 0}, 2)
    sizes.wanted(1, {"w"})
    assert (sizes.wanted(2, {"w"}), sizes.up["small"]) == ({"small": 0, "large": 0}, 1)
    # Off the roll while its clip is encoded, it starts no other.
    sqlite_store.leave("w")
    assert (sizes.wanted(3, {"w"}), sizes.wanted(4, {"w"})) == ({"small": 0, "large": 0},) * 2


def test_a_card_is_kept_for_a_while(sqlite_store: JobStore, new_job: Callable[..., NewJob]) -> None:
    sizes = sizer(sqlite_store, hold_s=100)
    job = sqlite_store.insert(new_job(estimates={"small": 30.0}))
    assert sizes.wanted(0) == {"small": 1, "large": 0}
    sqlite_store.cancel(job.id)
    assert sizes.wanted(1) == {"small": 1, "large": 0}
    assert sizes.wanted(100) == {"small": 1, "large": 0}
    assert sizes.wanted(102) == {"small": 0, "large": 0}
