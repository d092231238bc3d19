"""A process that reads reports for the service: `aggregator.readers` starts it, tells it what to read, and ends it.

Payloads come and tables go through memory that both processes have (`Slot`); over the connection travel a line of JSON
each way. Nothing is decided here: what cannot be read, or told in a short line, is said to be so, and the service reads
it itself and finds why.
It ends when the service is gone, which closes the connection; stopped or not, for the kernel ends it, too.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import signal
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Int64, keep_freed_memory
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.wire import History, StatisticsReport

# of a slot: the payloads of a new and of a stored report, and the tables of both, which may be those of 512 features
PAYLOAD_BYTES, TABLE_BYTES = 1 << 19, 9 << 18
SLOT_BYTES = PAYLOAD_BYTES + 2 * TABLE_BYTES

READY, UNREAD = b"ready", b"[null, null]"
# a longer answer travels in two parts (`Connection`), and who is stopped between them keeps the service waiting
SAID_BYTES_MAX = 1 << 14
PR_SET_PDEATHSIG = 1

Said = Mapping[str, Any]


class Slot:
    """A part of the shared memory. memory: uint8 (SLOT_BYTES,)."""

    def __init__(self, memory: AnyArray) -> None:
        self._payloads = memory[:PAYLOAD_BYTES]
        self._tables = memory[PAYLOAD_BYTES:].reshape(2, TABLE_BYTES)

    def put_payloads(self, *payloads: bytes) -> None:
        """One behind the other; they have room."""
        content = b"".join(payloads)
        self._payloads[: len(content)] = np.frombuffer(content, np.uint8)

    def payloads(self, new: int, stored: int) -> tuple[bytes, bytes]:
        """Of so many bytes."""
        return self._payloads[:new].tobytes(), self._payloads[new : new + stored].tobytes()

    def room(self, place: int, rows: int) -> Int64:
        """For the gram of a report, 0 or 1, int64 (rows, rows); elsewhere, where it is too large."""
        fits = 8 * rows * rows <= TABLE_BYTES
        return self._arrays(place, rows, 0)[0] if fits else np.empty((rows, rows), np.int64)

    def put(self, place: int, report: StatisticsReport) -> Said | None:
        """Leave the tables of a report; returns what else there is to say, None where they have no room."""
        tables, history = report.statistics, report.history
        if 8 * (tables.gram.size + tables.class_sums.size) > TABLE_BYTES:
            return None
        gram, class_sums = self._arrays(place, len(tables.gram), len(tables.classes))
        if not np.may_share_memory(gram, tables.gram):
            gram[:] = tables.gram
        class_sums[:] = tables.class_sums
        return {
            "device": report.device, "epoch": report.epoch, "counter": report.counter,
            "history": (history.run_id, history.earlier_runs, history.run_ends),
            "classes": tables.classes, "space": tables.space, "rows": len(tables.gram),
        }  # fmt: skip

    def report(self, place: int, said: Said) -> StatisticsReport:
        """What the other process put there. Its tables are this memory, and cannot be written to."""
        arrays = self._arrays(place, said["rows"], len(said["classes"]))
        for array in arrays:
            array.setflags(write=False)
        run_id, earlier_runs, run_ends = said["history"]
        history = History(run_id, tuple(earlier_runs), tuple(run_ends))
        statistics = Statistics(*arrays, tuple(said["classes"]), said["space"])
        return StatisticsReport(said["device"], said["epoch"], said["counter"], statistics, history)

    def _arrays(self, place: int, rows: int, classes: int) -> tuple[AnyArray, AnyArray]:
        memory = self._tables[place].view(np.int64)
        gram = memory[: rows * rows].reshape(rows, rows)
        return gram, memory[rows * rows : rows * (rows + classes)].reshape(rows, classes)


def slot_of(memory: mmap.mmap, number: int) -> AnyArray:
    """The memory of a slot, uint8 (SLOT_BYTES,): an array that is no other's view."""
    return np.frombuffer(memory, np.uint8, SLOT_BYTES, number * SLOT_BYTES)


def main(connection_fd: int, memory_fd: int) -> None:
    """Read what is asked for until the other end is closed."""
    for asked in (signal.SIGINT, signal.SIGTERM):
        # meant for the service, which may still be busy with what it asked for
        signal.signal(asked, signal.SIG_IGN)
    _end_with_parent()
    keep_freed_memory()
    connection = Connection(connection_fd)
    memory = mmap.mmap(memory_fd, 0)
    try:
        connection.send_bytes(READY)
        while True:
            number, size_max, new, stored, accepted = json.loads(connection.recv_bytes())
            said = json.dumps(_read(Slot(slot_of(memory, number)), size_max, new, stored, accepted)).encode()
            connection.send_bytes(said if len(said) <= SAID_BYTES_MAX else UNREAD)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with_parent() -> None:
    """Linux: who is stopped does not see the connection close, and would stay for as long as it is."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(slot: Slot, size_max: int, new: int, stored: int, accepted: bool) -> list[Said | None]:
    """new, stored: bytes of their payloads. None of what cannot be read, or was not asked for."""
    payload, before = slot.payloads(new, stored)
    told: list[Said | None] = []
    try:
        told.append(slot.put(0, StatisticsReport.decode(payload, size_max, room=partial(slot.room, 0))))
    except RemoteError:
        told.append(None)
    try:
        told.append(slot.put(1, StatisticsReport.decode_stored(before, accepted, partial(slot.room, 1))))
    except RemoteError:  # also of no bytes, where nothing is stored
        told.append(None)
    return told
