"""Remembers for a moment what costs much to read and what many open pages ask for at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from headway.ports import Clock

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Values by key, each for `lasts_s` seconds; of more than `keys_max` the oldest go. For threads."""

    def __init__(self, clock: Clock, lasts_s: float, keys_max: int) -> None:
        self._clock, self._lasts_s, self._keys_max = clock, lasts_s, keys_max
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Value]] = {}

    def get(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """What is remembered, or else what `read` returns; two who ask at once may both read."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and now_s - kept[0] < self._lasts_s:
            return kept[1]
        value = read()
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = now_s, value
            while len(self._kept) > self._keys_max:
                del self._kept[next(iter(self._kept))]
        return value
