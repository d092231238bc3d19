"""Reports that do not fit a message: in parts, resumed, checked, bounded, and acknowledged only when whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from aggregator.policy import Limits, Policy
from headway.errors import RemoteError
from headway.maths.statistics import Statistics
from headway.ports import Received
from headway.wire import statistics_report as reports
from headway.wire.messages import (
    MESSAGE_BYTES_MAX,
    REPORT_BYTES_MAX,
    Ack,
    ReportPart,
    StatisticsReport,
    join_report,
    split_report,
)
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import FLEET, Fleet, acks
from tests.contract.test_history import DAY_S, Device, new_fleet

PART = 100


@pytest.fixture
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages so short that the tables of eight codes need parts."""
    monkeypatch.setattr("edge_agent.sync.uplink.MESSAGE_BYTES_MAX", 300)
    monkeypatch.setattr(reports, "PART_BYTES", PART)


def parts_due(device: Device) -> list[ReportPart]:
    device.now_s += DAY_S
    sends = device.agent.due(device.now_s, connected=True)
    assert all(not send.retained for send in sends if send.kind is Kind.STATISTICS)
    return [ReportPart.decode(send.payload) for send in sends if send.kind is Kind.STATISTICS]


def deliver(device: Device, fleet: Fleet, part: ReportPart, heard: bool = True) -> None:
    for ack in acks(fleet.send(Received(topic(FLEET, "pump", Kind.STATISTICS), part.encode()))).get("pump", []):
        if heard:
            device.hear(ack)


def test_real_sizes_are_split_and_joined() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (400, 600)).astype(np.int8)
    table = Statistics.of(codes, random.integers(0, 2, 400), ("a", "b"), "s")
    report = StatisticsReport("pump", 1, 1, table)
    payload = report.encode()
    parts = split_report(report, payload)
    assert len(parts) > 1
    assert max(map(len, parts)) <= MESSAGE_BYTES_MAX
    whole = join_report([ReportPart.decode(part) for part in parts])
    assert StatisticsReport.decode_stored(whole).statistics == table
    with pytest.raises(RemoteError, match="at most 131072"):
        StatisticsReport.decode(payload)


@pytest.mark.usefixtures("small_messages")
def test_a_report_in_parts_counts_when_it_is_whole() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    table = device.learn(9, 0)
    for _ in range(20):
        device.sync(fleet)
    assert fleet.core.statistics == table
    assert device.agent.sync_state.acked == 9
    table = table + device.learn(5, 1)
    for _ in range(20):
        device.sync(fleet)
    assert fleet.core.statistics == table
    with fleet.store.transaction():
        assert fleet.store.part_count() == 0
    fleet.restart()
    assert fleet.core.statistics == table


@pytest.mark.usefixtures("small_messages")
def test_lost_parts_are_sent_again_and_stored_ones_are_not() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    table = device.learn(9, 0)
    first = parts_due(device)
    assert [part.index for part in first] == [0, 1, 2, 3]
    assert first[0].count > 5
    deliver(device, fleet, first[0])
    deliver(device, fleet, first[2])
    fleet.restart()
    device.agent.reconnected()
    again = parts_due(device)
    assert again[0].index == 1, "the first one is stored, also over a restart of the aggregator"
    deliver(device, fleet, again[0])
    assert parts_due(device)[0].index == 3
    device.learn(4, 1)
    while device.agent.sync_state.acked < 9:
        for part in parts_due(device):
            assert part.counter == 9, "a report on its way stays the same"
            deliver(device, fleet, part)
    assert fleet.core.statistics == table


@pytest.mark.usefixtures("small_messages")
def test_parts_of_newer_tables_replace_those_of_older_ones() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(9, 0)
    old = parts_due(device)
    for part in old[:3]:
        deliver(device, fleet, part)
    device.boot()
    table = device.learn(3, 1)
    device.connect(fleet)
    for _ in range(20):
        device.sync(fleet)
    assert fleet.core.statistics.samples == 12
    deliver(device, fleet, old[3], heard=False)
    assert fleet.core.statistics.samples == 12
    assert table.samples == 3


@pytest.mark.usefixtures("small_messages")
def test_a_wrong_sum_is_refused_and_nothing_of_it_stays() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(9, 0)
    report = StatisticsReport("pump", 1, 9, device.tables)
    parts = [ReportPart.decode(part) for part in split_report(report, report.encode())]
    spoiled = bytes([parts[1].content[0] ^ 1]) + parts[1].content[1:]
    parts[1] = replace(parts[1], content=spoiled)
    for part in parts:
        deliver(device, fleet, part, heard=False)
    assert fleet.refusals == {("pump", "malformed"): 1}
    assert fleet.core.statistics.samples == 0
    with fleet.store.transaction():
        assert fleet.store.part_count() == 0


@pytest.mark.usefixtures("small_messages")
def test_a_refused_report_is_not_sent_again_at_once() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(9, 0)
    stranger = StatisticsReport("pump", device.agent.sync_state.epoch, 9, replace(device.tables, space="f" * 64))
    for payload in split_report(stranger, stranger.encode()):
        fleet.send(Received(topic(FLEET, "pump", Kind.STATISTICS), payload))
    assert fleet.refusals == {("pump", "space"): 1}
    parts_due(device)
    upload = device.agent.uplink._upload
    assert upload is not None
    epoch = device.agent.sync_state.epoch
    upload.acknowledged(Ack(epoch, 0, 0, part_counter=9, parts=2))
    upload.acknowledged(Ack(epoch, 0, 0))
    assert upload.due(device.now_s, 30.0) == []
    assert upload.due(device.now_s + 31.0, 30.0) != []


@pytest.mark.usefixtures("small_messages")
def test_parts_of_all_devices_together_are_bounded_and_the_oldest_give_way() -> None:
    fleet = Fleet(policy=Policy(publish_interval_s=0.0, limits=Limits(parts_max=5)))
    for number in range(4):
        for index in range(2):
            part = ReportPart(f"d{number}", 1, 1, index, 3 * PART, "0" * 64, b"x" * PART)
            fleet.send(Received(topic(FLEET, f"d{number}", Kind.STATISTICS), part.encode()))
    with fleet.store.transaction():
        assert fleet.store.part_count() <= 5
        assert fleet.store.part_indices("d0", 1) is None
        assert fleet.store.part_indices("d3", 1) is not None


GOOD = ReportPart("pump", 1, 1, 0, 150_000, hashlib.sha256(b"").hexdigest(), b"x" * (120 * 1024))


@pytest.mark.parametrize(
    "changed",
    [
        {"index": 2},
        {"total_bytes": 0},
        {"total_bytes": REPORT_BYTES_MAX + 1},
        {"total_bytes": 2**53},
        {"content": b"x"},
        {"content": b""},
        {"sha256": "z" * 64},
        {"epoch": -1},
    ],
)
def test_malformed_parts_are_refused(changed: dict[str, object]) -> None:
    assert ReportPart.decode(GOOD.encode()) == GOOD
    with pytest.raises(RemoteError):
        ReportPart.decode(replace(GOOD, **changed).encode())  # type: ignore[arg-type]
