"""Simulates the slots of a device's disk: bundles that came over the network lose nothing that was synced."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.delivery import Examined, Pointer, Slots
from headway.errors import StoreError
from headway.wire import Desired
from headway_simulation.power import Power

NOWHERE = Path("simulated")


@dataclass(slots=True)
class SlotFiles:
    """What is on the disk: the pointer, and the files of the idle slot by name."""

    pointer: Pointer = field(default_factory=Pointer)
    idle: dict[str, bytes] = field(default_factory=dict)

    def point(self, pointer: Pointer) -> None:
        """The pointer is written."""
        self.pointer = pointer

    def copy(self) -> SlotFiles:
        """For a copy of the disk."""
        return SlotFiles(self.pointer, dict(self.idle))


@dataclass(frozen=True, slots=True)
class Passed:
    """A self-test that found nothing. Implements `edge_agent.delivery.SelfTest`."""

    space: str

    def poll(self) -> Examined:
        return Examined("", self.space, "identity", 1.0)

    def stop(self) -> None:
        return


class SimulatedSlots(Slots):
    """The slots of one start of the device. Each write is durable when it returns; `full` says that the disk refuses.

    Only the idle slot has files: nothing switches here, bundles are only tried.
    """

    def __init__(self, files: SlotFiles, power: Power, full: Callable[[], bool]) -> None:
        super().__init__(NOWHERE, NOWHERE / "factory.hwb")
        self._files, self._power, self._full = files, power, full
        self.pointer = files.pointer

    def begin(self, desired: Desired) -> None:
        with self._durable():
            self._files.idle.clear()
            self._files.idle["desired.json"] = desired.encode()

    def mean(self, desired: Desired) -> None:
        with self._durable():
            self._files.idle["desired.json"] = desired.encode()

    def clear(self) -> None:
        with self._power.effect():
            self._files.idle.clear()

    def waiting(self) -> Desired | None:
        known = self._files.idle.get("desired.json")
        return None if known is None else Desired.decode(known)

    @property
    def complete(self) -> bool:
        return "bundle.hwb" in self._files.idle

    def received(self) -> int:
        return len(self._files.idle.get("bundle.part", b""))

    def truncate(self, size: int) -> None:
        self._files.idle["bundle.part"] = self._files.idle["bundle.part"][:size]

    def append(self, offset: int, data: bytes) -> None:
        with self._durable():
            self._files.idle["bundle.part"] = self._files.idle.get("bundle.part", b"")[:offset] + data

    def whole(self, desired: Desired) -> bool:
        idle = self._files.idle
        if not self.complete:
            content = idle.pop("bundle.part")
            if hashlib.sha256(content).hexdigest() != desired.sha256:
                return False
            with self._power.effect():
                idle["bundle.hwb"] = content
        return True

    def _durable(self) -> AbstractContextManager[None]:
        if self._full():
            raise StoreError("no space left on the simulated disk")
        return self._power.effect()

    def _write(self, pointer: Pointer) -> None:
        with self._durable():
            self._files.point(pointer)
            self.pointer = pointer
