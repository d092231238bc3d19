"""Files in, files out, at every point where a crash can fall between."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.config import SensorSettings
from edge_agent.sensors.spool import Spool
from headway.errors import DataError


def settings(tmp_path: Path, **changes: float) -> SensorSettings:
    given = {"settle_s": 0.0, **changes}
    return SensorSettings(tmp_path / "spool", tmp_path / "predictions", **given)  # type: ignore[arg-type]


def drop(tmp_path: Path, name: str, content: bytes = b"x", age: int = 0) -> None:
    path = tmp_path / "spool" / name
    path.write_bytes(content)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))


def test_files_are_claimed_oldest_first_and_numbered(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    drop(tmp_path, "b.npz", age=10)
    drop(tmp_path, "a.npz", age=5)
    drop(tmp_path, ".hidden.npz")
    (tmp_path / "spool" / "folder").mkdir()
    claimed = list(spool.claim(4))
    assert [(f.sequence, f.name) for f in claimed] == [(4, "b.npz"), (5, "a.npz")]
    assert claimed[0].path.name == "000000000004-b.npz"
    assert list(spool.claim(6)) == []


def test_links_are_not_followed_but_refused(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    (tmp_path / "spool" / "link.npz").symlink_to("/etc/hostname")
    (file,) = spool.claim(1)
    with pytest.raises(DataError, match=r"link\.npz is a symbolic link; put the file itself into the spool"):
        spool.read(file, ("a", "b"), new_classes=False)
    spool.reject(file, "a symbolic link")
    assert os.readlink(tmp_path / "spool" / "rejected" / "link.npz") == "/etc/hostname"


def test_killed_after_claim(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    drop(tmp_path, "a.npz")
    list(spool.claim(1))
    waiting = Spool(settings(tmp_path)).recover(consumed=0)
    assert [(f.sequence, f.name) for f in waiting] == [(1, "a.npz")]


def test_killed_after_commit(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    drop(tmp_path, "a.npz", age=2)
    drop(tmp_path, "b.npz", age=1)
    list(spool.claim(1))
    waiting = Spool(settings(tmp_path)).recover(consumed=1)
    assert [f.name for f in waiting] == ["b.npz"]
    assert [p.name for p in (tmp_path / "spool" / "claimed").iterdir()] == ["000000000002-b.npz"]


def test_the_same_name_may_come_again(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    for sequence in (1, 2):
        drop(tmp_path, "a.npz")
        (file,) = spool.claim(sequence)
        spool.answer([(file, b"%d" % sequence)])
        spool.release(file)
    assert (tmp_path / "predictions" / "a.npz").read_bytes() == b"2"


def test_a_rejected_file_lies_beside_its_reason(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    drop(tmp_path, "bad.npz", b"nonsense")
    (file,) = spool.claim(1)
    spool.reject(file, "not a readable .npz file")
    rejected = tmp_path / "spool" / "rejected"
    assert (rejected / "bad.npz").read_bytes() == b"nonsense"
    assert (rejected / "bad.npz.reason").read_text() == "not a readable .npz file\n"
    assert list((tmp_path / "spool" / "claimed").iterdir()) == []


def test_nothing_of_a_file_beyond_the_bound_is_held(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path, file_bytes_max=1024))
    x = np.arange(600, dtype=np.float32).reshape(100, 6)
    stream = io.BytesIO()
    np.savez(stream, x=x)
    drop(tmp_path, "big.npz", stream.getvalue())
    (file,) = spool.claim(1)
    with spool.read(file, ("a", "b"), new_classes=False) as samples:
        assert not isinstance(samples.x, np.ndarray)
        assert_array_equal(samples.windows(0, 100), x)


def test_a_few_bytes_that_unpack_to_very_many_are_refused_unread(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path, inflated_bytes_max=1024))
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros((1 << 16, 6), np.float32))
    drop(tmp_path, "bomb.npz", stream.getvalue())
    (file,) = spool.claim(1)
    with pytest.raises(DataError, match=r"bomb.npz inflates to 1572992 bytes; at most \d+ are accepted"):
        spool.read(file, ("a", "b"), new_classes=False)


def test_old_answers_are_pruned(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path, predictions_files_max=2))
    for age in range(5):
        path = tmp_path / "predictions" / f"{age}.npz"
        path.write_bytes(b"x")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert spool.prune_answers() == 3
    assert sorted(p.name for p in (tmp_path / "predictions").iterdir()) == ["0.npz", "1.npz"]


def test_a_foreign_file_among_the_claimed_is_set_aside_and_named_and_stops_nothing(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    drop(tmp_path, "a.npz")
    list(spool.claim(1))
    claimed = tmp_path / "spool" / "claimed"
    for name in ("notes.txt", "202601011200-pump.npz", "7-a.npz", "000000000001-a.npz.bak", "9" * 40 + "-a.npz"):
        (claimed / name).write_text("mine")
    (claimed / "000000000002-folder").mkdir()
    assert [(f.sequence, f.name) for f in Spool(settings(tmp_path)).recover(0)] == [(1, "a.npz")]
    spool = Spool(settings(tmp_path))
    assert sorted(p.name for p in claimed.iterdir()) == ["000000000001-a.npz", "000000000002-folder"]
    rejected = tmp_path / "spool" / "rejected"
    assert (rejected / "notes.txt").read_text() == "mine"
    assert "not put into claimed/ by the agent" in (rejected / "notes.txt.reason").read_text()
    assert len(list(rejected.iterdir())) == 10
