"""Ways to a clip in less time that change the clip: a row each, and what each means for the steps.

None is ever taken unless a request names it. Knows nothing of tensors, of models' tables or of queues.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DEEPCACHE_INTERVAL = 2
"""One step in so many runs the whole UNet."""
GUIDED_SPAN = (0.2, 0.7)
"""From where to where in the steps there is guidance, as shares of their number: the half that came out nearest to the
exact latents of the built-in model, of seven tried."""


@dataclass(frozen=True)
class Acceleration:
    """One row."""

    name: str
    changes: str
    """For people."""
    steps_share: float = 1.0
    """Of the steps taken without it, those taken with it where a request does not say how many."""
    excludes: tuple[str, ...] = ()
    """What it cannot be combined with."""
    needs_guidance: bool = False
    compute_capability: float = 0.0
    """The least a card must have, as NVIDIA counts."""
    counted: bool = True
    """Whether the cost model knows what it saves; where not, its clips are quoted as exact ones, and none of them
    teaches how fast a card is."""


ACCELERATIONS: dict[str, Acceleration] = {
    row.name: row
    for row in (
        Acceleration(
            "dpm-solver++",
            "the scheduler is DPM-Solver++ (2M), with half of the steps",
            steps_share=0.5,
            excludes=("unipc",),
        ),
        Acceleration(
            "unipc",
            "the scheduler is UniPC (order 2), with half of the steps",
            steps_share=0.5,
            excludes=("dpm-solver++",),
        ),
        Acceleration(
            "deepcache",
            "every second step runs the UNet's outermost level alone, on what the step before it left of the others",
        ),
        Acceleration(
            "guidance-interval",
            "the first fifth of the steps and the last three tenths run without guidance",
            needs_guidance=True,
        ),
        Acceleration(
            "fp8",
            "the large products of the transformer blocks are of 8-bit floats (e4m3, a scale for each row)",
            compute_capability=8.9,
            counted=False,
        ),
    )
}


@dataclass(frozen=True)
class Step:
    """What one denoising step does."""

    unguided: bool = False
    """The conditional half runs alone."""
    cached: bool = False
    """Only the outermost level runs, on features of the last step that kept them."""
    keeps: bool = False
    """Its features are kept for later steps."""


EXACT = Step()


def steps(
    count: int,
    names: Iterable[str] = (),
    *,
    interval: int = DEEPCACHE_INTERVAL,
    span: tuple[float, float] = GUIDED_SPAN,
) -> tuple[Step, ...]:
    """What each of a clip's steps does, by the accelerations' names.

    Guidance that begins again begins with a whole step: features of the conditional half alone are none of both.
    """
    taken = frozenset(names)
    unguided = [
        "guidance-interval" in taken and not span[0] <= (index + 0.5) / count < span[1] for index in range(count)
    ]
    cached: list[bool] = []
    whole = -1
    for index in range(count):
        usable = whole >= 0 and (unguided[index] or not unguided[whole])
        cached.append("deepcache" in taken and usable and index - whole < interval)
        whole = whole if cached[index] else index
    following = [*cached[1:], False]
    return tuple(
        Step(unguided[index], cached[index], keeps=following[index] and not cached[index]) for index in range(count)
    )


def lacking(names: Iterable[str], compute_capability: float) -> str | None:
    """What of them a card of this compute capability cannot do, such as "fp8 needs compute capability 8.9"."""
    rows = [ACCELERATIONS[name] for name in names]
    beyond = [row for row in rows if row.compute_capability > compute_capability]
    return ", ".join(f"{row.name} needs compute capability {row.compute_capability:g}" for row in beyond) or None


def counted(names: Iterable[str]) -> bool:
    """Whether the cost model knows the work of a clip with all of them."""
    return all(ACCELERATIONS[name].counted for name in names)
