"""Whatever lies where a file of the state folder was: the device starts, or says in one line what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.commands.status import is_running
from edge_agent.condition import LOCK
from edge_agent.daemon import Daemon
from edge_agent.delivery import Installer, Slots
from edge_agent.delivery_settings import DeliverySettings
from edge_agent.remote.kept import Kept, write_kept
from edge_agent.startup import active_bundle
from edge_agent.store import DATABASE, Backup
from edge_agent.store.recovery import ACK_RECORD, BACKUP
from headway.errors import StoreError
from headway.wire import Desired
from tests.device import ManualClock
from tests.edge_agent.test_recovery import Place, tables
from tests.edge_agent.variants import IdentityRuntime

WANTED = Desired("e" * 64, 300_000, "walk", "2.0.0", 2)


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active_bundle, "open_runtime", lambda variant, clock: IdentityRuntime())


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    payload = bytearray(path.read_bytes())
    payload[len(payload) // 2] ^= 0x40
    path.write_bytes(payload)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(100))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").touch()


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_device(path: Path) -> None:
    """It never ends."""
    path.unlink()
    path.symlink_to("/dev/full")


def to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


HARMS = (emptied, halved, flipped, longer, a_folder, a_fifo, a_device, to_nowhere, to_itself)
Harm = Callable[[Path], None]


@pytest.mark.parametrize("harm", HARMS)
def test_the_learner_goes_on_whatever_lies_beside_its_database(tmp_path: Path, harm: Harm) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 12)
    place.stop(loop)
    before = tables(loop)
    Backup(place.state).note(7, 3)
    write_kept(place.state, Kept(version=3))
    (place.state / "slots").mkdir()
    (place.state / "slots" / "gone-back").write_bytes(b"0" * 64)
    for name in (BACKUP, ACK_RECORD, "configuration.remote", "slots/gone-back"):
        harm(place.state / name)
    loop = place.start()
    assert tables(loop) == before
    assert "store-recovered" not in place.wire.event_names
    place.pull_the_plug(loop)


@pytest.mark.parametrize("harm", [a_folder, a_fifo])
def test_what_is_no_file_is_set_aside_for_a_database_from_the_backup(tmp_path: Path, harm: Harm) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 12)
    place.stop(loop)
    harm(place.database)
    again = place.start()
    assert tables(again) == tables(loop)
    [event] = [event for event in place.wire.events if event.name == "store-recovered"]
    assert "agent.sqlite is not a file; set aside as" in str(event.detail["problem"])
    assert place.aside() == [f"{DATABASE}.damaged-1"]
    place.pull_the_plug(again)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", ["desired.json", "bundle.part"])
def test_a_delivery_that_the_disk_damaged_begins_anew(tmp_path: Path, name: str, harm: Harm) -> None:
    slots = Slots(tmp_path, tmp_path / "factory.hwb")
    slots.begin(WANTED)
    slots.append(0, bytes(200_000))
    harm(slots.idle / name)
    again = Slots(tmp_path, tmp_path / "factory.hwb")
    installer = Installer(again, DeliverySettings(), (1, "0" * 64), "f" * 64, lambda: (1, 1), never, 0.0)
    installer.desired(WANTED.encode())
    assert installer.turn(1.0, connected=True) is not None
    assert again.waiting() == WANTED


def never(bundle: Path, release_min: int) -> object:
    raise AssertionError("nothing is complete")


@pytest.mark.parametrize("harm", [a_folder, a_fifo, a_device, to_nowhere, to_itself])
def test_a_lock_that_is_no_file_says_what_to_delete(tmp_path: Path, harm: Harm) -> None:
    place = Place(tmp_path)
    place.state.mkdir()
    (place.state / LOCK).touch()
    harm(place.state / LOCK)
    with pytest.raises(StoreError, match=r"agent\.lock in it is not a file; delete that, an agent makes it anew"):
        Daemon(place.config, ManualClock())


@pytest.mark.parametrize("harm", [a_folder, a_fifo, a_device])
def test_nobody_waits_to_see_whether_an_agent_runs(tmp_path: Path, harm: Harm) -> None:
    place = Place(tmp_path)
    place.state.mkdir()
    (place.state / LOCK).touch()
    harm(place.state / LOCK)
    assert not is_running(place.config)


def test_a_whole_state_folder_that_is_lost_is_a_new_device(tmp_path: Path) -> None:
    place = Place(tmp_path)
    loop = place.start()
    place.learn(loop, 12)
    place.stop(loop)
    shutil.rmtree(place.state)
    assert place.start().agent.learner.labels == 0
