"""A file that appears in the spool folder wakes the agent: real folders, the real kernel."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.sensors import FolderWatch

WAIT_S = 10.0


class Woken:
    """How often somebody was woken."""

    def __init__(self) -> None:
        self._woken = threading.Semaphore(0)

    def __call__(self) -> None:
        self._woken.release()

    def once(self) -> bool:
        return self._woken.acquire(timeout=WAIT_S)

    def again(self) -> bool:
        return self._woken.acquire(blocking=False)


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def watch(tmp_path: Path, woken: Woken) -> Iterator[FolderWatch]:
    (tmp_path / "spool").mkdir()
    watch = FolderWatch(tmp_path / "spool", woken)
    watch.refresh()
    yield watch
    watch.close()


@pytest.mark.usefixtures("watch")
def test_a_file_moved_in_wakes(tmp_path: Path, woken: Woken) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").rename(tmp_path / "spool" / "a.npz")
    assert woken.once()


@pytest.mark.usefixtures("watch")
def test_a_file_written_in_place_wakes_when_it_is_closed(tmp_path: Path, woken: Woken) -> None:
    with (tmp_path / "spool" / "a.npz").open("wb") as file:
        file.write(b"1")
        file.flush()
        assert not woken.again()
    assert woken.once()


def test_hidden_files_and_those_that_leave_wake_nobody(tmp_path: Path, watch: FolderWatch, woken: Woken) -> None:
    spool = tmp_path / "spool"
    (spool / ".a.npz").write_bytes(b"1")
    (spool / ".a.npz").rename(tmp_path / "elsewhere")
    (spool / "claimed").mkdir()
    watch.close()  # it has read everything, or never will
    assert not woken.again()


def test_many_files_wake_a_few_times(tmp_path: Path, watch: FolderWatch, woken: Woken) -> None:
    for number in range(1_000):
        (tmp_path / "spool" / f"{number}.npz").write_bytes(b"")
    assert woken.once()
    watch.close()
    assert sum(iter(woken.again, False)) < 1_000


def test_a_folder_that_was_replaced_is_watched_again(tmp_path: Path, watch: FolderWatch, woken: Woken) -> None:
    spool = tmp_path / "spool"
    shutil.rmtree(spool)
    assert woken.once()
    spool.mkdir()
    watch.refresh()
    (spool / "a.npz").write_bytes(b"")
    assert woken.once()


def test_a_folder_that_cannot_be_watched_is_said_once(
    tmp_path: Path, woken: Woken, caplog: pytest.LogCaptureFixture
) -> None:
    watch = FolderWatch(tmp_path / "missing", woken)
    with caplog.at_level("INFO"):
        watch.refresh()
        watch.refresh()
    watch.close()
    assert len(caplog.messages) == 1
    assert "No such file or directory; files are found at each poll" in caplog.text
