"""A durable queue of labels that wait until they may be learned, in the order they came.

Each is kept with what was served for it, as a named value of the store, written once when it comes and deleted in the
transaction that learns it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from edge_agent.labels.remembered import NOT_LEARNED, Window
from edge_agent.learner import HeadLearner
from edge_agent.learner.drift import ErrorDrift
from edge_agent.store import Extent, Saved
from headway.errors import StoreError
from headway.fields import Fields
from headway.samples import Label
from headway.tensors import decode_tensors, encode_tensors

WAITING = "waiting."
ROW_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class QueuedLabel:
    """A window with its label; window_id is empty where it came without one."""

    window_id: str
    window: Window

    def encode(self) -> bytes:
        return encode_tensors({"window": np.frombuffer(self.window.encode(), np.uint8)}, {"id": self.window_id})

    @classmethod
    def decode(cls, payload: bytes) -> QueuedLabel:
        """Inverse of `encode`. Raises StoreError."""
        tensors, meta = decode_tensors(payload, "saved waiting label", StoreError, ROW_BYTES_MAX)
        fields = Fields(meta, "saved waiting label", StoreError)
        window_id = fields.text("id")
        fields.finish()
        if set(tensors) != {"window"}:
            raise StoreError("saved waiting label is damaged")
        return cls(window_id, Window.decode(tensors["window"].tobytes()))


def marker(number: int) -> int:
    """What stands as the number of a label that waits under `number`, so that it differs from every learned one."""
    return NOT_LEARNED - 1 - number


def marked(number: int) -> int:
    """Inverse of `marker`."""
    return NOT_LEARNED - 1 - number


class LabelQueue:
    """A queue. Numbers grow by one and are not used again while the queue is not empty."""

    def __init__(self) -> None:
        self._labels: OrderedDict[int, QueuedLabel] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._next = self._bytes = 0
        self._new: dict[int, bytes] = {}
        self._gone: set[int] = set()
        self._saved: set[int] = set()
        self._ahead: ErrorDrift | None = None
        self._foreseen = 0

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def size_bytes(self) -> int:
        """Encoded size of all of them."""
        return self._bytes

    @property
    def all(self) -> list[QueuedLabel]:
        """Oldest first."""
        return list(self._labels.values())

    def add(self, label: QueuedLabel) -> int:
        """Append; returns its number."""
        number, self._next = self._next, self._next + 1
        self._keep(number, label)
        return number

    def foresee(self, learner: HeadLearner) -> bool:
        """Whether the newest labels will raise a drift alarm once they are learned.

        A copy of the learner's detector sees every label when it comes; afterwards it is where the learner's own is.
        """
        if self._ahead is None or not self._foreseen:
            self._ahead = learner.drift.copy()
        alarm = False
        for place, waiting in enumerate(islice(self._labels.values(), self._foreseen, None), self._foreseen):
            error = learner.error_of(waiting.window.served, waiting.window.label)
            alarm |= self._ahead.add(error, learner.trainer.labels + place) is not None
        self._foreseen = len(self)
        return alarm

    def relabel(self, number: int, label: Label) -> None:
        """The label was corrected before it was learned; it keeps its place."""
        waiting = self._labels[number]
        self._keep(number, replace(waiting, window=replace(waiting.window, label=label)))

    def remove(self, number: int) -> None:
        """Taken back, or learned."""
        del self._labels[number]
        self._bytes -= self._sizes.pop(number)
        self._new.pop(number, None)
        self._foreseen = max(0, self._foreseen - 1)
        if number in self._saved:
            self._saved.discard(number)
            self._gone.add(number)

    def take(self) -> tuple[int, QueuedLabel]:
        """Remove and return the oldest."""
        number, label = next(iter(self._labels.items()))
        self.remove(number)
        return number, label

    def take_changes(self, extent: Extent) -> Saved:
        if extent is Extent.EVERYTHING:
            self._new = {number: label.encode() for number, label in self._labels.items()}
        saved = {_name(number): payload for number, payload in sorted(self._new.items())}
        dropped = tuple(_name(number) for number in sorted(self._gone))
        self._saved |= self._new.keys()
        self._new, self._gone = {}, set()
        return Saved(saved, dropped)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        names = sorted(name for name in saved if name.startswith(WAITING))
        numbers = [int(name.removeprefix(WAITING)) for name in names]
        self._labels = OrderedDict(
            (number, QueuedLabel.decode(saved[name])) for number, name in zip(numbers, names, strict=True)
        )
        self._sizes = {number: len(saved[name]) for number, name in zip(numbers, names, strict=True)}
        self._bytes = sum(self._sizes.values())
        self._saved, self._next = set(numbers), numbers[-1] + 1 if numbers else 0

    def _keep(self, number: int, label: QueuedLabel) -> None:
        payload = label.encode()
        self._bytes += len(payload) - self._sizes.get(number, 0)
        self._labels[number], self._new[number], self._sizes[number] = label, payload, len(payload)


def _name(number: int) -> str:
    return f"{WAITING}{number:012d}"
