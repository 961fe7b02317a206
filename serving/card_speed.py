"""What one card's finished clips tell all others of its class: how fast it is. Knows nothing of HTTP or Ray."""

from __future__ import annotations

import logging

from serving.errors import StorageUnavailable
from serving.jobs.store import JobStore
from serving.presets import ModelProfile
from serving.recipe import versions
from serving.scheduling.calibration import Observation, learn, unmeasured
from serving.scheduling.cards import CardClass
from serving.scheduling.cost import speed_of

logger = logging.getLogger(__name__)


class CardSpeed:
    """Refines what the store knows of one model on one class of cards."""

    def __init__(self, store: JobStore, profile: ModelProfile, card: CardClass) -> None:
        self._store = store
        self._profile = profile
        self._card = card
        self._seed = unmeasured(speed_of(card.tflops, profile.cost))
        self._engine = engine()

    def learn(self, observation: Observation) -> None:
        """Count one more clip. An estimate is worth no job: whatever goes wrong is logged, and nothing is raised."""
        model, cost = self._profile.name, self._profile.cost
        try:
            self._store.calibrations.learn(
                model, self._card.name, self._engine, self._seed, lambda known: learn(known, observation, cost)
            )
        except StorageUnavailable as error:
            logger.warning("a clip's seconds were not counted: %s", error.message, extra={"code": error.code})
        except Exception:
            logger.exception("a clip's seconds were not counted")


def engine() -> str:
    """Versions of what renders here, for people."""
    return ", ".join(f"{name} {version}" for name, version in versions().items())
