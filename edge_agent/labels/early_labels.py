"""Labels that came before their windows: each waits, durably, until its window comes, or until too many wait."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from edge_agent.store import EARLY, Extent, Saved
from headway.durable import checked, unchecked_tensors
from headway.errors import StoreError
from headway.fields import Fields
from headway.samples import Label
from headway.tensors import decode_tensors, encode_tensors

ROW_BYTES_MAX = 1 << 20


class EarlyLabels:
    """By window id, at most `rows_max`; beyond it the oldest are forgotten. Kept in the order in which they came."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._labels: OrderedDict[str, tuple[int, Label]] = OrderedDict()
        self._next = 0
        self._new: set[str] = set()
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def takes_any(self) -> bool:
        """Whether labels may wait here at all."""
        return self._rows_max > 0

    def get(self, window_id: str) -> Label | None:
        found = self._labels.get(window_id)
        return None if found is None else found[1]

    def add(self, window_id: str, label: Label) -> int:
        """Keep a label in place of one that the window had; returns how many were forgotten for it."""
        self.take(window_id)
        self._labels[window_id] = self._next, label
        self._new.add(window_id)
        self._next += 1
        forgotten = 0
        while len(self._labels) > self._rows_max:
            self.take(next(iter(self._labels)))
            forgotten += 1
        return forgotten

    def take(self, window_id: str) -> Label | None:
        """Remove and return the label of a window; None where it has none."""
        found = self._labels.pop(window_id, None)
        if found is None:
            return None
        if window_id in self._new:
            self._new.discard(window_id)
        else:
            self._gone.add(found[0])
        return found[1]

    def take_changes(self, extent: Extent) -> Saved:
        new = self._labels if extent is Extent.EVERYTHING else {each: self._labels[each] for each in self._new}
        saved = {_name(number): _encoded(window_id, label) for window_id, (number, label) in new.items()}
        dropped = tuple(_name(number) for number in sorted(self._gone))
        self._new, self._gone = set(), set()
        return Saved(saved, dropped)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        self._labels = OrderedDict()
        for name in sorted(name for name in saved if name.startswith(EARLY)):
            window_id, label = _decoded(saved[name])
            self._next = int(name.removeprefix(EARLY))
            self._labels[window_id] = self._next, label
        self._next += 1 if self._labels else 0


def _name(number: int) -> str:
    return f"{EARLY}{number:012d}"


def _encoded(window_id: str, label: Label) -> bytes:
    tensors = {} if isinstance(label, int) else {"targets": label}
    return checked(encode_tensors(tensors, {"id": window_id, "label": label if isinstance(label, int) else 0}))


def _decoded(payload: bytes) -> tuple[str, Label]:
    """Inverse of `_encoded`. Raises StoreError."""
    where = "saved early label"
    tensors, meta = decode_tensors(unchecked_tensors(payload, where), where, StoreError, ROW_BYTES_MAX)
    fields = Fields(meta, where, StoreError)
    window_id, label = fields.text("id"), fields.integer("label")
    fields.finish()
    return window_id, np.asarray(tensors["targets"], np.float32) if "targets" in tensors else label
