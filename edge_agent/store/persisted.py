"""Defines how a part of the agent is kept: what changed goes into the next commit, a start takes it up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

# values that carry a check sum of their own, by name, and by what their names begin with
RECORDS, SHIFT, CORRECTIONS, COMMANDS, WANTED = "records", "shift", "corrections", "commands", "wanted"
ORDER, ORDER_NUMBERS = "head-order", "order-numbers"
CHECKED_NAMES = RECORDS, SHIFT, CORRECTIONS, COMMANDS, WANTED, ORDER, ORDER_NUMBERS
CHECKED_PREFIXES = MARK, EPOCH, EARLY = "mark/", "epoch/", "early/"


class Extent(IntEnum):
    """How much a commit is to hold.

    CHANGES: what is new since the last one. CHECKPOINT: also what is worth a write only now and then. EVERYTHING: all
    that an empty store needs.
    """

    CHANGES = 0
    CHECKPOINT = 1
    EVERYTHING = 2


@dataclass(frozen=True, slots=True)
class Saved:
    """For one commit: values to save by name, and names to drop."""

    state: dict[str, bytes]
    dropped: tuple[str, ...] = ()


class Persisted(Protocol):
    """A part of the agent that the store keeps under names that no other part uses."""

    def take_changes(self, extent: Extent) -> Saved:
        """What the next commit must hold of this part; it counts as saved from now on."""
        ...

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Go on from everything that a store holds, of all parts. Raises StoreError on damage."""
        ...
