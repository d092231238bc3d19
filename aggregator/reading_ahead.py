"""Reads the reports of a batch before their turn: narrow ones many at a time, wide ones in a few threads.

Most of what a wide report costs is arithmetic that Python's lock is not held for: inflating, matrix products, a
factorisation. Of a narrow one most is what each call of Python takes, which many share (`headway.wire.read_reports`).
Reading is a function of bytes alone, and what comes of it is used in the order in which messages came, so nothing that
is decided depends on what was read when, nor on which thread was faster.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from aggregator.heads import stored_report
from aggregator.store import Store, StoredStatistics
from headway.errors import RemoteError
from headway.wire import StatisticsReport, is_change, is_part
from headway.wire.plain_reports import read_accepted, read_reports

# shorter ones are mostly Python, which runs in one thread at a time
AHEAD_BYTES_MIN = 12 * 1024
THREADS_MAX = 2
# decoded tables take a megabyte each
READ_AHEAD = 2 * THREADS_MAX
# stored rows of wide ones that are asked for together: two megabytes
ROWS_TOGETHER = 16
# narrow ones that are read together, and the numbers of all their tables: 32 MB, and as much of what is stored. A short
# report may hold wide tables
TOGETHER, TOGETHER_NUMBERS = 64, 4 << 20

Key = tuple[str, int]


def threads_here() -> int:
    """How many are worth having: none on a single processor."""
    processors = len(os.sched_getaffinity(0))
    return min(processors, THREADS_MAX) if processors > 1 else 0


class ReadingAhead:
    """Of one batch at a time. Methods run in a transaction of the store. newest_epoch: of a device; 0 for none."""

    def __init__(self, store: Store, newest_epoch: Callable[[str], int], threads: int) -> None:
        self._store, self._newest_epoch = store, newest_epoch
        self._pool = ThreadPoolExecutor(threads, "read-ahead") if threads else None
        # wide ones; all others by identity of the payload, which the batch holds
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._narrow: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._size_max = self._together = 0
        # of the first wide ones that wait, whose stored rows were asked for
        self._looked_up = 0
        # by identity of the payload, too
        self._reports: dict[int, Future[StatisticsReport]] = {}
        self._stored: dict[Key, tuple[StoredStatistics, Future[StatisticsReport | None]]] = {}
        self._narrow_reports: dict[int, StatisticsReport | RemoteError] = {}
        self._narrow_stored: dict[Key, tuple[StoredStatistics, StatisticsReport | None]] = {}

    def begin(self, batch: Iterable[tuple[str, bytes]], size_max: int) -> None:
        """These payloads of devices are about to be asked for, in this order. size_max: as `StatisticsReport.decode`
        takes it."""
        self._size_max = size_max
        self._together = min(TOGETHER, TOGETHER_NUMBERS // (size_max + 1) ** 2)
        for device, payload in batch:
            if self._pool is not None and len(payload) >= AHEAD_BYTES_MIN and _is_whole(payload):
                self._waiting.append((device, payload))
            else:
                self._narrow[id(payload)] = device, payload
        if len(self._waiting) < 2:
            self._waiting.clear()
        if min(len(self._narrow), self._together) < 2:
            self._narrow.clear()
        self._go_on()

    def reach(self, payload: bytes) -> None:
        """It is the turn of this payload: read it with those that follow it, if it is one of many."""
        if id(payload) not in self._narrow:
            return
        while next(iter(self._narrow)) != id(payload):
            self._narrow.popitem(last=False)  # of a message that was refused before it came to that
        count = min(self._together, len(self._narrow))
        self._read_together([self._narrow.popitem(last=False)[1] for _ in range(count)])

    def report(self, payload: bytes, size_max: int) -> StatisticsReport:
        """`StatisticsReport.decode`. Raises RemoteError."""
        found = self._reports.pop(id(payload), None)
        self._go_on()
        read = self._narrow_reports.pop(id(payload), None)
        if size_max == self._size_max:
            if isinstance(read, RemoteError):
                raise read
            if read is not None:
                return read
            if found is not None:
                return found.result()
        return StatisticsReport.decode(payload, size_max)

    def stored(self, row: StoredStatistics) -> StatisticsReport | None:
        """`stored_report`."""
        key = row.device, row.epoch
        known, read = self._narrow_stored.pop(key, (None, None))
        if known is not None and _is_same(known, row):
            return read
        known, found = self._stored.pop(key, (None, None))
        if known is None or found is None or not _is_same(known, row):
            return stored_report(row)
        return found.result()

    def end(self) -> None:
        """The batch is over; what was read for nothing is dropped."""
        self._waiting.clear()
        self._looked_up = 0
        self._narrow.clear()
        self._reports.clear()
        self._stored.clear()
        self._narrow_reports.clear()
        self._narrow_stored.clear()

    def _read_together(self, some: list[tuple[str, bytes]]) -> None:
        epochs = {device: self._newest_epoch(device) for device, _ in some}
        self._store.look_up_statistics([key for key in epochs.items() if key[1]])
        rows = {device: self._store.statistics(device, epoch) for device, epoch in epochs.items() if epoch}
        coming: list[bytes] = []
        asked: dict[str, StoredStatistics] = {}
        for device, payload in some:
            row = rows.get(device)
            if not _is_whole(payload) or (row is not None and row.payload == payload):
                # what is stored, once more: nobody will ask what it holds
                continue
            coming.append(payload)
            if row is not None and row.samples >= 0:
                asked[device] = row
        # what was read for messages that were refused before they asked
        self._narrow_reports = dict(zip(map(id, coming), read_reports(coming, self._size_max), strict=True))
        read = read_accepted([row.payload for row in asked.values()])
        found = zip(asked.values(), read, strict=True)
        self._narrow_stored = {(row.device, row.epoch): (row, report) for row, report in found}

    def _go_on(self) -> None:
        while self._pool is not None and self._waiting and len(self._reports) < READ_AHEAD:
            if not self._looked_up:
                some = [device for device, _ in islice(self._waiting, ROWS_TOGETHER)]
                epochs = ((device, self._newest_epoch(device)) for device in some)
                self._store.look_up_statistics([key for key in epochs if key[1]])
                self._looked_up = len(some)
            self._looked_up -= 1
            device, payload = self._waiting.popleft()
            epoch = self._newest_epoch(device)
            known = self._store.statistics(device, epoch) if epoch else None
            if known is not None and known.payload == payload:
                # what is stored, once more: nobody will ask what it holds
                continue
            self._reports[id(payload)] = self._pool.submit(StatisticsReport.decode, payload, self._size_max)
            if known is not None:
                self._stored[device, epoch] = known, self._pool.submit(stored_report, known)


def _is_whole(payload: bytes) -> bool:
    return not is_change(payload) and not is_part(payload)


def _is_same(known: StoredStatistics, row: StoredStatistics) -> bool:
    return known is row or (known.payload == row.payload and known.samples == row.samples)
