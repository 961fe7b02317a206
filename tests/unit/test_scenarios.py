"""Arrivals and scenarios; promises, and the cheapest pools that keep them, against trying everything."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from loadtest.arrivals import HOUR, Process, expected, hourly, moments, steady
from loadtest.plan import PRICES, Promise, plans, promise
from loadtest.scenarios import PREVIEW, SCENARIOS, Scenario, Stream
from loadtest.twin import Cards, arrivals, ours, play, shape_of


@pytest.mark.parametrize("process", ["constant", "poisson"])
def test_as_many_arrive_as_the_rate_says(process: Process) -> None:
    rates = hourly((0, 0), (1, 7200), (1, 600), (3, 600))
    found = list(moments(rates, process, random.Random(0)))
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] <= 3 * HOUR
    assert len(found) == pytest.approx(expected(rates), abs=1 if process == "constant" else 200)
    # A ramp from 0 has three quarters of its arrivals in its second half.
    ramp = [at for at in found if at < HOUR]
    assert sum(at > HOUR / 2 for at in ramp) / len(ramp) == pytest.approx(0.75, abs=0.02)


def test_constant_arrivals_are_evenly_apart() -> None:
    found = list(moments(steady(2.0, 10.0), "constant", random.Random(0)))
    assert len(found) == 20
    assert {round(after - before, 9) for before, after in pairwise(found)} == {0.5}


def test_poisson_gaps_vary_as_much_as_they_last() -> None:
    gaps = [b - a for a, b in pairwise(moments(steady(1.0, 20_000.0), "poisson", random.Random(1)))]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1.0, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_scenario_is_legal_and_drawn_alike_twice(scenario: Scenario) -> None:
    drawn = list(scenario.draw(seed=3))
    assert drawn == list(scenario.draw(seed=3))
    assert drawn != list(scenario.draw(seed=4))
    assert len(drawn) == pytest.approx(scenario.requests, rel=0.1)
    assert {request.kind for request in drawn} == {stream.kind for stream in scenario.streams}
    for stream in scenario.streams:
        assert shape_of(stream.fields).guided
    assert [arrival.at for arrival in arrivals(drawn)] == [request.at for request in drawn]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("p95=120s", Promise("interactive", "latency", 95, 120.0)),
        ("wait.p50=1.5", Promise("interactive", "wait", 50, 1.5)),
        ("batch standard:p99=3600s", Promise("batch standard", "latency", 99, 3600.0)),
    ],
)
def test_promises(text: str, meant: Promise) -> None:
    assert promise(text) == meant


@pytest.mark.parametrize("text", ["", "p95", "95=3", "p95<3", "p5=3s", "queue.p95=3s"])
def test_what_is_no_promise(text: str) -> None:
    with pytest.raises(ValueError, match="slo"):
        promise(text)


def test_no_plan_of_fewer_cards_keeps_the_promise() -> None:
    busy = Scenario("busy", "previews", (Stream("preview", PREVIEW, hourly((0, 700), (0.5, 700))),))
    requests = list(busy.draw())
    wanted = promise("p95=40s")
    (found,) = plans(requests, [wanted], ["rtx4090"])
    assert sum(map(wanted.broken, found.simulated.outcomes)) <= wanted.allowed(requests)
    dollars = {}
    for most in range(1, 2 * found.cards[0].most + 1):
        for least in range(most + 1):
            simulated = play(requests, [Cards("rtx4090", least, most)], ours())
            if sum(map(wanted.broken, simulated.outcomes)) <= wanted.allowed(requests):
                dollars[least, most] = simulated.up_s["rtx4090"] / HOUR * PRICES["rtx4090"]
    assert found.dollars <= 1.1 * min(dollars.values())


def test_where_no_card_is_fast_enough_there_is_no_plan() -> None:
    calm = Scenario("calm", "previews", (Stream("preview", PREVIEW, hourly((0, 20), (0.5, 20))),))
    assert list(plans(list(calm.draw()), [promise("p95=1s")], ["rtx4090", "a100-80gb"])) == []
