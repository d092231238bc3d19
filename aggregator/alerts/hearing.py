"""Whether a device's silence says anything of the device, or only that nobody listened."""

from __future__ import annotations

from aggregator.store import Store

# devices tell of their health every hour unless set otherwise: by then who is there has been heard
LISTEN_MAX_S = 2 * 3600.0
# how exactly it is known after a restart since when nobody listened
KEPT_EVERY_S = 60.0
# under which the store keeps when somebody last listened, and from when on silence counts: wall clock, whole seconds
LISTENED, BELIEVED_FROM = "alerts_listened_s", "alerts_believed_from_s"


class Hearing:
    """Times are wall-clock seconds. Until a connection is lost or found it is taken to be there.

    The store keeps them: a restart is no outage, and ends no waiting after one. Construct it, and call `found` and
    `listens`, in a transaction.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._deaf = store, False
        self._listened_s = self._kept_s = float(store.number(LISTENED))
        self._believed_from_s = float(store.number(BELIEVED_FROM))

    def lost(self) -> None:
        """The broker is gone, and with it every device."""
        self._deaf = True

    def found(self, now_s: float) -> None:
        """The broker is there.

        Whoever was deaf for some time listens for as long before it calls others silent. Another outage in that time
        does not shorten it, and prolongs it by no more than its own length after it.
        """
        self._deaf = False
        deaf_s = min(max(now_s - self._listened_s, 0.0), LISTEN_MAX_S) if self._listened_s else 0.0
        self._believed_from_s = max(self._believed_from_s, now_s + deaf_s)
        self._store.put_number(BELIEVED_FROM, int(self._believed_from_s))

    def listens(self, now_s: float) -> None:
        """Now, unless the broker is gone."""
        if self._deaf:
            return
        self._listened_s = now_s
        if abs(now_s - self._kept_s) >= KEPT_EVERY_S:
            self._kept_s = now_s
            self._store.put_number(LISTENED, int(now_s))

    def believes_silence(self, now_s: float) -> bool:
        """Whether a device that says nothing may be called silent. A clock that was set back ends the waiting."""
        if now_s < self._believed_from_s - LISTEN_MAX_S:
            self._believed_from_s = now_s
        return not self._deaf and now_s >= self._believed_from_s
