"""Quantiles of what was measured or simulated: a value that occurred, never one between two."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def quantile(values: Collection[float], share: float) -> float:
    """The least of the values that at least `share` of them do not exceed; infinite where there are none."""
    return float(np.quantile(list(values), share, method="inverted_cdf")) if values else float("inf")
