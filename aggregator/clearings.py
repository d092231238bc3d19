"""Has the broker forget what it retains of devices that left: now, and on each connection until it has confirmed."""

from __future__ import annotations

from collections.abc import Iterable

from aggregator.store import Store
from headway.ports import Outgoing
from headway.wire import Kind, topic


class Clearings:
    """Every method must run inside a transaction of the store."""

    def __init__(self, fleet: str, store: Store) -> None:
        self._fleet, self._store = fleet, store
        self._waiting = set(store.clearings())
        self._now: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def add(self, device: str, *kinds: Kind) -> None:
        """What is retained of a device under these kinds must go."""
        for kind in kinds:
            self.add_topic(topic(self._fleet, device, kind))

    def add_topic(self, name: str) -> None:
        """What is retained on a topic must go."""
        self._store.put_clearing(name)
        self._waiting.add(name)
        if name not in self._now:
            self._now.append(name)

    def forget(self, names: Iterable[str]) -> None:
        """The broker has confirmed that it retains nothing there any more, or what it retains is new."""
        for name in self._waiting.intersection(names):
            self._store.remove_clearing(name)
            self._waiting.discard(name)

    def take(self) -> list[Outgoing]:
        """Messages that clear what was added since the last call."""
        names, self._now = self._now, []
        return [Outgoing(name, b"", retain=True) for name in names]

    def again(self) -> list[Outgoing]:
        """Messages that clear everything that the broker has not confirmed."""
        self._now.clear()
        return [Outgoing(name, b"", retain=True) for name in sorted(self._waiting)]
