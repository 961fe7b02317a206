"""When a pool without a card is given up, and when not."""

from __future__ import annotations

from serving.absence import GIVEN_UP_S, Absence


def look(absence: Absence, present: set[str], begin: float, end: float) -> None:
    """As often as readiness is asked for."""
    for moment in range(int(begin), int(end) + 1, 30):
        absence.look(present, float(moment))


def test_a_pool_is_given_up_only_when_it_stays_away() -> None:
    absence = Absence(["small", "large"])
    assert not absence.given_up(["small"], 1e9)  # nobody has looked yet
    look(absence, {"large"}, 0, GIVEN_UP_S)
    assert not absence.given_up(["small"], GIVEN_UP_S - 1)
    assert absence.given_up(["small"], GIVEN_UP_S)
    assert not absence.given_up(["small", "large"], GIVEN_UP_S)
    absence.look({"large", "small"}, GIVEN_UP_S + 1)
    look(absence, {"large"}, GIVEN_UP_S + 2, 2 * GIVEN_UP_S + 2)
    assert not absence.given_up(["small"], 2 * GIVEN_UP_S)
    assert absence.given_up(["small"], 2 * GIVEN_UP_S + 2)


def test_two_looks_far_apart_are_not_an_absence() -> None:
    absence = Absence(["small"])
    absence.look(set(), 0.0)
    absence.look(set(), GIVEN_UP_S)  # who knows what was there in between
    assert not absence.given_up(["small"], GIVEN_UP_S)


def test_a_pool_that_may_sleep_is_never_given_up() -> None:
    absence = Absence(["awake"])
    absence.look(set(), 0.0)
    assert absence.given_up(["awake"], GIVEN_UP_S)
    assert not absence.given_up(["awake", "sleeping"], GIVEN_UP_S)
