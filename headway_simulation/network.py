"""Simulates a client's connection: it breaks, and loses, repeats and reorders packets."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from headway.mqtt import FullJitter
from headway.ports import Connected, Delivered, Disconnected, Outgoing, Received, Response, TransportEvent
from headway_simulation.broker import Broker
from headway_simulation.clock import Scheduler
from headway_simulation.power import Power

CONNECT_S = 0.2
RECONNECT_MIN_S, RECONNECT_MAX_S, RECONNECT_SPREAD_S = 0.5, 120.0, 5.0
NOTICE_MAX_S = 90.0
UNCONFIRMED_MAX = 100
# of these, what was on its way at once and may come a second time; the others waited in memory and are gone
RESENT_MAX = 20


@dataclass(slots=True)
class Link:
    """How packets travel, now. delay_s: mean; loss, duplicate, reorder: shares of packets, 0..1.

    A lost packet takes its connection with it, and all that follows on it until both ends notice; a reordered one
    overtakes others, which a connection never shows but a redelivery after a reconnection can.
    """

    delay_s: float = 0.05
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0

    def become(self, delay_s: float, loss: float, duplicate: float, reorder: float) -> None:
        """From now on packets travel like this."""
        self.delay_s, self.loss, self.duplicate, self.reorder = delay_s, loss, duplicate, reorder

    def heal(self) -> None:
        """From now on packets arrive once, in order."""
        self.become(0.05, 0.0, 0.0, 0.0)


class Path:
    """One direction of a connection: when each packet arrives, and how often."""

    def __init__(self, link: Link, scheduler: Scheduler, chance: random.Random) -> None:
        self._link, self._scheduler, self._chance = link, scheduler, chance
        self._last_s = 0.0

    def send(self, arrive: Callable[[], None], in_order: bool = False) -> bool:
        """Plan the arrival; False when the packet is lost. in_order: neither overtaken nor repeated late."""
        link, chance = self._link, self._chance
        if link.loss and chance.random() < link.loss:
            return False
        time_s = self._scheduler.now_s + chance.expovariate(1.0 / link.delay_s)
        if in_order or not link.reorder or chance.random() >= link.reorder:
            self._last_s = time_s = max(time_s, self._last_s)
        self._scheduler.at(time_s, arrive)
        if link.duplicate and chance.random() < link.duplicate:
            late_s = 0.0 if in_order else chance.expovariate(1.0 / (20 * link.delay_s))
            self._scheduler.at(time_s + late_s, arrive)
        return True


class SimulatedTransport:
    """One client's persistent session. Implements `headway.ports.Transport`.

    Like paho it sends again, after a reconnection, what the broker had not confirmed; the process takes that along.
    """

    def __init__(
        self,
        broker: Broker,
        client: str,
        host: str,
        subscriptions: tuple[str, ...],
        will: Outgoing,
        on_event: Callable[[TransportEvent], None],
        link: Link,
        scheduler: Scheduler,
        power: Power,
        watch: Callable[[Outgoing], None] | None = None,
    ) -> None:
        self.client, self.host, self.subscriptions, self.will = client, host, subscriptions, will
        self._watch = watch
        self._broker, self._on_event, self._scheduler, self._power = broker, on_event, scheduler, power
        self._chance = scheduler.chance(f"link/{host}/{scheduler.events}")
        self._up, self._down = Path(link, scheduler, self._chance), Path(link, scheduler, self._chance)
        self._alive = False
        self._connection: int | None = None
        self._dead: int | None = None
        self._token = 0
        self._unconfirmed: dict[int, Outgoing] = {}
        self._backoff = FullJitter(RECONNECT_MIN_S, RECONNECT_MAX_S, RECONNECT_SPREAD_S, self._chance.uniform)
        self._connected_at_s = 0.0

    def start(self) -> None:
        self._alive = True
        self._scheduler.after(self._chance.uniform(0, CONNECT_S), self._attempt)

    def publish(self, message: Outgoing) -> int | None:
        self._power.point()
        if self._watch is not None:
            self._watch(message)
        if self._connection is None or len(self._unconfirmed) >= UNCONFIRMED_MAX:
            return None
        self._token += 1
        self._unconfirmed[self._token] = message
        self._send(self._token)
        self._power.point()
        return self._token

    def stop(self) -> None:
        self._power.point()
        if self._connection is not None:
            self._broker.leave(self.client, self._connection)
        self.abandon()

    def abandon(self) -> None:
        """The process is gone: nothing happens here any more, and the broker finds out by itself."""
        if self._alive and self._connection is not None:
            self._broker.lost(self.client, self._connection, self._chance.uniform(0, NOTICE_MAX_S))
        self._alive, self._connection = False, None

    def broken(self, connection: int) -> None:
        """The connection broke; this end notices it after a while."""
        self._scheduler.after(self._chance.uniform(0, NOTICE_MAX_S), lambda: self._noticed(connection))

    def taken_over(self, connection: int) -> None:
        """The broker closed this connection, because another one uses its client id."""
        self._scheduler.after(CONNECT_S, lambda: self._noticed(connection))

    def carry(self, connection: int, arrive: Callable[[], None], in_order: bool = False) -> None:
        """Bring a packet from the broker to this client, or lose it with its connection."""
        self._carry(self._down, connection, arrive, in_order)

    def received(self, message: Received) -> bool:
        """A message from the broker; False when nobody is there to take it."""
        if not self._alive:
            return False
        self._on_event(message)
        return True

    def _attempt(self) -> None:
        if not self._alive:
            return
        session_present, connection = self._broker.connect(self)
        if connection is None:
            self._on_event(Disconnected("no route to the broker"))
            self._again(None)
            return
        self._connection, self._connected_at_s = connection, self._scheduler.now_s
        self._on_event(Connected(session_present))
        for token in list(self._unconfirmed)[RESENT_MAX:]:
            del self._unconfirmed[token]
        for token in list(self._unconfirmed):
            if self._dead == connection:
                break
            self._send(token)

    def _send(self, token: int) -> None:
        message, connection = self._unconfirmed[token], self._connection
        if connection is None:
            return

        def arrive() -> None:
            if self._broker.arrived(self, connection, message):
                self.carry(connection, lambda: self._confirmed(connection, token))

        # what the broker retains must be the newest: MQTT promises order, and only redelivery in order breaks it
        self._carry(self._up, connection, arrive, message.retain)

    def _carry(self, path: Path, connection: int, arrive: Callable[[], None], in_order: bool = False) -> None:
        if self._dead != connection and not path.send(arrive, in_order):
            self._dead = connection
            self._broker.lost(self.client, connection, self._chance.uniform(0, NOTICE_MAX_S))
            self.broken(connection)

    def _confirmed(self, connection: int, token: int) -> None:
        if self._alive and self._connection == connection and token in self._unconfirmed:
            del self._unconfirmed[token]
            self._on_event(Delivered(token, "Success", False))

    def _noticed(self, connection: int) -> None:
        if self._alive and self._connection == connection:
            self._connection = None
            self._on_event(Disconnected("connection lost"))
            self._again(self._scheduler.now_s - self._connected_at_s)

    def _again(self, worked_s: float | None) -> None:
        self._scheduler.after(CONNECT_S + self._backoff.wait_s(Response.RETRY, worked_s), self._attempt)
