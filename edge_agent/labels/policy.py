"""Decides when waiting labels are learned: after a trigger, and only while the machine is within its limits.

    trigger   always | every N labels | every T seconds | a drift alarm
    allowed   load, temperature and power within their limits

The door stays open until every waiting label is learned, after an alarm also for the N labels that follow it.
Predictions never wait for it.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.labels.machine_state import MachineState
from edge_agent.learner_settings import PolicySettings
from headway.errors import ConfigError


class Policy:
    """Decides with events and a time; `machine_state` is asked only for what the settings name.

    interrupted: whether a window waits to be answered, so that learning stops after the label at hand.
    """

    def __init__(
        self,
        settings: PolicySettings,
        machine_state: MachineState,
        now_s: float,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings, self._machine_state, self.interrupted = settings, machine_state, interrupted
        self._closed_s = now_s
        self._owed = 0
        self._open = settings.trigger == "always"
        if settings.temperature_c_max and machine_state.temperature_c() is None:
            raise ConfigError("temperature_c_max is set, but this machine has no thermal zone; set it to 0")

    def alarm(self) -> None:
        """Something drifts."""
        if self.settings.trigger == "drift":
            self._open, self._owed = True, self.settings.every_labels

    def demand(self) -> None:
        """Somebody asks that everything that waits be learned; the machine's limits hold all the same."""
        self._open = True

    def obstacle(self, now_s: float, waiting: int) -> str:
        """Why nothing may be learned now, in a few words; empty when it may. waiting: labels not yet learned."""
        settings = self.settings
        match settings.trigger:
            case "labels":
                self._open = self._open or waiting >= settings.every_labels
                reason = f"{waiting} of {settings.every_labels} labels are there"
            case "interval":
                self._open = self._open or now_s - self._closed_s >= settings.every_s
                reason = f"the next time is in {settings.every_s - (now_s - self._closed_s):.0f} s"
            case "drift":
                reason = "nothing drifts"
            case _:
                reason = ""
        return self._conditions() if self._open else reason

    def learned(self, labels: int, waiting: int, now_s: float) -> None:
        """So many labels were learned since the last call, and so many wait."""
        self._owed = max(0, self._owed - labels)
        if self._open and not waiting and not self._owed:
            self._open, self._closed_s = self.settings.trigger == "always", now_s

    def _conditions(self) -> str:
        settings = self.settings
        if settings.mains_only and not self._machine_state.on_mains():
            return "the device runs on battery"
        if settings.load_max and (load := self._machine_state.load_average()) > settings.load_max:
            return f"load {load:.2f} is above {settings.load_max:g}"
        limit = settings.temperature_c_max
        if limit and (temperature := self._machine_state.temperature_c()) is not None and temperature > limit:
            return f"{temperature:.1f} C is above {limit:g} C"
        return ""
