"""Raw rows of a Linux IIO sensor from its buffer, for rates that reading value by value cannot keep.

Source: Documentation/driver-api/iio/buffers.rst and Documentation/ABI/testing/sysfs-bus-iio of the kernel. A scan holds
the enabled channels in the order of their indices, each at a multiple of its own size. A type reads
``[be|le]:[f|s|u]BITS/STORAGE[Xrepeat][>>SHIFT]``; a channel of several numbers (repeat) takes their room, and is not
read. The buffer is set up here, unless somebody has enabled it already, as a service must that may not write to /sys.
"""

from __future__ import annotations

import errno
import math
import os
import re
import select
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.sources.ports import Rows
from edge_agent.sources.rate_times import RateTimes
from headway.arrays import Float64
from headway.errors import DataError
from headway.ports import Clock

DEVICE_NODES = Path("/dev")
TYPE = re.compile(r"(be|le):([fsu])(\d+)/(\d+)(?:X(\d+))?(?:>>(\d+))?")
TIMESTAMP = "timestamp"
RATE = "sampling_frequency"
SCANS_A_READ = 256
# seconds of samples that the kernel keeps
KEPT_S = 2.0


@dataclass(frozen=True, slots=True)
class Element:
    """One channel of a scan: bits of a number of so many bytes at `offset`, shifted. kind: f, s or u."""

    name: str
    offset: int
    dtype: np.dtype[np.generic]
    kind: str
    bits: int
    shift: int

    def values(self, scans: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray:
        """scans: uint8 (n, bytes of a scan) -> int64 or float64 (n,)."""
        size = self.dtype.itemsize
        stored = np.ascontiguousarray(scans[:, self.offset : self.offset + size]).view(self.dtype).ravel()
        if self.kind == "f":
            return stored.astype(np.float64)
        found = stored.astype(np.uint64) >> np.uint64(self.shift)
        if self.bits < 64:
            found &= np.uint64((1 << self.bits) - 1)
        whole = found.astype(np.int64)
        if self.kind == "s" and self.bits < 64:
            sign = np.int64(1) << np.int64(self.bits - 1)
            whole = (whole ^ sign) - sign
        return whole


@dataclass(frozen=True, slots=True)
class Layout:
    """Of a scan. elements: by the names of the channels; of those of several numbers it has none."""

    elements: dict[str, Element]
    scan_bytes: int

    @classmethod
    def read(cls, folder: Path) -> Layout:
        """What is enabled. folder: the device's. Raises DataError."""
        found = []
        for file in (folder / "scan_elements").glob("in_*_en"):
            name = file.name.removeprefix("in_").removesuffix("_en")
            if _text(file) == "1":
                found.append((int(_text(file.with_name(f"in_{name}_index")) or -1), name))
        elements, offset, largest = {}, 0, 1
        for _, name in sorted(found):
            text = _text(folder / "scan_elements" / f"in_{name}_type")
            match = TYPE.fullmatch(text)
            if match is None or int(match[4]) not in (8, 16, 32, 64):
                raise DataError(f"channel {name} has type {text!r}; numbers of 8, 16, 32 or 64 bits are read")
            kind, size, bits, shift = match[2], int(match[4]) // 8, int(match[3]), int(match[6] or 0)
            whole = (bits, shift) == (8 * size, 0) and size > 1
            if not 0 < bits <= 8 * size - shift or (kind == "f" and not whole):
                raise DataError(f"channel {name} has type {text!r}: {bits} bits do not fit")
            repeat = max(1, int(match[5] or 1))
            offset += -offset % (size * repeat)
            if repeat == 1:
                dtype = np.dtype(f"{'>' if match[1] == 'be' else '<'}{'f' if kind == 'f' else 'u'}{size}")
                elements[name] = Element(name, offset, dtype, kind, bits, shift)
            offset, largest = offset + size * repeat, max(largest, size * repeat)
        return cls(elements, offset + -offset % largest)


class Buffer:
    """One device's buffer. gains, offsets: of the channels `names`, value = gain * (raw + offset)."""

    def __init__(
        self, folder: Path, names: Sequence[str], gains: Float64, offsets: Float64, times: RateTimes, clock: Clock
    ) -> None:
        self._folder, self._names, self._gains, self._offsets = folder, tuple(names), gains, offsets
        self._times, self._clock = times, clock
        self._ahead_s = math.nan

    def rows(self, rate_hz: float, trigger: str, wake: int) -> Iterator[Rows]:
        """Until the descriptor `wake` can be read. Raises DataError."""
        node = DEVICE_NODES / self._folder.name
        ours = _text(self._folder / "buffer" / "enable") != "1"
        if ours:
            self._set_up(rate_hz, trigger)
        layout = Layout.read(self._folder)
        lacks = [name for name in self._names if name not in layout.elements]
        if lacks:
            there = ", ".join(layout.elements) or "none"
            raise DataError(f"the buffer of {self._folder.name} does not hold channel {lacks[0]!r}; it holds {there}")
        try:
            descriptor = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            advice = "give its group to the agent (udev)" if error.errno == errno.EACCES else "is its driver loaded?"
            raise DataError(f"cannot open {node}: {error.strerror}; {advice}") from error
        try:
            yield from self._scans(descriptor, layout, wake, node)
        finally:
            os.close(descriptor)
            if ours and (self._folder / "buffer" / "enable").exists():
                _write(self._folder / "buffer" / "enable", "0")

    def _scans(self, descriptor: int, layout: Layout, wake: int, node: Path) -> Iterator[Rows]:
        rest = b""
        while True:
            ready, _, _ = select.select([descriptor, wake], [], [])
            if wake in ready:
                return
            try:
                piece = os.read(descriptor, SCANS_A_READ * layout.scan_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise DataError(f"{node} went away: {error.strerror}") from error
            if not piece:
                raise DataError(f"{node} went away; is its buffer still enabled?")
            payload = rest + piece
            count = len(payload) // layout.scan_bytes
            rest = payload[count * layout.scan_bytes :]
            if count:
                scans = np.frombuffer(payload, np.uint8, count * layout.scan_bytes).reshape(count, layout.scan_bytes)
                yield self._rows(scans, layout)

    def _rows(self, scans: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], layout: Layout) -> Rows:
        raw = np.stack([layout.elements[name].values(scans) for name in self._names], axis=1)
        values: Float64 = self._gains * (raw + self._offsets)
        if TIMESTAMP not in layout.elements:
            return Rows(self._times.of(len(scans)), values)
        times_s: Float64 = layout.elements[TIMESTAMP].values(scans) / 1e9
        if math.isnan(self._ahead_s):
            # the driver may count from its start; only differences matter then
            now_s = self._clock.wall_s()
            self._ahead_s = 0.0 if abs(now_s - times_s[-1]) < 1.0 else now_s - float(times_s[-1])
        return Rows(times_s + self._ahead_s, values)

    def _set_up(self, rate_hz: float, trigger: str) -> None:
        """Enable our channels and the time, and no others."""
        elements = self._folder / "scan_elements"
        if not elements.is_dir():
            raise DataError(f"{self._folder.name} has no buffer; leave out source.buffer to read single values")
        for name in self._names:
            if not (elements / f"in_{name}_en").exists():
                there = sorted(file.name.removeprefix("in_").removesuffix("_en") for file in elements.glob("in_*_en"))
                raise DataError(f"the buffer of {self._folder.name} has no channel {name!r}; it has {', '.join(there)}")
        if trigger:
            _write(self._folder / "trigger" / "current_trigger", trigger)
        for file in elements.glob("in_*_en"):
            name = file.name.removeprefix("in_").removesuffix("_en")
            _write(file, "1" if name in (*self._names, TIMESTAMP) else "0")
        self._set_rate(rate_hz)
        _write(self._folder / "buffer" / "length", str(max(2, math.ceil(KEPT_S * rate_hz))))
        _write(self._folder / "buffer" / "enable", "1")

    def _set_rate(self, rate_hz: float) -> None:
        """Of all channels, or of their kind; where the device has no such file its trigger has the rate."""
        for name in (RATE, *sorted({f"in_{kind_of(name)}_{RATE}" for name in self._names})):
            if (self._folder / name).exists():
                known = _text(self._folder / f"{name}_available")
                text = np.format_float_positional(rate_hz, trim="-")
                _write(self._folder / name, text, f"it takes {known}" if known else "give source.rate_hz another")


def kind_of(name: str) -> str:
    """What its scale may be shared by: "accel" of "accel_x", "voltage-voltage" of "voltage0-voltage1"."""
    kinds = [match[0] for part in name.split("-")[:2] if (match := re.match(r"[a-z]+", part))]
    return "-".join(kinds) or name


def _write(file: Path, text: str, invalid: str = "name its trigger in source.trigger") -> None:
    """invalid: what to do where the driver takes no such value."""
    try:
        file.write_text(text, encoding="ascii")
    except OSError as error:
        before = "enable the buffer before the agent starts (docs/howto/vibration.md)"
        advice = {
            errno.EINVAL: invalid,
            errno.EBUSY: "another program uses its buffer",
            errno.EROFS: before,
            errno.EACCES: before,
        }.get(error.errno or 0, "does its driver have it?")
        raise DataError(f"cannot write {text!r} to {file}: {error.strerror}; {advice}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
