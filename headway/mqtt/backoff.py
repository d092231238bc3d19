"""Chooses how long to wait before reconnecting: full jitter, so that a fleet does not return all at once.

Each wait is uniform between nothing and a bound that doubles with every failure. Source: M. Brooker, "Exponential
Backoff and Jitter", AWS Architecture Blog, 2015, where full jitter needs the fewest calls of the variants compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from headway.ports import Response

STABLE_S = 10.0


class FullJitter:
    """Bounds in seconds. min_s: of the first wait; max_s: of any; spread_s: after the end of a connection that worked.

    A broker that restarts loses everybody at the same instant. Their first attempts are spread over `spread_s`, and the
    doubling goes on from there: those who come while it is still away must not come back together either.
    """

    def __init__(
        self,
        min_s: float,
        max_s: float,
        spread_s: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._min_s, self._max_s, self._spread_s = min_s, max_s, min(spread_s, max_s)
        self._uniform = uniform
        self._bound_s = min_s

    def wait_s(self, response: Response, worked_s: float | None) -> float:
        """Seconds to wait now. worked_s: how long the connection that ended had been accepted, None if never."""
        if response is not Response.RETRY:
            self._bound_s = self._max_s
        elif worked_s is not None and worked_s >= STABLE_S:
            self._bound_s = max(self._spread_s, self._min_s)
        elif worked_s is not None:
            # accepted and lost again at once, over and over: that is a failure too
            self._bound_s = min(max(self._bound_s * 2, self._spread_s), self._max_s)
        else:
            self._bound_s = min(self._bound_s * 2, self._max_s)
        return self._uniform(0.0, self._bound_s)
