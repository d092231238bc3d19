"""Runs an ingest worker's loop in one thread.

    take what arrived -> one transaction -> commit -> tell the broker (PUBACK) -> tell the devices (acks) -> again

The broker is told after the commit and not before, so what it may still hand on is never lost through us; it holds back
what exceeds the window. Nobody trusts it with more: a broker may drop what a killed worker had not confirmed
(mosquitto does), and then the device sends it again, because it has no ack.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from aggregator.effects import Effect, Instant, Note
from aggregator.message_queue import MessageQueue
from aggregator.store import Store
from aggregator.workers.worker import Worker
from headway.errors import TransportError
from headway.ports import (
    Clock,
    Connected,
    Disconnected,
    NotSubscribed,
    Outgoing,
    Received,
    Response,
    Transport,
    TransportEvent,
)
from headway.sd_notify import SystemdNotifier
from headway.stopping import StopRequest
from headway.wire import worker_subscriptions

LOG = logging.getLogger("headway.worker")
WAIT_S = 1.0
# the window bounds what waits; this holds the events of connections beside it
EVENTS_MAX = 1000


class ConfirmingTransport(Transport, Protocol):
    """A connection whose messages are confirmed when they are durable."""

    def confirm(self, message: Received) -> None:
        """The broker may forget this message."""
        ...


class WorkerService:
    """Runs one worker until it is asked to stop. build_transport: makes the connection, given the subscriptions and
    where events go."""

    def __init__(
        self,
        fleet: str,
        worker: Worker,
        store: Store,
        build_transport: Callable[[tuple[str, ...], Callable[[TransportEvent], None]], ConfirmingTransport],
        reports_max: int,
        bytes_max: int,
        clock: Clock,
        notifier: SystemdNotifier,
        stop: StopRequest,
    ) -> None:
        self._worker, self._store, self._reports_max = worker, store, reports_max
        self._clock, self._notifier, self._stop = clock, notifier, stop
        self._queue = MessageQueue(2 * reports_max + EVENTS_MAX, bytes_max)
        self._transport = build_transport(worker_subscriptions(fleet), self._queue.put)
        self._stored = self._lost = 0

    def run(self) -> None:
        """Serve until told to stop. Raises StoreError when the database refuses, or no publisher takes over what is
        stored; TransportError when the broker refuses for a reason that somebody has to remove."""
        self._transport.start()
        self._notifier.ready("taking in reports")
        LOG.info("taking in reports")
        try:
            while not self._stop.requested:
                self.turn(min(WAIT_S, self._notifier.feed_interval_s))
                self._notifier.progress()
        finally:
            self._notifier.stopping()
            self._queue.close()
            self._transport.stop()
            LOG.info("stopped after %d reports; %d acks could not be sent", self._stored, self._lost)

    def turn(self, wait_s: float) -> None:
        """One turn of the loop. wait_s: how long to wait for the first event."""
        events = self._queue.take(self._reports_max, wait_s)
        received = [event for event in events if isinstance(event, Received)]
        effects: list[Effect] = []
        if received:
            now = Instant(self._clock.monotonic_s(), self._clock.wall_s())
            with self._store.transaction():
                effects = self._worker.receive(received, now)
            self._stored += len(received)
        for message in received:
            self._transport.confirm(message)
        for effect in effects:
            if isinstance(effect, Outgoing):
                # an ack that is lost is asked for again: the device sends its report once more
                self._lost += self._transport.publish(effect) is None
            elif isinstance(effect, Note):
                LOG.log(logging.WARNING if effect.warning else logging.INFO, "%s", effect.text)
        for event in events:
            self._tell(event)

    def _tell(self, event: TransportEvent) -> None:
        if isinstance(event, Connected):
            LOG.info("connected to the broker")
        elif isinstance(event, NotSubscribed):
            reason = f"the broker refused the subscription to {event.topic}: {event.reason}"
            raise TransportError(f"{reason}; a worker needs shared subscriptions (MQTT 5), and leave to read them")
        elif isinstance(event, Disconnected):
            LOG.warning("no connection to the broker: %s", event.reason)
            if event.response is Response.PERSON:
                raise TransportError(event.reason)
