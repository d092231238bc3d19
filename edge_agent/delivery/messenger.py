"""Between a delivery's decisions and the rest of the loop: its messages, its news, and a disk that refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_agent.delivery.delivery import Delivery
from headway.errors import StoreError
from headway.ports import Clock
from headway.wire import Event, Kind

log = logging.getLogger("edge-agent")


class Messenger:
    """publish: sends a payload of a kind; note: tells people of an event, by name and in words."""

    def __init__(
        self,
        delivery: Delivery,
        clock: Clock,
        publish: Callable[[Kind, bytes], object],
        note: Callable[[str, str], None],
    ) -> None:
        self.delivery = delivery
        self._clock, self._publish, self._note = clock, publish, note

    def receive(self, kind: Kind, payload: bytes) -> None:
        """A wish or a range. Raises RemoteError when it is malformed."""
        now_s = self._clock.monotonic_s()
        try:
            if kind is Kind.DESIRED:
                self.delivery.desired(payload)
            else:
                self.delivery.received(payload, now_s)
        except StoreError as error:
            self._wait(error, now_s)

    def turn(self, now_s: float, connected: bool) -> bool:
        """Send what is due and tell what happened; True when there was something to tell."""
        try:
            request = self.delivery.turn(now_s, connected)
        except StoreError as error:
            self._wait(error, now_s)
            request = None
        if request is not None:
            self._publish(Kind.REQUEST, request)
        news = self.delivery.take_news()
        for item in news:
            log.info("%s: %s", item.name, ", ".join(f"{key} {value}" for key, value in item.detail.items()))
            self._publish(Kind.EVENT, Event(item.name, item.detail, self._clock.wall_s()).encode())
        return bool(news)

    def _wait(self, error: StoreError, now_s: float) -> None:
        self.delivery.pause(now_s)
        self._note("delivery-waits", str(error))
