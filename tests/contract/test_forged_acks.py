"""Acks carry no seal: what a forged one kept from the fleet is told again, after half a day at the latest."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edge_agent.sync.uplink import TOLD_AGAIN_S
from headway.wire import statistics_report
from headway.wire.messages import Ack
from headway.wire.topics import Kind
from tests.contract.test_gradient_branches import averaging_fleet, gradient_device, samples_taken
from tests.contract.test_history import Device, new_fleet


def forge(device: Device) -> None:
    """An ack of everything, though the aggregator has got nothing."""
    state = device.agent.sync_state
    device.hear(Ack(state.epoch, state.counter, 0, run_id=state.run_id))


def told(device: Device) -> bool:
    """Whether the device tells its statistics now."""
    return any(send.kind is Kind.STATISTICS for send in device.agent.due(device.now_s, connected=True))


def lose_what_is_told_and_forge(device: Device) -> None:
    device.agent.reconnected()
    assert told(device)
    forge(device)
    device.now_s += 600.0
    assert not told(device)


def test_what_a_forged_ack_kept_from_the_fleet_is_told_again_after_half_a_day_though_nothing_is_new() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    lose_what_is_told_and_forge(device)
    device.now_s = TOLD_AGAIN_S - 1.0
    assert not told(device)
    device.sync(fleet)
    assert fleet.core.statistics == device.tables


def test_or_when_it_starts_again_or_has_learned_something_new() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    lose_what_is_told_and_forge(device)
    device.boot()
    device.agent.reconnected()
    device.now_s = 0.0
    assert told(device)
    other = Device(whole_bytes_max=0)
    other.learn(9, 1)
    lose_what_is_told_and_forge(other)
    other.learn(1, 2)
    other.sync(fleet)
    assert fleet.core.statistics == other.tables


def test_what_was_acknowledged_twice_is_not_told_a_third_time_also_after_a_start() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    device.connect(fleet)
    assert device.agent.sync_state.confirmed == device.agent.sync_state.counter
    for _ in range(3):
        device.now_s += 2 * TOLD_AGAIN_S
        assert not told(device)
    device.boot()
    device.agent.reconnected()
    assert not told(device)
    device.learn(1, 1)
    assert told(device)


def test_a_second_telling_that_is_lost_is_told_again_soon_and_then_ever_more_seldom() -> None:
    device = Device()
    device.learn(9, 0)
    lose_what_is_told_and_forge(device)
    device.now_s += TOLD_AGAIN_S
    assert told(device)
    times = []
    for _ in range(4 * 3600):
        device.now_s += 10.0
        times += [device.now_s] if told(device) else []
    first, *later = [now - before for before, now in pairwise(times)]
    assert first <= 2 * device.agent.settings.ack_timeout_s
    assert later == sorted(later)
    assert len(times) < 15, "in more than a day and a half"
    forge(device)
    device.now_s += 2 * TOLD_AGAIN_S
    assert not told(device), "it was answered"


def test_a_forged_ack_of_what_was_learned_since_the_second_telling_confirms_nothing() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    device.connect(fleet)
    device.learn(1, 1)
    forge(device)
    device.sync(fleet)
    assert fleet.core.statistics == device.tables


@pytest.mark.parametrize("looked", [True, False])
def test_a_forged_ack_that_comes_before_anything_was_told_confirms_nothing(looked: bool) -> None:
    """looked: the device has looked before whether something is due."""
    device = Device()
    device.learn(9, 0)
    if looked:
        device.agent.due(0.0, connected=False)
    forge(device)
    device.agent.reconnected()
    assert told(device)
    forge(device)
    device.now_s += TOLD_AGAIN_S
    assert told(device)


def test_a_report_of_many_parts_is_told_again_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.sync.uplink.MESSAGE_BYTES_MAX", 300)
    monkeypatch.setattr(statistics_report, "PART_BYTES", 100)
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    lose_what_is_told_and_forge(device)
    for _ in range(4):
        device.sync(fleet)
    assert fleet.core.statistics == device.tables
    assert not told(device)
    with fleet.store.transaction():
        assert fleet.store.part_count() == 0


@pytest.mark.parametrize("placed", [True, False])
def test_a_forged_ack_of_updates_that_were_not_sent_yet_deletes_none(placed: bool) -> None:
    """Whoever may only publish, and keeps nothing from the aggregator, so takes nothing from a fleet that averages."""
    fleet, device = averaging_fleet(), gradient_device()
    device.connect(fleet)
    device.learn(8, 0)
    device.sync(fleet)
    device.learn(24, 1)
    for _ in range(2):
        state = device.agent.sync_state
        device.hear(Ack(state.epoch, state.counter if placed else 0, state.sequence, run_id=state.run_id))
        assert device.store.outbox_size()[0] == 6
        device.boot()
    device.connect(fleet)
    assert samples_taken(fleet) == 8 + 24
    assert device.store.outbox_size() == (0, 0)
    assert fleet.refusals == {}
