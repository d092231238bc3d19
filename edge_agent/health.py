"""Tells the aggregator how the machine is: at a slow pace, on a new connection, and when learning stops or goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from edge_agent.health_settings import HealthSettings
from edge_agent.labels import LinuxMachineState
from headway.wire import Health

NEVER_S = float("-inf")


class MachineHealth(Protocol):
    """Read when a message is due. None: this machine does not tell."""

    def disk_free_bytes(self) -> int | None: ...

    def memory_free_bytes(self) -> int | None: ...

    def temperature_c(self) -> float | None: ...


class LinuxMachineHealth:
    """state_dir: on the disk that counts. root: parent of /proc and /sys, another one in tests."""

    def __init__(self, state_dir: Path, root: Path = Path("/")) -> None:
        self._state_dir, self._root = state_dir, root
        self._state = LinuxMachineState(root)

    def disk_free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._state_dir).free
        except OSError:
            return None  # a disk that is gone is told as a problem elsewhere

    def memory_free_bytes(self) -> int | None:
        """What programs can still have without swapping: MemAvailable (proc(5))."""
        try:
            lines = (self._root / "proc/meminfo").read_text().splitlines()
        except OSError:
            return None
        for line in lines:
            words = line.split()
            if len(words) == 3 and words[0] == "MemAvailable:" and words[1].isdigit():
                return 1024 * int(words[1])
        return None

    def temperature_c(self) -> float | None:
        return self._state.temperature_c()


class HealthReports:
    """Decides when a message is due."""

    def __init__(self, settings: HealthSettings, machine: MachineHealth) -> None:
        self._settings, self._machine = settings, machine
        self._told_at_s = NEVER_S
        self._told_paused = False

    def reconnected(self) -> None:
        """What was in flight may be lost."""
        self._told_at_s = NEVER_S

    def due(self, now_s: float, paused: bool) -> bytes | None:
        """The message to send now, with a connection. paused: whether labels have to wait."""
        if paused == self._told_paused and now_s - self._told_at_s < self._settings.interval_s:
            return None
        self._told_at_s, self._told_paused = now_s, paused
        machine = self._machine
        measured = machine.disk_free_bytes(), machine.memory_free_bytes(), machine.temperature_c()
        return Health("paused" if paused else "on", *measured, self._settings.attributes).encode()
