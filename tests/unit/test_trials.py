"""Which clips measure a card, and that all of it runs: on the built-in model at a fraction of its sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving import trials
from serving.cli import app
from serving.jobs.store import open_store
from serving.parameters import VideoParameters
from serving.presets import BUILTIN, I2VGEN_XL, ModelProfile, profile_for
from serving.request import resolve
from serving.scheduling.calibration import calibrated
from serving.scheduling.cost import Shape, speed_of
from serving.scheduling.plans import PLANS
from serving.settings import load_settings
from serving.trials import Trial, judge, shapes

runner = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, where the store is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("I2V_CPU_THREADS", "1")
    return tmp_path


@pytest.mark.parametrize("profile", [I2VGEN_XL, profile_for(BUILTIN)], ids=lambda profile: profile.name)
def test_every_trial_is_a_clip_that_could_be_asked_for(profile: ModelProfile) -> None:
    found = list(shapes(profile))
    assert len({shape for shape, _ in found}) == len(found)
    for shape, _ in found:
        parameters = VideoParameters(prompt="p", size=f"{shape.width}x{shape.height}", num_frames=shape.num_frames)
        assert resolve(parameters, profile, seed=0).num_frames == shape.num_frames
    judging = [shape for shape, judges in found if judges]
    usual = profile.guidance_scale.default > 1
    assert {shape.guided for shape in judging} == {True, False}
    assert all(shape.guided == usual for shape, judges in found if not judges)
    assert any(shape.width != shape.height for shape in judging)
    assert max(shape.num_frames for shape in judging) == profile.num_frames.high


def test_the_fit_is_judged_by_a_whole_clip() -> None:
    cost, shape = I2VGEN_XL.cost, Shape(512, 512, 16, 1, True)
    trial = Trial(shape, PLANS[0], {"condition": 1.0, "denoise": 0.5, "decode": 2.0}, 8.0, judges=True)
    verdict = judge(trial, calibrated(speed_of(250, cost), [trial.observation], cost), I2VGEN_XL)
    assert verdict.shape.num_inference_steps == 50
    assert verdict.measured_s == 1.0 + 50 * 0.5 + 2.0
    assert verdict.error == pytest.approx(0, abs=0.01)
    assert (verdict.predicted_gib, verdict.measured_gib) == (pytest.approx(5.66, rel=0.03), 8.0)


def test_a_card_is_measured_and_the_store_knows_it(tiny: str) -> None:
    result = runner.invoke(app, ["calibrate", "--model", tiny, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["model"], answer["card_class"]) == ("tiny", "cpu")
    judging = [shape for shape, judges in shapes(profile_for(tiny)) if judges]
    assert [(row["width"], row["height"], row["num_frames"], row["guided"]) for row in answer["clips"]] == [
        (shape.width, shape.height, shape.num_frames, shape.guided) for shape in judging
    ]
    for row in answer["clips"]:
        assert row["error"] == pytest.approx(row["predicted_s"] / row["measured_s"] - 1, abs=0.05)
        assert row["measured_gib"] is None
    store = open_store(load_settings().database)
    (known,) = store.calibrations.every()
    store.close()
    fitted = sum(not judges for _, judges in shapes(profile_for(tiny)))
    assert (known.model, known.card, known.calibration.observations) == ("tiny", "cpu", fitted)
    assert known.calibrated_at is not None
    assert list(known.calibration.speed.denoise) == answer["speed"]["denoise"]


def test_it_says_in_words_what_it_found(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "PASSES", 1)
    result = runner.invoke(app, ["calibrate", "--model", tiny], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "64x64, 5 frames" in result.stdout
    assert "within 10%; the worst is" in result.stdout


def test_without_weights_nothing_is_measured(folder: Path) -> None:
    result = runner.invoke(app, ["calibrate", "--model", "ali-vilab/i2vgen-xl", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "weights_unavailable"
    assert list(folder.iterdir()) == []
