"""What the service tells whoever watches it: called between two turns of the loop, so it must not wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from headway.ports import Outgoing, TransportEvent


class Watch(Protocol):
    """Someone who counts."""

    def turned(self, events: Sequence[TransportEvent], transaction_s: float | None, waited_s: float) -> None:
        """A turn is over. transaction_s: how long its transaction took, None without one; waited_s: so far, how
        long the network thread waited for room.
        """
        ...

    def sent(self, message: Outgoing, taken: bool) -> None:
        """A message was handed to the connection, or could not be for want of one."""
        ...


class NotWatched:
    """Implements `Watch` for nobody."""

    def turned(self, events: Sequence[TransportEvent], transaction_s: float | None, waited_s: float) -> None:
        return

    def sent(self, message: Outgoing, taken: bool) -> None:
        return
