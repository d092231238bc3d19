"""Copies of a device, of whatever kind and in whatever order they speak: every label counts once, none twice."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest

from aggregator.heads import FleetModel
from edge_agent.sync import steps
from headway.arrays import AnyArray
from headway.maths import Statistics
from headway.samples import Label
from headway.wire import RUNS_MAX, Ack, History, Kind, RunPoint, StatisticsReport, branch_epoch, epoch_position
from tests.aggregator.fleets import Fleet
from tests.contract.test_history import Device, new_fleet
from tests.edge_agent.variants import variant

STEPS = 45


def restored(store: object) -> Fleet:
    return Fleet(build_model=lambda: FleetModel.of(variant()), store=copy.deepcopy(store))


def everybody_speaks(fleet: Fleet, *devices: Device) -> None:
    for _ in range(3):
        for device in devices:
            device.agent.reconnected(session_present=False)
            device.sync(fleet)


def test_a_live_copy_that_speaks_first_costs_the_original_nothing() -> None:
    fleet, original = new_fleet(), Device()
    original.connect(fleet)
    total = original.learn(30, 1)
    original.sync(fleet)
    total = total + original.learn(3, 2)  # not sent yet: in both branches
    clone = Device(original.backup())
    total = total + clone.learn(5, 3)
    clone.connect(fleet)
    total = total + original.learn(4, 4)
    everybody_speaks(fleet, original, clone)
    assert fleet.core.statistics == total
    assert "A new epoch begins" in original.agent.forked
    assert "cannot be told" not in original.agent.forked
    assert fleet.refusals == {}


@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped"])
def test_the_branch_is_found_again_after_a_restart(stopped: bool) -> None:
    fleet, original = new_fleet(), Device()
    total = original.learn(30, 1)
    original.connect(fleet)
    total = total + original.learn(3, 2)
    clone = Device(original.backup())
    total = total + clone.learn(5, 3) + original.learn(4, 4)
    if stopped:
        original.store.commit(original.agent.checkpoint())
    original.boot()
    total = total + original.learn(2, 5)
    everybody_speaks(fleet, clone, original)
    assert fleet.core.statistics == total


def test_silent_runs_after_a_restore_do_not_hide_it() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    total = device.learn(30, 1)
    device.sync(fleet)
    total = total + device.learn(7, 2)  # not sent before the backup is made
    backup = device.backup()
    total = total + device.learn(3, 3)
    device.sync(fleet)
    old = Device(backup)
    for seed in range(4, 8):
        total = total + old.learn(6, seed)
        old.boot()
    everybody_speaks(fleet, old)
    assert fleet.core.statistics == total
    assert fleet.refusals == {}


def test_a_copy_of_a_copy_that_never_spoke_shares_its_new_epoch() -> None:
    fleet, first = new_fleet(), Device()
    first.connect(fleet)
    total = first.learn(30, 1)
    first.sync(fleet)
    other = Device(first.backup())
    total = total + other.learn(5, 2) + first.learn(10, 3)
    third = Device(first.backup())  # holds ten labels that the fleet does not know
    total = total + third.learn(6, 4)
    other.connect(fleet)
    total = total + first.learn(2, 5)
    everybody_speaks(fleet, first, third, other)
    assert fleet.core.statistics == total


def test_a_correction_before_the_fork_is_noticed_stays_here_if_the_label_is_shared() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    shared = device.learn(30, 1)
    device.sync(fleet)
    clone = Device(device.backup())
    theirs = clone.learn(5, 2)
    clone.connect(fleet)
    ours = device.learn(4, 3)
    for window_id in ("1.4", "3.1"):  # one of before the copy was made, one of after
        known = device.agent.windows.get(window_id)
        assert known is not None
        device.agent.label([window_id], np.array([(int(known.label) + 1) % 3]))
    device.store.commit(device.agent.changes())
    everybody_speaks(fleet, device, clone)
    assert np.array_equal(fleet.core.statistics.gram, (shared + theirs + ours).gram)
    counts = (shared + theirs).counts + (device.tables.counts - clone_corrected(device, shared))
    assert fleet.core.statistics.counts.tolist() == counts.tolist()


def clone_corrected(device: Device, shared: Statistics) -> np.ndarray:
    """Counts of the shared labels as the device has them now."""
    known = [device.agent.windows.get(f"1.{row}") for row in range(shared.samples)]
    return np.bincount([int(window.label) for window in known if window is not None], minlength=3)


def test_older_epochs_come_back_to_an_aggregator_that_lost_its_store() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(20, 1)
    device.sync(fleet)
    backup = device.backup()
    device.learn(10, 2)
    device.sync(fleet)
    old = Device(backup)
    old.learn(5, 3)
    everybody_speaks(fleet, old)
    assert fleet.core.statistics.samples == 35
    lost = new_fleet()
    old.agent.reconnected(session_present=False)
    old.sync(lost)
    assert lost.core.statistics == old.tables
    everybody_speaks(lost, device)
    assert lost.core.statistics.samples == 35
    assert lost.refusals == {}


def test_an_aggregator_that_answers_unasked_has_started_again_and_is_told_of_older_epochs() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(20, 1)
    device.sync(fleet)
    old = Device(device.backup())
    device.learn(10, 2)
    device.sync(fleet)
    old.learn(5, 3)
    everybody_speaks(fleet, old)
    assert not old.agent.due(old.now_s + 1e6, connected=True)
    state = old.agent.sync_state
    old.hear(Ack(state.epoch, state.acked, 0, run_id=state.run_id))  # to what the broker retains
    sends = old.agent.due(old.now_s + 2e6, connected=True)
    assert len(sends) == 3, "the older epoch, metrics, and the newest epoch last"
    assert not sends[0].retained


def forked_device() -> tuple[Fleet, Device]:
    """A restored device that has an older epoch, all of it acknowledged."""
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(20, 1)
    device.sync(fleet)
    old = Device(device.backup())
    device.learn(10, 2)
    device.sync(fleet)
    old.learn(5, 3)
    everybody_speaks(fleet, old)
    return fleet, old


def test_the_answers_to_the_parts_of_a_report_are_no_sign_of_an_aggregator_that_starts() -> None:
    _, device = forked_device()
    device.learn(4, 4)
    assert device.agent.due(device.now_s + 1e6, connected=True)
    state = device.agent.sync_state
    for parts in (1, 2, 3):
        device.hear(Ack(state.epoch, state.acked, 0, run_id=state.run_id, part_counter=state.counter, parts=parts))
    epochs = {StatisticsReport.decode(s.payload).epoch for s in device.agent.due(device.now_s + 2e6, True)[1:]}
    assert epochs <= {state.epoch}, "older epochs are not sent again"


def test_an_older_epoch_that_the_aggregator_refuses_is_not_sent_again_and_again() -> None:
    _, device = forked_device()
    device.agent.reconnected(session_present=False)
    sent = device.agent.due(device.now_s + 1e6, connected=True)
    older = StatisticsReport.decode(sent[0].payload).epoch
    assert older != device.agent.sync_state.epoch
    device.hear(Ack(older, 0, 0, refused="limit", problem="too many epochs"))
    again = [send for send in device.agent.due(device.now_s + 2e6, connected=True) if send.kind is Kind.STATISTICS]
    assert older not in {StatisticsReport.decode(send.payload).epoch for send in again}


def test_a_device_that_is_removed_twice_counts_what_it_learned_after_the_second_time() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(20, 1)
    device.connect(fleet)
    before = copy.deepcopy(fleet.store)
    for seed in (2, 3):
        with fleet.store.transaction():
            fleet.store.request_removal("pump", 0.0)
        fleet.pass_time(2.0)
        everybody_speaks(fleet, device)
        news = device.learn(4, seed)
        device.sync(fleet)
    fleet = restored(before)
    everybody_speaks(fleet, device)
    assert fleet.core.statistics.same_sums(news)
    assert fleet.refusals == {}


def test_what_was_removed_does_not_come_back_with_an_older_store_of_the_aggregator() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(20, 1)
    device.connect(fleet)
    before = copy.deepcopy(fleet.store)
    with fleet.store.transaction():
        fleet.store.request_removal("pump", 0.0)
    fleet.pass_time(2.0)
    device.agent.reconnected(session_present=False)
    device.sync(fleet)
    assert device.agent.removed
    news = device.learn(4, 2)
    device.sync(fleet)
    assert fleet.core.statistics == news
    fleet = restored(before)
    assert fleet.core.statistics.samples == 20
    everybody_speaks(fleet, device)
    assert fleet.core.statistics.with_classes(news.classes) == news
    assert fleet.refusals == {}


def test_moments_beyond_the_newest_steps_are_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEPS_MAX", 4)
    fleet, original = new_fleet(), Device()
    total = original.learn(30, 1)
    original.connect(fleet)
    clone = Device(original.backup())
    total = total + clone.learn(5, 2)
    clone.connect(fleet)
    original.learn(10, 3)
    everybody_speaks(fleet, original, clone)
    assert fleet.core.statistics.samples == 30 + 5 + 4
    assert "6 changes since then cannot be told any more" in original.agent.forked


def test_the_start_of_a_run_is_known_however_much_was_learned_since(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEPS_MAX", 4)
    fleet, original = new_fleet(), Device()
    original.connect(fleet)
    total = original.learn(30, 1)
    original.sync(fleet)
    clone = Device(original.backup())
    total = total + original.learn(5, 2)
    original.sync(fleet)
    total = total + clone.learn(40, 3)
    known = clone.agent.windows.get("1.4")
    assert known is not None
    clone.agent.label(["1.4"], np.array([(int(known.label) + 1) % 3]))
    clone.store.commit(clone.agent.checkpoint())
    clone.boot()
    total = total + clone.learn(6, 4)
    everybody_speaks(fleet, clone)
    assert fleet.core.statistics == total


def test_a_late_answer_to_another_copy_is_not_taken_for_ones_own() -> None:
    fleet, original = new_fleet(), Device()
    original.learn(9, 1)
    original.connect(fleet)
    state = original.agent.sync_state
    for _ in range(3):
        original.hear(Ack(state.epoch, 20, 0, run_id=77))
    assert original.agent.forked == ""
    total = fleet.core.statistics
    everybody_speaks(fleet, original)
    assert fleet.core.statistics == total


def test_an_aggregator_that_never_says_where_branches_part_makes_the_device_part_here() -> None:
    device = Device()
    device.learn(9, 1)
    state = device.agent.sync_state
    epoch = state.epoch
    for _ in range(9):
        device.now_s += 1e6
        device.agent.due(device.now_s, connected=True)
        for _ in range(3):  # of a backlog, of which none answers this device
            device.hear(Ack(epoch, 20, 0, run_id=77))
    assert device.agent.sync_state.epoch != epoch
    assert device.agent.sync_state.counter == 0
    assert "; 9 changes since then" in device.agent.forked


def test_histories_part_after_the_last_run_they_share() -> None:
    ours, theirs = History(3, (1, 2), (10, 20)), History(9, (1, 2), (10, 18))
    assert ours.last_shared(30, theirs, 25) == RunPoint(2, 18)
    assert theirs.last_shared(25, ours, 30) == RunPoint(2, 18)
    assert History(2, (1,), (10,)).last_shared(12, theirs, 25) == RunPoint(2, 12)
    assert History(5).last_shared(7, History(6), 9) == RunPoint(0, 0)


def test_a_history_that_has_forgotten_runs_parts_no_earlier_than_it_can_tell() -> None:
    forgetful = History(99, tuple(range(1, RUNS_MAX + 1)), tuple(range(10, 10 * RUNS_MAX + 1, 10)))
    assert forgetful.last_shared(400, History(500), 50) == RunPoint(0, 10)
    assert forgetful.includes(12345, 10)
    assert not forgetful.includes(12345, 11)
    assert not History(99, (1,), (10,)).includes(12345, 10), "nothing is forgotten here"


def test_the_number_of_a_branch_tells_where_it_begins() -> None:
    epoch = branch_epoch(7, 30, 1234, 530)
    assert epoch <= 2**53
    assert epoch_position(epoch) == 530
    assert epoch == branch_epoch(7, 30, 1234, 530) != branch_epoch(7, 30, 1235, 530)
    assert epoch_position(2**48 - 1) == 0
    assert epoch_position(branch_epoch(7, 30, 1234, 2**30)) is None


class Lives:
    """Devices that are copied, restored and corrected at random, and an aggregator that is set back."""

    def __init__(self, seed: int, fleet: Fleet, device: Device, nothing: Statistics) -> None:
        self._chance, self._seed, self._batches = random.Random(seed), seed, 0
        self.fleet, self.devices, self.total = fleet, [device], nothing
        self._backups: list[object] = []
        self._stores: list[object] = []

    def step(self) -> None:
        device, chance = self._chance.choice(self.devices), self._chance
        match chance.choices(range(9), [35, 10, 15, 5, 8, 15, 6, 3, 3])[0]:
            case 0:
                self._batches += 1
                self.total = self.total + device.learn(chance.randint(1, 6), self._seed * 1000 + self._batches)
            case 1:
                if chance.random() < 0.5:
                    device.store.commit(device.agent.checkpoint())
                device.boot()
            case 2:
                device.connect(self.fleet)
            case 3:
                self._correct(device)
            case 4:
                device.agent.reconnected(session_present=chance.random() < 0.5)
                device.sync(self.fleet, deliver=False)
            case 5 if len(self.devices) < 7:
                self.devices.append(type(device)(device.backup()))
            case 6:
                self._backups.append(device.backup())
                if len(self.devices) < 7:
                    self.devices.append(type(device)(copy.deepcopy(chance.choice(self._backups))))
            case 7:
                self._stores.append(copy.deepcopy(self.fleet.store))
            case 8 if self._stores:
                self.fleet = replace(self.fleet, store=copy.deepcopy(chance.choice(self._stores)), effects=[])

    def _correct(self, device: Device) -> None:
        learned = [i for i, window in device.agent.windows.all() if device.agent.windows.get(i) is not None]
        if learned:
            window_id = self._chance.choice(learned)
            known = device.agent.windows.get(window_id)
            assert known is not None
            device.agent.label([window_id], self.other_label(known.label))
            device.store.commit(device.agent.changes())

    def other_label(self, label: Label) -> AnyArray:
        """What a label is corrected to."""
        return np.array([(int(label) + 1) % 3])


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_copied_restored_or_set_back_every_label_counts_once(seed: int) -> None:
    nothing = Statistics.zeros(variant().training_statistics.size, variant().classes, variant().space)
    lives = Lives(seed, new_fleet(), Device(), nothing)
    for _ in range(STEPS):
        lives.step()
    everybody_speaks(lives.fleet, *lives.devices)
    # which class a label has may differ between branches that corrected it; the windows are the same
    assert np.array_equal(lives.fleet.core.statistics.gram, lives.total.gram)
    assert lives.fleet.refusals == {}
