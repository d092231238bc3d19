"""What answers about what has happened look like."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from aggregator.api.models import Device


class AuditEntry(BaseModel):
    """An entry of the audit log."""

    number: int
    who: str
    act: str
    subject: str
    detail: dict[str, Any]
    at_s: float
    sha256: str


class AuditPage(BaseModel):
    """Entries, the oldest first. next: for `after`, 0 behind the last."""

    entries: list[AuditEntry]
    next: int


class AuditCheck(BaseModel):
    """What is wrong with the chain of the audit log; nothing when it holds."""

    problems: list[str]
    entries: int
    sha256: str


class Event(BaseModel):
    """An event of a device, or of the service about it."""

    device: str
    name: str
    detail: Any
    received_s: float


class NumberedEvent(Event):
    """The same. number: grows with every event of the fleet."""

    number: int


class FleetOverview(BaseModel):
    """A fleet at a glance.

    labels: learned in the fleet; worst: devices in trouble, or below their frozen head, those that are furthest below
    first; events: the newest, the newest first.
    """

    devices: int
    online: int
    labels: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    below_frozen: int
    troubled: int
    worst: list[Device]
    events: list[Event]
