"""Connects the installer to the loop: its messages and events, and a disk that refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_agent.delivery.installer import Installer
from headway.errors import StoreError
from headway.ports import Clock
from headway.wire import Event, Kind

log = logging.getLogger("edge-agent")


class Messenger:
    """publish: sends a payload of a kind; note: publishes an event, by name and in words."""

    def __init__(
        self,
        installer: Installer,
        clock: Clock,
        publish: Callable[[Kind, bytes], object],
        note: Callable[[str, str], None],
    ) -> None:
        self.installer = installer
        self._clock, self._publish, self._note = clock, publish, note

    def receive(self, kind: Kind, payload: bytes) -> None:
        """What bundle is desired, or a range of one. Raises RemoteError when it is malformed."""
        now_s = self._clock.monotonic_s()
        try:
            if kind is Kind.DESIRED:
                self.installer.desired(payload)
            else:
                self.installer.received(payload, now_s)
        except StoreError as error:
            self._wait(error, now_s)

    def turn(self, now_s: float, connected: bool) -> bool:
        """Send what is due and publish what happened; True when something did."""
        try:
            request = self.installer.turn(now_s, connected)
        except StoreError as error:
            self._wait(error, now_s)
            request = None
        if request is not None:
            self._publish(Kind.REQUEST, request)
        events = self.installer.take_events()
        for item in events:
            log.info("%s: %s", item.name, ", ".join(f"{key} {value}" for key, value in item.detail.items()))
            self._publish(Kind.EVENT, Event(item.name, item.detail, self._clock.wall_s()).encode())
        return bool(events)

    def _wait(self, error: StoreError, now_s: float) -> None:
        self.installer.pause(now_s)
        self._note("delivery-waits", str(error))
