"""What a card's clips tell the store, and that a store out of reach costs nothing."""

from __future__ import annotations

import logging

import pytest

from serving.card_speed import CardSpeed
from serving.jobs import database, engines
from serving.jobs.engines import sqlite_driver
from serving.jobs.store import open_store
from serving.presets import I2VGEN_XL
from serving.scheduling.calibration import Observation, learn, unmeasured
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape, speed_of

CLIP = Observation(Shape(512, 512, 16, 50, True), {"condition": 0.2, "denoise": 20.0, "decode": 0.5})


def test_a_clip_is_counted_for_the_card_s_class(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    CardSpeed(store, I2VGEN_XL, CARDS["a100-40gb"]).learn(CLIP)
    (row,) = store.calibrations.every()
    store.close()
    assert (row.model, row.card) == ("i2vgen-xl", "a100-40gb")
    assert "torch" in row.engine
    seed = unmeasured(speed_of(CARDS["a100-40gb"].tflops, I2VGEN_XL.cost))
    assert row.calibration == learn(seed, CLIP, I2VGEN_XL.cost)


def test_a_store_out_of_reach_is_only_logged(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(database, "PATIENCE_S", 0.2)
    store = open_store(sqlite_url)
    blocker = sqlite_driver().connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING):
        CardSpeed(store, I2VGEN_XL, CARDS["h100"]).learn(CLIP)
    blocker.close()
    assert store.calibrations.every() == ()
    store.close()
    assert [record.levelname for record in caplog.records if record.name == "serving.card_speed"] == ["WARNING"]


def test_a_row_that_cannot_be_read_is_only_logged(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(sqlite_url)
    speed = CardSpeed(store, I2VGEN_XL, CARDS["h100"])
    speed.learn(CLIP)
    speed.learn(Observation(CLIP.shape, {"denoise": "long"}))  # type: ignore[dict-item]
    (row,) = store.calibrations.every()
    store.close()
    assert row.calibration.observations == 1
    assert [record.levelname for record in caplog.records if record.name == "serving.card_speed"] == ["ERROR"]
