"""How many requests a caller may make, counted in this process alone. Knows nothing of HTTP."""

from __future__ import annotations

import functools
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from serving.errors import InvalidParameter, RateLimited
from serving.keyring import Caller


@functools.lru_cache(maxsize=1024)
def parse_rate(rate: str) -> RateLimitItem:
    """Such as "60/minute" or "5 per 10 seconds".

    Raises:
        InvalidParameter: naming the rate.
    """
    try:
        item = parse(rate)
    except ValueError:
        item = None
    if item is None or item.amount < 1:
        raise InvalidParameter(f'rate: {rate[:100]!r} given; say it like "60/minute".', param="rate")
    return item


class Rates:
    """Counts by a window that moves with the time: in any minute of the clock's, no more than 60 of "60/minute"."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, caller: Caller, kind: str) -> None:
        """Count one request of the caller's; each kind has the key's rate to itself.

        Raises:
            RateLimited: it is one too many; it is not counted, and the next one is taken when the error says.
        """
        if caller.rate is None:
            return
        item = parse_rate(caller.rate)
        if not self._limiter.hit(item, caller.owner, kind):
            wait_s = max(0.0, self._limiter.get_window_stats(item, caller.owner, kind).reset_time - time.time())
            raise RateLimited(f"{item} are allowed; try again in {wait_s:.1f} s.", retry_after_s=wait_s)
