"""Sources that are hardware: a pseudo-terminal stands in for a serial port, a folder for the sysfs of IIO."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edge_agent.source_settings import SourceSettings
from edge_agent.sources import iio
from edge_agent.sources.iio import IndustrialIO
from edge_agent.sources.ports import Rows
from edge_agent.sources.serial_line import SerialLine
from headway.arrays import Float64
from headway.errors import ConfigError, DataError
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat

STREAM = StreamFormat((Channel("accel_x", "m/s2"), Channel("temp", "degC")), rate_hz=200.0, length=4, hop=4, gap_s=1.0)
CLOCK = SystemClock()


def first(rows: Iterator[Rows], count: int) -> Float64:
    """So many rows of a source."""
    found = np.empty((0, 2))
    while len(found) < count:
        found = np.concatenate([found, next(rows).values])
    return found[:count]


@pytest.fixture
def port() -> Iterator[tuple[int, str]]:
    """The far end of a serial cable, and the port's name."""
    far, near = os.openpty()
    yield far, os.ttyname(near)
    os.close(near)


def serial(path: str, **changes: object) -> SerialLine:
    settings = SourceSettings(kind="serial", path=path, channels=("x", "y"), **changes)  # type: ignore[arg-type]
    return SerialLine(settings, STREAM, CLOCK)


def test_lines_of_a_serial_port_come_as_they_were_sent(port: tuple[int, str]) -> None:
    far, name = port
    source = serial(name, baud=9600)
    rows = source.rows()
    threading.Timer(0.2, os.write, (far, b"x,y\r\n1,2\r\n3,")).start()
    threading.Timer(0.3, os.write, (far, b"4.5\r\n")).start()
    assert_allclose(first(rows, 2), [[1, 2], [3, 4.5]])
    source.close()
    assert list(rows) == []
    os.close(far)


def test_a_port_that_goes_away_is_said(port: tuple[int, str]) -> None:
    far, name = port
    rows = serial(name).rows()
    threading.Timer(0.2, os.close, (far,)).start()
    with pytest.raises(DataError, match=f"{name} went away"):
        next(rows)


def test_what_is_no_serial_port_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot open .*ttyUSB7: No such file or directory; is it plugged in"):
        next(serial(str(tmp_path / "ttyUSB7")).rows())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is no serial port"):
        next(serial(str(tmp_path / "file")).rows())
    with pytest.raises(ConfigError, match=r"source.baud 12345 is no speed"):
        serial("/dev/ttyUSB0", baud=12345)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An accelerometer with a thermometer."""
    folder = tmp_path / "iio:device3"
    folder.mkdir()
    for name, content in {
        "name": "lis3dh",
        "in_accel_x_raw": "-512",
        "in_accel_scale": "0.01",
        "in_temp_raw": "100",
        "in_temp_scale": "250.0",
        "in_temp_offset": "-20",
    }.items():
        (folder / name).write_text(content + "\n")
    monkeypatch.setattr(iio, "DEVICES", tmp_path)
    return folder


def industrial(path: str = "lis3dh", **changes: object) -> IndustrialIO:
    return IndustrialIO(SourceSettings(kind="iio", path=path, **changes), STREAM, CLOCK)  # type: ignore[arg-type]


def test_iio_gives_physical_values_at_the_bundles_rate(device: Path) -> None:
    source = industrial()
    assert (source.channels, source.units) == (("accel_x", "temp"), ("m/s2", "degC"))
    rows = source.rows()
    got = next(rows)
    assert_allclose(got.values, [[-5.12, 20.0]] * len(got.values))
    assert (np.diff(got.times_s) > 0).all()
    (device / "in_accel_x_raw").write_text("")  # the sensor has no value now
    (device / "in_temp_input").write_text("1500")
    while not np.isnan(next(rows).values[-1, 0]):
        continue
    source.close()
    list(rows)
    assert_allclose(next(industrial(str(device)).rows()).values[0], [np.nan, 1.5])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"path": "bmp280"}, "there is no IIO device 'bmp280'; found: lis3dh"),
        ({"path": "/no/such"}, "/no/such is no folder"),
        ({"channels": ("accel_y",)}, "no channel 'accel_y'; it has accel_x, temp"),
    ],
)
@pytest.mark.usefixtures("device")
def test_what_iio_does_not_have_is_said_with_what_it_has(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        next(industrial(**changes).rows())  # type: ignore[arg-type]


def test_a_device_that_is_unplugged_is_said(device: Path) -> None:
    rows = industrial().rows()
    next(rows)
    device.rename(device.with_name("gone"))
    with pytest.raises(DataError, match="IIO device lis3dh went away"):
        list(rows)
