"""Whether two cards work on one job, with one of its guidance halves each. Knows nothing of Ray, stores or clocks.

Two cards do a little more work in all than one: it is for jobs that would be late, and for cards that nobody needs.
"""

from __future__ import annotations

CAUTION = 1.1
"""Expected seconds are known to a tenth; and a clip that is rendered is still to be encoded."""


def pays(*, left_s: float | None, alone_s: float, shared_s: float | None, idle: int, waiting: bool) -> bool:
    """Whether a job that begins now is to be shared.

    Args:
        left_s: seconds until its deadline, negative where it has passed; None without one.
        alone_s: what it takes one card.
        shared_s: what it takes two; None where it has no halves.
        idle: cards of the same pool that nobody uses, apart from the one that has it.
        waiting: whether any job waits that such a card could take.
    """
    if left_s is None or shared_s is None or waiting or idle < 1:
        return False
    # Where even two are late, they are so by less.
    return alone_s * CAUTION > left_s and shared_s < alone_s
