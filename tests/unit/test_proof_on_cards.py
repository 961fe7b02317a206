"""The proof on the clock: the arrivals that are sent, the routes by hand, and what was measured as if simulated."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from starlette.testclient import TestClient

from loadtest.byhand import Routes, Videos
from loadtest.counted import scaled
from loadtest.proof_on_cards import WINDOWS, Look, on_virtual_time, thinned
from loadtest.rows import Row
from loadtest.scenarios import EXTREME, PREVIEW, SMALL, Request
from loadtest.twin import Cards, shape_of
from serving.errors import DoesNotFit
from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import seconds

BOTH = [Cards("a100-80gb", 0, 1), Cards("rtx4060", 0, 2)]


def row(number: int, at: float, began: float, card: str) -> Row:
    done = {"answered": at + 0.1, "accepted": at + 0.1, "began": began, "done": began + 3.0, "card": card}
    timings = {"wait": began - at - 0.1, "denoise": 2.0}
    return Row(number=number, kind="k", at=at, sent=at, outcome="completed", timings=timings, **done)  # type: ignore[arg-type]


def test_a_share_of_the_requests_and_always_the_same_ones() -> None:
    asked = [Request(float(n), "k", "", PREVIEW) for n in range(2000)]
    one, again = (list(thinned(asked, lambda kind: 0.25, random.Random("x"))) for _ in range(2))
    assert one == again
    assert len(one) == pytest.approx(500, abs=80)
    assert list(thinned(asked, lambda kind: 1.0, random.Random("x"))) == asked
    both = [*asked, Request(2000.0, "rare", "", PREVIEW)]
    assert list(thinned(both, {"k": 0.0, "rare": 1.0}.__getitem__, random.Random("x"))) == both[-1:]


@pytest.mark.parametrize("name", WINDOWS)
def test_every_window_has_requests_of_all_its_time_and_fits_on_one_machine(name: str) -> None:
    window = WINDOWS[name]
    requests = window.requests(name, seed=0)
    assert sum(one.most for one in window.cards) <= 8
    assert 100 <= len(requests) <= 700
    assert 0.9 * window.minutes * 60 <= requests[-1].at <= window.minutes * 60


def test_what_was_measured_reads_as_if_simulated() -> None:
    """Ten times as fast: two requests, one after the other on a card that starts after a second and stops at nine."""
    rows = [row(0, 0.0, 1.0, "rtx4090"), row(1, 0.5, 4.0, "rtx4090")]
    looks = [
        Look(0.5, {"rtx4090": 0}),
        *(Look(at, {"rtx4090": 1}) for at in (1.5, 2.5, 8.5)),
        Look(9.5, {"rtx4090": 0}),
    ]
    found = on_virtual_time(rows, looks, ["rtx4090"], times=10.0)
    assert [outcome.latency_s for outcome in found.outcomes] == pytest.approx([40.0, 65.0])
    assert [outcome.wait_s for outcome in found.outcomes] == pytest.approx([10.0, 35.0])
    # From half a second on, by the look that found it.
    assert found.up_s == {"rtx4090": pytest.approx(80.0)}
    assert found.busy_s == {"rtx4090": pytest.approx(40.0)}
    assert [(one.at, one.busy, one.waiting) for one in found.samples[:3]] == [(5.0, 0, 2), (15.0, 1, 1), (25.0, 1, 1)]


def test_routes_by_hand_go_to_the_smallest_cards_that_hold_it() -> None:
    routes = Routes(BOTH, speed=1.0)
    assert routes.way(EXTREME)[0] == "a100-80gb"
    # As an emulated card of our own service takes, so many times as fast.
    for speed in (1.0, 10.0):
        expected = seconds(shape_of(SMALL), I2VGEN_XL.faster(speed).cost, CARDS["rtx4060"].tflops)
        assert Routes(BOTH, speed).way(SMALL) == ("rtx4060", pytest.approx(expected))
    with pytest.raises(DoesNotFit):
        Routes(BOTH[1:], speed=1.0).way(EXTREME)


def test_serve_s_delays_are_as_many_times_shorter() -> None:
    found = scaled(Cards("rtx4060", 1, 5), 10.0)
    assert (found["min_replicas"], found["max_replicas"], found["target_ongoing_requests"]) == (1, 5, 2.0)
    delays = ("upscale_delay_s", "downscale_delay_s", "look_back_period_s", "metrics_interval_s")
    assert [found[name] for name in delays] == [3.0, 60.0, 3.0, 1.0]


class Handle:
    """A card's, which answers at once that it took what it was told to."""

    def __init__(self) -> None:
        self.told: list[float] = []

    async def remote(self, seconds: float) -> tuple[float, float]:
        self.told.append(seconds)
        await asyncio.sleep(0)
        now = time.time()
        return now, now + seconds


def test_a_video_of_the_application_that_is_compared_with() -> None:
    handles = {one.card: Handle() for one in BOTH}
    routes = Routes(BOTH, speed=1.0)
    with TestClient(Videos(routes, handles).app) as client:
        form = {"prompt": "pan left", "preset": "extreme"}
        video = client.post("/v1/videos", data=form, files={"input_reference": b"a picture"}).json()
        assert video["status"] == "queued"
        while video["status"] == "queued":
            video = client.get(f"/v1/videos/{video['id']}").json()
        assert client.get(f"/v1/videos/{video['id']}/content").content
    took_s = routes.way(EXTREME)[1]
    assert video["recipe"] == {"card": "a100-80gb"}
    assert video["timings"]["denoise"] == pytest.approx(took_s, rel=1e-3)
    assert (handles["a100-80gb"].told, handles["rtx4060"].told) == ([took_s], [])
