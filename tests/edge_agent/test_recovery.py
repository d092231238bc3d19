"""A database that is missing, empty, too old or another device's, beside a backup: a recovery, and no silent one."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.commands.status import read_status, status_text
from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.delivery import Slots
from edge_agent.delivery.slots import Pointer
from edge_agent.delivery_settings import DeliverySettings
from edge_agent.loop import DeviceLoop
from edge_agent.sensors import Spool
from edge_agent.startup import active_bundle, build_device, open_bundle
from edge_agent.store.recovery import ACK_RECORD, BACKUP, DATABASE, Backup, read_backup
from edge_agent.store.store import SQLiteStore
from headway.errors import StoreError
from headway.maths import Statistics
from headway.ports import Connected, Received
from headway.wire import Ack, Kind, Reported, topic
from tests.device import Device, ManualClock, RecordingTransport
from tests.edge_agent.variants import IdentityRuntime, variant, windows

ENDS = ("", "-wal", "-shm")


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active_bundle, "open_runtime", lambda variant, clock: IdentityRuntime())


class Place:
    """A device's folder; `start` is a start of its program, up to the connection with the broker."""

    def __init__(self, folder: Path, device: str = "pump") -> None:
        self.folder, self.state = folder, folder / "state"
        variant().write(folder / "model.hwb")
        sensor = SensorSettings(folder / "spool", folder / "predictions", poll_interval_s=1.0)
        self.config = AgentConfig(
            device, "plant", folder / "model.hwb", self.state, sensor, delivery=DeliverySettings(enabled=False)
        )
        self.clock = ManualClock()
        self.files = 0

    @property
    def database(self) -> Path:
        return self.state / DATABASE

    def start(self, config: AgentConfig | None = None) -> DeviceLoop:
        config = config or self.config
        self.wire = RecordingTransport()
        opened = open_bundle(config, Slots(config.state_dir, config.bundle), self.clock)
        loop = build_device(config, self.clock, opened, Spool(config.sensor), connect=lambda will: self.wire)
        loop.start()
        loop.handle(Connected(session_present=False))
        return loop

    def learn(self, loop: DeviceLoop, count: int) -> None:
        self.files += 1
        x, y = windows(count, drift=0.8, seed=self.files)
        from_memory = self.folder / "spool" / f"{self.files}.npz"

        np.savez(from_memory, x=x, y=y)
        self.clock.now_s += 1.0
        loop.turn()

    def stop(self, loop: DeviceLoop) -> None:
        """As the service stops."""
        loop.stop()
        loop.store.back_up()
        self.pull_the_plug(loop)

    def pull_the_plug(self, loop: DeviceLoop) -> None:
        loop.store.current.close()

    def aside(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir() if ".damaged-" in path.name or ".kept-" in path.name)


def tables(loop: DeviceLoop) -> Statistics:
    statistics = loop.agent.learner.trainer.statistics
    assert statistics is not None
    return statistics


def learner_in(path: Path) -> dict[str, bytes]:
    """Named values of a backup, but for the counts that every start changes."""
    return {name: value for name, value in read_backup(path).state.items() if name != "sync"}


def missing(path: Path) -> None:
    for end in ENDS:
        path.with_name(path.name + end).unlink(missing_ok=True)


def empty(path: Path) -> None:
    missing(path)
    path.touch()


def no_tables(path: Path) -> None:
    missing(path)
    connection = sqlite3.connect(path)
    connection.execute("VACUUM")
    connection.close()


def no_rows(path: Path) -> None:
    missing(path)
    SQLiteStore(path).close()


def missing_beside_its_log(path: Path) -> None:
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(b"log of another file" * 1000)


def truncated(path: Path) -> None:
    missing_wal(path)
    path.write_bytes(path.read_bytes()[:5000])


def missing_wal(path: Path) -> None:
    for end in ENDS[1:]:
        path.with_name(path.name + end).unlink(missing_ok=True)


def one_digit(path: Path) -> None:
    """A value that nothing but its check sum tells from a good one."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE state SET value = CAST('9' AS BLOB) WHERE name = 'release'")
    connection.commit()
    connection.close()


def not_even_bytes(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE state SET value = 7, check_sum = NULL WHERE name = 'device'")
    connection.commit()
    connection.close()


HARMS = [missing, empty, no_tables, no_rows, missing_beside_its_log, truncated, one_digit, not_even_bytes]


@pytest.mark.parametrize("harm", HARMS)
def test_a_lost_database_beside_a_good_backup_is_a_recovery(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 30)
    place.stop(loop)
    before, epoch = tables(loop), loop.agent.sync_state.epoch
    harm(place.database)
    loop = place.start()
    assert tables(loop) == before
    assert loop.agent.sync_state.epoch != epoch, "what the copy holds may be counted already"
    assert "the learner is that of the last backup" in caplog.text
    assert {"store-recovered", "history-forked"} <= set(place.wire.event_names)
    assert "store-recovered since" in Reported.decode(place.wire.of(Kind.REPORTED)[-1]).problem
    status = read_status(place.config)
    assert "last backup" in str(status["last_recovery"])
    assert "2027-01-15" in status_text(status)
    place.stop(loop)
    loop = place.start()
    assert tables(loop) == before
    assert "store-recovered" not in place.wire.event_names, "it is told once"


@pytest.mark.parametrize("harm", [missing, empty, no_rows])
def test_before_the_next_start_status_says_what_will_happen(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    place = Place(tmp_path)
    place.stop(place.start())
    harm(place.database)
    with pytest.raises(StoreError, match=r"goes on from agent\.backup"):
        read_status(place.config)


def test_a_new_device_has_nothing_to_recover(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.pull_the_plug(loop)
    assert place.wire.event_names == []
    assert caplog.text == ""
    assert read_status(place.config)["last_recovery"] is None


@pytest.mark.parametrize("backup", [b"", b"garbage" * 99, None], ids=["empty", "damaged", "gone"])
def test_with_both_gone_the_device_starts_anew_and_says_so(tmp_path: Path, backup: bytes | None) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 12)
    state = loop.agent.sync_state
    loop.handle(Received(topic("plant", "pump", Kind.ACK), Ack(state.epoch, state.counter, 0).encode()))
    place.stop(loop)
    missing(place.database)
    if backup is None:
        (place.state / BACKUP).unlink()
    else:
        (place.state / BACKUP).write_bytes(backup)
    loop = place.start()
    assert loop.agent.learner.labels == 0
    [event] = [event for event in place.wire.events if event.name == "store-recovered"]
    assert "the device starts anew" in str(event.detail["problem"])
    assert "counter 12" in str(event.detail["problem"]), "what the aggregator keeps"
    place.stop(loop)
    loop = place.start()
    assert loop.agent.learner.labels == 0
    assert place.wire.event_names == []


def test_a_copy_that_is_ahead_of_the_database_is_gone_on_from(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 10)
    place.stop(loop)
    old = place.database.read_bytes()
    loop = place.start()
    place.learn(loop, 20)
    place.stop(loop)
    newest = tables(loop)
    missing(place.database)
    place.database.write_bytes(old)
    loop = place.start()
    assert tables(loop) == newest
    assert loop.agent.sync_state.epoch != 0
    assert place.aside() == [f"{DATABASE}.damaged-1"], "the old copy is there for whoever meant it"
    assert (place.state / f"{DATABASE}.damaged-1").read_bytes() == old
    [event] = [event for event in place.wire.events if event.name == "store-recovered"]
    assert "an older copy was put in its place" in str(event.detail["problem"])


def test_a_database_that_lost_its_newest_part_goes_on_from_the_copy(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 10)
    store = loop.store.current
    assert isinstance(store, SQLiteStore)
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    place.learn(loop, 20)
    loop.store.back_up()
    newest = tables(loop)
    # as after a power cut: the log is not written back
    shutil.copytree(place.state, tmp_path / "cut")
    place.pull_the_plug(loop)
    missing_wal(tmp_path / "cut" / DATABASE)
    loop = place.start(replace(place.config, state_dir=tmp_path / "cut"))
    assert tables(loop) == newest
    assert "store-recovered" in place.wire.event_names


@pytest.mark.parametrize("backup", [b"", b"garbage" * 99, None], ids=["empty", "damaged", "gone"])
def test_a_bad_backup_beside_a_good_database_is_made_anew_and_kept(
    tmp_path: Path, backup: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 10)
    place.stop(loop)
    good, epoch = learner_in(place.state / BACKUP), loop.agent.sync_state.epoch
    if backup is None:
        (place.state / BACKUP).unlink()
    else:
        (place.state / BACKUP).write_bytes(backup)
    loop = place.start()
    assert learner_in(place.state / BACKUP) == good
    assert loop.agent.sync_state.epoch == epoch, "nothing was lost"
    assert loop.agent.learner.labels == 10
    assert "made anew" in caplog.text
    assert "backup-renewed" in place.wire.event_names
    assert place.aside() == ([] if backup is None else [f"{BACKUP}.damaged-1"])


def test_another_devices_database_begins_a_new_epoch_and_the_own_copy_is_kept(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    own, other = Place(folders[0]), Place(folders[1], "press")
    for place, count in ((own, 30), (other, 20)):
        loop = place.start()
        place.learn(loop, count)
        place.stop(loop)
    place.stop(other.start())  # so that its program has started more often
    missing(own.database)
    shutil.copy(other.database, own.database)
    loop = own.start()
    assert loop.agent.learner.labels == 20
    assert loop.agent.sync_state.epoch != Backup(other.state).position().epoch  # type: ignore[union-attr]
    assert loop.agent.sync_state.before == 20, "they are counted under the other's name"
    assert "that of device press" in str([event.detail for event in own.wire.events])
    assert own.aside() == [f"{BACKUP}.kept-1"]
    own.stop(loop)
    # whoever notices puts the copy back
    missing(own.database)
    shutil.copy(own.state / f"{BACKUP}.kept-1", own.state / BACKUP)
    assert own.start().agent.learner.labels == 30


def test_a_renamed_device_tells_nothing_twice(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 30)
    place.stop(loop)
    loop = place.start(replace(place.config, device="pump-2"))
    assert loop.agent.learner.labels == 30
    assert loop.agent.sync_state.before == 30
    place.stop(loop)
    epoch = loop.agent.sync_state.epoch
    assert place.start(replace(place.config, device="pump-2")).agent.sync_state.epoch == epoch


def test_only_three_copies_are_kept_whatever_lies_beside_them(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 10)
    place.stop(loop)
    (place.state / f"{BACKUP}.damaged-mine").touch()
    for number in range(5):
        (place.state / BACKUP).write_bytes(bytes([number]))
        place.stop(place.start())
    assert place.aside() == [f"{BACKUP}.damaged-{name}" for name in ("3", "4", "5", "mine")]


def test_the_store_of_a_delivered_feature_space_is_recovered_in_its_own_folder(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.stop(place.start())
    (place.state / "slots" / "a").mkdir(parents=True)
    replace(variant(), release=2).write(place.state / "slots" / "a" / "bundle.hwb")
    pointer = Pointer(active="a", spaces={"factory": "0" * 64, "a": "1" * 64})
    (place.state / "slots" / "pointer.json").write_bytes(pointer.encode())
    loop = place.start()
    place.learn(loop, 10)
    place.stop(loop)
    folder = place.state / f"space-{'1' * 16}"
    assert (folder / DATABASE).exists()
    missing(folder / DATABASE)
    loop = place.start()
    assert loop.agent.learner.labels == 10
    assert "store-recovered" in place.wire.event_names


def test_a_database_deleted_under_a_running_agent_is_written_again_from_memory(tmp_path: Path) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 30, 0)
    device.turn()
    epoch = device.loop.agent.sync_state.epoch
    missing(device.state / DATABASE)
    total = total + device.drop("b", 6, 1)
    device.turn()
    assert "was deleted or replaced while the agent used it" in device.loop.condition
    device.turn(10.0)
    assert not device.loop.store.degraded
    assert "store-replaced" in device.wire.event_names
    device.boot()
    assert device.tables == total
    assert device.loop.agent.sync_state.epoch == epoch, "nothing was lost, so the history goes on"


def test_a_database_written_again_still_knows_whose_it_is_and_which_bundle_ran(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 5)
    kept = {name: loop.store.current.load()[name] for name in ("device", "release")}
    missing(place.database)
    place.learn(loop, 5)
    place.clock.now_s += 10.0
    loop.turn()
    assert not loop.store.degraded
    store = SQLiteStore(place.database, read_only=True)
    assert kept.items() <= store.load().items()
    store.close()


def test_an_older_ack_record_alone_makes_no_recovery(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 5)
    place.stop(loop)
    (place.state / ACK_RECORD).write_bytes(b'{"counter":1,"epoch":1}')
    epoch = loop.agent.sync_state.epoch
    assert place.start().agent.sync_state.epoch == epoch
