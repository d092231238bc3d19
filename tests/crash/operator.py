"""What an operator asks of one device from afar while everything is killed: labels by command, and settings."""

from __future__ import annotations

import json
import time

from aggregator.remote_commands import OPEN, ask, commands_of
from aggregator.store.rows import DEVICE
from aggregator.twins import change_settings, settings_view
from headway.wire import DONE
from tests.crash.site import Site

LASTS_S = 3600.0
SETTING = "sync.ack_timeout_s"


class Operator:
    """Of one fleet, over the store of its running aggregator. device: that is told."""

    def __init__(self, site: Site, device: str) -> None:
        self._site, self.device = site, device

    def knows_the_device(self) -> bool:
        """Whether the fleet has heard of it."""
        with self._site.store() as store:
            return store.device(self.device) is not None

    def label(self, window: str, name: str) -> None:
        """Ask for a window to be labelled with a class."""
        with self._site.store() as store:
            ask(store, self.device, "label", {"window": window, "class": name}, "crash", time.time(), LASTS_S)

    def set(self, value: float) -> None:
        """Change a setting of the device."""
        with self._site.store() as store:
            change_settings(store, DEVICE, self.device, {SETTING: value}, (), time.time())

    def problem(self) -> str:
        """What of all that has not come to its end as it should; empty when everything has."""
        with self._site.store() as store:
            commands = commands_of(store, self.device)
            view = settings_view(store, self.device, time.time())
        waiting = sum(row.state in OPEN for row in commands)
        failed = [row for row in commands if row.state not in (*OPEN, DONE)]
        if failed:
            return f"command {failed[0].name} of {self.device} is {failed[0].state}: {json.loads(failed[0].detail)}"
        if waiting:
            return f"{waiting} of {len(commands)} commands to {self.device} wait"
        # a device that is killed three times while it tries them takes settings back, and says so
        taken_back = view.state is not None and "came to nothing" in view.state.refused.get(SETTING, "")
        if view.wanted and view.words != "applied" and not taken_back:
            return f"settings of {self.device} are {view.words}: {view.differences}"
        return ""
