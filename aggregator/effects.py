"""Types that the aggregator's core takes and returns: the time of a decision, refusals, effects for the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway.errors import RemoteError
from headway.ports import Outgoing

if TYPE_CHECKING:
    from aggregator.store.rows import PrivacySpentRow, RemovalRow


@dataclass(frozen=True, slots=True)
class Instant:
    """The time of a decision. monotonic_s for intervals; wall_s only labels rows for people."""

    monotonic_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """Something was removed, and its record, which is in the store, is to be kept beside that, too."""

    row: RemovalRow


@dataclass(frozen=True, slots=True)
class Spent:
    """A head with noise was made; that it is spent, which is in the store, is to be kept beside that before the head
    leaves."""

    row: PrivacySpentRow


Effect = Outgoing | Note | Recorded | Spent


class Refused(RemoteError):
    """Well-formed, but not acceptable here. `reason` is the short name it is counted under."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason
