"""Processes that read reports for the service: what they read is what it would have read, and it does without them."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import numpy as np
import pytest

from aggregator import readers as module
from aggregator.reader_program import PAYLOAD_BYTES, SLOT_BYTES, TABLE_BYTES, Slot
from aggregator.readers import RESTART_S, SLOTS_EACH, SLOTS_IN_HAND, Readers, readers_here
from aggregator.reading_ahead import ReadingAhead
from aggregator.store.memory import MemoryStore
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.wire import StatisticsReport
from headway.wire.statistics_report import History

SPACE = "5" * 64
CLASSES = ("idle", "walk", "run")


@dataclass
class Clock:
    """Stands still until it is set."""

    now_s: float = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s


def report(count: int, seed: int, size: int = 160, history: History | None = None) -> StatisticsReport:
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (count, size)).astype(np.int8)
    tables = Statistics.of(codes, random.integers(0, len(CLASSES), count), CLASSES, SPACE)
    return StatisticsReport(f"d{seed}", 1, seed + 1, tables, history or History())


def ready(readers: Readers) -> Readers:
    """Once all of them can be asked."""
    readers.begin()
    for reader in readers._readers:
        assert reader.takes or reader._receive(30.0)
    return readers


@pytest.fixture(scope="module")
def one() -> Iterator[Readers]:
    """With one process, for those who do it no harm."""
    with Readers(1, Clock()) as readers:
        yield ready(readers)


def asked(readers: Readers, payload: bytes, stored: bytes = b"") -> module.Asked:
    found = readers.ask(payload, 2000, stored, accepted=True)
    assert found is not None
    return found


FORMATS = [(0, False, True), (40, False, True), (300, False, True), (90, True, True), (90, False, False)]


@pytest.mark.parametrize(("count", "predict", "packed"), FORMATS)
def test_a_slot_hands_over_a_report_of_every_format_as_it_was_read(count: int, predict: bool, packed: bool) -> None:
    slot, histories = Slot(np.zeros(SLOT_BYTES, np.uint8)), (History(), History(7, (3, 2**53), (1, 9)))
    for place, history in enumerate(histories):
        sent = replace(report(count, 4, history=history), device='d"\u20ac\\')
        payload = sent.encode(packed, predict)
        read = StatisticsReport.decode_stored(payload, room=partial(slot.room, place))
        said = slot.put(place, read)
        assert said is not None
        handed_over = slot.report(place, said)
        assert handed_over == sent
        assert handed_over == StatisticsReport.decode_stored(payload)
        with pytest.raises(ValueError, match="read-only"):
            handed_over.statistics.gram[0, 0] = 1


def test_tables_that_have_no_room_in_a_slot_are_left_to_the_service(one: Readers) -> None:
    rows = int((TABLE_BYTES // 8) ** 0.5)
    slot = Slot(np.zeros(SLOT_BYTES, np.uint8))
    assert slot.room(0, rows).base is not None
    assert slot.room(0, rows + 1).shape == (rows + 1, rows + 1)
    classes = tuple(f"c{number}" for number in range(3))
    for size, fits in ((rows - 4, True), (rows - 1, False)):
        said = slot.put(0, StatisticsReport("d", 1, 1, Statistics.zeros(size, classes, SPACE)))
        assert (said is not None) == fits
    wide = report(5, 1, rows).encode()
    assert asked(one, wide, wide).reports() == (None, None)
    small, stored = report(40, 2).encode(), bytes(PAYLOAD_BYTES - 10)
    # both together are too long: the new one alone is read
    new, known = asked(one, small, stored).reports()
    assert (new, known) == (report(40, 2), None)
    assert one.ask(bytes(PAYLOAD_BYTES + 1), 2000, b"", accepted=False) is None
    assert asked(one, small[:-1], small).reports() == (None, report(40, 2))


def test_what_cannot_be_told_at_once_is_left_to_the_service(one: Readers) -> None:
    """Who is stopped between two parts of an answer would keep the service waiting for the second."""
    for count, told in ((300, True), (1500, False)):
        classes = tuple(f"class number {number}" for number in range(count))
        codes = np.ones((4, 60), np.int8)
        sent = StatisticsReport("d", 1, 1, Statistics.of(codes, np.arange(4), classes, SPACE))
        assert asked(one, sent.encode(), sent.encode()).reports() == ((sent, sent) if told else (None, None))


def test_tables_in_hand_stay_what_they_are_and_no_more_are_read_than_have_room(one: Readers) -> None:
    payloads = [report(40, seed).encode() for seed in range(20)]
    held: list[StatisticsReport] = []
    while found := one.ask(payloads[len(held)], 160, b"", accepted=False):
        new, _ = found.reports()
        assert new is not None
        held.append(new)
        del found, new
    assert len(held) == SLOTS_EACH + SLOTS_IN_HAND
    assert held == [report(40, seed) for seed in range(len(held))]
    gram = held[2].statistics.gram[5:, 5:]
    held.clear()
    gc.collect()
    # what nobody asks for any more is read all the same, and leaves its room; one view keeps its own
    for payload in payloads:
        one.ask(payload, 160, b"", accepted=False)
    while one._readers[0].waiting:
        assert one._readers[0]._receive(30.0)
    assert len(one._free) == SLOTS_EACH + SLOTS_IN_HAND - 1
    assert np.array_equal(gram, report(40, 2).statistics.gram[5:, 5:])


def test_who_ends_is_done_without_and_started_again_later(caplog: pytest.LogCaptureFixture) -> None:
    clock, payloads = Clock(), [report(120, seed).encode() for seed in range(8)]
    with Readers(2, clock) as readers:
        ahead = ReadingAhead(MemoryStore(), lambda _: 0, ready(readers))
        process, other = (reader._process for reader in readers._readers)
        assert process is not None
        assert other is not None
        # none answers before all are asked
        for each in (process, other):
            os.kill(each.pid, signal.SIGSTOP)
        ahead.begin([("d", payload) for payload in payloads], 160)
        assert len(ahead._asked) == 2 * SLOTS_EACH
        process.kill()
        process.wait()
        os.kill(other.pid, signal.SIGCONT)
        assert [ahead.report(payload, 160) for payload in payloads] == [report(120, seed) for seed in range(8)]
        ahead.end()
        assert [reader.runs for reader in readers._readers] == [False, True]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "reading process 0 has ended" in caplog.text
        readers.begin()
        assert not readers._readers[0].runs
        clock.now_s += RESTART_S
        ready(readers)
        assert all(reader.takes for reader in readers._readers)


def test_who_is_silent_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with Readers(1, Clock()) as readers:
        process = ready(readers)._readers[0]._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(module, "SILENT_S", 0.01)
        assert asked(readers, report(40, 1).encode()).reports() == (None, None)
        assert process.poll() == -signal.SIGKILL
        assert "silent for 0.01 s" in caplog.text


def test_two_that_are_silent_at_once_are_waited_for_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Readers(2, Clock()) as readers:
        for reader in ready(readers)._readers:
            assert reader._process is not None
            os.kill(reader._process.pid, signal.SIGSTOP)
        both = [asked(readers, report(40, seed).encode()) for seed in (1, 2)]
        assert [reader.waiting for reader in readers._readers] == [1, 1]
        monkeypatch.setattr(module, "SILENT_S", 0.01)
        assert both[0].reports() == (None, None)
        assert not any(reader.runs for reader in readers._readers)
        monkeypatch.setattr(module, "SILENT_S", 600.0)
        assert both[1].reports() == (None, None)
        assert caplog.text.count("silent for 0.01 s") == 2


SERVICE = """
import sys
from aggregator.readers import Readers
from headway.ports import SystemClock
readers = Readers(1, SystemClock())
readers.begin()
while not readers._readers[0].takes:
    readers.begin()
print(readers._readers[0]._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_stopped_reader_ends_with_a_service_that_is_killed() -> None:
    command = [sys.executable, "-c", SERVICE]
    service = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    reader = int(service.stdout.readline())
    watch = os.pidfd_open(reader)
    try:
        signal.pidfd_send_signal(watch, signal.SIGSTOP)
        service.kill()
        service.communicate()
        assert select.select([watch], [], [], 30)[0], "the reader is still there"
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)


def test_signals_are_for_the_service_and_readers_end_with_it() -> None:
    with Readers(1, Clock()) as readers:
        process = ready(readers)._readers[0]._process
        assert process is not None
        for meant_for_the_service in (signal.SIGTERM, signal.SIGINT):
            os.kill(process.pid, meant_for_the_service)
        assert asked(readers, report(40, 1).encode()).reports() == (report(40, 1), None)
    # by itself, once the connection is closed
    assert process.returncode == 0
    assert Readers(0, Clock()).any is False
    assert 0 <= readers_here() <= module.READERS_MAX


def test_a_report_that_is_refused_is_refused_by_the_service_with_its_own_words(one: Readers) -> None:
    good, bad = report(120, 1).encode(), report(120, 2).encode()[:-1]
    ahead = ReadingAhead(MemoryStore(), lambda _: 0, one)
    ahead.begin([("d1", good), ("d2", bad)], 160)
    assert len(ahead._asked) == 2
    assert ahead.report(good, 160) == report(120, 1)
    with pytest.raises(RemoteError) as told:
        ahead.report(bad, 160)
    with pytest.raises(RemoteError) as expected:
        StatisticsReport.decode(bad, 160)
    assert str(told.value) == str(expected.value)


def refuse(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EAGAIN, "no more of it")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("sys.executable", "/nowhere/python"), ("subprocess.Popen", refuse), ("socket.socketpair", refuse),
        ("os.memfd_create", refuse), ("os.ftruncate", refuse), ("mmap.mmap", refuse),
    ],
)  # fmt: skip
def test_where_no_process_can_be_started_the_service_reads_by_itself(
    name: str, instead: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(name, instead)
    payloads = [report(120, seed).encode() for seed in range(2)]
    with Readers(1, Clock()) as readers:
        assert readers.ask(payloads[0], 160, b"", accepted=False) is None
        ahead = ReadingAhead(MemoryStore(), lambda _: 0, readers)
        ahead.begin([("d", payload) for payload in payloads], 160)
        assert [ahead.report(payload, 160) for payload in payloads] == [report(120, seed) for seed in range(2)]
    assert "cannot be started" in caplog.text
    assert len(caplog.records) == 1
