"""Reads the reports of a batch before their turn: narrow ones many at a time, wide ones in processes beside this one.

Most of what a wide report costs is arithmetic on it alone, which others can do (`aggregator.readers`). Of a narrow one
most is what each call of Python takes, which many share (`headway.wire.read_reports`). Reading is a function of bytes
alone, and what comes of it is used in the order in which messages came, so nothing that is decided depends on what was
read when, nor on who was faster.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

from aggregator.heads import stored_report
from aggregator.readers import Asked, Readers
from aggregator.store import Store, StoredStatistics
from headway.errors import RemoteError
from headway.wire import StatisticsReport, is_change, is_part
from headway.wire.plain_reports import read_accepted, read_reports

# shorter ones are read together
AHEAD_BYTES_MIN = 12 * 1024
# stored rows of wide ones that are asked for together: two megabytes
ROWS_TOGETHER = 16
# narrow ones that are read together, and the numbers of all their tables: 32 MB, and as much of what is stored. A short
# report may hold wide tables
TOGETHER, TOGETHER_NUMBERS = 64, 4 << 20

Key = tuple[str, int]


class ReadingAhead:
    """Of one batch at a time. Methods run in a transaction of the store. newest_epoch: of a device; 0 for none.

    readers: of wide reports; None where nobody else reads.
    """

    def __init__(self, store: Store, newest_epoch: Callable[[str], int], readers: Readers | None = None) -> None:
        self._store, self._newest_epoch = store, newest_epoch
        self._readers = readers if readers is not None and readers.any else None
        # wide ones, and all others, by identity of the payload, which the batch holds
        self._waiting: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._narrow: OrderedDict[int, tuple[str, bytes]] = OrderedDict()
        self._size_max = self._together = 0
        # of the first wide ones that wait, whose stored rows were asked for
        self._looked_up = 0
        # by identity of the payload, too
        self._asked: dict[int, tuple[str, StoredStatistics | None, Asked]] = {}
        self._stored: dict[Key, tuple[StoredStatistics, StatisticsReport]] = {}
        self._narrow_reports: dict[int, StatisticsReport | RemoteError] = {}
        self._narrow_stored: dict[Key, tuple[StoredStatistics, StatisticsReport | None]] = {}

    def begin(self, batch: Iterable[tuple[str, bytes]], size_max: int) -> None:
        """These payloads of devices are about to be asked for, in this order. size_max: as `StatisticsReport.decode`
        takes it."""
        self._size_max = size_max
        self._together = min(TOGETHER, TOGETHER_NUMBERS // (size_max + 1) ** 2)
        for device, payload in batch:
            if self._readers is not None and len(payload) >= AHEAD_BYTES_MIN and _is_whole(payload):
                self._waiting[id(payload)] = device, payload
            else:
                self._narrow[id(payload)] = device, payload
        if len(self._waiting) < 2:
            self._waiting.clear()
        elif self._readers is not None:
            self._readers.begin()
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
        read = self._narrow_reports.pop(id(payload), None)
        if id(payload) in self._asked:
            read = self._answer(payload)
        while id(payload) in self._waiting:
            self._next()  # nobody had time for it, nor asked for those before it
        self._go_on()
        if size_max == self._size_max:
            if isinstance(read, RemoteError):
                raise read
            if read is not None:
                return read
        return StatisticsReport.decode(payload, size_max)

    def stored(self, row: StoredStatistics) -> StatisticsReport | None:
        """`stored_report`."""
        key = row.device, row.epoch
        for found in (self._stored, self._narrow_stored):
            known, read = found.pop(key, (None, None))
            if known is not None and _is_same(known, row):
                return read
        return stored_report(row)

    def end(self) -> None:
        """The batch is over; what was read for nothing is dropped."""
        self._waiting.clear()
        self._looked_up = 0
        self._narrow.clear()
        self._asked.clear()
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

    def _answer(self, payload: bytes) -> StatisticsReport | None:
        """What a reader made of a payload, None where it is to be read here; the stored one is kept for its turn."""
        device, known, asked = self._asked.pop(id(payload))
        new, stored = asked.reports()
        # of the one before, which nobody asked for
        self._stored.clear()
        if known is not None and stored is not None:
            self._stored[device, known.epoch] = known, stored
        return new

    def _go_on(self) -> None:
        """Ask readers for what comes next, as far as they have time."""
        while self._readers is not None and self._waiting:
            if not self._looked_up:
                some = [device for device, _ in islice(self._waiting.values(), ROWS_TOGETHER)]
                epochs = ((device, self._newest_epoch(device)) for device in some)
                self._store.look_up_statistics([key for key in epochs if key[1]])
                self._looked_up = len(some)
            device, payload = next(iter(self._waiting.values()))
            epoch = self._newest_epoch(device)
            known = self._store.statistics(device, epoch) if epoch else None
            # what is stored, once more: nobody will ask what it holds
            if known is None or known.payload != payload:
                before = b"" if known is None else known.payload
                asked = self._readers.ask(payload, self._size_max, before, known is not None and known.samples >= 0)
                if asked is None:
                    return
                self._asked[id(payload)] = device, known, asked
            self._next()

    def _next(self) -> None:
        """The first one waits no more."""
        self._waiting.popitem(last=False)
        self._looked_up = max(self._looked_up - 1, 0)


def _is_whole(payload: bytes) -> bool:
    return not is_change(payload) and not is_part(payload)


def _is_same(known: StoredStatistics, row: StoredStatistics) -> bool:
    return known is row or (known.payload == row.payload and known.samples == row.samples)
