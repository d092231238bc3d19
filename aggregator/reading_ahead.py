"""Reads wide reports in a few threads while the one that owns all state takes in those before them.

Most of what a wide report costs is arithmetic that Python's lock is not held for: inflating, matrix products, a
factorisation. Reading is a function of bytes alone, and what comes of it is used in the order in which messages came,
so nothing that is decided depends on which thread was faster.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from aggregator.heads import stored_report
from aggregator.store import Store, StoredStatistics
from headway.wire import StatisticsReport, is_change, is_part

# shorter ones are mostly Python, which runs in one thread at a time
AHEAD_BYTES_MIN = 12 * 1024
THREADS_MAX = 2
# decoded tables take a megabyte each
READ_AHEAD = 2 * THREADS_MAX


def threads_here() -> int:
    """How many are worth having: none on a single processor."""
    processors = len(os.sched_getaffinity(0))
    return min(processors, THREADS_MAX) if processors > 1 else 0


class ReadingAhead:
    """Of one batch at a time. Methods run in a transaction of the store. newest_epoch: of a device; 0 for none."""

    def __init__(self, store: Store, newest_epoch: Callable[[str], int], threads: int) -> None:
        self._store, self._newest_epoch = store, newest_epoch
        self._pool = ThreadPoolExecutor(threads, "read-ahead") if threads else None
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._size_max = 0
        # by identity of the payload, which the batch holds
        self._reports: dict[int, Future[StatisticsReport]] = {}
        self._stored: dict[tuple[str, int], tuple[StoredStatistics, Future[StatisticsReport | None]]] = {}

    def begin(self, batch: Iterable[tuple[str, bytes]], size_max: int) -> None:
        """These payloads of devices are about to be asked for, in this order. size_max: as `StatisticsReport.decode`
        takes it."""
        if self._pool is None:
            return
        wide = ((device, payload) for device, payload in batch if len(payload) >= AHEAD_BYTES_MIN)
        self._waiting.extend(pair for pair in wide if not is_change(pair[1]) and not is_part(pair[1]))
        self._size_max = size_max
        if len(self._waiting) < 2:
            self._waiting.clear()
        self._go_on()

    def report(self, payload: bytes, size_max: int) -> StatisticsReport:
        """`StatisticsReport.decode`. Raises RemoteError."""
        found = self._reports.pop(id(payload), None)
        self._go_on()
        if found is None or size_max != self._size_max:
            return StatisticsReport.decode(payload, size_max)
        return found.result()

    def stored(self, row: StoredStatistics) -> StatisticsReport | None:
        """`stored_report`."""
        known, found = self._stored.pop((row.device, row.epoch), (None, None))
        if known is None or found is None or known.payload != row.payload or known.samples != row.samples:
            return stored_report(row)
        return found.result()

    def end(self) -> None:
        """The batch is over; what was read for nothing is dropped."""
        self._waiting.clear()
        self._reports.clear()
        self._stored.clear()

    def _go_on(self) -> None:
        while self._pool is not None and self._waiting and len(self._reports) < READ_AHEAD:
            device, payload = self._waiting.popleft()
            epoch = self._newest_epoch(device)
            known = self._store.statistics(device, epoch) if epoch else None
            if known is not None and known.payload == payload:
                # what is stored, once more: nobody will ask what it holds
                continue
            self._reports[id(payload)] = self._pool.submit(StatisticsReport.decode, payload, self._size_max)
            if known is not None:
                self._stored[device, epoch] = known, self._pool.submit(stored_report, known)
