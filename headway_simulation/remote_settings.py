"""Simulates the file in which a device keeps what it decided about settings from afar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import AgentConfig
from edge_agent.remote import Kept, RemoteConfiguration
from headway.errors import ConfigError, StoreError
from headway.fields import Fields
from headway.settings import settings_from
from headway.wire import SettingValue
from headway_simulation.power import Power

NOWHERE = Path("simulated")


@dataclass(slots=True)
class RemoteFile:
    """What is on the disk; empty before anything was decided."""

    payload: bytes = b""

    def replace(self, kept: Kept) -> None:
        """The file is replaced, durably."""
        self.payload = kept.encode()

    def read(self) -> Kept:
        return Kept.decode(self.payload) if self.payload else Kept()

    def copy(self) -> RemoteFile:
        """For a copy of the disk."""
        return RemoteFile(self.payload)


class SimulatedRemote(RemoteConfiguration):
    """Of one start of the device. own: its own configuration; `full` says that the disk refuses."""

    def __init__(self, own: AgentConfig, file: RemoteFile, power: Power, full: Callable[[], bool]) -> None:
        self._mine, self._on_disk, self._power, self._full = own, file, power, full
        super().__init__(NOWHERE)

    def _configuration(self, values: Mapping[str, SettingValue]) -> AgentConfig:
        return configured(self._mine, values)

    def _read_file(self) -> Mapping[str, object]:
        return {}  # its settings are made as an object

    def _load(self) -> Kept:
        return self._on_disk.read()

    def _save(self, kept: Kept) -> None:
        with self._power.effect():
            if self._full():
                raise StoreError("no space left on the simulated disk")
            self._on_disk.replace(kept)


def configured(own: AgentConfig, values: Mapping[str, SettingValue]) -> AgentConfig:
    """A configuration with these values over it, by ``table.key``. Raises ConfigError."""
    tables: dict[str, dict[str, SettingValue]] = {}
    for place, value in values.items():
        name, key = place.split(".")
        tables.setdefault(name, {})[key] = value
    return settings_from(AgentConfig, Fields(dict(tables), "agent.toml", ConfigError), default=own)
