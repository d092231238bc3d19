"""Turns bytes into rows: lines of numbers, lines of JSON, raw little-endian numbers; a stream of them, or messages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.pictures import PortableDecoder
from edge_agent.sources.ports import Rows
from edge_agent.sources.rate_times import RateTimes
from headway.arrays import Float64
from headway.errors import ConfigError, DataError
from headway.json_values import number_at, number_of, numbers_in
from headway.ports import Clock
from headway.stream import StreamFormat

LINE_BYTES_MAX = 1 << 20
# one after the other; a header and a few lines of words are usual, more of them are another format
STRANGE_LINES_MAX, STRANGE_MESSAGES_MAX = 100, 16
# a number in text rarely has more
NUMBER_CHARACTERS_MAX = 32
RAW: dict[str, np.dtype[Any]] = {
    "int16": np.dtype("<i2"),
    "float32": np.dtype("<f4"),
    "uint8": np.dtype("u1"),
    "ppm": np.dtype("u1"),
}
PICTURES = "ppm"


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How rows are written. names: of the columns; width: their number, or that of a whole window's numbers.

    paths: where the columns stand in JSON; time: the column of the time; gap_s: of the stream. paced: rows come at
    rate_hz, whenever their lines do.
    """

    kind: str
    names: tuple[str, ...]
    paths: tuple[str, ...]
    width: int
    whole_windows: bool
    time: int | None
    rate_hz: float
    gap_s: float
    paced: bool

    @classmethod
    def of(cls, settings: SourceSettings, stream: StreamFormat) -> RowFormat:
        """Raises ConfigError."""
        names = settings.channels or tuple(channel.name for channel in stream.channels)
        whole = settings.each == "window"
        if len(settings.paths) not in (0, 1 if whole else len(names)):
            raise ConfigError(f"source.paths has {len(settings.paths)} entries for {len(names)} channels; give one for "
                              "each, or none")  # fmt: skip
        if settings.time and (settings.format in RAW or whole):
            raise ConfigError(f"source.time {settings.time!r} needs lines of single rows; leave it out")
        if settings.time and settings.time not in names:
            raise ConfigError(f"source.time {settings.time!r} is not among source.channels; add it there")
        if settings.format == PICTURES and not whole:
            raise ConfigError('source.format "ppm" holds pictures; add each = "window"')
        if settings.format == PICTURES and settings.kind in ("mqtt", "http"):
            raise ConfigError(f'source.format "ppm" is read from commands, not over {settings.kind}; give "uint8"')
        time = names.index(settings.time) if settings.time else None
        rate_hz = settings.rate_hz or stream.rate_hz
        width = math.prod(settings.shape) if whole else len(names)
        paths, paced = settings.paths or names, settings.rate_hz > 0 and not whole
        return cls(settings.format, names, paths, width, whole, time, rate_hz, stream.gap_s, paced)

    @property
    def is_raw(self) -> bool:
        return self.kind in RAW

    @property
    def row_bytes(self) -> int:
        """Of raw numbers."""
        return RAW[self.kind].itemsize * self.width

    @property
    def line_bytes_max(self) -> int:
        return max(LINE_BYTES_MAX, NUMBER_CHARACTERS_MAX * self.width)

    def raw_rows(self, payload: bytes, count: int) -> Float64:
        """float64 (count, width) of the first bytes."""
        values = np.frombuffer(payload, RAW[self.kind], count * self.width)
        return values.reshape(count, self.width).astype(np.float64)

    def row_of_line(self, text: str) -> list[float] | None:
        """None for a line that is no row, such as a header."""
        try:
            if self.kind == "json":
                return self.row_of_json(json.loads(text))
            row = [_number(part) for part in _parts(text)]
        except (ValueError, RecursionError, OverflowError):
            return None
        return row if len(row) == self.width else None

    def row_of_json(self, found: object) -> list[float] | None:
        """None for what is no row. Raises ValueError."""
        if self.whole_windows:
            path = self.paths[0] if isinstance(found, dict) else ""
            inside = found.get(path) if isinstance(found, dict) else found
            row = list(numbers_in(inside))
        elif isinstance(found, list):
            row = [number_of(each) for each in found]
        elif isinstance(found, dict):
            row = [number_at(found, path) for path in self.paths]
            if all(math.isnan(value) for value in row):
                return None
        else:
            row = [number_of(found)]
        return row if len(row) == self.width else None


class Decoder(Protocol):
    """Takes bytes as they come, keeps what is not whole yet."""

    def feed(self, piece: bytes) -> Rows:
        """The rows that became whole. Raises DataError."""
        ...


class LineDecoder:
    """One row per line. Lines that are no row, such as a header, are not taken; many of them are a DataError."""

    def __init__(self, rows: RowFormat, clock: Clock) -> None:
        self._format, self._clock = rows, clock
        self._rate_times = RateTimes(rows.rate_hz, rows.gap_s, clock, follows=True) if rows.paced else None
        self._rest = b""
        self._last_s = -math.inf
        self._strange = 0

    def feed(self, piece: bytes) -> Rows:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > self._format.line_bytes_max:
            self._rest = b""
            raise DataError(f"a line has more than {self._format.line_bytes_max} bytes; give the format that the "
                            "source writes")  # fmt: skip
        rows = []
        text = ""
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            row = self._format.row_of_line(text) if text else None
            if row is not None:
                rows.append(row)
                self._strange = 0
            elif text:
                self._strange += 1
        if self._strange > STRANGE_LINES_MAX:
            self._strange = 0
            raise DataError(f"{STRANGE_LINES_MAX} lines are no row of {self._format.width} numbers as "
                            f"{self._format.kind}; the last is {text[:80]!r}")  # fmt: skip
        values = np.array(rows, np.float64).reshape(-1, self._format.width)
        return _with_times(self._format, values) or Rows(self._arrivals(len(values)), values)

    def _arrivals(self, count: int) -> Float64:
        """At the rate, where one is given: pipes and USB ports give several at once. Else as they come, in order."""
        if self._rate_times is not None and count:
            return self._rate_times.of(count)
        now_s = self._clock.wall_s()
        first_s = max(now_s, math.nextafter(self._last_s, math.inf)) if self._last_s - now_s < 1.0 else now_s
        times_s: Float64 = first_s + 1e-6 * np.arange(count, dtype=np.float64)
        if count:
            self._last_s = float(times_s[-1])
        return times_s


class RawDecoder:
    """Raw little-endian numbers at a fixed rate, counted from the moment of the first."""

    def __init__(self, rows: RowFormat, clock: Clock) -> None:
        self._format, self._clock = rows, clock
        self._rest = b""
        self._begin_s = math.nan
        self._rows = 0

    def feed(self, piece: bytes) -> Rows:
        if math.isnan(self._begin_s):
            self._begin_s = self._clock.wall_s()
        payload = self._rest + piece
        count = len(payload) // self._format.row_bytes
        self._rest = payload[count * self._format.row_bytes :]
        times_s = self._begin_s + np.arange(self._rows, self._rows + count) / self._format.rate_hz
        self._rows += count
        return Rows(times_s, self._format.raw_rows(payload, count))


class FrameDecoder:
    """Raw whole windows, such as frames of a camera; each has the time at which it is complete."""

    def __init__(self, rows: RowFormat, clock: Clock) -> None:
        self._format, self._clock = rows, clock
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Rows:
        self._rest += piece
        size = self._format.row_bytes
        count = len(self._rest) // size
        values = self._format.raw_rows(bytes(self._rest[: count * size]), count)
        del self._rest[: count * size]
        times_s: Float64 = self._clock.wall_s() + 1e-6 * np.arange(count, dtype=np.float64)
        return Rows(times_s, values)


class MessageDecoder:
    """Whole messages of one or more rows each, of which some may have been lost on the way."""

    def __init__(self, rows: RowFormat, clock: Clock) -> None:
        self._format, self._clock = rows, clock
        self._rate_times, self._last_s = RateTimes(rows.rate_hz, rows.gap_s, clock), math.nan

    def rows_of(self, payload: bytes) -> Rows:
        """The rows of one message. Raises DataError for what holds none."""
        if self._format.is_raw:
            count, rest = divmod(len(payload), self._format.row_bytes)
            if rest or not count:
                raise DataError(f"{len(payload)} bytes; a row of {self._format.kind} has {self._format.row_bytes}")
            values = self._format.raw_rows(payload, count)
        else:
            rows = list(self._rows_in(payload.decode("utf-8", "replace").strip()))
            if not rows:
                raise DataError(f"{payload[:80]!r} holds no row of {self._format.width} numbers as {self._format.kind}")
            values = np.array(rows, np.float64)
        return _with_times(self._format, values) or Rows(self._times(len(values)), values)

    def _rows_in(self, text: str) -> Iterator[list[float]]:
        """Of JSON an object, or a list of them; else, and of several lines, each line."""
        found: list[object] = []
        if self._format.kind == "json":
            try:
                whole = json.loads(text)
                if isinstance(whole, list) and whole and isinstance(whole[0], (dict, list)) and not self._is_row(whole):
                    found = whole
                else:
                    found = [whole]
            except (ValueError, RecursionError):
                found = []
        if found:
            yield from filter(None, map(self._safely, found))
            return
        yield from filter(None, map(self._format.row_of_line, filter(None, map(str.strip, text.split("\n")))))

    def _is_row(self, found: object) -> bool:
        return self._safely(found) is not None

    def _safely(self, found: object) -> list[float] | None:
        try:
            return self._format.row_of_json(found)
        except (ValueError, RecursionError, OverflowError):
            return None

    def _times(self, count: int) -> Float64:
        """Single rows have the time at which they come, several come at the rate."""
        if count != 1:
            return self._rate_times.of(count)
        now_s = self._clock.wall_s()
        self._last_s = max(now_s, math.nextafter(self._last_s, math.inf)) if abs(now_s - self._last_s) < 1 else now_s
        return np.array([self._last_s])


def build_decoder(settings: SourceSettings, stream: StreamFormat, clock: Clock) -> Decoder:
    """For one run of a source. Raises ConfigError."""
    rows = RowFormat.of(settings, stream)
    if not rows.is_raw:
        return LineDecoder(rows, clock)
    if rows.kind == PICTURES:
        return PortableDecoder(settings.shape, clock)
    return FrameDecoder(rows, clock) if rows.whole_windows else RawDecoder(rows, clock)


def columns_of(settings: SourceSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units of a source's channels, without the time; none where the bundle's own are meant.

    Raises ConfigError.
    """
    names, units = settings.channels, settings.units
    if settings.each == "window":
        return (), ()
    if len(units) not in (0, len(names)):
        raise ConfigError(
            f"source.units has {len(units)} entries, source.channels {len(names)}; one for each is needed"
        )
    channels = tuple(name for name in names if not settings.time or name != settings.time)
    return channels, tuple(unit for name, unit in zip(names, units, strict=False) if name != settings.time)


def _with_times(rows: RowFormat, values: Float64) -> Rows | None:
    """Rows that bring their times."""
    if rows.time is None:
        return None
    return Rows(values[:, rows.time], np.delete(values, rows.time, axis=1))


def _parts(text: str) -> list[str]:
    return text.split(",") if "," in text else text.split(";") if ";" in text else text.split()


def _number(text: str) -> float:
    return float(text) if text.strip() else math.nan
