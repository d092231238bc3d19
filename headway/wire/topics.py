"""Builds and parses topics, ``headway/v1/{fleet}/{device}/{kind}``; no other module does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from headway.errors import RemoteError
from headway.names import NAME

PREFIX = "headway/v1"
ALL = "_all"
AGGREGATOR = "_aggregator"
# stands in the place of a device: everyone whose bundle has this feature space, by the first digits of its fingerprint
SPACE_DIGITS = 16
SPACE = re.compile(rf"_space-[0-9a-f]{{{SPACE_DIGITS}}}")


class Kind(StrEnum):
    """Last level of a topic: what the payload is."""

    STATUS = "status"
    REPORTED = "reported"
    METRICS = "metrics"
    STATISTICS = "statistics"
    UPDATE = "update"
    EVENT = "event"
    TRIAL = "trial"
    HEAD_TRIAL = "head-trial"
    HEALTH = "health"
    CONFIGURATION_STATE = "configuration-state"
    COMMAND_RESULTS = "command-results"
    LABELS_WANTED = "labels-wanted"
    DESIRED = "desired"
    CONFIGURATION = "configuration"
    COMMANDS = "commands"
    ACK = "ack"
    ANSWERS = "answers"
    SUMMARY = "summary"
    LABELS = "labels"
    REQUEST = "request"
    FILE = "file"
    PRIOR_REQUEST = "prior-request"
    PRIOR = "prior"
    HEAD = "head"
    CANDIDATE = "candidate"


KINDS = {str(kind): kind for kind in Kind}
FROM_DEVICES = (
    Kind.STATUS,
    Kind.REPORTED,
    Kind.METRICS,
    Kind.STATISTICS,
    Kind.UPDATE,
    Kind.EVENT,
    Kind.TRIAL,
    Kind.HEAD_TRIAL,
    Kind.HEALTH,
    Kind.CONFIGURATION_STATE,
    Kind.COMMAND_RESULTS,
    Kind.LABELS_WANTED,
    Kind.REQUEST,
    Kind.PRIOR_REQUEST,
    Kind.ANSWERS,
    Kind.SUMMARY,
)
TO_DEVICES = (
    Kind.ACK,
    Kind.DESIRED,
    Kind.FILE,
    Kind.PRIOR,
    Kind.CONFIGURATION,
    Kind.COMMANDS,
    Kind.CANDIDATE,
    Kind.LABELS,
)
# between a device and programs around it, which the aggregator has no part in
LOCAL = (Kind.ANSWERS, Kind.SUMMARY, Kind.LABELS)
TO_EVERY_DEVICE = (Kind.HEAD, Kind.DESIRED)


@dataclass(frozen=True, slots=True)
class Address:
    """Who a topic belongs to. `device` is a device id, ``_all``, ``_aggregator`` or a `space_name`."""

    fleet: str
    device: str
    kind: Kind


def topic(fleet: str, device: str, kind: Kind) -> str:
    """Topic of one kind of message of one device."""
    return f"{PREFIX}/{fleet}/{device}/{kind}"


def alert_topic(fleet: str, rule: str, subject: str) -> str:
    """Where an open alert is retained; no device may read it, and none is subscribed to it."""
    return f"{PREFIX}/{fleet}/{AGGREGATOR}/alert/{rule}/{subject}"


@lru_cache(maxsize=4096)
def parse_topic(text: str) -> Address:
    """Inverse of `topic`. Raises RemoteError on a foreign or malformed topic."""
    parts = text.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != PREFIX:
        raise RemoteError(f"topic {text[:120]!r} is not {PREFIX}/fleet/device/kind")
    fleet, device, kind = parts[2:]
    reserved = device in (ALL, AGGREGATOR) or SPACE.fullmatch(device)
    if not NAME.fullmatch(fleet) or not (reserved or NAME.fullmatch(device)):
        raise RemoteError(f"topic {text[:120]!r} holds a malformed fleet or device name")
    known = KINDS.get(kind)
    if known is None:
        raise RemoteError(f"topic {text[:120]!r} ends in an unknown kind")
    return Address(fleet, device, known)


def space_name(space: str) -> str:
    """What stands in the place of a device in topics for all whose bundle has this feature space."""
    return f"_space-{space[:SPACE_DIGITS]}"


def device_subscriptions(fleet: str, device: str, space: str, *, labels: bool = False) -> tuple[str, ...]:
    """What a device listens to. space: fingerprint of its bundle's feature space; labels: also what people say."""
    own = (topic(fleet, device, kind) for kind in TO_DEVICES if labels or kind not in LOCAL)
    every = (topic(fleet, ALL, kind) for kind in TO_EVERY_DEVICE)
    return (*own, *every, topic(fleet, space_name(space), Kind.HEAD))


def aggregator_subscriptions(fleet: str) -> tuple[str, ...]:
    """What the aggregator listens to: what devices say, and its own retained heads, which after the loss of the store
    show the last version."""
    return tuple(f"{PREFIX}/{fleet}/+/{kind}" for kind in (*FROM_DEVICES, Kind.HEAD) if kind not in LOCAL)
