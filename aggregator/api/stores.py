"""Stores for the threads that answer requests: each is used by one of them at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aggregator.store import Store
from headway.errors import StoreError

STORES_MAX = 4
WAIT_S = 10.0


class Stores:
    """open_store: opens one more. Raises StoreError when none is free for `WAIT_S`."""

    def __init__(self, open_store: Callable[[], Store], count_max: int = STORES_MAX) -> None:
        self._open, self._count_max = open_store, count_max
        self._free: queue.LifoQueue[Store] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._count = 0

    @contextmanager
    def one(self) -> Iterator[Store]:
        """A store that nobody else uses until it is given back."""
        store = self._take()
        try:
            yield store
        finally:
            self._free.put(store)

    def _take(self) -> Store:
        try:
            return self._free.get_nowait()
        except queue.Empty:
            with self._lock:
                more = self._count < self._count_max
                if more:
                    opened = self._open()
                    self._count += 1
                    return opened
        try:
            return self._free.get(timeout=WAIT_S)
        except queue.Empty as error:
            raise StoreError(f"all {self._count_max} connections to the database are busy") from error
