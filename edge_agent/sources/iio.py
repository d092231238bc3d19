"""Raw rows from a sensor of Linux IIO (accelerometers, barometers, converters ...), read from sysfs or from its buffer.

Source: Documentation/ABI/testing/sysfs-bus-iio of the kernel. A value is (raw + offset) * scale, or ``input`` as it is;
scale and offset are the channel's own, or those of all channels of its kind; a difference of two has its own kind
("voltage0-voltage1": ``in_voltage-voltage_scale``). A buffer holds raw values alone.
"""

from __future__ import annotations

import errno
import math
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.iio_buffer import RATE, Buffer, kind_of
from edge_agent.sources.ports import Rows
from edge_agent.sources.rate_times import RateTimes
from edge_agent.sources.wake import Wake
from headway.errors import ConfigError, DataError
from headway.ports import Clock
from headway.stream import StreamFormat

DEVICES = Path("/sys/bus/iio/devices")
CHANNEL = re.compile(r"in_(.+)_(?:raw|input)")
# kind of channel -> unit of the bundle, and what the kernel's unit is worth in it
KINDS: dict[str, tuple[str, float]] = {
    "accel": ("m/s2", 1.0),
    "anglvel": ("rad/s", 1.0),
    "magn": ("gauss", 1.0),
    "temp": ("degC", 1e-3),
    "pressure": ("kPa", 1.0),
    "humidityrelative": ("%", 1e-3),
    "voltage": ("mV", 1.0),
    "current": ("mA", 1.0),
}
# rows that are given at once
ROWS_S = 0.1
# one after the other: without any value; that take too long, as a busy processor makes one or two
EMPTY_ROWS_MAX, SLOW_ROWS_MAX = 100, 2


@dataclass(frozen=True, slots=True)
class _Channel:
    """value = gain * (what the file says + offset)"""

    file: Path
    gain: float
    offset: float

    def read(self) -> float:
        """NaN where the sensor has no value now."""
        try:
            return self.gain * (float(self.file.read_text(encoding="ascii")) + self.offset)
        except (OSError, ValueError):
            return math.nan

    def problem(self) -> str:
        """Why it has none, in words."""
        try:
            return f"{self.file} holds {self.file.read_text(encoding='ascii', errors='replace')[:40]!r}"
        except OSError as error:
            advice = "; its buffer is enabled: set source.buffer" if error.errno == errno.EBUSY else ""
            return f"cannot read {self.file}: {error.strerror}{advice}"


class IndustrialIO:
    """Channels of one device, by their names in sysfs: "accel_x" for ``in_accel_x_raw``."""

    def __init__(self, settings: SourceSettings, stream: StreamFormat, clock: Clock) -> None:
        if not settings.path:
            raise ConfigError('source.path is empty; give the name of the IIO device, as in "lis3dh"')
        if settings.time:
            raise ConfigError("source.time is set, and rows of iio have the time at which they are read; leave it out")
        self._path, self._clock = settings.path, clock
        self._buffered, self._trigger = settings.buffer, settings.trigger
        self._rate_hz, self._gap_s = settings.rate_hz or stream.rate_hz, stream.gap_s
        self._period_s = 1.0 / self._rate_hz
        self.channels = settings.channels or tuple(channel.name for channel in stream.channels)
        self.units = settings.units or tuple(_kind(name)[0] for name in self.channels)
        self._wake = Wake()

    def device(self) -> Path:
        """Its folder, where all channels are. Raises DataError."""
        folder = _folder(self._path)
        for name in self.channels:
            _open(folder, name, buffered=self._buffered)
        return folder

    def rows(self) -> Iterator[Rows]:
        folder = _folder(self._path)
        channels = [_open(folder, name, buffered=self._buffered) for name in self.channels]
        if self._buffered:
            gains, offsets = (np.array(each) for each in zip(*((it.gain, it.offset) for it in channels), strict=True))
            times = RateTimes(self._rate_hz, self._gap_s, self._clock, follows=True)
            buffer = Buffer(folder, self.channels, gains, offsets, times, self._clock)
            yield from buffer.rows(self._rate_hz, self._trigger, self._wake.fileno())
            return
        times_s: list[float] = []
        values: list[list[float]] = []
        # the clock that never jumps counts; the other one only says where it began
        begin_s, wall_s = self._clock.monotonic_s(), self._clock.wall_s()
        next_s = told_s = begin_s
        empty = slow = 0
        while not self._waited(next_s):
            now_s = self._clock.monotonic_s()
            row = [channel.read() for channel in channels]
            if not folder.is_dir():
                raise DataError(f"IIO device {self._path} went away")
            took_s = self._clock.monotonic_s() - now_s
            slow = slow + 1 if took_s > max(2 * self._period_s, self._gap_s) else 0
            if slow > SLOW_ROWS_MAX:
                raise DataError(f"a row of {self._path} takes {took_s:.3g} s to read, longer than gap_s of the bundle "
                                f"({self._gap_s:g} s); let the sensor sample faster ({folder / RATE}), or set "
                                "source.buffer")  # fmt: skip
            empty = empty + 1 if all(map(math.isnan, row)) else 0
            if empty > EMPTY_ROWS_MAX:
                raise DataError(f"IIO device {self._path} gave no value {EMPTY_ROWS_MAX} times one after the other: "
                                f"{channels[0].problem()}")  # fmt: skip
            times_s.append(wall_s + now_s - begin_s)
            values.append(row)
            next_s = max(next_s + self._period_s, now_s)
            if now_s - told_s >= ROWS_S or self._period_s >= ROWS_S:
                yield Rows(np.array(times_s), np.array(values))
                times_s, values, told_s = [], [], now_s

    def close(self) -> None:
        """End `rows`, from another thread."""
        self._wake.ring()

    def _waited(self, until_s: float) -> bool:
        """Wait; whether the source is closed."""
        left_s = max(0.0, until_s - self._clock.monotonic_s())
        return bool(select.select([self._wake.fileno()], [], [], left_s)[0])


def _folder(path: str) -> Path:
    """Raises DataError when there is no such device."""
    if "/" in path:
        if not Path(path).is_dir():
            raise DataError(f"{path} is no folder; give the IIO device's in /sys/bus/iio/devices, or its name")
        return Path(path)
    names = {}
    for folder in sorted(DEVICES.glob("iio:device*")):
        names[_text(folder / "name")] = folder
    if path not in names:
        known = ", ".join(sorted(names)) if names else "none; is its driver loaded?"
        raise DataError(f"there is no IIO device {path!r}; found: {known}")
    return names[path]


def _open(folder: Path, name: str, *, buffered: bool) -> _Channel:
    unit_gain, raw = _kind(name)[1], folder / f"in_{name}_raw"
    if (folder / f"in_{name}_input").exists() and not buffered:
        return _Channel(folder / f"in_{name}_input", unit_gain, 0.0)
    in_buffer = buffered and (folder / "scan_elements" / f"in_{name}_en").exists()
    if not raw.exists() and not in_buffer:
        known = {match[1] for file in folder.iterdir() if (match := CHANNEL.fullmatch(file.name))}
        names = ", ".join(sorted(known)) or "none"
        raise DataError(f"the IIO device has no channel {name!r}; it has {names}")
    scale, offset = (_number(folder, name, what, default) for what, default in (("scale", 1.0), ("offset", 0.0)))
    return _Channel(raw, unit_gain * scale, offset)


def _number(folder: Path, name: str, what: str, default: float) -> float:
    """The channel's own, or that of all channels of its kind, or of all."""
    places = (f"in_{name}_{what}", f"in_{kind_of(name)}_{what}", f"in_{what}", what)
    for file in (folder / place for place in places):
        if file.exists():
            try:
                return float(_text(file))
            except ValueError as error:
                raise DataError(f"{file} holds no number: {_text(file)!r}") from error
    return default


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _kind(name: str) -> tuple[str, float]:
    return KINDS.get(kind_of(name).partition("-")[0], ("", 1.0))
