"""The buffer of a Linux IIO sensor: a folder stands in for sysfs, a FIFO for the device that gives scans."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edge_agent.source_settings import SourceSettings
from edge_agent.sources import iio, iio_buffer
from edge_agent.sources.iio import IndustrialIO
from edge_agent.sources.iio_buffer import Layout
from headway.errors import DataError
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat
from tests.device import ManualClock

STREAM = StreamFormat((Channel("accel_x", "m/s2"), Channel("accel_z", "m/s2")), rate_hz=400.0, length=4, hop=4)
SECOND_NS = 1_000_000_000


class Chip:
    """An accelerometer of 12 bits in the upper bits of big-endian words, with the time of each scan."""

    def __init__(self, root: Path) -> None:
        self.folder, self.node = root / "iio:device0", root / "dev" / "iio:device0"
        files = {
            "name": "lis3dh", "in_accel_scale": "0.5", "sampling_frequency": "10",
            "buffer/enable": "0", "buffer/length": "2", "trigger/current_trigger": "",
        }  # fmt: skip
        types = {"accel_x": "be:s12/16>>4", "accel_y": "be:s12/16>>4", "accel_z": "be:s12/16>>4"}
        for index, (name, text) in enumerate((types | {"timestamp": "le:s64/64>>0"}).items()):
            files |= {f"scan_elements/in_{name}_{what}": content
                      for what, content in (("en", "1"), ("index", str(index)), ("type", text))}  # fmt: skip
            files[f"in_{name}_raw"] = "0"
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(content + "\n")
        self.node.parent.mkdir()
        os.mkfifo(self.node)
        self._far = os.open(self.node, os.O_RDWR)

    def text(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def give(self, payload: bytes) -> None:
        os.write(self._far, payload)

    def close(self) -> None:
        os.close(self._far)


@pytest.fixture
def chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chip]:
    made = Chip(tmp_path)
    monkeypatch.setattr(iio, "DEVICES", tmp_path)
    monkeypatch.setattr(iio_buffer, "DEVICE_NODES", tmp_path / "dev")
    yield made
    made.close()


def scan(x: int, z: int, time_ns: int) -> bytes:
    """Of the channels x and z: two words, then the time at a multiple of 8."""
    return struct.pack(">hh4x", x << 4, z << 4) + struct.pack("<q", time_ns)


def source(**changes: object) -> IndustrialIO:
    settings = SourceSettings(kind="iio", path="lis3dh", buffer=True, **changes)  # type: ignore[arg-type]
    return IndustrialIO(settings, STREAM, SystemClock())


def test_scans_become_physical_values_at_their_own_times(chip: Chip) -> None:
    made = source(trigger="lis3dh-dev0")
    rows, begin_ns = made.rows(), 5 * SECOND_NS
    payload = scan(-2048, 2047, begin_ns) + scan(1, -1, begin_ns + 2_500_000)
    chip.give(payload[:21])
    first = next(rows)
    chip.give(payload[21:])
    second = next(rows)
    assert_allclose(first.values, [[-1024.0, 1023.5]])
    assert_allclose(second.values, [[0.5, -0.5]])
    assert_allclose(second.times_s - first.times_s, 0.0025, atol=1e-6)
    assert abs(first.times_s[0] - SystemClock().wall_s()) < 60, "this driver counts from its start"
    assert [chip.text(f"scan_elements/in_{name}_en") for name in ("accel_x", "accel_y", "accel_z", "timestamp")] == [
        "1", "0", "1", "1",
    ]  # fmt: skip
    assert chip.text("sampling_frequency") == "400"
    assert chip.text("buffer/length") == "800"
    assert chip.text("buffer/enable") == "1"
    assert chip.text("trigger/current_trigger") == "lis3dh-dev0"
    made.close()
    assert list(rows) == []
    assert chip.text("buffer/enable") == "0"


def test_a_buffer_that_somebody_has_enabled_is_only_read(chip: Chip) -> None:
    (chip.folder / "buffer" / "enable").write_text("1")
    (chip.folder / "scan_elements" / "in_timestamp_en").write_text("0")
    made = source()
    rows = made.rows()
    chip.give(struct.pack(">hhh", 2 << 4, 9 << 4, 4 << 4) * 8)
    got = next(rows)
    assert_allclose(got.values, [[1.0, 2.0]] * 8)
    assert_allclose(np.diff(got.times_s), 1 / 400, atol=1e-6)
    made.close()
    list(rows)
    assert chip.text("buffer/enable") == "1"


@pytest.mark.parametrize(
    ("text", "stored", "expected"),
    [
        ("le:s16/16>>0", struct.pack("<h", -3), -3),
        ("be:u16/16>>0", struct.pack(">H", 65000), 65000),
        ("le:u12/16>>4", struct.pack("<H", 0xABCF), 0xABC),
        ("be:s24/32>>8", struct.pack(">i", -(1 << 31)), -(1 << 23)),
        ("le:s24/32>>0", struct.pack("<I", 0x00FFFFFF), -1),
        ("le:s64/64>>0", struct.pack("<q", -(1 << 62)), -(1 << 62)),
        ("le:u8/8X1>>0", b"\xff", 255),
        ("be:f32/32", struct.pack(">f", -0.25), -0.25),
    ],
    ids=lambda value: value.partition(">")[0] if isinstance(value, str) else "",
)
def test_every_type_of_the_kernel_is_read(chip: Chip, text: str, stored: bytes, expected: int) -> None:
    for name in ("accel_y", "accel_z", "timestamp"):
        (chip.folder / "scan_elements" / f"in_{name}_en").write_text("0")
    (chip.folder / "scan_elements" / "in_accel_x_type").write_text(text)
    layout = Layout.read(chip.folder)
    scans = np.frombuffer(stored, np.uint8).reshape(1, layout.scan_bytes)
    assert_array_equal(layout.elements["accel_x"].values(scans), [expected])


def test_a_channel_of_several_numbers_takes_its_room_and_is_not_read(chip: Chip) -> None:
    """Documentation/ABI/testing/sysfs-bus-iio: a quaternion is repeated four times, and aligned as a whole."""
    (chip.folder / "scan_elements" / "in_accel_y_type").write_text("le:s16/16X4>>0")
    layout = Layout.read(chip.folder)
    assert {name: element.offset for name, element in layout.elements.items()} == {
        "accel_x": 0, "accel_z": 16, "timestamp": 24,
    }  # fmt: skip
    assert layout.scan_bytes == 32


def test_the_buffer_holds_raw_values_and_a_difference_has_a_scale_of_its_own(chip: Chip) -> None:
    (chip.folder / "in_accel_x_input").write_text("7")  # for single values alone
    for name in ("in_accel_z_raw", "in_accel_y_raw"):
        (chip.folder / name).unlink()  # some channels are in the buffer alone
    (chip.folder / "sampling_frequency").rename(chip.folder / "in_accel_sampling_frequency")
    rows = source().rows()
    chip.give(scan(4, 4, SECOND_NS))
    assert_allclose(next(rows).values, [[2.0, 2.0]])
    assert chip.text("in_accel_sampling_frequency") == "400"
    for name, content in {"raw": "10", "scale": "0.5"}.items():
        (chip.folder / f"in_voltage0-voltage1_{name}").write_text(content)
    (chip.folder / "in_voltage0-voltage1_scale").rename(chip.folder / "in_voltage-voltage_scale")
    settings = SourceSettings(kind="iio", path="lis3dh", channels=("voltage0-voltage1",))
    single = IndustrialIO(settings, STREAM, SystemClock())
    assert single.units == ("mV",)
    assert_allclose(next(single.rows()).values[0], [5.0])


def test_a_sensor_that_never_has_a_value_is_said(chip: Chip) -> None:
    for name in ("in_accel_x_raw", "in_accel_z_raw"):
        (chip.folder / name).write_text("")
    settings = SourceSettings(kind="iio", path="lis3dh", rate_hz=1e5)
    with pytest.raises(DataError, match=r"gave no value 100 times one after the other: .*in_accel_x_raw holds ''"):
        list(IndustrialIO(settings, STREAM, SystemClock()).rows())


@pytest.mark.usefixtures("chip")
def test_rows_that_take_too_long_are_said_and_one_on_a_busy_processor_is_not() -> None:
    """As an LIS3DH whose own rate is 1 Hz: its driver waits two samples for each value."""

    class Slow(ManualClock):
        step_s = 2.0

        def monotonic_s(self) -> float:
            self.now_s += self.step_s
            return self.now_s

    clock, settings = Slow(), SourceSettings(kind="iio", path="lis3dh", rate_hz=20.0)
    rows = IndustrialIO(settings, replace(STREAM, gap_s=0.5), clock).rows()
    for step_s in (2.0, 2.0, 0.06, 2.0):
        clock.step_s = step_s
        next(rows)
    with pytest.raises(DataError, match=r"a row of lis3dh takes 2 s to read, .* let the sensor sample faster \("):
        list(rows)


@pytest.mark.parametrize("text", ["", "le:f16/32", "le:s17/16>>0", "le:s12/16>>8", "me:s8/8>>0"])
def test_a_type_that_is_not_read_is_said(chip: Chip, text: str) -> None:
    (chip.folder / "scan_elements" / "in_accel_x_type").write_text(text)
    with pytest.raises(DataError, match="channel accel_x has type"):
        next(source().rows())


def test_what_the_buffer_does_not_have_is_said(chip: Chip) -> None:
    (chip.folder / "scan_elements" / "in_accel_z_en").unlink()
    with pytest.raises(DataError, match="has no channel 'accel_z'; it has accel_x, accel_y, timestamp"):
        next(source().rows())
    (chip.folder / "buffer" / "enable").write_text("1")
    with pytest.raises(DataError, match="does not hold channel 'accel_z'; it holds accel_x, accel_y, timestamp"):
        next(source().rows())


def test_a_buffer_that_may_not_be_set_up_names_the_page(chip: Chip) -> None:
    (chip.folder / "buffer" / "enable").unlink()
    (chip.folder / "buffer" / "enable").mkdir()
    with pytest.raises(DataError, match=r"cannot write '1' to .*buffer/enable: Is a directory"):
        next(source().rows())
    chip.node.unlink()
    (chip.folder / "buffer" / "enable").rmdir()
    (chip.folder / "buffer" / "enable").write_text("1")
    with pytest.raises(DataError, match="cannot open .*; is its driver loaded"):
        next(source().rows())
