"""Holds what has arrived and is not stored yet, bounded in messages and in bytes; the network thread waits for room."""

from __future__ import annotations

import threading
from collections import deque

from headway.ports import Delivered, Received, TransportEvent

PUT_TIMEOUT_S = 0.5
# of the bytes that may wait, what one transaction takes at most: what it holds comes on top of what waits meanwhile
TRANSACTION_SHARE = 0.25


class MessageQueue:
    """Where the network thread leaves events, and the only thing the two threads share.

    bytes_max: of payloads; a single message that is longer is taken when nothing else waits. waited_s: how long
    the network thread waited for room, in steps of PUT_TIMEOUT_S.
    """

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._events: deque[TransportEvent] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = self._takes_deliveries = False
        self.waited_s = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing waits at this moment."""
        return not self._events

    def put(self, event: TransportEvent) -> None:
        """Called from the network thread; waits while the queue is full."""
        if isinstance(event, Delivered) and not event.refused and not self._takes_deliveries:
            return
        size = _size(event)
        with self._changed:
            while not self._changed.wait_for(lambda: self._closed or self._has_room(size), PUT_TIMEOUT_S):
                self.waited_s += PUT_TIMEOUT_S
            # after `close` nobody stores anything, so nothing gets acknowledged and the devices keep it
            if not self._closed:
                self._events.append(event)
                self._bytes += size
                self._changed.notify_all()

    def take(self, count_max: int, timeout_s: float) -> list[TransportEvent]:
        """Up to `count_max` events, and as many as one transaction may hold; waits up to `timeout_s` for the first."""
        taken: list[TransportEvent] = []
        left = int(self._bytes_max * TRANSACTION_SHARE)
        with self._changed:
            self._changed.wait_for(lambda: bool(self._events), timeout_s)
            while self._events and len(taken) < count_max:
                size = _size(self._events[0])
                if taken and size > left:
                    break
                taken.append(self._events.popleft())
                left, self._bytes = left - size, self._bytes - size
            self._changed.notify_all()
        return taken

    def take_deliveries(self, wanted: bool) -> None:
        """Whether anybody wants to know of messages that the broker has taken; they are dropped until then."""
        self._takes_deliveries = wanted

    def close(self) -> None:
        """Let a waiting network thread go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        if not self._events:
            return True
        return len(self._events) < self._messages_max and self._bytes + size <= self._bytes_max


def _size(event: TransportEvent) -> int:
    """Bytes of its payload."""
    return len(event.payload) if isinstance(event, Received) else 0
