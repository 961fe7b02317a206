"""What the error of a call to a card tells of the job that it carried. Knows nothing of stores or pools."""

from __future__ import annotations

from enum import StrEnum

from ray.exceptions import ActorDiedError, NodeDiedError, RayError, RayTaskError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import ReplicaUnavailableError


class Aftermath(StrEnum):
    """Only where nobody works on a job any more may it be given to another card at once."""

    UNREACHED = "unreached"
    """It never came to its card."""
    OVER = "over"
    """Its card has died, or has stopped working on it."""
    UNKNOWN = "unknown"
    """Its card may still work on it."""


def aftermath(error: BaseException) -> Aftermath:
    """What is certain after `error`, which awaiting the call raised."""
    # Of one that the card's own code raised, Ray makes a RayTaskError of the same class.
    if isinstance(error, ReplicaUnavailableError) and not isinstance(error, RayError):
        return Aftermath.UNREACHED
    # The card's work goes on when only the call is cancelled; and an ActorUnavailableError is no death, but silence.
    over = (ActorDiedError, NodeDiedError, WorkerCrashedError, RayTaskError)
    if isinstance(error, over) and not isinstance(error, TaskCancelledError):
        return Aftermath.OVER
    return Aftermath.UNKNOWN
