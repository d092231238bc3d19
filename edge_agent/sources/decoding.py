"""Turns bytes into rows: lines of numbers, lines of JSON, raw little-endian numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.ports import Rows
from headway.arrays import Float64
from headway.errors import ConfigError, DataError
from headway.ports import Clock
from headway.stream import StreamFormat

LINE_BYTES_MAX = 1 << 20
RAW: dict[str, np.dtype[Any]] = {"int16": np.dtype("<i2"), "float32": np.dtype("<f4")}


class Decoder(Protocol):
    """Takes bytes as they come, keeps what is not whole yet."""

    def feed(self, piece: bytes) -> Rows:
        """The rows that became whole. Raises DataError."""
        ...


class LineDecoder:
    """One row per line. Lines that are no row, such as a header, are counted in `skipped`, not taken."""

    def __init__(self, settings: SourceSettings, names: Sequence[str], clock: Clock) -> None:
        self._json, self._names, self._clock = settings.format == "json", tuple(names), clock
        self._time = self._names.index(settings.time) if settings.time else None
        self._rest = b""
        self._last_s = -math.inf
        self.skipped = 0

    def feed(self, piece: bytes) -> Rows:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest = b""
            raise DataError(f"a line has more than {LINE_BYTES_MAX} bytes; give the format that the source writes")
        rows = [row for row in map(self._row, lines) if row is not None]
        values = np.array(rows, np.float64).reshape(-1, len(self._names))
        if self._time is not None:
            return Rows(values[:, self._time], np.delete(values, self._time, axis=1))
        return Rows(self._arrivals(len(values)), values)

    def _arrivals(self, count: int) -> Float64:
        """Lines that come together keep their order."""
        now_s = self._clock.wall_s()
        first_s = max(now_s, math.nextafter(self._last_s, math.inf)) if self._last_s - now_s < 1.0 else now_s
        times_s: Float64 = first_s + 1e-6 * np.arange(count, dtype=np.float64)
        if count:
            self._last_s = float(times_s[-1])
        return times_s

    def _row(self, line: bytes) -> list[float] | None:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return None
        try:
            row = self._of_json(text) if self._json else [_number(part) for part in _parts(text)]
        except (ValueError, RecursionError):
            self.skipped += 1
            return None
        if len(row) != len(self._names):
            self.skipped += 1
            return None
        return row

    def _of_json(self, text: str) -> list[float]:
        found = json.loads(text)
        row = [_at(found, name) for name in self._names]
        if all(math.isnan(value) for value in row):
            raise ValueError("none of the channels")
        return row


class RawDecoder:
    """Raw little-endian numbers at a fixed rate, counted from the moment of the first."""

    def __init__(self, settings: SourceSettings, channels: int, rate_hz: float, clock: Clock) -> None:
        self._dtype, self._channels, self._rate_hz, self._clock = RAW[settings.format], channels, rate_hz, clock
        self._rest = b""
        self._begin_s = math.nan
        self._rows = 0

    def feed(self, piece: bytes) -> Rows:
        if math.isnan(self._begin_s):
            self._begin_s = self._clock.wall_s()
        payload, row_bytes = self._rest + piece, self._dtype.itemsize * self._channels
        count = len(payload) // row_bytes
        self._rest = payload[count * row_bytes :]
        values = np.frombuffer(payload, self._dtype, count * self._channels).reshape(count, self._channels)
        times_s = self._begin_s + np.arange(self._rows, self._rows + count) / self._rate_hz
        self._rows += count
        return Rows(times_s, values.astype(np.float64))


def build_decoder(settings: SourceSettings, stream: StreamFormat, clock: Clock) -> Decoder:
    """For one run of a source. Raises ConfigError."""
    names = settings.channels or tuple(channel.name for channel in stream.channels)
    if settings.format in RAW:
        if settings.time:
            raise ConfigError(f"source.time {settings.time!r} needs lines; raw numbers come at source.rate_hz")
        return RawDecoder(settings, len(names), settings.rate_hz or stream.rate_hz, clock)
    if settings.time and settings.time not in names:
        raise ConfigError(f"source.time {settings.time!r} is not among source.channels; add it there")
    return LineDecoder(settings, names, clock)


def _parts(text: str) -> list[str]:
    return text.split(",") if "," in text else text.split(";") if ";" in text else text.split()


def _number(text: str) -> float:
    return float(text) if text.strip() else math.nan


def _at(found: object, path: str) -> float:
    """The number at ``a.b.c``; NaN where there is none. Raises ValueError for what is no number."""
    if isinstance(found, dict) and path in found:
        found, path = found[path], ""
    for key in path.split(".") if path else ():
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return math.nan
    if found is None or (isinstance(found, str) and found in ("", "unavailable", "unknown")):
        return math.nan
    if isinstance(found, str) and found.lower() in ("on", "off"):
        return float(found.lower() == "on")
    if isinstance(found, (bool, int, float, str)):
        return float(found)
    raise ValueError(f"{path} is no number")
