"""Every reason code of MQTT 5 (OASIS standard, section 2.4), and how Headway reacts to it.

One table for CONNACK, DISCONNECT, PUBACK and SUBACK, because a code means the same in each. The same table stands in
docs/protocol.md, section 8; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from headway.ports import Response

REFUSED_FROM = 128  # codes from here on are failures


@dataclass(frozen=True, slots=True)
class Reason:
    """A code, its name in the standard, the response, and the advice for the line that people read."""

    code: int
    name: str
    response: Response
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.code})" + (f"; {self.advice}" if self.advice else "")


_RETRY, _SLOW, _PERSON, _MOVE = Response.RETRY, Response.SLOW, Response.PERSON, Response.MOVE
_ALL = (
    Reason(128, "Unspecified error", _RETRY),
    Reason(129, "Malformed Packet", _SLOW, "broker and client disagree about MQTT 5"),
    Reason(130, "Protocol Error", _SLOW, "broker and client disagree about MQTT 5"),
    Reason(131, "Implementation specific error", _RETRY),
    Reason(132, "Unsupported Protocol Version", _PERSON, "the broker must speak MQTT 5"),
    Reason(133, "Client Identifier not valid", _PERSON, "let the broker accept this client id"),
    Reason(134, "Bad User Name or Password", _PERSON, "check username and password"),
    Reason(135, "Not authorized", _PERSON, "check the broker's access list"),
    Reason(136, "Server unavailable", _RETRY),
    Reason(137, "Server busy", _SLOW),
    Reason(138, "Banned", _PERSON, "the broker's administrator has banned this client"),
    Reason(139, "Server shutting down", _RETRY),
    Reason(140, "Bad authentication method", _PERSON, "use a password or a client certificate"),
    Reason(141, "Keep Alive timeout", _RETRY),
    Reason(142, "Session taken over", _PERSON, "another client uses this id; give each machine its own"),
    Reason(143, "Topic Filter invalid", _PERSON, "the broker does not take these subscriptions"),
    Reason(144, "Topic Name invalid", _PERSON, "the broker does not take these topics"),
    Reason(145, "Packet Identifier in use", _RETRY),
    Reason(146, "Packet Identifier not found", _RETRY),
    Reason(147, "Receive Maximum exceeded", _SLOW, "lower receive_max"),
    Reason(148, "Topic Alias invalid", _SLOW),
    Reason(149, "Packet too large", _PERSON, "raise the broker's limit to 160 KiB a packet"),
    Reason(150, "Message rate too high", _SLOW),
    Reason(151, "Quota exceeded", _SLOW),
    Reason(152, "Administrative action", _SLOW),
    Reason(153, "Payload format invalid", _PERSON, "a filter of the broker does not take these payloads"),
    Reason(154, "Retain not supported", _PERSON, "the broker must keep retained messages"),
    Reason(155, "QoS not supported", _PERSON, "the broker must support quality of service 1"),
    Reason(156, "Use another server", _MOVE, "set host, or follow_redirects = true"),
    Reason(157, "Server moved", _MOVE, "set host, or follow_redirects = true"),
    Reason(158, "Shared Subscriptions not supported", _PERSON),
    Reason(159, "Connection rate exceeded", _SLOW),
    Reason(160, "Maximum connect time", _RETRY),
    Reason(161, "Subscription Identifiers not supported", _PERSON),
    Reason(162, "Wildcard Subscriptions not supported", _PERSON, "the aggregator needs wildcard subscriptions"),
)
REASONS: dict[int, Reason] = {reason.code: reason for reason in _ALL}


def reason_of(code: int) -> Reason:
    """The entry of a failure code; one that no standard names slows us down."""
    return REASONS.get(code, Reason(code, "Unknown reason", _SLOW))
