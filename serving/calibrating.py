"""`i2v calibrate`: measures this machine's card, writes what was found into the store, and says how true it is.

Knows nothing of Ray, and needs no running service.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table

from serving.card_speed import engine
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.jobs.store import open_store
from serving.scheduling.calibration import Calibration
from serving.settings import Settings
from serving.trials import OnTrial, Verdict, card_class, fit, judge, measure

GOAL = 0.10
"""The relative error of an estimate that is called good."""


@dataclass(frozen=True)
class Report:
    """What a calibration found."""

    model: str
    card: str
    """As its driver names it."""
    card_class: str
    engine: str
    calibration: Calibration
    verdicts: tuple[Verdict, ...]
    """Of clips that were kept from the fit."""

    @property
    def worst(self) -> Verdict:
        return max(self.verdicts, key=lambda verdict: abs(verdict.error))

    @property
    def summary(self) -> str:
        """How far off the estimates may be."""
        within = sum(abs(verdict.error) <= GOAL for verdict in self.verdicts)
        said = f"{within} of {len(self.verdicts)} within {GOAL:.0%}"
        worst = f"the worst is {self.worst.error:+.1%}, at {self.worst.shape.words}"
        missed = "" if within == len(self.verdicts) else f" The goal of {GOAL:.0%} is missed: was the machine busy?"
        return f"{self.model} on {self.card_class} ({self.card}): {said}; {worst}.{missed}"

    def to_table(self) -> Table:
        """Predicted against measured, a row for each clip."""
        steps = self.verdicts[0].shape.num_inference_steps
        table = Table(title=f"Clips of {steps} steps that the fit has not seen", title_justify="left")
        table.add_column("clip")
        on_card = self.verdicts[0].measured_gib is not None
        memory = ("predicted GiB", "measured GiB", "plan") if on_card else ()
        for name in ("predicted s", "measured s", "error", *memory):
            table.add_column(name, justify="right")
        for row in self.verdicts:
            held = (_gib(row.predicted_gib), _gib(row.measured_gib), row.plan.name) if on_card else ()
            table.add_row(
                row.shape.words, f"{row.predicted_s:.2f}", f"{row.measured_s:.2f}", f"{row.error:+.1%}", *held
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """The same, in JSON's types."""
        return {
            "model": self.model,
            "card": self.card,
            "card_class": self.card_class,
            "engine": self.engine,
            "speed": asdict(self.calibration.speed),
            "clips": [
                {
                    **asdict(row.shape),
                    "plan": row.plan.name,
                    "predicted_s": round(row.predicted_s, 3),
                    "measured_s": round(row.measured_s, 3),
                    "error": round(row.error, 4),
                    "predicted_gib": row.predicted_gib,
                    "measured_gib": row.measured_gib,
                }
                for row in self.verdicts
            ],
            "worst_error": round(self.worst.error, 4),
            "goal_met": abs(self.worst.error) <= GOAL,
        }


def _gib(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def calibrate_here(settings: Settings, model: str, on_trial: OnTrial) -> Report:
    """Measure this machine's card with `model`, and put the result in the place of what the store knew.

    Raises:
        WeightsUnavailable, InsufficientGpuMemory: the model cannot run here.
        StorageUnavailable, ConfigurationInvalid: the store cannot be opened; known before anything is measured.
    """
    weights = locate(model, settings.revision)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = open_store(settings.database)
    try:
        cuda = torch.cuda.is_available()
        if not cuda:
            torch.set_num_threads(settings.cpu_threads or os.cpu_count() or 1)
        pipeline = Pipeline.load(weights, device="cuda" if cuda else "cpu")
        trials = measure(pipeline, on_trial)
        calibration, known = fit(pipeline, trials), card_class(pipeline)
        store.calibrations.replace(weights.profile.name, known.name, engine(), calibration)
    finally:
        store.close()
    verdicts = tuple(judge(trial, calibration, weights.profile) for trial in trials if trial.judges)
    return Report(weights.profile.name, pipeline.card.name, known.name, engine(), calibration, verdicts)
