"""Windows of a source: bounded, counted when dropped, numbered beside the spool's files; sources that fail or end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from converter.recipe import read_stream
from edge_agent.config import SensorSettings
from edge_agent.sensors import Spool
from edge_agent.source_settings import SourceSettings
from edge_agent.sources import JoinedSensor, Rows, StreamSensor, source_factory
from edge_agent.sources.cutting import build_cutter
from edge_agent.sources.decoding import build_decoder
from headway.errors import ConfigError, DataError
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat
from headway.windower import Windower
from tests.device import ManualClock
from tests.edge_agent.variants import SIZE, variant

STREAM = StreamFormat((Channel("level"),), rate_hz=8.0, length=SIZE, hop=SIZE)
WINDOWS = 5


class Ramp:
    """Gives a ramp of so many windows, and then ends or fails."""

    channels = ("level",)
    units: tuple[str, ...] = ()

    def __init__(self, problem: str = "") -> None:
        self._problem = problem
        self.given = threading.Event()

    def rows(self) -> Iterator[Rows]:
        count = WINDOWS * SIZE
        yield Rows(np.arange(count) / 8.0, np.arange(count, dtype=np.float64)[:, None])
        self.given.set()
        if self._problem:
            raise DataError(self._problem)

    def close(self) -> None:
        pass


def stream_sensor(source: Ramp, **changes: object) -> StreamSensor:
    settings = SourceSettings(name="tank", **changes)  # type: ignore[arg-type]
    made = StreamSensor(settings, source, replace(variant(), stream=STREAM), SystemClock())
    made.start()
    assert source.given.wait(10)
    return made


@pytest.mark.parametrize(("drop", "kept"), [("oldest", [3, 4]), ("newest", [0, 1])])
def test_what_does_not_fit_the_queue_is_dropped_and_counted(drop: str, kept: list[int]) -> None:
    sensor = stream_sensor(Ramp(), windows_max=2, drop=drop)
    (file,) = sensor.claim(7)
    assert abs(SystemClock().wall_s() - (file.came_s or 0.0)) < 60, "from then on its answer is late"
    assert_array_equal(sensor.read(file).windows(0, 2)[:, 0], np.array(kept) * SIZE)
    assert sensor.dropped == WINDOWS - 2
    assert sensor.take_notices() == [
        (
            "input-dropped tank",
            "tank: 3 windows were dropped (3 since the start), 2 waited to be answered (source.windows_max)",
        )
    ]
    assert sensor.take_notices() == []
    sensor.close()


def test_each_window_that_waits_wakes_the_agent() -> None:
    woken = threading.Semaphore(0)
    source, its = Ramp(), replace(variant(), stream=STREAM)
    sensor = StreamSensor(SourceSettings(name="tank"), source, its, SystemClock(), woken.release)
    sensor.start()
    for _ in range(WINDOWS):
        assert woken.acquire(timeout=10)
    sensor.close()


def test_a_source_that_fails_is_told_once() -> None:
    sensor = stream_sensor(Ramp("the cable is loose"))
    sensor.close()
    assert ("source-failed tank", "source tank: the cable is loose") in sensor.take_notices()
    assert sensor.problem == "the cable is loose"


def test_files_and_windows_are_numbered_in_one_sequence(tmp_path: Path) -> None:
    spool = Spool(SensorSettings(spool_dir=tmp_path / "spool", predictions_dir=tmp_path / "answers"))
    for name in "ab":
        np.savez(tmp_path / "spool" / f"{name}.npz", x=np.zeros((1, SIZE), np.float32))
    source = Ramp()
    made = StreamSensor(SourceSettings(name="tank"), source, replace(variant(), stream=STREAM), SystemClock())
    sensor = JoinedSensor(spool, [made])
    assert sensor.recover(4) == []
    assert source.given.wait(10)
    files = list(sensor.claim(5))
    assert [file.sequence for file in files] == [5, 6, 7]
    assert [file.name for file in files] == ["a.npz", "b.npz", "tank-000000000007.npz"]
    assert len(sensor.read(files[2], ("idle",), new_classes=False)) == WINDOWS
    sensor.close()


def test_lines_are_taken_and_a_header_is_not() -> None:
    decoder = build_decoder(SourceSettings(format="json", channels=("a.b", "on")), STREAM, SystemClock())
    rows = decoder.feed(b'start\n{"a": {"b": 1.5}, "on": "ON"}\n{"a": {"b": "unav').values
    assert_array_equal(rows, [[1.5, 1.0]])
    assert_array_equal(decoder.feed(b'ailable"}, "on": false}\n').values, [[np.nan, 0.0]])


@pytest.mark.parametrize(("lines", "rate_hz"), [(1, 8.0), (24, 8.0), (1, 7.6), (16, 8.4)])
def test_lines_that_come_several_at_once_have_the_times_of_their_rate(lines: int, rate_hz: float) -> None:
    """A USB port gives a few at once, a pipe some thousand bytes; and no sensor's oscillator is the clock's."""
    clock = ManualClock(wall=1000.0)
    decoder = build_decoder(SourceSettings(rate_hz=8.0, channels=("level",)), replace(STREAM, gap_s=0.25), clock)
    windower, cut = Windower(replace(STREAM, gap_s=0.25)), 0
    for _ in range(960 // lines):
        clock.wall += lines / rate_hz
        rows = decoder.feed(b"1\n" * lines)
        cut += len(windower.push(rows.times_s, rows.values).starts_s)
    assert windower.restarts == windower.dropped_rows == 0
    assert rows.times_s[-1] == pytest.approx(clock.wall, abs=0.2)
    assert cut == pytest.approx(960 / rate_hz * STREAM.rate_hz / SIZE, abs=2)


@pytest.mark.parametrize("lines", [24, 160])
def test_lines_of_a_long_while_at_once_keep_their_rate_though_none_comes_on_time(lines: int) -> None:
    clock = ManualClock(wall=1000.0)
    decoder = build_decoder(SourceSettings(rate_hz=8.0, channels=("level",)), replace(STREAM, gap_s=0.25), clock)
    for piece in range(1, 60):
        clock.wall = 1000.0 + piece * lines / 8.0 + 0.01 * (piece % 3)
        times_s = decoder.feed(b"1\n" * lines).times_s
        assert times_s[-1] == pytest.approx(clock.wall, abs=0.05)
        assert np.diff(times_s) == pytest.approx(1 / 8.0, rel=0.01)


@pytest.mark.parametrize(
    ("apart_s", "count", "lack"),
    [(0.1, 1, ""), (5.0, 1, "gaps of more than 1 s (gap_s of the bundle); give source.rate_hz"), (9.0, 3, "gaps"),
     (0.0, 1, "rows are no later than the one before them")],
)  # fmt: skip
def test_rows_that_never_make_a_window_are_said(apart_s: float, count: int, lack: str) -> None:
    cutter = build_cutter(SourceSettings(), Ramp(), replace(variant(), stream=replace(STREAM, gap_s=1.0)))
    for step in range(400):
        cutter.windows(Rows(apart_s * step + 1e-6 * np.arange(count), np.zeros((count, 1))))
    assert lack in (told := cutter.lack)
    assert bool(lack) is bool(told)
    cutter.windows(Rows(apart_s * 401 + 1e-6 * np.arange(count), np.zeros((count, 1))))
    assert cutter.lack == told, "once, not with each row"
    cutter.windows(Rows(1e6 + np.arange(SIZE * 4) / 8.0, np.zeros((SIZE * 4, 1))))
    assert cutter.lack == "", "a window has come"


def test_raw_numbers_may_be_cut_anywhere() -> None:
    payload = np.arange(-6, 6, dtype="<i2").tobytes()
    decoder = build_decoder(SourceSettings(format="int16", channels=("l", "r")), STREAM, SystemClock())
    pieces = [decoder.feed(payload[at : at + 3]).values for at in range(0, len(payload), 3)]
    assert_array_equal(np.concatenate(pieces), np.arange(-6.0, 6.0).reshape(6, 2))


def test_a_third_partys_source_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("ramp", f"{__name__}:Ramp", "headway.sources")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([point]))
    assert source_factory("ramp") is Ramp
    with pytest.raises(ConfigError, match="did you mean 'ramp'|known: command, stdin, ramp"):
        source_factory("rampe")


def test_a_recipe_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    recipe = tmp_path / "stream.toml"
    recipe.write_text('rate_hz = 8.0\nlength = 8\n[[channels]]\nname = "level"\n')
    assert read_stream(recipe) == STREAM
    recipe.write_text('rate_hz = 8.0\nlength = 8\nchannels = [{name = "a"}, {name = "a"}]\n')
    with pytest.raises(ConfigError, match=r"stream.toml: stream channels must have different"):
        read_stream(recipe)


def test_a_stdin_that_was_closed_is_a_problem_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    source = source_factory("stdin")(SourceSettings(kind="stdin"), STREAM, SystemClock())
    with pytest.raises(DataError, match="stdin is closed; pipe rows into the agent"):
        next(source.rows())
