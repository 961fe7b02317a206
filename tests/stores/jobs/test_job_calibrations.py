"""What is known of cards' speeds, on SQLite and PostgreSQL: kept, refined by many at once, begun anew."""

from __future__ import annotations

import racers

from serving.jobs.store import JobStore
from serving.presets import I2VGEN_XL
from serving.scheduling.calibration import Observation, calibrated, learn, unmeasured
from serving.scheduling.cost import Shape, speed_of

COST = I2VGEN_XL.cost
SEED = unmeasured(speed_of(250, COST))
CLIP = Observation(Shape(512, 512, 16, 50, True), {"condition": 0.2, "denoise": 20.0, "decode": 0.5})
MODEL, CARD = "i2vgen-xl", "h200"


def test_nothing_is_known_at_first(store: JobStore) -> None:
    assert store.calibrations.every() == ()


def test_a_job_refines_the_seed_and_the_next_what_is_there(store: JobStore) -> None:
    for _ in range(2):
        store.calibrations.learn(MODEL, CARD, "engine 1", SEED, lambda known: learn(known, CLIP, COST))
    (row,) = store.calibrations.every()
    assert (row.model, row.card, row.engine, row.calibrated_at) == (MODEL, CARD, "engine 1", None)
    assert row.calibration == learn(learn(SEED, CLIP, COST), CLIP, COST)
    assert row.updated_at > 1e9


def test_measuring_on_purpose_begins_anew_and_jobs_go_on_from_there(store: JobStore) -> None:
    store.calibrations.learn(MODEL, CARD, "engine 1", SEED, lambda known: learn(known, CLIP, COST))
    measured = calibrated(SEED.speed, [CLIP], COST)
    store.calibrations.replace(MODEL, CARD, "engine 2", measured)
    (row,) = store.calibrations.every()
    assert (row.calibration, row.engine) == (measured, "engine 2")
    assert row.calibrated_at == row.updated_at
    store.calibrations.learn(MODEL, CARD, "engine 3", SEED, lambda known: learn(known, CLIP, COST))
    (after,) = store.calibrations.every()
    assert after.calibration == learn(measured, CLIP, COST)
    assert (after.engine, after.calibrated_at) == ("engine 3", row.calibrated_at)


def test_each_model_and_card_has_a_row_of_its_own(store: JobStore) -> None:
    keys = [("builtin", "cpu"), (MODEL, "a100-80gb"), (MODEL, CARD)]
    for model, card in reversed(keys):
        store.calibrations.learn(model, card, "engine", SEED, lambda known: learn(known, CLIP, COST))
    assert [(row.model, row.card) for row in store.calibrations.every()] == keys


def test_of_many_cards_clips_at_once_each_counts(store: JobStore, store_url: str) -> None:
    """Among them the first, for which there is no row yet."""
    racers.race(racers.learn_many, [(store_url, MODEL, CARD, SEED, CLIP, COST, 5)] * 6)
    (row,) = store.calibrations.every()
    assert row.calibration.observations == 30
