"""The interfaces to time and network, and their messages; everything behind them can be simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from headway.clocks import Clock as Clock
from headway.clocks import SystemClock as SystemClock


class Response(StrEnum):
    """What a code makes us do.

    retry: a connection is made again after a random part of a doubling bound; a message is sent again by whoever
        stores it, after its ack timeout.
    slow: as retry, but the bound is the longest one at once, and nothing is published before it has passed.
    person: somebody has to change something. One line says what; a device goes on without the network and tries
        again as with slow, the aggregator leaves with that line.
    move: the broker names another one; taken if the configuration allows it, else as person.
    """

    RETRY = "retry"
    SLOW = "slow"
    PERSON = "person"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish, as the codec built it."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted us; `session_present` tells whether it remembered our subscriptions."""

    session_present: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone or could not be made; the transport retries by itself.

    response: what the broker's reason asks of us; `person` means that trying again alone will not help. code: the
    broker's reason code of MQTT 5; 0 where it gave none.
    """

    reason: str
    response: Response = Response.RETRY
    code: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived. Not yet validated: the payload is whatever the peer sent.

    token: with which it is confirmed, where that is not done as it comes.
    """

    topic: str
    payload: bytes
    retain: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    token: int = 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The broker answered a QoS 1 publish. That is *not* durability; only the peer's own ack is.

    A broker's access list shows nowhere else: `refused`, with a reason that says so. topic: of the refused message.
    """

    token: int
    reason: str
    refused: bool
    topic: str = ""


@dataclass(frozen=True, slots=True)
class NotSubscribed:
    """The broker refused a subscription: what is published there will never arrive."""

    topic: str
    reason: str


TransportEvent = Connected | Disconnected | Received | Delivered | NotSubscribed


class Transport(Protocol):
    """A connection to the broker. Events come back through the callback the transport was built with."""

    def start(self) -> None:
        """Begin connecting, and keep reconnecting until `stop`."""
        ...

    def publish(self, message: Outgoing) -> int | None:
        """Hand a message over; the token comes back in `Delivered`. None when there is no connection."""
        ...

    def stop(self) -> None:
        """Disconnect cleanly and release every thread."""
        ...
