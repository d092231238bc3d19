"""Bounds how often each device may ask for something or say something: a bucket of tokens for each, in memory."""

from __future__ import annotations

from collections import OrderedDict

DEVICES_MAX = 20_000


class Rates:
    """count: how often in `period_s`, at once or spread. Beyond DEVICES_MAX who was quiet longest is forgotten."""

    def __init__(self, count: int, period_s: float) -> None:
        self._count, self._per_s = count, count / period_s
        # by device: tokens left, and when
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, device: str, now_s: float) -> bool:
        """Whether the device may once more, now."""
        left, since_s = self._left.pop(device, (float(self._count), now_s))
        left = min(float(self._count), left + (now_s - since_s) * self._per_s)
        allowed = left >= 1.0
        self._left[device] = left - allowed, now_s
        while len(self._left) > DEVICES_MAX:
            self._left.popitem(last=False)
        return allowed
