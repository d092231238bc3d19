"""What a message to a channel is, and what every channel does with one."""

from __future__ import annotations

import hashlib
import json
import logging
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aggregator.store.rows import AlertEventRow
from headway.errors import ConfigError
from headway.fields import JsonValue, canonical_json

LOG = logging.getLogger("headway.aggregator.alerts")


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """Events that are told together, in their order. The same ones have the same id, however often they are sent."""

    fleet: str
    events: Sequence[AlertEventRow]

    @property
    def id(self) -> str:
        """Named by its events: 32 hexadecimal digits."""
        return hashlib.sha256(" ".join(event.id for event in self.events).encode()).hexdigest()[:32]

    def body(self) -> bytes:
        """JSON, canonical, so that each attempt sends the same bytes."""
        events: list[JsonValue] = [
            {"id": event.id, "change": event.change, "at_s": event.at_s, "alert": json.loads(event.body)}
            for event in self.events
        ]
        return canonical_json({"fleet": self.fleet, "events": events})


class Channel(Protocol):
    """Somewhere that operators are told. Called from a thread of its own, which may wait.

    events_max: that a message may hold. interval_s: shortest time between two messages that were taken.
    """

    @property
    def name(self) -> str: ...

    @property
    def events_max(self) -> int: ...

    @property
    def interval_s(self) -> float: ...

    def send(self, message: AlertMessage) -> None:
        """Returns once the other side has taken the message. Raises TransportError, one line that holds no secret."""
        ...


def read_secret(file: Path, what: str) -> str:
    """The text of a file with a secret. Raises ConfigError, which does not show it."""
    try:
        if file.stat().st_mode & stat.S_IROTH:
            LOG.warning("%s can be read by everybody on this machine; chmod 640 it, or hide its folder", file)
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {file}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    if not secret:
        raise ConfigError(f"{what} {file} is empty; write the secret into it")
    return secret
