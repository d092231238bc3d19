"""Message of the exact learner: cumulative statistics, and the history that tells a device from its clone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headway.arrays import Int64
from headway.errors import RemoteError, listed
from headway.fields import Fields, JsonValue
from headway.maths import Statistics, to_arrays
from headway.tensors import encode_tensors
from headway.wire.codec import (
    CODES_MAX,
    MESSAGE_BYTES_MAX,
    PART_BYTES,
    REPORT_BYTES_MAX,
    RUNS_MAX,
    SCHEMA,
    finished,
    metadata_fields,
    read_classes,
    tensor_fields,
)
from headway.wire.packing import empty_gram, from_wire, to_wire


class RunPoint(NamedTuple):
    """A moment of a device's past: the run of its program that learned last, and the counter."""

    run_id: int
    counter: int


@dataclass(frozen=True, slots=True)
class History:
    """The runs of a device's program that led to its state: those that learned something, whether they spoke or not.

    run_id: number drawn at random by the run that learned last; earlier_runs, run_ends: the runs before it, oldest
    first, the newest RUNS_MAX kept, and the counter at which each ended. A state that none of them has had comes from a
    copy of the device, or from after the moment to which it was restored.
    """

    run_id: int = 0
    earlier_runs: tuple[int, ...] = ()
    run_ends: tuple[int, ...] = ()

    def includes(self, run_id: int, counter: int) -> bool:
        """Whether the state of run `run_id` under `counter` is part of this history."""
        if run_id in (0, self.run_id) or (self._forgets and counter <= self.run_ends[0]):
            # unknown, or from before the runs that are still remembered: nobody can tell
            return True
        end = self._end_of(run_id)
        return end is not None and counter <= end

    def last_shared(self, counter: int, other: History, other_counter: int) -> RunPoint:
        """Where this history, at `counter`, and another at `other_counter` part: the last point that is in both.

        Without a common run that is the beginning; where one of them has forgotten runs, the latest point that it may
        be, for what lies before it may be in both.
        """
        theirs = dict(other._ends(other_counter))
        for run_id, end in reversed(self._ends(counter)):
            if run_id in theirs:
                return RunPoint(run_id, min(end, theirs[run_id]))
        return RunPoint(0, max((history.run_ends[0] for history in (self, other) if history._forgets), default=0))

    def spans(self, counter: int) -> dict[int, tuple[int, int]]:
        """Each known run, and the counters after which it began and at which it ended; the newest is at `counter`."""
        ends = self._ends(counter)
        # of the first one after some that are forgotten it is not known where it began
        starts = [ends[0][1] if self._forgets else 0, *(end for _, end in ends)]
        return {run_id: (start, end) for start, (run_id, end) in zip(starts, ends, strict=False)}

    def since(self, base: int) -> History:
        """The same with counters that begin at `base`, without the runs that had ended by then."""
        later = [(run, end - base) for run, end in self._ends(base)[:-1] if end > base]
        return History(self.run_id, tuple(run for run, _ in later), tuple(end for _, end in later))

    @property
    def _forgets(self) -> bool:
        return len(self.earlier_runs) >= RUNS_MAX

    def _ends(self, counter: int) -> list[tuple[int, int]]:
        """Every known run and its end, oldest first; the newest one is at `counter`."""
        return [*zip(self.earlier_runs, self.run_ends, strict=True), (self.run_id, counter)]

    def _end_of(self, run_id: int) -> int | None:
        return dict(zip(self.earlier_runs, self.run_ends, strict=True)).get(run_id)

    def to_json(self) -> dict[str, JsonValue]:
        return {"life": self.run_id, "earlier": [*self.earlier_runs], "ends": [*self.run_ends]}

    @classmethod
    def read(cls, fields: Fields) -> History:
        earlier_runs = fields.integers("earlier", count_max=RUNS_MAX)
        run_ends = fields.integers("ends", count_max=RUNS_MAX)
        if len(earlier_runs) != len(run_ends):
            raise fields.error(f"{fields.where} names {len(earlier_runs)} earlier runs with {len(run_ends)} ends")
        return cls(fields.integer("life"), earlier_runs, run_ends)


NO_HISTORY = History()


@dataclass(frozen=True, slots=True)
class StatisticsReport:
    """A device's cumulative tables. Of one (device, epoch) only the highest counter matters.

    history: which runs of the device's program these tables come from.
    """

    device: str
    epoch: int
    counter: int
    statistics: Statistics
    history: History = NO_HISTORY

    def encode(self, packed: bool = True, predict: bool = False) -> bytes:
        """packed: in few bytes, as it travels; else in planes, as it may rest. `decode` takes both.

        predict: packed for an aggregator of release 0.2 or before.
        """
        statistics = self.statistics
        head = {"device": self.device, "epoch": self.epoch, "counter": self.counter, **self.history.to_json()}
        body = {"space": statistics.space, "size": statistics.size, "classes": list(statistics.classes)}
        arrays = to_wire(statistics, predict) if packed else to_arrays(statistics, quickly=True)
        return encode_tensors(arrays, {"schema": SCHEMA, "kind": "statistics", **head, **body})

    @classmethod
    def decode(
        cls,
        payload: bytes,
        size_max: int = CODES_MAX,
        bytes_max: int = MESSAGE_BYTES_MAX,
        room: Callable[[int], Int64] = empty_gram,
    ) -> StatisticsReport:
        """`size_max` bounds the memory that a small, well-compressed message can claim: (size_max + 1)^2 int64.

        bytes_max: REPORT_BYTES_MAX for one that was put together from parts. room: memory for a gram of so many rows,
        which packed tables are written to.
        """
        return cls._read(payload, size_max, bytes_max, False, room)

    @classmethod
    def _read(
        cls, payload: bytes, size_max: int, bytes_max: int, accepted: bool, room: Callable[[int], Int64]
    ) -> StatisticsReport:
        arrays, fields = tensor_fields(payload, "statistics", bytes_max)
        size = fields.integer("size", low=1, high=size_max)
        classes = read_classes(fields)
        statistics = from_wire(arrays, size, classes, fields.text("space", length_max=64), accepted, room)
        numbers = fields.integer("epoch"), fields.integer("counter")
        report = cls(fields.text("device"), *numbers, statistics, History.read(fields))
        return finished(fields, report)

    @classmethod
    def decode_stored(
        cls, payload: bytes, accepted: bool = False, room: Callable[[int], Int64] = empty_gram
    ) -> StatisticsReport:
        """One that was stored before, in parts or not. accepted: its tables were found to be those of samples then.
        room: as `decode` takes it."""
        return cls._read(payload, CODES_MAX, REPORT_BYTES_MAX, accepted, room)

    @classmethod
    def read_history(cls, payload: bytes) -> History:
        """The history alone, without unpacking the tables of a report that was decoded before."""
        return History.read(metadata_fields(payload, "statistics", REPORT_BYTES_MAX))


@dataclass(frozen=True, slots=True)
class ReportPart:
    """One of `count` parts of a report that does not fit a message; all but the last have PART_BYTES bytes.

    total_bytes, sha256: of the whole report; parts belong together when (epoch, counter, sha256) are the same.
    """

    device: str
    epoch: int
    counter: int
    index: int
    total_bytes: int
    sha256: str
    content: bytes

    @property
    def count(self) -> int:
        return -(-self.total_bytes // PART_BYTES)

    def encode(self) -> bytes:
        names = ("device", "epoch", "counter", "index", "total_bytes", "sha256")
        meta = {name: getattr(self, name) for name in names}
        content = {"content": np.frombuffer(self.content, np.uint8)}
        return encode_tensors(content, {"schema": SCHEMA, "kind": "statistics-part", **meta})

    @classmethod
    def decode(cls, payload: bytes) -> ReportPart:
        arrays, fields = tensor_fields(payload, "statistics-part")
        content = arrays.get("content")
        if set(arrays) != {"content"} or content is None or content.dtype != np.uint8 or content.ndim != 1:
            raise RemoteError(f"a part holds {listed(arrays)}; expected content, uint8 (n,)")
        total = fields.integer("total_bytes", low=1, high=REPORT_BYTES_MAX)
        index = fields.integer("index", high=(total - 1) // PART_BYTES)
        sha256 = fields.text("sha256", length_max=64)
        if len(content) != min(PART_BYTES, total - index * PART_BYTES) or not set(sha256) <= set("0123456789abcdef"):
            raise RemoteError(f"part {index} of {total} bytes has {len(content)}, or its sha256 is none")
        numbers = fields.integer("epoch"), fields.integer("counter"), index, total
        return finished(fields, cls(fields.text("device"), *numbers, sha256, content.tobytes()))


def split_report(report: StatisticsReport, payload: bytes) -> list[bytes]:
    """The messages that carry an encoded report which does not fit one."""
    sha256 = hashlib.sha256(payload).hexdigest()
    head = report.device, report.epoch, report.counter
    starts = range(0, len(payload), PART_BYTES)
    return [
        ReportPart(*head, index, len(payload), sha256, payload[start : start + PART_BYTES]).encode()
        for index, start in enumerate(starts)
    ]


def join_report(parts: Sequence[ReportPart]) -> bytes:
    """Inverse of `split_report` for all parts in order. Raises RemoteError when the sum does not fit."""
    payload = b"".join(part.content for part in parts)
    if len(payload) != parts[0].total_bytes or hashlib.sha256(payload).hexdigest() != parts[0].sha256:
        raise RemoteError(f"the parts of counter {parts[0].counter} do not have the sha256 they claim")
    return payload


def is_part(payload: bytes) -> bool:
    """Whether a message on a statistics topic is a part; anything unreadable is not. The decoders say what is wrong."""
    return b"statistics-part" in payload[8:2048]
