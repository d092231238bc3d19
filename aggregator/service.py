"""Runs the aggregator's loop in one thread, which owns all state.

    take what arrived -> one transaction (core decides, store keeps) -> commit -> publish acks and heads -> again

The network thread only puts events into a bounded queue; when it is full that thread waits, the broker's window
fills, and the fleet is held back instead of our memory filling up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from aggregator.config import ServiceLimits
from aggregator.core import BOOT, HOUSEKEEPING_INTERVAL_S, Aggregator
from aggregator.effects import Effect, Instant, Recorded, Spent, Upward
from aggregator.message_queue import MessageQueue
from aggregator.monitoring import NotWatched, Watch
from aggregator.regions import ParentLink
from aggregator.store import Store
from aggregator.store.rows import PrivacySpentRow, RemovalRow
from headway.errors import StoreError, TransportError
from headway.ports import (
    Clock,
    Connected,
    Delivered,
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
from headway.wire import AGGREGATOR, Kind, Status, aggregator_subscriptions, topic

LOG = logging.getLogger("headway.aggregator")

# code of MQTT 5: its own advice, an id for each machine, is none for a server, whose id follows from the fleet's name
SESSION_TAKEN_OVER = 142
ONE_ALONE = (
    ". One aggregator serves a fleet: stop the other, or bind client ids to users, so that nobody else can take its id "
    "(docs/howto/mqtt.md)"
)
REFUSALS_LOGGED_MAX = 100


class Service:
    """Runs one fleet's aggregator until it is asked to stop.

    build_transport: makes the connection, given the last will, the subscriptions and where events go. stop: hears
    requests to end; by default only `stop` makes one. watch: who counts what it does. keep: is given the
    record of each removal, once that is durable. keep_spent: of each head with noise, before anything leaves.
    workers: others listen to most of what devices say. parent: the connection to the parent server of a region.
    """

    def __init__(
        self,
        fleet: str,
        core: Aggregator,
        store: Store,
        build_transport: Callable[[Outgoing, tuple[str, ...], Callable[[TransportEvent], None]], Transport],
        limits: ServiceLimits,
        clock: Clock,
        notifier: SystemdNotifier,
        stop: StopRequest | None = None,
        watch: Watch | None = None,
        keep: Callable[[RemovalRow], object] = lambda row: None,
        keep_spent: Callable[[PrivacySpentRow], object] = lambda row: None,
        workers: bool = False,
        parent: ParentLink | None = None,
    ) -> None:
        self._core, self._store, self._limits = core, store, limits
        self._clock, self._notifier = clock, notifier
        self._queue = MessageQueue(limits.queue_messages_max, limits.queue_bytes_max)
        self._stop = StopRequest() if stop is None else stop
        self._watch, self._keep, self._parent = NotWatched() if watch is None else watch, keep, parent
        self._keep_spent = keep_spent
        self._status_topic = topic(fleet, AGGREGATOR, Kind.STATUS)
        with store.transaction():
            self._boot = store.number(BOOT) + 1
            store.put_number(BOOT, self._boot)
            core.await_retained_head()
        subscriptions = aggregator_subscriptions(fleet, workers=workers)
        self._transport = build_transport(self._status(online=False), subscriptions, self._queue.put)
        self._stored = self._lost = 0
        self._last_error = ""
        self._head_unsent = False
        self._clearing: dict[int, str] = {}
        self._refusals: set[str] = set()

    def run(self) -> bool:
        """Serve until told to stop; True when the fleet has moved to another bundle, with which to start again. Who is
        told to stop does not start again.

        Raises StoreError when the disk or the database refuses, TransportError when the broker does so for a reason
        that somebody has to remove.
        """
        self.start()
        self._notifier.ready("serving")
        LOG.info("serving, boot %d", self._boot)
        try:
            while not self._stop.requested and not self._core.superseded:
                wait_s = min(HOUSEKEEPING_INTERVAL_S, self._notifier.feed_interval_s)
                self.turn(0.0 if self._core.at_work else wait_s)
                self._notifier.progress()
        finally:
            self.finish()
        return self._core.superseded and not self._stop.requested

    def stop(self) -> None:
        """Finish the transaction at hand and return from `run`; from any thread."""
        self._stop.request()

    def start(self) -> None:
        """Begin connecting; nobody is heard until that is done."""
        self._core.disconnected()
        self._transport.start()
        if self._parent is not None:
            self._parent.start()

    def finish(self) -> None:
        """Say goodbye and disconnect; what arrives from now on is not taken."""
        self._notifier.stopping()
        self._transport.publish(self._status(online=False))
        self._queue.close()
        self._transport.stop()
        if self._parent is not None:
            self._parent.stop()
        LOG.info("stopped after %d messages; %d could not be sent for want of a connection", self._stored, self._lost)

    def turn(self, wait_s: float) -> None:
        """One turn of the loop: everything that arrived becomes durable, then what follows from it leaves.

        wait_s: how long to wait for the first event.
        """
        events = self._queue.take(self._limits.messages_per_transaction_max, wait_s)
        received = [event for event in events if isinstance(event, Received)]
        links = [event for event in events if isinstance(event, Connected | Disconnected)]
        greeting = bool(links) and isinstance(links[-1], Connected)
        again, self._head_unsent = self._head_unsent, False
        now = Instant(self._clock.monotonic_s(), self._clock.wall_s())
        effects: list[Effect] = [self._status(online=True)] if greeting else []
        cleared = self._cleared(events)
        transaction_s = None
        begun, of_parent = (False, list[Received]()) if self._parent is None else self._parent.take()
        if links and not greeting:
            self._core.disconnected()
        if received or greeting or again or cleared or begun or of_parent or self._core.due(now, not events):
            with self._store.transaction():
                self._core.cleared(cleared)
                if greeting:
                    effects += self._core.connected(now)
                elif again:
                    effects += self._core.again(now)
                effects += self._core.receive(received, now)
                effects += self._core.of_parent(begun, of_parent)
                effects += self._core.tick(now, not events)
            transaction_s = self._clock.monotonic_s() - now.monotonic_s
        self._watch.turned(events, transaction_s, self._queue.waited_s)
        self._stored += len(received)
        for event in events:
            self._log_connection(event)
        for effect in effects:
            if isinstance(effect, Spent):
                self._keep_spent(effect.row)
        for effect in effects:
            self._apply(effect)
        self._checkpoint()
        for event in events:
            if isinstance(event, Disconnected) and event.response is Response.PERSON:
                raise TransportError(event.reason + (ONE_ALONE if event.code == SESSION_TAKEN_OVER else ""))

    def _apply(self, effect: Effect) -> None:
        if isinstance(effect, Outgoing):
            # nothing is kept here: the next turn or connection brings the head, and devices ask for acks again
            clearing = effect.retain and not effect.payload
            if clearing:
                self._queue.take_deliveries(True)  # before it is sent: the answer comes on another thread
            token = self._transport.publish(effect)
            sent = token is not None
            self._lost += not sent
            self._watch.sent(effect, sent)
            if clearing and token is not None:
                self._clearing[token] = effect.topic
            # a window full of acks refuses a head too, and no connection need follow
            self._head_unsent = self._head_unsent or (effect.retain and bool(effect.payload) and not sent)
            return
        if isinstance(effect, Recorded):
            self._keep(effect.row)
            return
        if isinstance(effect, Upward):
            if self._parent is not None:
                self._parent.send(effect.message)
            return
        if isinstance(effect, Spent):
            return
        LOG.log(logging.WARNING if effect.warning else logging.INFO, "%s", effect.text)
        if not effect.warning:
            self._notifier.status(effect.text)

    def _checkpoint(self) -> None:
        """What the database puts off; all answers have left."""
        try:
            self._store.checkpoint(self._queue.empty)
        except StoreError as error:
            # all is durable where it is; where the disk goes on refusing, a transaction does not begin or end
            LOG.warning("%s", error)

    def _cleared(self, events: Sequence[TransportEvent]) -> list[str]:
        """Topics of which the broker has confirmed that it retains nothing any more."""
        topics = []
        for event in events:
            if isinstance(event, Connected):
                self._clearing.clear()  # tokens of the connection before; the core asks again
            elif isinstance(event, Delivered) and event.token in self._clearing:
                name = self._clearing.pop(event.token)
                topics += [] if event.refused else [name]
        self._queue.take_deliveries(bool(self._clearing))
        return topics

    def _log_connection(self, event: TransportEvent) -> None:
        if isinstance(event, Connected):
            self._last_error = ""
            self._refusals.clear()
            LOG.info("connected to the broker, session %s", "resumed" if event.session_present else "new")
        elif isinstance(event, Disconnected) and event.reason != self._last_error:
            # each attempt to reconnect fails with the same words; once is enough
            LOG.warning("no connection to the broker: %s", event.reason)
            self._last_error = event.reason
        elif isinstance(event, Delivered) and event.refused:
            self._log_refusal(f"the broker refused {event.topic or 'a message'}: {event.reason}")
        elif isinstance(event, NotSubscribed):
            self._log_refusal(f"the broker refused the subscription to {event.topic}: {event.reason}")

    def _log_refusal(self, line: str) -> None:
        """Once per connection and topic: a fleet's worth of the same line helps nobody."""
        if line not in self._refusals and len(self._refusals) < REFUSALS_LOGGED_MAX:
            self._refusals.add(line)
            LOG.error("%s", line)

    def _status(self, online: bool) -> Outgoing:
        return Outgoing(self._status_topic, Status(online, self._boot).encode(), retain=True)
