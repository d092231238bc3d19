"""A disk that is full, read-only, damaged or gone: one clear state, predictions go on, nothing is lost or repeated."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.store.recovery import BACKUP, DATABASE, Backup, set_aside
from edge_agent.store.retrying import RETRY_S
from edge_agent.store.store import Condition, SQLiteStore, StoreFailure
from headway.ports import Connected, Received
from headway.wire.messages import Ack, Reported, StatisticsReport, Update
from headway.wire.topics import Kind, topic
from tests.device import Device


def fill_up(device: Device) -> Callable[[], None]:
    """SQLite itself finds no more room, as on a full disk."""
    pages = device.connection.execute("PRAGMA page_count").fetchone()[0]
    device.connection.execute(f"PRAGMA max_page_count={pages}")
    return lambda: void(device.connection.execute("PRAGMA max_page_count=1000000"))


def write_protect(device: Device) -> Callable[[], None]:
    device.connection.execute("PRAGMA query_only=1")
    return lambda: void(device.connection.execute("PRAGMA query_only=0"))


def void(_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [(fill_up, "the disk is full"), (write_protect, "cannot be written")],
    ids=["full", "read-only"],
)
def test_predictions_go_on_and_learning_catches_up(
    tmp_path: Path, spoil: Callable[[Device], Callable[[], None]], problem: str
) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 10, 0)
    device.turn()
    device.loop.handle(Connected(session_present=False))
    repair = spoil(device)
    names = [f"f{number:02d}" for number in range(60)]
    for number, name in enumerate(names):
        total = total + device.drop(name, 6, 10 + number)
        device.loop.next_poll_s = 0.0
        device.turn(0.01)
    assert device.answers() == {"a", *names}, "every window has its answer"
    assert device.loop.condition.startswith("degraded")
    assert problem in device.loop.condition
    assert device.wire.event_names.count("degraded") == 1
    assert problem in Reported.decode(device.wire.of(Kind.REPORTED)[-1]).problem
    assert device.claimed() > 0
    told = len(device.wire.of(Kind.STATISTICS))
    device.turn(5.0)
    assert len(device.wire.of(Kind.STATISTICS)) == told, "what is not saved is not told"
    repair()
    device.turn(RETRY_S)
    device.turn()
    assert not device.loop.store.degraded
    assert device.tables == total
    assert device.claimed() == 0
    assert "recovered" in device.wire.event_names
    assert Reported.decode(device.wire.of(Kind.REPORTED)[-1]).problem == ""
    assert StatisticsReport.decode(device.wire.of(Kind.STATISTICS)[-1]).statistics == total
    device.boot()
    assert device.tables == total


def test_power_that_fails_while_degraded_loses_and_repeats_nothing(tmp_path: Path) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 10, 0)
    device.turn()
    write_protect(device)
    for number in range(5):
        total = total + device.drop(f"b{number}", 6, 1 + number)
        device.turn()
    assert device.claimed() == 5
    device.boot()
    device.turn()
    assert device.claimed() == 0
    assert device.tables == total


def test_answers_that_cannot_be_written_are_kept_and_nothing_is_committed_before_them(tmp_path: Path) -> None:
    device = Device(tmp_path)
    (tmp_path / "predictions").rmdir()
    (tmp_path / "predictions").touch()  # where a folder is missing it is made again; this cannot be mended
    total = device.drop("a", 10, 0) + device.drop("b", 5, 1)
    before = device.loop.store.current.journal()
    device.turn()
    assert "predictions" in device.loop.condition
    assert device.loop.store.current.journal() == before
    assert device.claimed() == 2
    (tmp_path / "predictions").unlink()
    device.turn(RETRY_S)
    assert device.answers() == {"a", "b"}
    assert device.tables == total
    assert device.claimed() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 16 MB, where that is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    try:
        made = os.geteuid() == 0 and not subprocess.run(command, capture_output=True).returncode
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_really_is_full(tmp_path: Path, small_disk: Path) -> None:
    device = Device(tmp_path, small_disk)
    total = device.drop("a", 10, 0)
    device.turn()
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"x" * free)
    for number in range(80):
        total = total + device.drop(f"b{number:02d}", 10, 1 + number)
    device.turn()
    assert device.loop.condition.startswith("degraded")
    assert len(device.answers()) == 81
    ballast.unlink()
    device.turn(RETRY_S)
    assert not device.loop.store.degraded
    assert device.tables == total


def spoil_pages(path: Path, keep: int = 4096) -> None:
    """Overwrite everything after the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(keep)
        file.write(os.urandom(size - keep))


def test_a_database_damaged_while_running_is_replaced_from_memory(tmp_path: Path) -> None:
    device = Device(tmp_path)
    total = device.drop("a", 30, 0)
    device.turn()
    epoch = device.loop.agent.sync_state.epoch
    device.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    device.connection.execute("PRAGMA cache_size=1")
    device.connection.execute("PRAGMA shrink_memory")
    spoil_pages(device.state / DATABASE)
    total = total + device.drop("b", 6, 1)
    device.turn()
    assert "damaged" in device.loop.condition
    total = total + device.drop("c", 6, 2)
    device.turn(RETRY_S)
    assert not device.loop.store.degraded
    assert "store-replaced" in device.wire.event_names
    assert (device.state / f"{DATABASE}.damaged-1").exists()
    device.boot()
    assert device.tables == total
    assert device.loop.agent.sync_state.epoch == epoch, "nothing was lost, so the history goes on"


def test_updates_lost_with_a_damaged_database_leave_no_gap(tmp_path: Path) -> None:
    device = Device(tmp_path, kind="gradient")
    device.drop("a", 30, 0)
    device.turn()
    epoch = device.loop.agent.sync_state.epoch
    assert device.loop.store.outbox_size()[0] == 7
    device.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    device.connection.execute("PRAGMA cache_size=1")
    device.connection.execute("PRAGMA shrink_memory")
    spoil_pages(device.state / DATABASE)
    device.drop("b", 6, 1)
    device.turn()
    assert "damaged" in device.loop.condition
    device.turn(RETRY_S)
    device.drop("c", 8, 2)
    device.turn()
    assert not device.loop.store.degraded
    assert device.loop.agent.learner.labels == 44
    assert device.loop.agent.sync_state.epoch != epoch
    rows = device.loop.store.outbox(0, 100)
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1)), "from 1, in the new epoch"
    assert {Update.decode(row.payload).epoch for row in rows} == {device.loop.agent.sync_state.epoch}


@pytest.mark.parametrize("harm", ["pages", "not a database", "a flipped bit", "garbage beside its log"])
def test_a_database_found_damaged_at_the_start_is_set_aside(tmp_path: Path, harm: str) -> None:
    device = Device(tmp_path)
    old = device.drop("a", 30, 0)
    device.turn()
    device.loop.stop()
    store = device.loop.store.current
    Backup(device.state).back_up(store)
    epoch = device.loop.agent.sync_state.epoch
    device.drop("b", 9, 1)
    device.turn()
    path = device.state / DATABASE
    if harm == "a flipped bit":
        query = "SELECT name, value FROM state WHERE name LIKE 'piece/%' LIMIT 1"
        name, value = device.connection.execute(query).fetchone()
        flipped = bytes([value[0] ^ 1]) + value[1:]
        device.connection.execute("UPDATE state SET value = ? WHERE name = ?", (flipped, name))
    assert isinstance(store, SQLiteStore)
    store.close()
    if harm == "pages":
        spoil_pages(path)
    elif harm == "not a database":
        path.write_bytes(b"garbage" * 5000)
    elif harm == "garbage beside its log":
        path.write_bytes(os.urandom(9000))
        path.with_name(path.name + "-wal").write_bytes(os.urandom(5000))
    device.boot()
    assert device.tables == old, "the learner is that of the backup"
    assert device.loop.agent.sync_state.epoch != epoch
    assert list(device.state.glob(f"{DATABASE}.damaged-*"))
    device.loop.handle(Connected(session_present=False))
    assert "history-forked" in device.wire.event_names
    new = device.drop("c", 7, 2)
    device.turn(100.0)
    report = StatisticsReport.decode(device.wire.of(Kind.STATISTICS)[-1])
    assert report.statistics == new, "the new epoch counts only what came after"
    device.boot()
    assert device.loop.agent.sync_state.epoch == report.epoch, "and begins once"


def test_without_a_good_backup_the_device_starts_anew(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.drop("a", 30, 0)
    device.turn()
    device.loop.store.current.close()
    (device.state / DATABASE).write_bytes(b"garbage" * 5000)
    (device.state / BACKUP).write_bytes(b"garbage" * 5000)
    device.boot()
    assert device.tables.samples == 0


def test_a_store_behind_its_witness_begins_a_new_epoch_before_any_connection(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.drop("a", 9, 0)
    device.turn()
    device.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old = (device.state / DATABASE).read_bytes()
    device.drop("b", 9, 1)
    device.turn()
    state = device.loop.agent.sync_state
    ack = Ack(state.epoch, state.counter, 0).encode()
    device.loop.handle(Received(topic("test", "pump", Kind.ACK), ack))
    assert Backup(device.state).ack_record() == (state.epoch, 18)
    device.loop.store.current.close()
    for end in ("", "-wal", "-shm"):
        (device.state / (DATABASE + end)).unlink(missing_ok=True)
    (device.state / DATABASE).write_bytes(old)
    device.boot()
    assert device.loop.agent.sync_state.epoch != state.epoch
    assert "18 was acknowledged" in device.loop.agent.forked


def test_backups_come_by_themselves(tmp_path: Path) -> None:
    device = Device(tmp_path)
    for number in range(5):
        device.drop(f"a{number}", 256, number)
        device.turn()
    assert (device.state / BACKUP).exists()


def test_only_three_damaged_databases_are_kept(tmp_path: Path) -> None:
    for number in range(1, 7):
        (tmp_path / DATABASE).write_bytes(bytes([number]))
        set_aside(tmp_path / DATABASE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{DATABASE}.damaged-{n}" for n in (4, 5, 6)]


def test_each_condition_has_its_advice(tmp_path: Path) -> None:
    with pytest.raises(StoreFailure, match="check the mount and permissions") as found:
        SQLiteStore(tmp_path / "none" / "agent.sqlite")
    assert found.value.condition is Condition.READ_ONLY
