"""Takes the events of alerts to a channel: in order, each at least once, the same message again until it was taken.

Runs in a thread of its own for each channel, with its own handle of the store, so that a receiver that hangs holds up
neither acks nor other channels. What is sent next is noted before it is sent, and that it was taken after: a kill in
between sends the same message again, under the same id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from aggregator.alerts.alerts import events_so_far
from aggregator.alerts.channels import AlertMessage, Channel
from aggregator.store import Store
from aggregator.store.rows import ALERT_CHANNELS, ALERT_EVENTS, AlertChannelRow, AlertEventRow
from headway.errors import StoreError, TransportError
from headway.ports import Clock

LOG = logging.getLogger("headway.aggregator.alerts")
LOOK_INTERVAL_S = 1.0
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 300.0


def begin_channels(store: Store, names: Iterable[str]) -> None:
    """Note which channels there are, in a transaction, before the first event of this run: a new one begins there."""
    rows, wanted = store.rows(ALERT_CHANNELS), set(names)
    for row in rows.all():
        if row.channel not in wanted:
            rows.remove(row.channel)
    for name in wanted:
        if rows.get(name) is None:
            newest = events_so_far(store)
            rows.put(AlertChannelRow(name, newest, newest, 0, 0.0, "", 0))


class Delivery:
    """One channel. give_up_s: for how long one message is tried; then it counts as given up, and the next one goes."""

    def __init__(self, fleet: str, store: Store, channel: Channel, give_up_s: float, clock: Clock) -> None:
        self._fleet, self._store, self._channel, self._clock = fleet, store, channel, clock
        self._give_up_s = give_up_s
        self._again_at_s = float("-inf")

    def step(self) -> bool:
        """Send the next message, if one is due; whether another one may be. Raises StoreError."""
        if self._clock.monotonic_s() < self._again_at_s:
            return False
        with self._store.transaction():
            row, events = self._next()
        if not events:
            return False
        try:
            self._channel.send(AlertMessage(self._fleet, events))
        except TransportError as error:
            self._failed(row, len(events), str(error))
            return False
        self._again_at_s = self._clock.monotonic_s() + self._channel.interval_s
        if row.failed_s:
            LOG.info("%s takes alerts again, after %d attempts", self._channel.name, row.attempts + 1)
        self._settle(row, replace(row, told=row.telling, attempts=0, failed_s=0.0, last_error=""))
        return True

    def _next(self) -> tuple[AlertChannelRow, Sequence[AlertEventRow]]:
        """The message that was being sent, else the next one; noted before it leaves."""
        row = self._store.rows(ALERT_CHANNELS).get(self._channel.name)
        if row is None:
            raise StoreError(f"the store does not know the channel {self._channel.name}; start the service again")
        if row.telling <= row.told:
            telling = min(events_so_far(self._store), row.told + self._channel.events_max)
            row = replace(row, telling=telling)
        count = row.telling - row.told
        events = self._store.rows(ALERT_EVENTS).all(after=(row.told,), count_max=count) if count > 0 else []
        events = [event for event in events if event.number <= row.telling]
        if len(events) < count:
            # so many came meanwhile that the store has forgotten the oldest
            LOG.error("%d events of alerts were never told by %s", count - len(events), self._channel.name)
            row = replace(row, given_up=row.given_up + count - len(events), told=row.telling - len(events))
        self._put(row)
        return row, events

    def _failed(self, row: AlertChannelRow, count: int, problem: str) -> None:
        now_s = self._clock.wall_s()
        since_s = row.failed_s or now_s
        wait_s = min(RETRY_FIRST_S * 2.0 ** min(row.attempts, 20), RETRY_MAX_S)
        self._again_at_s = self._clock.monotonic_s() + wait_s
        failed = replace(row, attempts=row.attempts + 1, failed_s=since_s, last_error=problem)
        if problem != row.last_error:
            LOG.warning("%s is not told of alerts: %s; it is tried again", self._channel.name, problem)
        if now_s - since_s >= self._give_up_s:
            LOG.error("%s was not told of %d events for %g s: given up", self._channel.name, count, self._give_up_s)
            failed = replace(failed, told=row.telling, attempts=0, failed_s=0.0, given_up=row.given_up + count)
            self._again_at_s = float("-inf")
        self._settle(row, failed)

    def _settle(self, sent: AlertChannelRow, row: AlertChannelRow) -> None:
        """Note what came of a message, unless another thread was faster: the one of a service that started again while
        this one hung in its connection. The cursor never goes back."""
        with self._store.transaction():
            known = self._store.rows(ALERT_CHANNELS).get(row.channel)
            if known is not None and (known.told, known.telling) == (sent.told, sent.telling):
                self._put(row)

    def _put(self, row: AlertChannelRow) -> None:
        """Idle looks write nothing: they would wake the disk each second."""
        if self._store.rows(ALERT_CHANNELS).get(row.channel) != row:
            self._store.rows(ALERT_CHANNELS).put(row)


class DeliveryThread:
    """Runs one channel until it is stopped. open_store: a handle of this thread's own, and what closes it."""

    def __init__(
        self, open_store: Callable[[], tuple[Store, Callable[[], None]]], build: Callable[[Store], Delivery], name: str
    ) -> None:
        self._open_store, self._build = open_store, build
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alerts-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Ask it to end; what hangs in a connection ends with the process, and its message is sent again."""
        self._stopped.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._deliver()
            except StoreError as error:
                # the service itself meets the same store, and decides what that means
                LOG.warning("alerts cannot be told for now: %s", error)
                self._stopped.wait(RETRY_FIRST_S * 10)

    def _deliver(self) -> None:
        store, close = self._open_store()
        try:
            delivery = self._build(store)
            while not self._stopped.is_set():
                if not delivery.step():
                    self._stopped.wait(LOOK_INTERVAL_S)
        finally:
            close()
