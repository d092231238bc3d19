"""A round made of a sum that was kept while updates came is the round over all of them."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from aggregator.heads.averaging import Contribution, Gathered, mean_of, merged, weights_of
from aggregator.heads.waiting_updates import WaitingUpdates
from aggregator.policy import AveragingPolicy
from aggregator.store import MemoryStore, StoredUpdate, sqlite_url
from aggregator.store.sql import SqlStore
from headway.wire import Precision, Update
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, model

VERSION = 7
POLICY = AveragingPolicy(clip_norm=2.0, samples_max=60)


class CountingStore(MemoryStore):
    """Notes whose updates are read."""

    read: list[str]

    def updates(self, space: str, devices: Sequence[str] | None = None) -> Iterator[StoredUpdate]:
        for row in super().updates(space, devices):
            self.read.append(row.device)
            yield row


class Sent:
    """Updates of ten devices, stored and told one after the other, as they come. held: how many fit in memory."""

    def __init__(self, restarted: bool = False, held: int = 0, devices: int = 10) -> None:
        self.store, self.random = CountingStore(), np.random.default_rng(5)
        self.held_bytes = held * len(CLASSES) * (SIZE + 1) * 4
        self.store.read = []
        self.updates: dict[tuple[str, int], Update] = {}
        with self.store.transaction():
            self.waiting = self.begun()
            for number in range(devices):
                self.send(f"d{number}", 1)
        if restarted:
            self.restart()

    def begun(self) -> WaitingUpdates:
        return WaitingUpdates(self.store, model().start, SPACE, POLICY, self.held_bytes)

    def restart(self) -> None:
        with self.store.transaction():
            self.waiting = self.begun()

    def read_again(self, count: int) -> None:
        """While nothing is due."""
        for _ in range(count):
            self.waiting.read_some(VERSION - 1, frozenset())

    def send(self, device: str, sequence: int, base: int = VERSION - 1, samples: int = 10, length: float = 0.1) -> None:
        delta = self.random.normal(0, length, (len(CLASSES), SIZE + 1)).astype(np.float32)
        precision = [*Precision][len(self.updates) % len(Precision)]
        payload = Update(device, 1, sequence, base, samples, SPACE, CLASSES, delta, precision=precision).encode()
        self.updates[device, sequence] = Update.decode(payload)
        self.store.put_update(StoredUpdate(device, 1, sequence, SPACE, payload, 1.0))
        self.waiting.add(self.updates[device, sequence], VERSION - 1)

    def forget(self, device: str) -> None:
        self.store.remove_device(device)
        self.waiting.left(device)
        self.updates = {key: update for key, update in self.updates.items() if key[0] != device}

    def check(self, held: frozenset[str] = frozenset(), devices_max: int | None = None) -> list[str]:
        """The round is that over what was sent. Returns the devices of which something was read for its mean."""
        with self.store.transaction():
            round_ = self.waiting.gather(VERSION, held, devices_max)
            by_device: dict[str, list[Update]] = {}
            for (device, _), update in sorted(self.updates.items()):
                if device not in held:
                    by_device.setdefault(device, []).append(update)
            taken = [*by_device.values()][:devices_max]
            wanted = Gathered([merged(sent, VERSION, POLICY) for sent in taken])
            for one, sent in zip(wanted, taken, strict=True):
                assert one.delta == pytest.approx(_contribution(sent).delta, rel=1e-6)
            worth = weights_of(round_, POLICY)
            assert worth.claimed == weights_of(wanted, POLICY).claimed
            self.store.read.clear()
            mean, read = mean_of(round_, worth), sorted(set(self.store.read))
            assert mean.tobytes() == mean_of(wanted, weights_of(wanted, POLICY)).tobytes(), "whoever reads all of them"
            assert round_.sketches().tobytes() == wanted.sketches().tobytes(), "small heads are not folded"
            assert [one.device for one in round_] == [*by_device][:devices_max]
        return read


def _contribution(sent: list[Update]) -> Contribution:
    """By the definition: s(t) (1 + t)^-1/2, weighted by samples."""
    fresh = [(1.0 + VERSION - 1 - update.base_version) ** -0.5 for update in sent]
    samples = sum(update.samples for update in sent)
    total = sum(f * update.samples * update.delta.astype(np.float64) for f, update in zip(fresh, sent, strict=True))
    return Contribution(np.asarray(total / samples, np.float32), samples)


CHANGES: dict[str, Callable[[Sent], None]] = {
    "nothing more": lambda sent: None,
    "a stale one": lambda sent: sent.send("e", 1, base=VERSION - 4),
    "a second one of a device": lambda sent: sent.send("d3", 2),
    "one that is long and claims much": lambda sent: sent.send("e", 1, samples=2**40, length=1e9),
    "a device is removed": lambda sent: sent.forget("d4"),
    "a device is removed, and sends again": lambda sent: (sent.forget("d4"), sent.send("d4", 9))[0],
    "a device is removed, and sends again under the same number": lambda sent: (sent.forget("d4"), sent.send("d4", 1))[
        0
    ],
    "all start anew": lambda sent: sent.restart(),
    "all start anew, and a few are read again": lambda sent: (sent.restart(), sent.read_again(3))[0],
    "all start anew, two are read again, and one of each kind sends": lambda sent: (
        sent.restart(), sent.read_again(2), sent.send("d0", 2), sent.send("d8", 2), sent.send("e", 1)
    )[0],
    "what was read again is removed": lambda sent: (sent.restart(), sent.read_again(9), sent.forget("d0"))[0],
}  # fmt: skip


@pytest.mark.parametrize("held", [0, 2, 1000])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_sum_is_the_mean_of_what_was_sent_whatever_came_between(
    change: str, restarted: bool, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(restarted, held)
    monkeypatch.setattr("aggregator.heads.waiting_updates.WEIGHTS_AT_A_TIME", 1)
    with sent.store.transaction():
        CHANGES[change](sent)
    sent.check()
    sent.check(held=frozenset({"d1", "d7"}))
    sent.check(devices_max=3)
    sent.check()


def test_only_those_whose_weight_turned_out_to_be_another_are_read() -> None:
    sent = Sent()
    shortened = sent.check()
    assert 0 < len(shortened) <= 2, "of ten, those longer than the upper quartile"
    assert sent.check(held=frozenset({"d1"})) == ["d1"], "the others are in the sum as they weigh by now"


def test_after_a_restart_what_waits_is_read_before_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.heads.waiting_updates.WEIGHTS_AT_A_TIME", 4 * len(CLASSES) * (SIZE + 1))
    sent = Sent(restarted=True, held=3)
    with sent.store.transaction():
        sent.send("d9", 2)
        sent.store.read.clear()
        for _ in range(5):
            sent.read_again(1)
        # d9 has two, which are merged at the round
        assert sorted(sent.store.read) == [*(f"d{number}" for number in range(10)), "d9"]
        sent.store.read.clear()
        sent.waiting.gather(VERSION, frozenset(), None)
        assert set(sent.store.read) == {"d9"}
    assert sent.check() == ["d9"]


def test_who_is_set_aside_is_not_read_before_it_counts_again() -> None:
    sent = Sent(restarted=True)
    with sent.store.transaction():
        sent.store.read.clear()
        sent.waiting.read_some(VERSION - 1, {"d3"})
        assert sorted(sent.store.read) == [f"d{number}" for number in range(10) if number != 3]


def test_the_longest_are_held_in_memory_so_that_none_is_read() -> None:
    sent = Sent(held=3)
    assert sent.check() == [], "as many as are longer than the upper quartile, and one that is not"
    assert len(sent.waiting._longest._held) == 3


def test_in_a_large_round_the_longest_are_added_once_and_the_others_are_not_read() -> None:
    sent = Sent(held=5, devices=200)
    before = len(sent.waiting._added)
    assert 160 < before < 180, "all of the first hundred, then three of four"
    read = sent.check()
    assert 40 < len(read) < 60, "a quarter, but for those in memory"
    assert len(sent.waiting._added) == 200


def test_after_a_round_those_that_had_no_place_wait_for_the_next_one() -> None:
    sent = Sent()
    rest = frozenset({"d2", "d5", "d6", "d8"})
    with sent.store.transaction():
        sent.store.remove_updates(SPACE, rest)
        sent.waiting.taken_in(rest)
        sent.updates = {key: update for key, update in sent.updates.items() if key[0] in rest}
        sent.send("d0", 2)
    assert sent.waiting.devices == {*rest, "d0"}
    sent.check()


@pytest.mark.parametrize(("mode", "said"), [("OFF", 0), ("ON", 1), ("FAST", 2)])
def test_sqlite_overwrites_what_others_delete_as_before(tmp_path: Path, mode: str, said: int) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        connection = store._connection()
        connection.exec_driver_sql(f"PRAGMA secure_delete = {mode}")
        store.put_update(StoredUpdate("a", 1, 1, SPACE, b"x" * 9000, 1.0))
        store.remove_updates(SPACE)
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == said
        assert store.update_count() == 0
    store.close()


def test_what_goes_on_waiting_may_be_of_more_devices_than_a_statement_can_name(tmp_path: Path) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        connection = store._connection().connection.driver_connection
        assert isinstance(connection, sqlite3.Connection)
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1500)
        names = [f"d{number:04}" for number in range(3200)]
        for name in names:
            store.put_update(StoredUpdate(name, 1, 1, SPACE, b"x", 1.0))
        store.put_update(StoredUpdate("d0000", 1, 1, "other", b"x", 1.0))
        for stays in (names[1100:], names[2500:], []):
            store.remove_updates(SPACE, frozenset(stays))
            assert [device for device, _, _ in store.update_keys(SPACE)] == stays
        assert store.update_count() == 1
    store.close()


def test_thousands_of_updates_that_wait_are_never_in_memory_together(tmp_path: Path) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        for sequence in range(1, 101):
            store.put_update(StoredUpdate("a", 1, sequence, SPACE, bytes(100_000), 1.0))
    with store.transaction():
        tracemalloc.start()
        try:
            assert sum(len(row.payload) for row in store.updates(SPACE)) == 10_000_000
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()
    store.close()
