"""Processes that read wide reports ahead of the one that owns all state (`aggregator.reader_program`).

Threads do not: of a report's dozens of short calls of NumPy each gives Python's lock away and has to wait for it again,
and two threads that read took as long as one for twice the processor time (ADR 99).

They start when the first wide reports come. Whoever is not there yet, has no room left, has ended or is silent for too
long is done without: the service then reads for itself.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import select
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType

from aggregator.reader_program import PAYLOAD_BYTES, READY, SLOT_BYTES, Slot, slot_of
from headway.arrays import AnyArray
from headway.ports import Clock
from headway.wire import StatisticsReport

LOG = logging.getLogger(__name__)

READERS_MAX = 2
# for each: one that it reads, and two that wait, so that it has something to do while the service is busy; and what the
# service has in hand
SLOTS_EACH, SLOTS_IN_HAND = 3, 2
# one report takes milliseconds; the service waits, and with it the fleet
SILENT_S, ENDING_S = 10.0, 5.0
# between two starts of one that ends by itself
RESTART_S = 300.0
# what the service imports, this process imports, from the same places
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from aggregator.reader_program import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


def readers_here() -> int:
    """How many are worth having: none on a single processor."""
    processors = len(os.sched_getaffinity(0))
    return min(processors, READERS_MAX) if processors > 1 else 0


class Asked:
    """What was asked of a reader: a new report, and the stored one that it is to replace. slot: uint8 (SLOT_BYTES,)."""

    def __init__(self, reader: _Reader, slot: AnyArray) -> None:
        self._reader, self._slot = reader, slot
        self._told: Sequence[object] = (None, None)

    def answered(self, told: Sequence[object]) -> None:
        """What the reader said of either, in the order in which it was asked."""
        self._told = told

    def reports(self) -> tuple[StatisticsReport | None, StatisticsReport | None]:
        """Both, once they are read; None for one that the service has to read by itself."""
        self._reader.wait_for(self)
        slot = Slot(self._slot)
        new, stored = (slot.report(at, said) if isinstance(said, dict) else None for at, said in enumerate(self._told))
        return new, stored


class Readers:
    """A few processes, ended with `close`. count: of them, at most; with 0 nothing is read ahead."""

    def __init__(self, count: int, clock: Clock) -> None:
        self._clock = clock
        self._readers = [_Reader(number, self._one_was_silent) for number in range(count)]
        self._started_at_s = [float("-inf")] * count
        self._memory: tuple[int, mmap.mmap] | None = None
        self._free: list[int] = []

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def any(self) -> bool:
        """Whether anything may be read by others."""
        return bool(self._readers)

    def begin(self) -> None:
        """Wide reports are about to be asked for: start who is not running."""
        for number, reader in enumerate(self._readers):
            reader.take_in()
            now_s = self._clock.monotonic_s()
            if not reader.runs and now_s - self._started_at_s[number] >= RESTART_S:
                self._started_at_s[number] = now_s
                try:
                    reader.start(self._shared()[0])
                except OSError as error:
                    LOG.warning("reading process %d cannot be started (%s); reports are read here", number, error)

    def ask(self, payload: bytes, size_max: int, stored: bytes, accepted: bool) -> Asked | None:
        """Have a report read as `StatisticsReport.decode` does, and one that is stored, empty for none, as
        `decode_stored` does; None where nobody has time."""
        if len(payload) + len(stored) > PAYLOAD_BYTES:
            stored = b""
        reader = min(self._readers, key=lambda each: each.waiting)
        if not reader.takes or not self._free:
            for reader in self._readers:
                reader.take_in()
            reader = min(self._readers, key=lambda each: each.waiting)
        if not reader.takes or not self._free or len(payload) > PAYLOAD_BYTES:
            return None
        number = self._free.pop()
        # what is made of a buffer stays the base of its views: once all are gone, the slot is free again
        slot = slot_of(self._shared()[1], number)
        weakref.finalize(slot, self._free.append, number)
        return reader.ask(number, slot, payload, size_max, stored, accepted)

    def close(self) -> None:
        """End them, and give the memory back once nobody looks at it."""
        for reader in self._readers:
            reader.end()
        if self._memory is not None:
            os.close(self._memory[0])
            self._memory = None
        self._free = []

    def _one_was_silent(self) -> None:
        """Whoever else owes an answer has had as long for it, and is not waited for once more."""
        for reader in self._readers:
            reader.end_if_silent()

    def _shared(self) -> tuple[int, mmap.mmap]:
        if self._memory is None:
            count = SLOTS_EACH * len(self._readers) + SLOTS_IN_HAND
            descriptor = os.memfd_create("headway-readers")
            try:
                os.ftruncate(descriptor, count * SLOT_BYTES)
                self._memory = descriptor, mmap.mmap(descriptor, count * SLOT_BYTES)
            except OSError:
                os.close(descriptor)
                raise
            self._free = [*range(count)]
        return self._memory


class _Reader:
    """One process. number: in lines of the log; was_silent: is called when it was ended for that."""

    def __init__(self, number: int, was_silent: Callable[[], None]) -> None:
        self._number, self._was_silent = number, was_silent
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        # as `Connection.poll`, which makes anew at each call what is made here once
        self._poll = select.poll()
        self._is_ready = False
        # in the order in which they are answered
        self._asked: deque[Asked] = deque()

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._process is not None

    @property
    def takes(self) -> bool:
        """Whether it may be asked."""
        return self._is_ready and len(self._asked) < SLOTS_EACH

    @property
    def waiting(self) -> int:
        """How many answers are still to come; of one that does not run, more than of any other."""
        return len(self._asked) if self._is_ready else SLOTS_EACH

    def start(self, memory: int) -> None:
        """memory: descriptor of what is shared. Raises OSError where the system has no more processes."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), str(theirs.fileno()), str(memory)]
        # one thread for small matrices: there are as many processes as processors
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command, env={**os.environ, **threads}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    start_new_session=True, pass_fds=(theirs.fileno(), memory),
                )  # fmt: skip
            except OSError:
                ours.close()
                raise
        self._connection, self._is_ready = Connection(ours.detach()), False
        self._poll.register(self._connection.fileno(), select.POLLIN)

    def ask(
        self, number: int, slot: AnyArray, payload: bytes, size_max: int, stored: bytes, accepted: bool
    ) -> Asked | None:
        Slot(slot).put_payloads(payload, stored)
        asked = Asked(self, slot)
        assert self._connection is not None
        try:
            self._connection.send_bytes(json.dumps([number, size_max, len(payload), len(stored), accepted]).encode())
        except OSError as error:
            self._lost(error)
            return None
        self._asked.append(asked)
        return asked

    def take_in(self) -> None:
        """Whatever it has said, without waiting."""
        while self._receive(0.0):
            pass

    def wait_for(self, asked: Asked) -> None:
        """Until it was answered, or will not be."""
        while asked in self._asked:
            if not self._receive(SILENT_S) and self.runs:
                self._lost(TimeoutError(f"silent for {SILENT_S:g} s"))
                self._was_silent()

    def end_if_silent(self) -> None:
        """Somebody was waited for in vain, and meanwhile this one may have answered."""
        owed = len(self._asked)
        self.take_in()
        if owed and len(self._asked) == owed:
            self._lost(TimeoutError(f"silent for {SILENT_S:g} s, too"))

    def end(self) -> None:
        """Close the connection, which ends it."""
        if self._connection is not None:
            self._poll.unregister(self._connection.fileno())
            self._connection.close()
        if self._process is not None:
            try:
                self._process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._connection, self._process, self._is_ready = None, None, False
        self._asked.clear()

    def _receive(self, timeout_s: float) -> bool:
        """Whether there was something."""
        if self._connection is None:
            return False
        try:
            if not self._poll.poll(1e3 * timeout_s):
                return False
            said = self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            self._lost(error)
            return False
        if said == READY:
            self._is_ready = True
        else:
            self._asked.popleft().answered(json.loads(said))
        return True

    def _lost(self, error: Exception) -> None:
        if self._process is not None:
            self._process.kill()
            ended = self._process.wait()
            LOG.warning("reading process %d has ended (%d, %s); reports are read here", self._number, ended, error)
        self.end()
