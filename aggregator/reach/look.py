"""Looks at the devices of this machine's fleet, and loads nothing that changes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from aggregator.registry import DeviceTable, Request, find_json, find_table

if TYPE_CHECKING:
    from aggregator.store import ReadableStore, RefusalRow
    from headway.clocks import Clock


class Look(Protocol):
    """What the list of devices asks of a fleet, wherever it is. Raises ConfigError, StoreError, TransportError."""

    def device_table(self, request: Request, names: Sequence[str], texts: bool) -> DeviceTable:
        """These columns of the devices. texts: with tags, attributes and notes."""
        ...

    def device_json(self, request: Request) -> tuple[list[str], str]:
        """A JSON list of the devices, in pieces, and `Page.next`."""
        ...

    def refusals(self) -> list[RefusalRow]: ...


class LocalLook:
    """Implements `Look`. open_store: is called when it is needed; every device has its row in what it returns."""

    def __init__(self, open_store: Callable[[], ReadableStore], clock: Clock) -> None:
        self._open_store, self._clock = open_store, clock

    @cached_property
    def _store(self) -> ReadableStore:
        return self._open_store()

    def device_table(self, request: Request, names: Sequence[str], texts: bool) -> DeviceTable:
        with self._store.reading():
            return find_table(self._store, request, names, self._clock.wall_s(), texts)

    def device_json(self, request: Request) -> tuple[list[str], str]:
        with self._store.reading():
            return find_json(self._store, request, self._clock.wall_s())

    def refusals(self) -> list[RefusalRow]:
        with self._store.reading():
            return self._store.refusals()
