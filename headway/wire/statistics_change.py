"""Message of what a device learned since a stored report: a few kilobytes instead of a hundred.

Tables are sums, so the newest are the stored ones plus the change, exactly. The change of a few samples has a low rank,
and packing (headway.wire.packing) predicts most of it to the bit. The SHA-256 of the sum tells whether both ends mean
the same. A change is an optimisation: whatever is in doubt, the device sends whole tables.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray
from headway.errors import LocalError, RemoteError, listed
from headway.maths import Statistics
from headway.tensors import encode_tensors
from headway.wire.codec import CODES_MAX, SCHEMA, finished, read_classes, tensor_fields
from headway.wire.packing import pack_tables, read_tables
from headway.wire.statistics_report import History, StatisticsReport

KIND = "statistics-change"
# what the stream of one message may inflate to: a bit for each value of d = 2,000, and as much again
INFLATED_BYTES_MAX = 512 * 1024
HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class StatisticsChange:
    """The step from the report of counter `base` to that of `counter`, of one (device, epoch).

    change: tables of the samples in between; its classes are those of the sum. sha256: of the sum (`digest`).
    """

    device: str
    epoch: int
    counter: int
    base: int
    sha256: str
    change: Statistics
    history: History

    def encode(self, predict: bool = False) -> bytes:
        """predict: for an aggregator of release 0.2 or before.

        Raises LocalError for tables too wide or too odd to be told like this; the whole ones can.
        """
        change = self.change
        raw = pack_tables(change.gram, change.class_sums, predict)
        if raw.nbytes > INFLATED_BYTES_MAX:
            raise LocalError(f"a change packs to {raw.nbytes} bytes; at most {INFLATED_BYTES_MAX} may travel")
        packed = zlib.compress(raw.tobytes(), 1)
        numbers = {"epoch": self.epoch, "counter": self.counter, "base": self.base, "sha256": self.sha256}
        head = {"schema": SCHEMA, "kind": KIND, "device": self.device, **numbers, **self.history.to_json()}
        body = {"space": change.space, "size": change.size, "classes": list(change.classes)}
        return encode_tensors({"change": np.frombuffer(packed, np.uint8)}, {**head, **body})

    @classmethod
    def decode(cls, payload: bytes, size_max: int = CODES_MAX) -> StatisticsChange:
        """Raises RemoteError on bytes that `encode` cannot have made, and on tables of no samples' making."""
        arrays, fields = tensor_fields(payload, KIND)
        if set(arrays) != {"change"}:
            raise RemoteError(f"a change holds tensors {listed(arrays)}; expected change")
        size = fields.integer("size", low=1, high=size_max)
        classes = read_classes(fields)
        gram, class_sums, proved = read_tables(_inflated(arrays["change"]), size, len(classes), prove=True)
        change = Statistics(gram, class_sums, classes, fields.text("space", length_max=64))
        problem = change.inconsistency(proved)
        if problem is not None:
            raise RemoteError(f"change of statistics refused: {problem}")
        sha256 = fields.text("sha256", length_max=64)
        if len(sha256) != 64 or not HEXADECIMAL.issuperset(sha256):
            raise RemoteError("a change of statistics comes without the sha256 of its sum")
        numbers = fields.integer("epoch"), fields.integer("counter"), fields.integer("base")
        return finished(fields, cls(fields.text("device"), *numbers, sha256, change, History.read(fields)))

    def applied(self, stored: StatisticsReport) -> StatisticsReport:
        """The whole report, given that of counter `base`. Raises RemoteError when the sum is not the device's."""
        if stored.statistics.space != self.change.space or stored.statistics.size != self.change.size:
            raise RemoteError("a change of statistics does not fit the tables it is to be added to")
        total = stored.statistics + self.change
        if digest(total) != self.sha256:
            raise RemoteError(f"counter {self.base} and the change to counter {self.counter} do not add up")
        return StatisticsReport(self.device, self.epoch, self.counter, total, self.history)


def change_between(base: StatisticsReport, newest: StatisticsReport) -> StatisticsChange | None:
    """The step from one report to a later one of the same epoch; None where only whole tables can tell it.

    Classes may have been added since, but neither renamed nor removed; and no sample may have been taken back.
    """
    old, new = base.statistics, newest.statistics
    if new.classes[: len(old.classes)] != old.classes:
        return None
    change = (new - old).with_classes(new.classes)
    if change.inconsistency() is not None:
        return None
    numbers = newest.epoch, newest.counter, base.counter
    return StatisticsChange(newest.device, *numbers, digest(new), change, newest.history)


def digest(statistics: Statistics) -> str:
    """SHA-256 of the names of the classes, each closed by a zero byte, then G and B by rows, int64 little-endian."""
    sha256 = hashlib.sha256("".join(f"{name}\0" for name in statistics.classes).encode())
    for table in (statistics.gram, statistics.class_sums):
        sha256.update(np.ascontiguousarray(table, "<i8").tobytes())
    return sha256.hexdigest()


def is_change(payload: bytes) -> bool:
    """Whether a message on a statistics topic is a change; anything unreadable is not."""
    return KIND.encode() in payload[8:2048]


def _inflated(packed: AnyArray) -> AnyArray:
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise RemoteError(f"tensor change must be uint8 (n,), got {packed.dtype} {packed.shape}")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(packed.tobytes(), INFLATED_BYTES_MAX)
    except zlib.error as error:
        raise RemoteError(f"a change of statistics is not a zlib stream: {error}") from error
    if not inflate.eof or inflate.unused_data:
        raise RemoteError(f"a change of statistics inflates to more than {INFLATED_BYTES_MAX} bytes, or is cut short")
    return np.frombuffer(raw, np.uint8)
