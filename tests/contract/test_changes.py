"""Reports of what changed: exact, never added to anything but their base, and whole tables wherever there is doubt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.sync.uplink import CHANGES_MAX
from headway.arrays import AnyArray, Int64
from headway.errors import LocalError, RemoteError
from headway.maths.statistics import Statistics
from headway.ports import Received
from headway.wire import packing, statistics_change
from headway.wire.messages import NO_HISTORY, Ack, StatisticsChange, StatisticsReport, change_between, is_change
from headway.wire.predicted import unpack_predicted
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import CLASSES, FLEET, SPACE, Fleet, acks, samples, statistics_message, tables
from tests.contract.test_history import DAY_S, Device, new_fleet


def device_of_changes(fleet: Fleet) -> Device:
    device = Device(whole_bytes_max=0)
    device.learn(20, 0)
    device.connect(fleet)
    return device


def due(device: Device) -> tuple[bool, bytes]:
    """Whether the next report is a change, and its bytes."""
    device.now_s += DAY_S
    sends = [send for send in device.agent.due(device.now_s, connected=True) if send.kind is Kind.STATISTICS]
    assert sends[0].retained is not is_change(sends[0].payload)
    return is_change(sends[0].payload), sends[0].payload


def tell(fleet: Fleet, device: Device, payload: bytes, hear: bool = True) -> Ack:
    (ack,) = acks(fleet.send(Received(topic(FLEET, "pump", Kind.STATISTICS), payload)))["pump"]
    if hear:
        device.hear(ack)
    return ack


def test_what_was_learned_since_is_all_that_travels_and_the_sum_is_exact() -> None:
    fleet = new_fleet()
    device = device_of_changes(fleet)
    news = device.learn(4, 1)
    changed, payload = due(device)
    assert changed
    assert StatisticsChange.decode(payload).change == news
    assert tell(fleet, device, payload).counter == device.agent.sync_state.counter
    assert fleet.core.statistics == device.tables
    fleet.restart()
    assert fleet.core.statistics == device.tables


def test_whole_tables_follow_a_new_connection_a_missing_ack_and_a_number_of_changes() -> None:
    fleet = new_fleet()
    device = device_of_changes(fleet)
    kinds = []
    for seed in range(CHANGES_MAX + 2):
        device.learn(1, seed + 1)
        changed, payload = due(device)
        kinds.append(changed)
        tell(fleet, device, payload)
    assert kinds == [True] * CHANGES_MAX + [False, True]
    device.learn(1, 100)
    assert due(device)[0]
    assert not due(device)[0]  # the change was not acknowledged
    device.learn(1, 101)
    assert not due(device)[0]
    tell(fleet, device, due(device)[1])
    device.agent.reconnected()
    device.learn(1, 102)
    changed, payload = due(device)
    assert changed, "the broker kept the session, and what was acknowledged is stored"
    tell(fleet, device, payload)
    device.learn(1, 103)
    due(device)
    device.agent.reconnected()
    assert not due(device)[0], "what was in flight may be stored or not"
    tell(fleet, device, due(device)[1])
    device.agent.reconnected(session_present=False)
    device.learn(1, 104)
    assert not due(device)[0], "the broker may have lost what it retained"


def test_a_change_to_anything_but_what_is_stored_is_refused_and_whole_tables_follow() -> None:
    fleet = new_fleet()
    device = device_of_changes(fleet)
    device.learn(3, 1)
    _, lost = due(device)
    device.hear(Ack(device.agent.sync_state.epoch, device.agent.sync_state.counter, 0))  # a lie
    device.learn(3, 2)
    changed, payload = due(device)
    assert changed
    before = fleet.core.statistics
    ack = tell(fleet, device, payload)
    assert fleet.core.statistics == before
    assert fleet.refusals == {("pump", "base"): 1}
    assert ack.counter < device.agent.sync_state.counter
    changed, payload = due(device)
    assert not changed
    tell(fleet, device, payload)
    assert fleet.core.statistics == device.tables
    tell(fleet, device, lost)  # late, and known
    assert fleet.core.statistics == device.tables


def test_an_aggregator_that_lost_its_store_is_told_everything_again() -> None:
    device = device_of_changes(new_fleet())
    fleet = new_fleet()
    state = device.agent.sync_state
    assert state.acked == state.counter
    device.hear(Ack(state.epoch, 0, 0))
    changed, payload = due(device)
    assert not changed
    tell(fleet, device, payload)
    assert fleet.core.statistics == device.tables


def test_labels_taken_back_and_classes_removed_travel_in_whole_tables() -> None:
    old, new = tables(20, 0), tables(5, 1)
    base = StatisticsReport("pump", 1, 20, old)
    assert change_between(base, replace(base, counter=25, statistics=old + new)) is not None
    assert change_between(base, replace(base, counter=21, statistics=old - tables(1, 0))) is None
    renamed = (old + new).renamed([("walk", "stroll")])
    assert change_between(base, replace(base, counter=25, statistics=renamed)) is None


def test_a_class_met_since_is_part_of_the_change() -> None:
    old = tables(20, 0)
    new = tables(30, 1, (*CLASSES, "jump"))
    base, newest = StatisticsReport("pump", 1, 20, old), StatisticsReport("pump", 1, 50, old + new)
    change = change_between(base, newest)
    assert change is not None
    assert StatisticsChange.decode(change.encode()).applied(base) == replace(newest, history=NO_HISTORY)


def test_sums_that_are_not_the_devices_are_refused() -> None:
    old, new = tables(20, 0), tables(5, 1)
    base = StatisticsReport("pump", 1, 20, old)
    change = change_between(base, StatisticsReport("pump", 1, 25, old + new))
    assert change is not None
    with pytest.raises(RemoteError, match="do not add up"):
        change.applied(replace(base, statistics=tables(20, 2)))
    with pytest.raises(RemoteError, match="does not fit"):
        change.applied(replace(base, statistics=tables(20, 0, space="6" * 64)))
    fleet = Fleet()
    fleet.send(statistics_message("pump", 1, 20, tables(20, 2)))
    fleet.send(Received(topic(FLEET, "pump", Kind.STATISTICS), change.encode()))
    assert fleet.refusals == {("pump", "malformed"): 1}
    assert fleet.core.statistics == tables(20, 2)


def test_a_change_that_inflates_too_far_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, labels = samples(9, 1)
    change = StatisticsChange("pump", 1, 9, 0, "0" * 64, Statistics.of(codes, labels, CLASSES, SPACE), NO_HISTORY)
    payload = change.encode()
    monkeypatch.setattr("headway.wire.statistics_change.INFLATED_BYTES_MAX", 40)
    with pytest.raises(RemoteError, match="inflates to more than 40 bytes"):
        StatisticsChange.decode(payload)
    with pytest.raises(LocalError, match="at most 40"):
        change.encode()


@pytest.mark.parametrize("answers", [True, False])
def test_an_aggregator_that_knows_only_the_older_packing_gets_that(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """Release 0.2 says why it refuses a report, release 0.1 says nothing."""

    def unpack_as_before(
        packed: AnyArray, size: int, classes: int, *_: object, **__: object
    ) -> tuple[Int64, Int64, bool]:
        if packed[0] != 1:
            raise RemoteError(f"packed tables of version {packed[0]} with 0 unary bytes do not fit their length")
        return *unpack_predicted(packed, size, classes), False

    monkeypatch.setattr(packing, "PLAIN_VALUES_MAX", 0)
    monkeypatch.setattr(packing, "read_tables", unpack_as_before)
    monkeypatch.setattr(statistics_change, "read_tables", unpack_as_before)
    fleet, device = new_fleet(), Device(whole_bytes_max=0)
    device.learn(20, 0)

    def told(times: int) -> bool:
        for _ in range(times):
            _, payload = due(device)
            for ack in acks(fleet.send(Received(topic(FLEET, "pump", Kind.STATISTICS), payload))).get("pump", []):
                if answers or not ack.refused:
                    device.hear(ack)
        return fleet.core.statistics == device.tables

    assert not told(1)
    assert told(1), "the second time it comes as it came before"
    device.learn(2, 1)
    changed, payload = due(device)
    assert changed
    assert tell(fleet, device, payload).counter == device.agent.sync_state.counter, "and stays so"
    assert fleet.core.statistics == device.tables
