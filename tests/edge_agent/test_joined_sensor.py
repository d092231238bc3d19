"""Spool and stream behind one sensor: one sequence of numbers, none given twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

from edge_agent.sensors import Claimed, Spool
from edge_agent.sources import JoinedSensor
from edge_agent.sources.stream_sensor import StreamSensor
from tests.edge_agent.test_spool import drop, settings


class Batches:
    """A stream in which so many batches wait."""

    def __init__(self, count: int, name: str = "batch") -> None:
        self.left, self.name = count, name

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        while self.left:
            self.left -= 1
            yield Claimed(next_sequence, self.name, Path("batch"))
            next_sequence += 1


def joined(folder: Path, files: int, batches: int) -> JoinedSensor:
    spool = Spool(settings(folder))
    for number in range(files):
        drop(folder, f"{number:03d}.npz", age=files - number)
    return JoinedSensor(spool, [cast(StreamSensor, Batches(batches))])


def test_files_claimed_ahead_and_batches_never_share_a_number(tmp_path: Path) -> None:
    claimed = list(joined(tmp_path, files=70, batches=3).claim(1))
    assert [file.sequence for file in claimed] == list(range(1, 74))
    assert [place for place, file in enumerate(claimed) if file.name == "batch"] == [32, 65, 72]


def test_nor_after_a_look_that_was_broken_off(tmp_path: Path) -> None:
    sensor = joined(tmp_path, files=5, batches=2)
    claimed = list(islice(sensor.claim(1), 2))
    claimed += list(sensor.claim(claimed[-1].sequence + 1))
    assert [file.sequence for file in claimed] == list(range(1, 8))
    assert [file.name for file in claimed if file.name != "batch"] == [f"{number:03d}.npz" for number in range(5)]


def test_several_streams_are_claimed_in_turn(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))
    drop(tmp_path, "a.npz")
    streams = [cast(StreamSensor, Batches(count, name)) for count, name in ((3, "one"), (1, "two"))]
    claimed = list(JoinedSensor(spool, streams).claim(4))
    assert [file.sequence for file in claimed] == [4, 5, 6, 7, 8]
    assert [file.name for file in claimed] == ["a.npz", "one", "two", "one", "one"]
