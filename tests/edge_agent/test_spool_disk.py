"""Unfinished files, bounded folders, and what must be on the disk before anything counts."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import SensorSettings
from edge_agent.sensors import Claimed, Spool
from edge_agent.sensors.kept_files import KeptFiles
from headway.errors import StoreError
from tests.device import ManualClock


def settings(tmp_path: Path, **changes: float) -> SensorSettings:
    return SensorSettings(tmp_path / "spool", tmp_path / "predictions", **changes)  # type: ignore[arg-type]


def archive() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros((20, 4, 2)))
    return stream.getvalue()


def claimed(spool: Spool, sequence: int = 1) -> list[str]:
    return [file.name for file in spool.claim(sequence)]


def test_a_finished_archive_is_taken_at_once(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path), ManualClock(wall=0.0))
    (tmp_path / "spool" / "a.npz").write_bytes(archive())
    assert claimed(spool) == ["a.npz"]


def test_a_file_that_is_written_in_place_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    clock, whole = ManualClock(wall=0.0), archive()
    spool, path = Spool(settings(tmp_path, settle_s=5.0), clock), tmp_path / "spool" / "a.npz"
    for size in range(0, len(whole), 100):
        path.write_bytes(whole[:size])
        assert claimed(spool) == []
        assert spool.unsettled == 1
        clock.now_s += 4.9
        assert claimed(spool) == []
    path.write_bytes(whole)
    assert claimed(spool) == ["a.npz"]
    assert spool.unsettled == 0


def test_one_that_stays_unfinished_is_taken_and_its_reason_told(tmp_path: Path) -> None:
    clock = ManualClock(wall=0.0)
    spool = Spool(settings(tmp_path, settle_s=5.0), clock)
    (tmp_path / "spool" / "a.npz").write_bytes(archive()[:-30])
    assert claimed(spool) == []
    clock.wall += 1e9  # the machine's date is set; nothing was written for no longer than before
    assert claimed(spool) == []
    clock.now_s += 5.0
    assert claimed(spool) == ["a.npz"]


def test_a_name_that_is_about_to_change_is_left_to_its_writer(tmp_path: Path) -> None:
    clock = ManualClock(wall=0.0)
    spool, path = Spool(settings(tmp_path, settle_s=5.0), clock), tmp_path / "spool" / "a.npz.tmp"
    path.write_bytes(archive())
    assert claimed(spool) == []
    path.rename(path.with_suffix(""))
    assert claimed(spool) == ["a.npz"]
    path.write_bytes(archive())
    assert claimed(spool, 2) == []
    clock.now_s += 5.0
    assert claimed(spool, 2) == ["a.npz.tmp"]


def test_what_lay_there_long_before_the_start_is_taken_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    spool, path = Spool(settings(tmp_path, settle_s=5.0), clock), tmp_path / "spool" / "a.npz"
    path.write_bytes(b"junk")
    os.utime(path, (clock.wall - 6, clock.wall - 6))
    assert claimed(spool) == ["a.npz"]


def test_claims_answers_and_refusals_are_on_the_disk_when_they_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(
            Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(tmp_path).as_posix().split(".npz")[0]
        )
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)

    def taken() -> list[str]:
        found, synced[:] = list(synced), []
        return found

    spool = Spool(settings(tmp_path))
    assert taken() == [".", "spool", "spool", "."]  # each new folder in the one around it
    for name in ("a.npz", "b.npz"):
        (tmp_path / "spool" / name).write_bytes(archive())
    claims = spool.claim(1)
    first = next(claims)
    assert taken() == ["spool/claimed", "spool"]
    second = next(claims)
    assert taken() == []  # both were claimed with one write of the folders
    spool.answer([(first, b"answer"), (second, b"answer")])
    assert taken() == ["predictions/.a", "predictions/.b", "predictions"]
    spool.reject(second, "bad")
    assert taken() == ["spool/rejected/.b", "spool/rejected", "spool/rejected", "spool/claimed"]


def test_what_is_claimed_ahead_and_not_asked_for_comes_first_at_the_next_look(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    for name in ("a.npz", "b.npz", "c.npz"):
        (tmp_path / "spool" / name).write_bytes(archive())
        os.utime(tmp_path / "spool" / name, (1, ord(name[0])))
    assert next(spool.claim(1)).name == "a.npz"
    (tmp_path / "spool" / "d.npz").write_bytes(archive())
    assert [(file.sequence, file.name) for file in spool.claim(2)] == [(2, "b.npz"), (3, "c.npz"), (4, "d.npz")]


def test_a_claim_that_is_not_on_the_disk_is_not_given_and_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(settings(tmp_path))
    for name in ("a.npz", "b.npz"):
        (tmp_path / "spool" / name).write_bytes(archive())
        os.utime(tmp_path / "spool" / name, (1, ord(name[0])))

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreError, match="cannot write .*claimed: Input/output error"):
            claimed(spool)
    assert [(file.sequence, file.name) for file in spool.claim(1)] == [(1, "a.npz"), (2, "b.npz")]


def fill(folder: Path, names: list[str], size: int = 1) -> None:
    folder.mkdir(exist_ok=True)
    for age, name in enumerate(names):
        (folder / name).write_bytes(bytes(size))
        os.utime(folder / name, (1000 + age, 1000 + age))


def test_the_oldest_go_whatever_their_names(tmp_path: Path) -> None:
    names = [f"{number}{ending}" for number in range(9) for ending in ("", ".npz", ".NPZ")]
    fill(tmp_path / "kept", names)
    (tmp_path / "kept" / "folder").mkdir()
    kept = KeptFiles(tmp_path / "kept", 5)
    assert kept.prune() == 22
    assert set(os.listdir(tmp_path / "kept")) == {*names[-5:], "folder"}
    (tmp_path / "kept" / names[-5]).write_bytes(b"again")  # it is the newest now
    kept.add(names[-5], 5, is_new=False)
    (tmp_path / "kept" / "new").touch()
    kept.add("new", 1)
    assert kept.prune() == 1
    assert set(os.listdir(tmp_path / "kept")) == {*names[-5:-4], *names[-3:], "new", "folder"}


def test_bytes_are_bounded_too_and_reasons_go_with_their_files(tmp_path: Path) -> None:
    fill(tmp_path / "kept", ["a", "a.reason", "b", "b.reason", "c", "c.reason", "lone.reason"], 100)
    kept = KeptFiles(tmp_path / "kept", 100, 250, beside=".reason")
    assert kept.prune() == 2
    assert sorted(os.listdir(tmp_path / "kept")) == ["c", "c.reason", "lone.reason"]


def test_answers_that_a_consumer_removes_meanwhile_are_no_trouble(tmp_path: Path) -> None:
    names = [f"{number}.npz" for number in range(64)]
    fill(tmp_path / "kept", names)
    kept = KeptFiles(tmp_path / "kept", 64)
    assert kept.prune() == 0
    for name in names[10:]:
        (tmp_path / "kept" / name).unlink()
    for number in range(40):
        fill(tmp_path / "kept", [f"new{number}"])
        kept.add(f"new{number}", 1)
        kept.prune()
    left = set(os.listdir(tmp_path / "kept"))
    assert {f"new{number}" for number in range(40)} <= left
    assert len(left) >= 46  # some of the old ones, which were removed by nobody


def test_answers_written_while_the_clock_was_wrong_are_not_taken_for_the_oldest(tmp_path: Path) -> None:
    folder, old = tmp_path / "kept", [f"{number}.npz" for number in range(48)]
    fill(folder, old)
    kept = KeptFiles(folder, 48)
    assert kept.prune() == 0
    for number in range(24):
        (folder / f"new{number}").touch()
        os.utime(folder / f"new{number}", (1 + number, 1 + number))
        kept.add(f"new{number}", 0)
        assert kept.prune() == 1
    assert set(os.listdir(folder)) == {*old[24:], *(f"new{number}" for number in range(24))}


def test_a_name_that_is_answered_again_and_again_costs_no_other_answer(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path, predictions_files_max=4))
    for number in range(40):
        name = f"{number}.npz" if number < 3 else "latest.npz"
        (tmp_path / "spool" / name).write_bytes(b"x")
        spool.answer([(Claimed(number + 1, name, tmp_path / "spool" / name), b"answer")])
        assert spool.prune_answers() == 0
    assert sorted(os.listdir(tmp_path / "predictions")) == ["0.npz", "1.npz", "2.npz", "latest.npz"]


def test_a_folder_that_is_overfull_is_emptied_in_steps(tmp_path: Path) -> None:
    names = [f"{number:04d}" for number in range(2_500)]
    fill(tmp_path / "kept", names)
    kept = KeptFiles(tmp_path / "kept", 16)
    assert [kept.prune() for _ in range(4)] == [1_000, 1_000, 484, 0]
    assert sorted(os.listdir(tmp_path / "kept")) == names[-16:]


def test_keeping_within_the_limit_asks_the_disk_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "kept", [f"{number}.npz" for number in range(320)])
    kept, looks = KeptFiles(tmp_path / "kept", 320), []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looks.append(folder) or scandir(folder))
    for number in range(200):
        (tmp_path / "kept" / f"new{number}").touch()
        kept.add(f"new{number}", 1)
        assert kept.prune() == 1
    assert len(os.listdir(tmp_path / "kept")) == 320
    assert len(looks) <= 12


def test_rejected_files_are_bounded_in_number_and_bytes(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path, settle_s=0.0, rejected_files_max=3, rejected_bytes_max=2000))
    for number, size in enumerate((10, 10, 10, 10, 1500, 5000), 1):
        (tmp_path / "spool" / f"{number}.npz").write_bytes(bytes(size))
        (file,) = spool.claim(number)
        spool.reject(file, "bad")
    rejected = tmp_path / "spool" / "rejected"
    assert sorted(os.listdir(rejected)) == ["4.npz", "4.npz.reason", "5.npz", "5.npz.reason", "6.npz.reason"]
    assert "5000 bytes are more than rejected_bytes_max" in (rejected / "6.npz.reason").read_text()
    assert list((tmp_path / "spool" / "claimed").iterdir()) == []
