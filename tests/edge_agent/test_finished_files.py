"""Small files in a backlog: answered and committed together, and never committed before they are answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent import finished_files
from edge_agent.sensors import Spool
from edge_agent.store import SQLiteStore
from headway.errors import StoreError
from tests.device import Device

FILES = 20


class Power(BaseException):
    """It is gone: no handler of the program runs any more."""


def backlog(device: Device) -> object:
    """The sum of what so many labelled files bring."""
    total = device.drop("f00", 3, 0)
    for number in range(1, FILES):
        total = total + device.drop(f"f{number:02d}", 3, number)
    return total


def names() -> set[str]:
    return {f"f{number:02d}" for number in range(FILES)}


def test_a_backlog_is_committed_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(tmp_path)
    total, commits = backlog(device), 0
    commit = SQLiteStore.commit

    def counting(store: SQLiteStore, *changes: object) -> None:
        nonlocal commits
        commits += 1
        commit(store, *changes)  # type: ignore[arg-type]

    monkeypatch.setattr(SQLiteStore, "commit", counting)
    monkeypatch.setattr(finished_files, "FILES_MAX", 8)
    monkeypatch.setattr(finished_files, "AGE_S_MAX", 1e9)
    device.turn()
    assert (device.answers(), device.tables, device.claimed()) == (names(), total, 0)
    assert 3 <= commits <= 4  # three groups of files, and perhaps the sync's own


@pytest.mark.parametrize("spoiled", [0, 7, FILES - 1])
def test_a_file_that_is_refused_takes_none_of_its_group_with_it(tmp_path: Path, spoiled: int) -> None:
    device = Device(tmp_path)
    total = None
    for number in range(FILES):
        if number == spoiled:
            (tmp_path / "spool" / f"f{number:02d}.npz").write_bytes(b"PK no archive")
        else:
            part = device.drop(f"f{number:02d}", 3, number)
            total = part if total is None else total + part
    for _ in range(3):
        device.turn(10.0)
    assert (device.answers(), device.tables, device.claimed()) == (names() - {f"f{spoiled:02d}"}, total, 0)
    device.boot()
    assert device.tables == total


@pytest.mark.parametrize("answered", [0, 1, 10, FILES])
def test_power_that_fails_in_a_group_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answered: int
) -> None:
    device = Device(tmp_path)
    total, left = backlog(device), answered
    write = Spool._write_answer

    def failing(spool: Spool, *arguments: object) -> None:
        nonlocal left
        if left == 0:
            raise Power
        left -= 1
        write(spool, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(finished_files, "AGE_S_MAX", 1e9)
        if answered < FILES:
            patch.setattr(Spool, "_write_answer", failing)
        else:
            patch.setattr(SQLiteStore, "commit", lambda store, changes: (_ for _ in ()).throw(Power))
        with pytest.raises(Power):
            device.turn()
    device.boot()
    device.turn()
    assert (device.answers(), device.tables, device.claimed()) == (names(), total, 0)


def test_a_disk_that_refuses_an_answer_of_a_group_gets_all_of_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path)
    total, left = backlog(device), 5
    write = Spool._write_answer

    def refusing(spool: Spool, *arguments: object) -> None:
        nonlocal left
        if left == 0:
            raise StoreError("cannot write: No space left on device")
        left -= 1
        write(spool, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(finished_files, "AGE_S_MAX", 1e9)
        patch.setattr(Spool, "_write_answer", refusing)
        device.turn()
        assert "No space left" in device.loop.condition
    for _ in range(3):
        device.turn(60.0)
    assert (device.answers(), device.tables, device.claimed()) == (names(), total, 0)
    device.boot()
    assert device.tables == total
