"""Simulates an MQTT 5 broker: retained messages, sessions, wills, QoS 1 redelivery, and the loss of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from headway.ports import Outgoing, Received
from headway_simulation.clock import Scheduler
from headway_simulation.trace import Trace

QUEUED_MAX = 1000
# messages on their way to one client, as brokers limit them; the others wait until these are confirmed
IN_FLIGHT_MAX = 20
SESSION_EXPIRY_S = 7 * 86_400
AUTOSAVE_S = 1800.0


class Client(Protocol):
    """A client as the broker sees it. host: its machine; two may use one client id, when a disk was copied."""

    @property
    def client(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def subscriptions(self) -> tuple[str, ...]: ...

    @property
    def will(self) -> Outgoing: ...

    def carry(self, connection: int, arrive: Callable[[], None], in_order: bool = False) -> None:
        """Bring a packet from the broker to the client, or lose it with its connection."""
        ...

    def received(self, message: Received) -> bool: ...

    def broken(self, connection: int) -> None: ...

    def taken_over(self, connection: int) -> None:
        """The broker closes this connection, because another one uses its client id."""
        ...


class Restart(StrEnum):
    """What a broker's crash takes along: nothing, what came since it last saved, or everything."""

    KEEPS_ALL = "keeps-all"
    LOSES_RECENT = "loses-recent"
    LOSES_ALL = "loses-all"


@dataclass(slots=True)
class Session:
    """What the broker keeps for a client. flight: sent and not confirmed; it goes out again on the next connection."""

    subscriptions: tuple[str, ...] = ()
    queue: deque[Received] = field(default_factory=deque)
    flight: dict[int, Received] = field(default_factory=dict)
    client: Client | None = None
    connection: int = 0
    left_s: float = 0.0

    def open(self, client: Client, connection: int) -> None:
        """The client is there, over a new connection."""
        self.client, self.connection, self.subscriptions = client, connection, client.subscriptions

    def close(self, now_s: float) -> None:
        """The connection is over: what was in flight waits for the next one."""
        self.queue = deque([*self.flight.values(), *self.queue][:QUEUED_MAX])
        self.flight.clear()
        self.client, self.left_s = None, now_s


class Broker:
    """Routes messages between sessions. unreachable: machines cut off by a partition.

    observe: called with "in" or "out", the client, the topic and the payload's length, for every message.
    """

    def __init__(
        self, scheduler: Scheduler, trace: Trace, observe: Callable[[str, str, str, int], None] | None = None
    ) -> None:
        self._scheduler, self._trace, self._observe = scheduler, trace, observe
        self._chance = scheduler.chance("broker")
        self._sessions: dict[str, Session] = {}
        self._connections = self._deliveries = 0
        self._matches: dict[tuple[tuple[str, ...], str], bool] = {}
        self._saved: tuple[dict[str, Received], dict[str, Session]] = ({}, {})
        self.retained: dict[str, Received] = {}
        self.unreachable: set[str] = set()
        self.up = True

    def connect(self, client: Client) -> tuple[bool, int | None]:
        """Whether a session was there, and the number of the new connection; None when it cannot be made."""
        if not self.up or client.host in self.unreachable:
            return False, None
        session = self._sessions.get(client.client)
        away = session is not None and session.client is None
        if session is not None and away and self._scheduler.now_s - session.left_s > SESSION_EXPIRY_S:
            session = None
        present = session is not None
        session = session or Session()
        self._sessions[client.client] = session
        if session.client is not None:
            session.client.taken_over(session.connection)
            self._drop(session)
        self._connections += 1
        session.open(client, self._connections)
        self._trace.add(self._scheduler.now_s, "broker", f"{client.host} connects")
        waiting = set(map(id, session.queue))
        for name, message in self.retained.items():
            if self._subscribed(session, name) and id(message) not in waiting:
                session.queue.append(message)
        self._flow(session)
        return present, session.connection

    def leave(self, client: str, connection: int) -> None:
        """A clean goodbye: no will."""
        session = self._sessions.get(client)
        if session is not None and session.client is not None and session.connection == connection:
            self._drop(session)

    def lost(self, client: str, connection: int, notice_s: float) -> None:
        """The connection broke; the broker notices after a while and publishes the will."""
        self._scheduler.after(notice_s, lambda: self._notice(client, connection))

    def arrived(self, client: Client, connection: int, message: Outgoing) -> bool:
        """A message reached the broker; False when it did not. One from a connection just broken may still do."""
        session = self._sessions.get(client.client)
        current = session is not None and session.client is not None and session.connection == connection
        if not self.up or client.host in self.unreachable or (not current and self._chance.random() < 0.5):
            return False
        if self._observe is not None:
            self._observe("in", client.client, message.topic, len(message.payload))
        self._route(message)
        return current

    def partition(self, host: str) -> None:
        """Cut a machine off; both ends notice after a while."""
        self.unreachable.add(host)
        for session in self._sessions.values():
            if session.client is not None and session.client.host == host:
                session.client.broken(session.connection)
                self.lost(session.client.client, session.connection, self._chance.uniform(0, 90))

    def heal(self, host: str) -> None:
        """The machine can reach the broker again."""
        self.unreachable.discard(host)

    def waiting(self, client: str) -> list[Received]:
        """What a client has still to get, and what it gets anew with its next connection."""
        session = self._sessions.get(client, Session())
        retained = [message for name, message in self.retained.items() if self._subscribed(session, name)]
        return [*session.flight.values(), *session.queue, *retained]

    def crash(self, restart: Restart) -> None:
        """The broker dies. What it has when `recover` is called depends on `restart`; it publishes no wills."""
        self.up = False
        for session in self._sessions.values():
            if session.client is not None:
                session.client.broken(session.connection)
                self._drop(session)
        if restart is Restart.LOSES_ALL:
            self.retained, self._sessions = {}, {}
        elif restart is Restart.LOSES_RECENT:
            self.retained, self._sessions = self._saved
            self.save()

    def recover(self) -> None:
        """The broker is back."""
        self.up = True

    def save(self) -> None:
        """Write everything to disk, as brokers do now and then."""
        sessions = {
            name: Session(old.subscriptions, deque([*old.flight.values(), *old.queue]), left_s=self._scheduler.now_s)
            for name, old in self._sessions.items()
        }
        self._saved = (dict(self.retained), sessions)

    def _route(self, message: Outgoing) -> None:
        copy = Received(message.topic, message.payload)
        if message.retain and message.payload:
            self.retained[message.topic] = Received(message.topic, message.payload, True)
        elif message.retain:
            self.retained.pop(message.topic, None)
        for session in self._sessions.values():
            if self._subscribed(session, message.topic):
                if len(session.queue) < QUEUED_MAX:
                    session.queue.append(copy)
                self._flow(session)

    def _flow(self, session: Session) -> None:
        """Send what waits, as far as the client's window goes."""
        while session.queue and session.client is not None and len(session.flight) < IN_FLIGHT_MAX:
            self._deliver(session, session.queue.popleft())

    def _deliver(self, session: Session, message: Received) -> None:
        client, connection = session.client, session.connection
        if client is None:
            return
        self._deliveries += 1
        number = self._deliveries
        session.flight[number] = message

        def arrive() -> None:
            if message.retain and session.connection != connection:
                # what the broker retained then is of the past: a connection that is over brings nothing any more
                return
            if client.host in self.unreachable or not client.received(message):
                return
            if self._observe is not None:
                self._observe("out", client.client, message.topic, len(message.payload))
            if session.connection == connection:
                session.flight.pop(number, None)
                self._flow(session)

        client.carry(connection, arrive, message.retain)

    def _notice(self, client: str, connection: int) -> None:
        session = self._sessions.get(client)
        if self.up and session is not None and session.client is not None and session.connection == connection:
            will = session.client.will
            self._drop(session)
            self._route(will)

    def _drop(self, session: Session) -> None:
        session.close(self._scheduler.now_s)

    def _subscribed(self, session: Session, name: str) -> bool:
        key = (session.subscriptions, name)
        if key not in self._matches:
            self._matches[key] = any(_fits(pattern, name) for pattern in session.subscriptions)
        return self._matches[key]


def _fits(pattern: str, name: str) -> bool:
    wanted, given = pattern.split("/"), name.split("/")
    return len(wanted) == len(given) and all(w in ("+", g) for w, g in zip(wanted, given, strict=True))
