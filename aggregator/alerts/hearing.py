"""Whether a device's silence says anything of the device, or only that nobody listened."""

from __future__ import annotations

from aggregator.registry import VOCABULARY
from aggregator.store import RegistryQuery, Store

# devices tell of their health every hour unless set otherwise: by then who is there has been heard
LISTEN_MAX_S = 2 * 3600.0


class Hearing:
    """Times are wall-clock seconds. Until a connection is lost or found it is taken to be there."""

    def __init__(self) -> None:
        self._deaf = False
        self._believed_from_s = float("-inf")

    def lost(self) -> None:
        """The broker is gone, and with it every device."""
        self._deaf = True

    def found(self, newest_s: float | None, now_s: float) -> None:
        """The broker is there. newest_s: when any device was last heard; None: none ever was.

        Whoever was deaf for some time listens for as long before it calls others silent.
        """
        self._deaf = False
        deaf_s = 0.0 if newest_s is None else min(max(now_s - newest_s, 0.0), LISTEN_MAX_S)
        self._believed_from_s = now_s + deaf_s

    def believes_silence(self, now_s: float) -> bool:
        """Whether a device that says nothing may be called silent. A clock that was set back ends the waiting."""
        if now_s < self._believed_from_s - LISTEN_MAX_S:
            self._believed_from_s = now_s
        return not self._deaf and now_s >= self._believed_from_s


def newest_heard_s(store: Store, now_s: float) -> float | None:
    """When a device of the fleet was last heard, wall clock; None: never. In a transaction."""
    last = RegistryQuery(None, VOCABULARY.fields["silent_for"], descending=True, count_max=1)
    found = store.registry.find(last, now_s)
    return found[0].last_seen_s if found else None
