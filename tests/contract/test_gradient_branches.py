"""Copies of a device whose gradient learner has updates on their way: every label counts once, or an event names it."""

from __future__ import annotations

import copy
import random
import re

import pytest

from aggregator.heads import FleetModel
from aggregator.policy import AveragingPolicy, Method, Policy
from edge_agent.config import SyncSettings
from edge_agent.sync import as_sent
from headway.ports import Received
from headway.wire import Ack, Kind, Parting, RunPoint, Update, topic
from tests.aggregator.fleets import FLEET, Fleet, acks
from tests.contract.test_history import Device
from tests.edge_agent.variants import variant

UPDATE_LABELS = 4
STEPS = 45


def averaging_fleet() -> Fleet:
    """It keeps all updates that it takes, and averages none of them."""
    policy = Policy(method=Method.AVERAGE, averaging=AveragingPolicy(updates_min=10_000, round_s=1e12))
    return Fleet(policy=policy, build_model=lambda: FleetModel.of(variant()))


def gradient_device(store: object = None) -> Device:
    return Device(kind="gradient") if store is None else Device(store, kind="gradient")  # type: ignore[arg-type]


def samples_taken(fleet: Fleet) -> int:
    """Labels of all updates that the aggregator has taken."""
    with fleet.store.transaction():
        return sum(Update.decode(row.payload).samples for row in fleet.store.updates(variant().space))


def messages(device: Device) -> list[Received]:
    """All updates that wait, as they leave now."""
    rows = device.store.outbox(0, 100)
    name, acked = topic(FLEET, "pump", Kind.UPDATE), rows[0].sequence - 1 if rows else 0
    return [Received(name, as_sent(row, acked, device.agent.sync_state)) for row in rows]


def left_out(device: Device) -> int:
    """Labels that the device names as left out, in the event that waits."""
    found = re.search(r"; (\d+) labels ", device.agent.forked)
    return int(found[1]) if found else 0


def everybody_speaks(fleet: Fleet, *devices: Device) -> None:
    for _ in range(3):
        for device in devices:
            device.connect(fleet)


def test_a_restored_gradient_learner_goes_on_under_a_new_epoch_and_loses_nothing() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.connect(fleet)
    device.learn(4, 0)
    backup = device.backup()
    device.learn(40, 1)
    device.sync(fleet)
    restored = gradient_device(backup)
    restored.learn(8, 2)
    restored.connect(fleet)
    assert "counter 44" in restored.agent.forked
    assert left_out(restored) == 0
    assert samples_taken(fleet) == 4 + 40 + 8
    assert fleet.refusals == {}


def test_a_copy_that_has_come_further_does_not_take_the_originals_answers_for_its_own() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.connect(fleet)
    device.learn(8, 0)
    device.sync(fleet)
    clone = gradient_device(device.backup())
    device.learn(8, 1)
    device.sync(fleet)
    clone.learn(24, 2)
    clone.connect(fleet)
    assert "from a run of this device that it does not know" in clone.agent.forked
    assert samples_taken(fleet) == 8 + 8 + 24
    assert fleet.refusals == {}


def test_updates_of_two_branches_that_wait_together_do_not_follow_on_each_other() -> None:
    """The one of the copy that has the next number was lost, and the one behind it would fit."""
    fleet, device = averaging_fleet(), gradient_device()
    device.learn(4, 0)
    device.connect(fleet)
    clone = gradient_device(device.backup())
    device.learn(4, 1)
    clone.learn(8, 2)
    fleet.send(*messages(device))
    for ack in acks(fleet.send(messages(clone)[1]))["pump"]:
        clone.hear(ack)
    everybody_speaks(fleet, clone, device)
    assert samples_taken(fleet) == 4 + 4 + 8
    assert fleet.refusals == {}


def test_updates_that_another_copy_has_told_are_let_go() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.learn(12, 0)
    clone = gradient_device(device.backup())
    clone.learn(4, 1)
    clone.connect(fleet)
    device.connect(fleet)
    assert device.agent.forked == ""
    assert device.store.outbox_size() == (0, 0)
    assert samples_taken(fleet) == 12 + 4


def test_an_update_in_the_making_ends_with_its_run_so_that_its_copies_count_it_once() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.learn(6, 0)  # two labels of the second update
    one, other = gradient_device(device.backup()), gradient_device(device.backup())
    one.learn(3, 1)
    other.learn(5, 2)
    assert [Update.decode(m.payload).samples for m in messages(other)] == [4, 2, 4]
    everybody_speaks(fleet, one, other)
    one.learn(1, 3)
    other.learn(3, 4)
    everybody_speaks(fleet, one, other)
    assert samples_taken(fleet) == 6 + 3 + 5 + 1 + 3
    assert left_out(one) == left_out(other) == 0


def test_what_a_live_copy_has_told_of_an_update_in_the_making_is_left_out_and_said() -> None:
    fleet, original = averaging_fleet(), gradient_device()
    original.learn(6, 0)
    clone = gradient_device(original.backup())
    clone.learn(4, 1)
    clone.connect(fleet)  # tells of the two labels
    original.learn(5, 2)
    original.connect(fleet)
    assert left_out(original) == 2, "two of five are in the update that the copy has told the beginning of"
    original.learn(1, 3)
    original.connect(fleet)
    assert samples_taken(fleet) == 6 + 4 + 3 + 1
    assert fleet.refusals == {}


def test_an_update_over_the_parting_is_left_out_when_the_outbox_was_full() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.learn(6, 0)
    clone = gradient_device(device.backup())
    clone.agent.outbox.note_stored(SyncSettings().outbox_rows_max, 0)
    clone.learn(5, 1)  # no room for an update of the two labels
    clone.agent.outbox.note_stored(1, 0)
    clone.learn(1, 2)
    assert [Update.decode(m.payload).samples for m in messages(clone)] == [4, 8]
    device.learn(2, 3)
    everybody_speaks(fleet, device, clone)
    assert samples_taken(fleet) == 6 + 2
    assert left_out(clone) == 6


def test_the_event_is_told_again_until_the_aggregator_has_answered_under_the_new_epoch() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.learn(4, 0)
    clone = gradient_device(device.backup())
    device.learn(4, 1)
    device.connect(fleet)
    clone.learn(8, 2)
    for ack in acks(fleet.send(*messages(clone)))["pump"]:
        clone.hear(ack)
    clone.boot()
    notices = dict(clone.agent.take_notices())
    assert "A new epoch begins" in notices.get("history-forked", "")
    clone.sync(fleet)
    clone.boot()
    assert clone.agent.take_notices() == []


def test_an_answer_to_another_copy_changes_nothing() -> None:
    device = gradient_device()
    device.learn(8, 0)
    state = device.agent.sync_state
    device.hear(Ack(state.epoch, 4, 1, run_id=77))
    device.hear(Ack(state.epoch, 12, 3, run_id=77, parting=Parting(RunPoint(78, 8), RunPoint(0, 0))))
    assert device.agent.forked == ""
    assert device.store.outbox_size()[0] == 2


def test_updates_of_an_agent_before_places_are_answered_by_number() -> None:
    fleet, device = averaging_fleet(), gradient_device()
    device.learn(8, 0)
    old = [Update.decode(message.payload) for message in messages(device)]
    plain = [
        Update("pump", u.epoch, u.sequence, u.base_version, u.samples, u.space, u.classes, u.delta, u.run_id)
        for u in old
    ]
    sent = [Received(topic(FLEET, "pump", Kind.UPDATE), update.encode()) for update in plain]
    (answer,) = acks(fleet.send(*sent))["pump"]
    assert (answer.counter, answer.sequence) == (0, 2)
    device.agent.outbox.sent(2, device.now_s)
    device.hear(answer)
    assert device.store.outbox_size() == (0, 0)


class Lives:
    """Gradient learners that are copied and restored at random."""

    def __init__(self, seed: int) -> None:
        self._chance, self._seed, self._batches = random.Random(seed), seed, 0
        self.fleet, self.devices = averaging_fleet(), [gradient_device()]
        self.learned, self._said = 0, dict[tuple[int, str], int]()
        self._backups: list[object] = []

    def step(self) -> None:
        device, chance = self._chance.choice(self.devices), self._chance
        match chance.choices(range(6), [35, 10, 15, 8, 15, 6])[0]:
            case 0:
                self.learn(device, chance.randint(1, 6))
            case 1:
                if chance.random() < 0.5:
                    device.store.commit(device.agent.checkpoint())
                device.boot()
            case 2:
                self.speak(device)
            case 3:
                some = [message for message in messages(device) if chance.random() < 0.6]
                self.fleet.send(*some)
            case 4 if len(self.devices) < 7:
                self.devices.append(gradient_device(device.backup()))
            case 5:
                self._backups.append(device.backup())
                if len(self.devices) < 7:
                    self.devices.append(gradient_device(copy.deepcopy(chance.choice(self._backups))))

    @property
    def named(self) -> int:
        """Labels that devices have named as left out."""
        return sum(self._said.values())

    def learn(self, device: Device, count: int) -> None:
        self._batches += 1
        device.learn(count, self._seed * 1000 + self._batches)
        self.learned += count

    def speak(self, device: Device) -> None:
        device.connect(self.fleet)
        for _, text in device.agent.take_notices():
            found = re.search(r"; (\d+) labels ", text)
            # one that has started again may say it once more
            self._said[self.devices.index(device), text] = int(found[1]) if found else 0


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_copied_or_restored_every_label_is_taken_once_or_named(seed: int) -> None:
    lives = Lives(seed)
    for _ in range(STEPS):
        lives.step()
    for device in lives.devices:
        lives.speak(device)
        while device.agent.learner.trainer.unfinished:
            lives.learn(device, 1)
    for device in 3 * lives.devices:
        lives.speak(device)
    assert lives.learned - lives.named <= samples_taken(lives.fleet) <= lives.learned
    # some messages were lost on the way
    assert {reason for _, reason in lives.fleet.refusals} <= {"gap"}
