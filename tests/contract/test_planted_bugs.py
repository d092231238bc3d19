"""Small mistakes that random runs meet too rarely: each check holds, and fails with the mistake that it is made for."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.assembly import Assemblies
from aggregator.branches import Branches
from aggregator.core import Aggregator
from aggregator.heads.publisher import HeadPublisher
from aggregator.store import MemoryStore as ServerMemory
from aggregator.store import engine
from aggregator.taken_updates import TakenUpdate
from converter.keys import generate_key
from edge_agent.config import SensorSettings
from edge_agent.delivery import selftest
from edge_agent.learner.gate import gate
from edge_agent.loop import DeviceLoop
from edge_agent.sensors import spool
from edge_agent.store import Changes, MemoryStore, recovery
from edge_agent.sync import Epochs, Outbox, past, steps
from edge_agent.sync.history import Baseline, SyncState
from headway.class_changes import ClassChanges
from headway.errors import HeadwayError
from headway.maths import Statistics
from headway.ports import Connected, Received, SystemClock
from headway.wire import Ack, History, Kind, ReportPart, statistics_report, topic
from tests.aggregator.fleets import FLEET, Fleet, heads, statistics_message, tables
from tests.aggregator.test_core import removed_fleet
from tests.contract import test_gradient_branches as gradient
from tests.contract.test_branches import everybody_speaks
from tests.contract.test_history import Device, new_fleet
from tests.device import Device as DeviceOnDisk
from tests.edge_agent.variants import variant

Check = Callable[[Path, pytest.MonkeyPatch], None]
Plant = Callable[[pytest.MonkeyPatch], None]


def updates_of_two_branches(_: Path, __: pytest.MonkeyPatch) -> None:
    """Updates of two copies wait in the broker together, and one that was lost comes again: each counts once."""
    gradient.test_updates_of_two_branches_that_wait_together_do_not_follow_on_each_other()


def numbers_of_updates(_: Path, __: pytest.MonkeyPatch) -> None:
    """A copy's update ended in the middle of one that was lost: the one behind that does not follow on it."""
    fleet, original = gradient.averaging_fleet(), gradient.gradient_device()
    original.learn(6, 0)
    clone = gradient.gradient_device(original.backup())
    clone.learn(1, 1)
    clone.connect(fleet)
    original.learn(6, 2)
    fleet.send(gradient.messages(original)[2])
    original.connect(fleet)
    assert gradient.samples_taken(fleet) + gradient.left_out(original) == 6 + 6


def updates_over_a_parting(_: Path, __: pytest.MonkeyPatch) -> None:
    """What a live copy has told of an update in the making is counted once."""
    gradient.test_what_a_live_copy_has_told_of_an_update_in_the_making_is_left_out_and_said()


def updates_of_one_run(_: Path, __: pytest.MonkeyPatch) -> None:
    """Labels of an update in the making are told once by all cold copies together."""
    gradient.test_an_update_in_the_making_ends_with_its_run_so_that_its_copies_count_it_once()


def updates_that_copies_told(_: Path, __: pytest.MonkeyPatch) -> None:
    """An update that a copy has told, and more after it, is answered to the original, too."""
    gradient.test_updates_that_another_copy_has_told_are_let_go()


def notices_after_a_start(_: Path, __: pytest.MonkeyPatch) -> None:
    """A device that stops before its event has arrived tells it again."""
    gradient.test_the_event_is_told_again_until_the_aggregator_has_answered_under_the_new_epoch()


def relabel(device: Device, window_id: str) -> Statistics:
    """Give a window the next class; returns what that changes."""
    known = device.agent.windows.get(window_id)
    assert known is not None
    after = (int(known.label) + 1) % 3
    before = Statistics.of(known.codes, np.array([int(known.label)]), variant().classes, variant().space)
    device.agent.label([window_id], np.array([after]))
    device.store.commit(device.agent.changes())
    return Statistics.of(known.codes, np.array([after]), variant().classes, variant().space) - before


def labels_around_a_fork(_: Path, __: pytest.MonkeyPatch) -> None:
    """After a fork a corrected label reaches the fleet exactly when the new epoch counts it."""
    fleet, original = new_fleet(), Device()
    original.connect(fleet)
    total = original.learn(10, 1)
    original.sync(fleet)
    clone = Device(original.backup())
    total = total + clone.learn(2, 5)
    clone.connect(fleet)
    total = total + original.learn(3, 2)
    everybody_speaks(fleet, original, clone)
    assert fleet.core.statistics == total
    relabel(original, "1.9")
    total = total + relabel(original, "2.0")
    everybody_speaks(fleet, original, clone)
    assert fleet.core.statistics == total
    assert fleet.refusals == {}


def merged_transactions(_: Path, __: pytest.MonkeyPatch) -> None:
    """Transactions that waited for the disk and go out as one leave what they would have left one by one."""
    parts = (Changes({}, journal=(b"1",)), Changes({"a": b"x"}, journal=(b"2",), checkpoint=True))
    parts += (Changes({}, journal=(b"3",)), Changes({}, journal=(b"4",)))
    one_by_one, merged = MemoryStore(), MemoryStore()
    for changes in parts:
        one_by_one.commit(changes)
    merged.commit(parts[0].then(parts[1]).then(parts[2]).then(parts[3]))
    assert (merged.load(), merged.journal()) == (one_by_one.load(), one_by_one.journal())


def parts_of_two_reports(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies of a device send long reports under one counter: a part of the one never completes the other."""
    monkeypatch.setattr(statistics_report, "PART_BYTES", 4)
    assemblies = Assemblies(ServerMemory(), 10)
    first, second = b"aaaabb", b"ccccdd"
    mine = [ReportPart("pump", 1, 5, index, 6, "a" * 64, first[4 * index : 4 * index + 4]) for index in range(2)]
    theirs = [ReportPart("pump", 1, 5, index, 6, "c" * 64, second[4 * index : 4 * index + 4]) for index in range(2)]
    assert assemblies.take(mine[0]) is None
    assert assemblies.take(theirs[1]) is None
    assert assemblies.progress("pump", 1) == (5, 0)


def heads_after_a_set_back(_: Path, __: pytest.MonkeyPatch) -> None:
    """An aggregator with an older store goes on from the retained head's version, however many heads it makes."""
    fleet, ahead = Fleet(), Fleet()
    for counter in range(1, 8):
        ahead.send(statistics_message("a", 1, counter, tables(20, 1)))
        ahead.pass_time(1.0)
    fleet.send(statistics_message("a", 1, 1, tables(20, 1)))
    fleet.pass_time(1.0)
    retained = heads(ahead.effects)[-1]
    fleet.send(Received(topic(FLEET, "_all", Kind.HEAD), retained.encode(), retain=True))
    assert [head.version for head in heads(fleet.pass_time(1.0))] == [retained.version + 1]


def names_of_marks(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class is renamed before the fork is noticed: what the new epoch leaves out goes under the new name, too."""
    monkeypatch.setattr(steps, "STEPS_MAX", 2)
    fleet, original = new_fleet(), Device()
    original.connect(fleet)
    original.agent.add_class("jump")
    original.learn(6, 1)
    window = original.agent.windows.get("1.0")
    assert window is not None
    original.agent.label(["1.0"], np.array([3]))
    original.store.commit(original.agent.changes())
    original.sync(fleet)
    clone = Device(original.backup())
    clone.learn(4, 2)
    clone.connect(fleet)
    original.boot()
    original.learn(5, 3)
    original.agent.change_classes(ClassChanges(rename=(("jump", "hop"),)))
    original.store.commit(original.agent.changes())
    everybody_speaks(fleet, original, clone)
    assert fleet.core.statistics.samples == 6 + 4 + 5
    assert fleet.refusals == {}


def rows_that_wait(_: Path, __: pytest.MonkeyPatch) -> None:
    """Evidence is compared with the frozen head's losses on the same rows, not on those that were not solved yet."""
    judge = gate.Gate(discount=1.0, margin=0.01, errors=0.0)
    for loss in [0.2] * 10 + [1.8] * 10:
        judge.record({gate.FROZEN: loss})
    assert judge.decide({"learned": np.full(10, 0.3)}, pending=10) is None


def ends_of_runs(_: Path, __: pytest.MonkeyPatch) -> None:
    """A run's last state is part of the history, one beyond it is another branch's."""
    history = History(3, (1, 2), (5, 8))
    assert history.includes(1, 5)
    assert history.includes(2, 8)
    assert not history.includes(1, 6)
    assert not history.includes(2, 9)


def retained_words(_: Path, __: pytest.MonkeyPatch) -> None:
    """What the broker still retains of a removed device does not count as the device's return."""
    fleet, _effects = removed_fleet()
    with fleet.store.transaction():
        before = fleet.store.clearings()
    fleet.send(replace(statistics_message("b", 7, 1, tables(5, 2)), retain=True))
    with fleet.store.transaction():
        assert fleet.store.clearings() == before


def claims_are_synced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim is a rename: both folders are on the disk before anything is learned from the file."""
    settings = SensorSettings(folder / "spool", folder / "predictions")
    claiming = spool.Spool(settings)
    np.savez(settings.spool_dir / ".a.npz", x=np.zeros((1, 6), np.float32))
    os.utime(settings.spool_dir / ".a.npz", (1e9, 1e9))
    os.rename(settings.spool_dir / ".a.npz", settings.spool_dir / "a.npz")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    next(claiming.claim(1))
    assert {str(settings.spool_dir), str(settings.spool_dir / "claimed")} <= set(synced)


def server_commits_are_synced(folder: Path, __: pytest.MonkeyPatch) -> None:
    """An ack follows a commit that a power cut cannot take back: SQLite's synchronous is FULL (2)."""
    connection = sqlite3.connect(folder / "store.sqlite")
    engine._prepare_sqlite(connection, None)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


def delivered_bundles_need_their_key(folder: Path, __: pytest.MonkeyPatch) -> None:
    """The self-test of a delivered bundle demands the signature that the device's configuration demands."""
    variant().write(folder / "unsigned.hwb")
    public, clock = generate_key(folder / "signing.pem"), SystemClock()
    test = selftest.Subprocess(folder / "unsigned.hwb", 1, public, 30.0, clock)
    while (found := test.poll()) is None:
        assert clock.monotonic_s() >= 0
    assert "sign" in found.problem


def noted_acks(folder: Path, __: pytest.MonkeyPatch) -> None:
    """The record beside the store names what was acknowledged, not what was told."""
    device = DeviceOnDisk(folder)
    device.loop.handle(Connected(True))
    device.drop("a", 9, 1)
    device.turn()
    state = device.loop.agent.sync_state
    ack = Ack(state.epoch, 4, 0, run_id=state.run_id)
    device.loop.handle(Received(topic("test", "pump", Kind.ACK), ack.encode()))
    assert recovery.Backup(device.state).ack_record() == (state.epoch, 4)


def whole_backups(folder: Path, __: pytest.MonkeyPatch) -> None:
    """A backup holds the whole journal."""
    device = DeviceOnDisk(folder)
    for number in range(3):
        device.drop(f"f{number}", 2, number)
        device.turn()
    device.loop.store.back_up()
    journal = tuple(device.loop.store.current.journal())
    assert len(journal) >= 3
    assert recovery.read_backup(device.state / recovery.BACKUP).journal[-len(journal) :] == journal


def begins_one_label_early(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = SyncState.begin_epoch
    monkeypatch.setattr(SyncState, "begin_epoch", lambda self, epoch, at, labels: begin(self, epoch, at, labels - 1))


def begins_one_label_late(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = SyncState.begin_epoch
    monkeypatch.setattr(SyncState, "begin_epoch", lambda self, epoch, at, labels: begin(self, epoch, at, labels + 1))


def tells_of_older_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Baseline, "correct", lambda self, *arguments: None)


def forgets_a_postponed_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    then = Changes.then

    def forgetful(self: Changes, later: Changes) -> Changes:
        both = then(self, later)
        return replace(both, journal=later.journal) if self.checkpoint else both

    monkeypatch.setattr(Changes, "then", forgetful)


def joins_by_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Assemblies.take

    def careless(self: Assemblies, part: ReportPart) -> bytes | None:
        return take(self, replace(part, sha256="a" * 64))

    monkeypatch.setattr(Assemblies, "take", careless)


def forgets_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    version = HeadPublisher.version.fget
    assert version is not None

    def forgetful(self: HeadPublisher) -> int:
        newest = self._store.head()
        return version(self) if newest is None else newest.version

    monkeypatch.setattr(HeadPublisher, "version", property(forgetful))


def keeps_old_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past.Past, "rename", lambda self, renames: None)


def compares_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = gate.Gate._rows
    monkeypatch.setattr(gate.Gate, "_rows", lambda self, evidence, pending: rows(self, evidence, 0))


def ends_runs_late(monkeypatch: pytest.MonkeyPatch) -> None:
    includes = History.includes
    monkeypatch.setattr(History, "includes", lambda self, run, counter: includes(self, run, counter - 1))


def takes_retained_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Aggregator.receive

    def careless(self: Aggregator, batch: Any, now: Any) -> Any:
        return receive(self, [replace(message, retain=False) for message in batch], now)

    monkeypatch.setattr(Aggregator, "receive", careless)


def syncs_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    real = spool.sync_folder
    monkeypatch.setattr(spool, "sync_folder", lambda path: real(path) if path.name == spool.CLAIMED else None)


def commits_without_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = engine._prepare_sqlite

    def careless(connection: Any, record: object) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous = NORMAL")

    monkeypatch.setattr(engine, "_prepare_sqlite", careless)


def tests_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = selftest.Subprocess.__init__

    def careless(self: Any, bundle: Path, release_min: int, public_key: Path | None, *rest: Any) -> None:
        begin(self, bundle, release_min, None, *rest)

    monkeypatch.setattr(selftest.Subprocess, "__init__", careless)


def notes_what_it_told(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = DeviceLoop._receive

    def hasty(self: DeviceLoop, name: str, payload: bytes, retain: bool) -> None:
        receive(self, name, payload, retain)
        state = self.agent.sync_state
        self.store.note_acknowledged(state.epoch, state.counter, 0.0)

    monkeypatch.setattr(DeviceLoop, "_receive", hasty)


def backs_up_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    read = recovery.read_backup

    def short(path: Path) -> Changes:
        changes = read(path)
        return replace(changes, journal=changes.journal[:-1])

    monkeypatch.setattr(recovery, "read_backup", short)


def joins_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Branches, "update_parting", lambda self, update, taken: None)
    monkeypatch.setattr(TakenUpdate, "counts", lambda self, update: False)
    follows_numbers(monkeypatch)


def follows_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Branches, "follows", lambda self, update, known, expected: update.sequence == expected)


def keeps_what_lies_over_a_parting(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = Outbox.leave

    def careless(self: Outbox, parted: int) -> tuple[int, int]:
        begun = [row.since for row in self._waiting if row.position > parted]
        return leave(self, min([parted, *begun]))

    monkeypatch.setattr(Outbox, "leave", careless)


def goes_on_with_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Epochs, "ends_update", False)


def answers_with_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Branches, "take_counted", lambda self: [])


def forgets_its_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SyncState, "note", lambda self, notice: notice)


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake, and the check that finds it."""

    plant: Plant
    check: Check


BUGS = {
    "a new epoch begins one label early": Planted(begins_one_label_early, labels_around_a_fork),
    "a new epoch begins one label late": Planted(begins_one_label_late, labels_around_a_fork),
    "corrections of labels from before an epoch are told": Planted(tells_of_older_labels, labels_around_a_fork),
    "updates of two copies are joined by number": Planted(joins_branches, updates_of_two_branches),
    "an update follows by its number, not by its place": Planted(follows_numbers, numbers_of_updates),
    "an update that lies over a parting is kept": Planted(keeps_what_lies_over_a_parting, updates_over_a_parting),
    "an update in the making goes on in the next run": Planted(goes_on_with_an_update, updates_of_one_run),
    "an update that a copy told is answered with what the copy told last": Planted(
        answers_with_the_newest, updates_that_copies_told
    ),
    "the event of a fork is lost with the power": Planted(forgets_its_notice, notices_after_a_start),
    "the journal of a postponed checkpoint is lost in a later merge": Planted(
        forgets_a_postponed_journal, merged_transactions
    ),
    "parts of equal counter and other hash are joined": Planted(joins_by_counter, parts_of_two_reports),
    "the version floor is ignored once a head is stored": Planted(forgets_the_floor, heads_after_a_set_back),
    "marks keep old class names after a rename": Planted(keeps_old_names, names_of_marks),
    "the gate compares evidence with rows that wait": Planted(compares_other_rows, rows_that_wait),
    "a run goes on one beyond its end": Planted(ends_runs_late, ends_of_runs),
    "a removed device's retained word ends the clearing": Planted(takes_retained_for_new, retained_words),
    "a claim does not sync the spool folder": Planted(syncs_one_folder, claims_are_synced),
    "the aggregator's database is not synced": Planted(commits_without_a_sync, server_commits_are_synced),
    "a delivered bundle is tested without its key": Planted(tests_without_the_key, delivered_bundles_need_their_key),
    "the record of acks notes what was told": Planted(notes_what_it_told, noted_acks),
    "a backup misses the last journal entry": Planted(backs_up_too_little, whole_backups),
}


@pytest.mark.parametrize("check", dict.fromkeys(bug.check for bug in BUGS.values()), ids=lambda check: check.__name__)
def test_the_check_holds(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(tmp_path, monkeypatch)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug].plant(monkeypatch)
    with pytest.raises((AssertionError, HeadwayError)):
        BUGS[bug].check(tmp_path, monkeypatch)
