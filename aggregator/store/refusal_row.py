"""Declares what is kept of input that was refused."""

from __future__ import annotations

from dataclasses import dataclass

# stands for senders that are not in the fleet, where refusals are counted
UNKNOWN_DEVICE = ""


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """How often one kind of input of one device was refused, and the last problem in words."""

    device: str
    reason: str
    count: int
    problem: str
    last_s: float
