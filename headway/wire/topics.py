"""Builds and parses topics, ``headway/v1/{fleet}/{device}/{kind}``; no other module does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from headway.errors import ConfigError, RemoteError

PREFIX = "headway/v1"
ALL = "_all"
AGGREGATOR = "_aggregator"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
    DESIRED = "desired"
    CONFIGURATION = "configuration"
    ACK = "ack"
    REQUEST = "request"
    FILE = "file"
    PRIOR_REQUEST = "prior-request"
    PRIOR = "prior"
    HEAD = "head"
    CANDIDATE = "candidate"


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
    Kind.REQUEST,
    Kind.PRIOR_REQUEST,
)
TO_DEVICES = (Kind.ACK, Kind.DESIRED, Kind.FILE, Kind.PRIOR, Kind.CONFIGURATION, Kind.CANDIDATE)
TO_EVERY_DEVICE = (Kind.HEAD, Kind.DESIRED)


@dataclass(frozen=True, slots=True)
class Address:
    """Who a topic belongs to. `device` is a device id, ``_all`` or ``_aggregator``."""

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
    if not NAME.fullmatch(fleet) or not (NAME.fullmatch(device) or device in (ALL, AGGREGATOR)):
        raise RemoteError(f"topic {text[:120]!r} holds a malformed fleet or device name")
    if kind not in Kind.__members__.values():
        raise RemoteError(f"topic {text[:120]!r} ends in an unknown kind")
    return Address(fleet, device, Kind(kind))


def checked_name(text: str, what: str) -> str:
    """A fleet or device name fit for a topic level. Raises ConfigError with the rule."""
    if not NAME.fullmatch(text):
        raise ConfigError(
            f"{what} {text!r} is not a valid name; use 1 to 64 letters, digits, '.', '_' or '-', "
            "starting with a letter or digit"
        )
    return text


def device_subscriptions(fleet: str, device: str) -> tuple[str, ...]:
    """What a device listens to."""
    own = (topic(fleet, device, kind) for kind in TO_DEVICES)
    return (*own, *(topic(fleet, ALL, kind) for kind in TO_EVERY_DEVICE))


def aggregator_subscriptions(fleet: str) -> tuple[str, ...]:
    """What the aggregator listens to."""
    return tuple(f"{PREFIX}/{fleet}/+/{kind}" for kind in FROM_DEVICES)
