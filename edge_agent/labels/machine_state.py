"""Reads the load, the temperature and the power supply of the machine, for policies."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from headway.errors import ConfigError


class MachineState(Protocol):
    """Read when a decision is due."""

    def load_average(self) -> float:
        """Runnable processes, mean of the last minute."""
        ...

    def temperature_c(self) -> float | None:
        """Of the warmest thermal zone; None where the machine has none."""
        ...

    def on_mains(self) -> bool:
        """Whether any external supply is connected; true on a machine without a battery."""
        ...


class LinuxMachineState:
    """From /proc and /sys. root: their parent, another one in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def load_average(self) -> float:
        path = self._root / "proc/loadavg"
        try:
            return float(path.read_text().split()[0])
        except (OSError, ValueError, IndexError) as error:
            raise ConfigError(f"cannot read {path}: {error}; set load_max = 0") from error

    def temperature_c(self) -> float | None:
        readings = [_number(path) for path in self._root.glob("sys/class/thermal/thermal_zone*/temp")]
        known = [reading / 1000.0 for reading in readings if reading is not None]
        return max(known, default=None)

    def on_mains(self) -> bool:
        supplies = list(self._root.glob("sys/class/power_supply/*"))
        kinds = {supply: _text(supply / "type") for supply in supplies}
        if "Battery" not in kinds.values():
            return True
        return any(_number(supply / "online") == 1 for supply, kind in kinds.items() if kind != "Battery")


def _text(path: Path) -> str | None:
    """A file of one line; None where a driver offers no value now, which reads as an error."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
