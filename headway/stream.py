"""How windows are cut from a stream of raw rows: the ``stream`` table of a bundle, and channels by name and unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from headway.arrays import Float64
from headway.errors import DataError, LocalError
from headway.fields import Fields, nearest

RATE_HZ_MIN, RATE_HZ_MAX = 1e-6, 1e6
LENGTH_MAX = 1 << 24
GAP_S_MAX = 1e7
CHANNELS_MAX = 4096
# unit -> quantity, gain, offset: gain * value + offset is the value in the quantity's first unit
UNITS: dict[str, tuple[str, float, float]] = {
    "m/s2": ("acceleration", 1.0, 0.0),
    "g": ("acceleration", 9.80665, 0.0),
    "mg": ("acceleration", 0.00980665, 0.0),
    "m/s": ("speed", 1.0, 0.0),
    "mm/s": ("speed", 1e-3, 0.0),
    "km/h": ("speed", 1.0 / 3.6, 0.0),
    "m": ("length", 1.0, 0.0),
    "cm": ("length", 1e-2, 0.0),
    "mm": ("length", 1e-3, 0.0),
    "Hz": ("frequency", 1.0, 0.0),
    "rpm": ("frequency", 1.0 / 60.0, 0.0),
    "rad/s": ("angular velocity", 1.0, 0.0),
    "deg/s": ("angular velocity", np.pi / 180.0, 0.0),
    "K": ("temperature", 1.0, 0.0),
    "degC": ("temperature", 1.0, 273.15),
    "degF": ("temperature", 5.0 / 9.0, 273.15 - 32.0 * 5.0 / 9.0),
    "Pa": ("pressure", 1.0, 0.0),
    "hPa": ("pressure", 100.0, 0.0),
    "kPa": ("pressure", 1e3, 0.0),
    "bar": ("pressure", 1e5, 0.0),
    "V": ("voltage", 1.0, 0.0),
    "mV": ("voltage", 1e-3, 0.0),
    "A": ("current", 1.0, 0.0),
    "mA": ("current", 1e-3, 0.0),
    "W": ("power", 1.0, 0.0),
    "kW": ("power", 1e3, 0.0),
    "T": ("magnetic field", 1.0, 0.0),
    "uT": ("magnetic field", 1e-6, 0.0),
    "gauss": ("magnetic field", 1e-4, 0.0),
    "FS": ("amplitude", 1.0, 0.0),
    "int16": ("amplitude", 1.0 / 32768.0, 0.0),
    "ratio": ("share", 1.0, 0.0),
    "%": ("share", 1e-2, 0.0),
}


class Resampling(StrEnum):
    """none: every row is a time step. linear: between the rows around. previous: the newest row so far."""

    NONE = "none"
    LINEAR = "linear"
    PREVIOUS = "previous"


class GapRule(StrEnum):
    """restart: the window under way is dropped. missing: its time steps inside the gap are NaN, up to one window."""

    RESTART = "restart"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of a window. unit: as the training data had it, "" where nobody said."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """Windows of `length` time steps at `rate_hz`, one begun every `hop` steps; `channels` in the window's order.

    gap_s: rows further apart are a gap. Raises LocalError.
    """

    channels: tuple[Channel, ...]
    rate_hz: float
    length: int
    hop: int
    resampling: Resampling = Resampling.LINEAR
    gap: GapRule = GapRule.RESTART
    gap_s: float = 1.0

    def __post_init__(self) -> None:
        names = [channel.name for channel in self.channels]
        if not names or len(set(names)) != len(names) or not all(names):
            raise LocalError(f"stream channels must have different, non-empty names, got {names[:10]}")
        if self.gap is GapRule.MISSING and self.resampling is Resampling.NONE:
            raise LocalError('stream gap "missing" needs a grid of time steps; give resampling "linear" or "previous"')
        if self.resampling is not Resampling.NONE and self.gap_s * self.rate_hz > LENGTH_MAX:
            raise LocalError(f"stream gap_s {self.gap_s:g} at {self.rate_hz:g} Hz is more than {LENGTH_MAX} time steps")

    @classmethod
    def read(cls, fields: Fields) -> StreamFormat:
        """The table of a manifest or of a recipe. Raises the error of `fields`, or LocalError."""
        channels = fields.tables("channels", count_max=CHANNELS_MAX)
        made = cls(
            tuple(_channel(channel) for channel in channels),
            fields.number("rate_hz", low=RATE_HZ_MIN, high=RATE_HZ_MAX),
            length := fields.integer("length", low=1, high=LENGTH_MAX),
            fields.integer("hop", length, low=1, high=LENGTH_MAX),
            Resampling(fields.choice("resampling", tuple(Resampling), Resampling.LINEAR)),
            GapRule(fields.choice("gap", tuple(GapRule), GapRule.RESTART)),
            fields.number("gap_s", 1.0, low=0.0, high=GAP_S_MAX),
        )
        fields.finish()
        return made

    def written(self) -> dict[str, object]:
        """As `read` takes it."""
        return {
            "channels": [{"name": channel.name, "unit": channel.unit} for channel in self.channels],
            "rate_hz": self.rate_hz,
            "length": self.length,
            "hop": self.hop,
            "resampling": str(self.resampling),
            "gap": str(self.gap),
            "gap_s": self.gap_s,
        }

    def arrangement(self, names: Sequence[str], units: Sequence[str] = ()) -> Arrangement:
        """How rows with the columns `names` become rows of this stream. No names: the channels in their order.

        units: of the columns; none, or "" for one: as in training. Raises DataError.
        """
        wanted = tuple(channel.name for channel in self.channels)
        names = names or wanted
        if len(units) not in (0, len(names)):
            raise DataError(f"{len(units)} units for {len(names)} channels; give one for each, '' where it is unknown")
        columns, gains, offsets = [], [], []
        for channel in self.channels:
            if names.count(channel.name) != 1:
                found, shown = "twice" if channel.name in names else "not", [name[:40] for name in names[:20]]
                raise DataError(f"channel {channel.name!r} comes {found} among {', '.join(shown)}"
                                f"{nearest(channel.name, tuple(shown))}")  # fmt: skip
            column = names.index(channel.name)
            gain, offset = conversion(units[column] if units else "", channel.unit)
            columns.append(column)
            gains.append(gain)
            offsets.append(offset)
        return Arrangement(len(names), np.array(columns), np.array(gains), np.array(offsets))


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Order and units of channels: column `columns[i]` of `width` becomes channel i, times a gain, plus an offset."""

    width: int
    columns: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    gains: Float64
    offsets: Float64

    def apply(self, values: Float64) -> Float64:
        """float64 (n, width) -> float64 (n, channels). Raises DataError."""
        if values.ndim != 2 or values.shape[1] != self.width:
            raise DataError(f"rows have shape {values.shape}; {self.width} channels are expected in each")
        with np.errstate(over="ignore", invalid="ignore"):
            return values[:, self.columns] * self.gains + self.offsets


def conversion(given: str, wanted: str) -> tuple[float, float]:
    """Gain and offset from one unit to another; (1, 0) where one of them is not known. Raises DataError."""
    if given == wanted or not given or not wanted:
        return 1.0, 0.0
    for unit in (given, wanted):
        if unit not in UNITS:
            raise DataError(f"unit {unit!r} cannot be converted{nearest(unit, tuple(UNITS))}; "
                            f"{given!r} is given and {wanted!r} wanted")  # fmt: skip
    (quantity, gain, offset), (other, other_gain, other_offset) = UNITS[given], UNITS[wanted]
    if quantity != other:
        raise DataError(f"unit {given!r} measures {quantity}, {wanted!r} measures {other}")
    return gain / other_gain, (offset - other_offset) / other_gain


def _channel(fields: Fields) -> Channel:
    made = Channel(fields.text("name", length_max=128), fields.text("unit", "", length_max=32))
    fields.finish()
    return made
