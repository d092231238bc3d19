"""The connection of a region to its parent's broker: its events wait for the service's thread, which sends, too."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aggregator.message_queue import MessageQueue
from headway.ports import Connected, Disconnected, NotSubscribed, Outgoing, Received, Transport, TransportEvent

LOG = logging.getLogger("headway.aggregator")
# acks and heads of one region: few, and those that do not fit hold up the parent's connection alone
EVENTS_MAX, BYTES_MAX = 100, 8 << 20


class ParentLink:
    """build_transport: makes the connection, given where events go."""

    def __init__(self, build_transport: Callable[[Callable[[TransportEvent], None]], Transport]) -> None:
        self._queue = MessageQueue(EVENTS_MAX, BYTES_MAX)
        self._transport = build_transport(self._queue.put)
        self._last_error = ""

    def start(self) -> None:
        """Begin connecting. A parent that is away holds up nothing."""
        self._transport.start()

    def stop(self) -> None:
        """Disconnect."""
        self._queue.close()
        self._transport.stop()

    def take(self) -> tuple[bool, list[Received]]:
        """Whether a connection has begun, and the messages that have come, since the last call."""
        begun, received = False, list[Received]()
        for event in self._queue.take(EVENTS_MAX, 0.0):
            if isinstance(event, Connected):
                begun, self._last_error = True, ""
                LOG.info("connected to the parent's broker")
            elif isinstance(event, Received):
                received.append(event)
            elif isinstance(event, Disconnected) and event.reason != self._last_error:
                self._last_error = event.reason
                LOG.warning("no connection to the parent's broker: %s", event.reason)
            elif isinstance(event, NotSubscribed):
                LOG.error("the parent's broker refused the subscription to %s: %s", event.topic, event.reason)
        return begun, received

    def send(self, message: Outgoing) -> None:
        """Now, or not at all: what has no answer is sent again."""
        self._transport.publish(message)
