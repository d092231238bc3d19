"""Orders and ranges: who is told, at which pace, and that a crowd takes turns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from aggregator.bundle_sender import EVERYBODY, FOLLOW_INTERVAL_S, SERIAL, BundleSender, order
from aggregator.effects import Effect, Instant, Note, Refused
from aggregator.policy import DeliveryPolicy
from aggregator.store.memory import MemoryStore
from aggregator.store.stored import DeliveryRow, DeviceRow
from headway.errors import StoreError
from headway.ports import Outgoing
from headway.wire.bundle_transfer import CHUNK_BYTES_MAX, WITHDRAWN, Desired, FileRange, RangeRequest
from headway.wire.messages import Reported
from headway.wire.topics import Kind, parse_topic

BUNDLE = np.random.default_rng(5).bytes(250_000)
SHA256 = hashlib.sha256(BUNDLE).hexdigest()
OLD_SPACE, NEW_SPACE = "1" * 64, "2" * 64
ORDER = DeliveryRow(EVERYBODY, SHA256, len(BUNDLE), "watch", "2.0.0", 2, NEW_SPACE, 1e9)


class MemoryShelf:
    """One bundle."""

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        if sha256 != SHA256:
            raise StoreError(f"cannot read bundle {sha256}")
        return BUNDLE[offset : offset + length]


@dataclass
class Fleet:
    """The deliveries of a fleet over a store in memory, with a clock of our own."""

    policy: DeliveryPolicy = field(default_factory=lambda: DeliveryPolicy(bytes_per_s=1e9, devices_per_s=1000.0))
    store: MemoryStore = field(default_factory=MemoryStore)
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        with self.store.transaction():
            self.deliveries = BundleSender("plant", self.store, MemoryShelf(), self.policy, ("0" * 64, OLD_SPACE))

    def order(self, *devices: str, everybody: bool = False, row: DeliveryRow = ORDER) -> list[str]:
        with self.store.transaction():
            known = [found.device for found in self.store.devices()]
            return order(self.store, row, list(devices), everybody=everybody, known=lambda: known)

    def join(self, name: str, space: str = "", release: int = 0) -> None:
        reported = Reported("watch", "1", space, "exact", "r", "0", "m", 0, "frozen", "", release).encode()
        with self.store.transaction():
            self.store.put_device(DeviceRow(name, 0.0, 0.0, reported=reported if space else b""))

    def tick(self, seconds: float = 1.0) -> dict[str, bytes]:
        """Payloads of the wishes that were published, by device."""
        self.now_s += seconds
        with self.store.transaction():
            effects = self.deliveries.tick(Instant(self.now_s, 0.0))
        told = {}
        for effect in effects:
            assert isinstance(effect, Outgoing)
            address = parse_topic(effect.topic)
            assert (address.kind, effect.retain) == (Kind.DESIRED, True)
            told[address.device] = effect.payload
        return told

    def ask(self, device: str, offset: int = 0, length: int = CHUNK_BYTES_MAX, sha256: str = SHA256) -> list[Effect]:
        request = RangeRequest(sha256, offset, length).encode()
        with self.store.transaction():
            return self.deliveries.on_request(device, request, Instant(self.now_s, 0.0))

    def range(self, device: str, offset: int = 0, length: int = CHUNK_BYTES_MAX) -> FileRange:
        (answer,) = self.ask(device, offset, length)
        assert isinstance(answer, Outgoing)
        assert parse_topic(answer.topic) == parse_topic(f"headway/v1/plant/{device}/file")
        assert len(answer.payload) <= 128 * 1024
        return FileRange.decode(answer.payload)


def test_the_ordered_devices_are_told_once_and_fetch_the_whole_file() -> None:
    fleet = Fleet()
    assert fleet.order("a", "b") == ["a", "b"]
    told = fleet.tick()
    assert {name: Desired.decode(payload) for name, payload in told.items()} == {
        name: Desired(SHA256, len(BUNDLE), "watch", "2.0.0", 2) for name in "ab"
    }
    assert fleet.tick() == {}
    got = b""
    while len(got) < len(BUNDLE):
        got += fleet.range("a", len(got)).data
    assert got == BUNDLE


def test_an_order_survives_the_aggregator_and_is_told_again_to_a_broker_that_forgot() -> None:
    fleet = Fleet()
    fleet.order("a")
    fleet.restart()
    assert set(fleet.tick()) == {"a"}
    fleet.restart()
    assert fleet.tick() == {}
    fleet.deliveries.again()
    assert set(fleet.tick()) == {"a"}


def test_everybody_means_also_those_that_join_later() -> None:
    fleet = Fleet()
    fleet.join("a")
    assert fleet.order(everybody=True) == ["a"]
    assert set(fleet.tick()) == {"a"}
    with fleet.store.transaction():
        fleet.deliveries.seen("b")
        fleet.deliveries.seen("a")
    assert set(fleet.tick()) == {"b"}


def test_a_device_with_an_order_of_its_own_keeps_it_when_it_says_something() -> None:
    fleet = Fleet()
    fleet.order(everybody=True)
    fleet.order("a", row=replace(ORDER, release=3))
    fleet.tick()
    with fleet.store.transaction():
        fleet.deliveries.seen("a")
    assert fleet.tick() == {}


def test_a_withdrawn_order_is_said_once_and_takes_the_place_of_the_wish() -> None:
    """What leaves the server for it, a cleared topic among it, is in test_sealing.py."""
    fleet = Fleet()
    fleet.order("a")
    fleet.tick()
    fleet.order("a", row=DeliveryRow(EVERYBODY, "", 0, "", "", 0, "", 0.0))
    assert fleet.tick() == {"a": WITHDRAWN}
    with pytest.raises(Refused, match="not ordered for it"):
        fleet.ask("a")


def test_the_fleet_hears_of_an_order_at_a_measured_pace() -> None:
    fleet = Fleet(DeliveryPolicy(devices_per_s=10.0))
    fleet.order(*[f"d{number}" for number in range(95)])
    counts = [len(fleet.tick()) for _ in range(11)]
    assert counts == [10] * 9 + [5, 0]


def test_less_than_one_device_a_second() -> None:
    fleet = Fleet(DeliveryPolicy(devices_per_s=0.2))
    fleet.order("a", "b")
    assert [len(fleet.tick()) for _ in range(7)] == [1, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("device", "offset", "sha256", "problem"),
    [
        ("a", 0, "e" * 64, "asks for bundle eeeeeeeeeeeeeeee, which is not ordered for it"),
        ("b", 0, SHA256, "not ordered for it"),
        ("a", len(BUNDLE), SHA256, "asks for byte 250000 of 250000"),
    ],
)
def test_what_a_device_may_not_have(device: str, offset: int, sha256: str, problem: str) -> None:
    fleet = Fleet()
    fleet.order("a")
    fleet.tick()
    with pytest.raises(Refused, match=problem):
        fleet.ask(device, offset, sha256=sha256)


def test_a_bundle_that_is_gone_from_the_shelf_is_a_warning() -> None:
    fleet = Fleet()
    fleet.order("a", row=replace(ORDER, sha256="e" * 64))
    fleet.tick()
    (note,) = fleet.ask("a", sha256="e" * 64)
    assert isinstance(note, Note)
    assert note.warning


def test_a_crowd_takes_turns_within_the_rate() -> None:
    """40 devices fetch 250 kB at 100 kB/s together: in 100 s all have it, and at any time nobody is far ahead."""
    fleet = Fleet(DeliveryPolicy(bytes_per_s=100_000.0, devices_per_s=1000.0))
    names = [f"d{number}" for number in range(40)]
    fleet.order(*names)
    fleet.tick()
    have = dict.fromkeys(names, 0)
    next_s = dict.fromkeys(names, fleet.now_s)
    began_s, sent, spread = fleet.now_s, 0, 0
    while min(have.values()) < len(BUNDLE):
        assert len(fleet.deliveries._places) <= len(names)
        name = min((n for n in names if have[n] < len(BUNDLE)), key=lambda n: (next_s[n], n))
        fleet.now_s = max(fleet.now_s, next_s[name])
        answer = fleet.range(name, have[name])
        have[name] += len(answer.data)
        sent += len(answer.data)
        next_s[name] = fleet.now_s + answer.pace_s
        elapsed_s = fleet.now_s - began_s
        assert sent <= 100_000 * (elapsed_s + 1) + 3 * CHUNK_BYTES_MAX
        if max(have.values()) < len(BUNDLE):
            spread = max(spread, max(have.values()) - min(have.values()))
    assert spread <= 2 * CHUNK_BYTES_MAX
    assert 90 <= fleet.now_s - began_s <= 115


def test_a_device_that_comes_back_too_early_keeps_its_place() -> None:
    fleet = Fleet(DeliveryPolicy(bytes_per_s=10_000.0, devices_per_s=1000.0))
    fleet.order("a", "b")
    fleet.tick()
    assert fleet.range("a").data
    first = fleet.range("b")
    assert not first.data
    fleet.now_s += 1.0
    again = fleet.range("b")
    assert again.pace_s == pytest.approx(first.pace_s - 1.0)
    fleet.now_s += again.pace_s
    assert fleet.range("b").data


def test_the_aggregator_follows_at_once_within_the_same_space() -> None:
    fleet = Fleet()
    fleet.order(everybody=True, row=replace(ORDER, space=OLD_SPACE))
    fleet.tick()
    assert fleet.deliveries.superseded
    with fleet.store.transaction():
        served = {row.device: row.sha256 for row in fleet.store.deliveries()}
    assert served["_aggregator"] == SHA256
    fleet.order(everybody=True, row=DeliveryRow(EVERYBODY, "", 0, "", "", 0, "", 0.0))
    assert "_aggregator" not in fleet.tick()  # a withdrawal is for devices; what is served stays
    with fleet.store.transaction():
        assert {row.device: row.sha256 for row in fleet.store.deliveries()}["_aggregator"] == SHA256


def test_the_aggregator_follows_into_another_space_when_most_devices_are_there() -> None:
    fleet = Fleet()
    for name in "abc":
        fleet.join(name, OLD_SPACE, 1)
    fleet.order(everybody=True)
    fleet.tick()
    fleet.join("a", NEW_SPACE, 2)
    fleet.tick(FOLLOW_INTERVAL_S)
    assert not fleet.deliveries.superseded
    fleet.join("b", NEW_SPACE, 2)
    fleet.tick(FOLLOW_INTERVAL_S)
    assert fleet.deliveries.superseded


def test_orders_for_single_devices_do_not_move_the_aggregator() -> None:
    fleet = Fleet()
    fleet.join("a", NEW_SPACE, 2)
    fleet.order("a")
    fleet.tick(60.0)
    assert not fleet.deliveries.superseded


def test_an_order_is_seen_by_its_serial_number() -> None:
    fleet = Fleet()
    fleet.order("a")
    with fleet.store.transaction():
        assert fleet.store.number(SERIAL) == 1
