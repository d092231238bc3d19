"""Keeps windows as the sensor gave them until their label comes, so that another bundle can be asked about them.

A window is known by its features under the bundle that serves: whoever learns its label names it by them, whether the
label came with the window, hours later, or waited for its turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from edge_agent.pipeline import Features
from edge_agent.store import Extent, Saved
from headway.arrays import Float32
from headway.errors import StoreError
from headway.fields import Fields
from headway.tensors import decode_tensors, encode_tensors

WINDOW = "trial/window/"
WINDOW_BYTES_MAX = 64 << 20


def key_of(features: Features) -> str:
    """Names a window. features: of this one, under the bundle that serves."""
    codes, embedding = np.ascontiguousarray(features.codes), np.ascontiguousarray(features.embedding)
    return blake2b(codes.tobytes() + embedding.tobytes(), digest_size=16).hexdigest()


class KeptWindows:
    """The newest windows, within both limits. dropped: those that went before a label came."""

    def __init__(self, bytes_max: int, rows_max: int) -> None:
        self._bytes_max, self._rows_max = bytes_max, rows_max
        self._windows: OrderedDict[str, tuple[int, Float32]] = OrderedDict()
        self._bytes = self._next = 0
        self._new: set[str] = set()
        self._gone: set[int] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return self._bytes

    def add(self, key: str, window: Float32) -> None:
        """Keep one window, float32 (1, *input_shape); the oldest go beyond the limits."""
        if key in self._windows:
            return
        self._windows[key] = self._next, window.copy()
        self._next, self._bytes = self._next + 1, self._bytes + window.nbytes
        self._new.add(key)
        while self._bytes > self._bytes_max or len(self._windows) > self._rows_max:
            self.take(next(iter(self._windows)))
            self.dropped += 1

    def take(self, key: str) -> Float32 | None:
        """Give a window back, and keep it no longer; None where it is not there."""
        if key not in self._windows:
            return None
        number, window = self._windows.pop(key)
        self._bytes -= window.nbytes
        if key in self._new:
            self._new.discard(key)
        else:
            self._gone.add(number)
        return window

    def clear(self) -> None:
        """Keep nothing any more."""
        for key in list(self._windows):
            self.take(key)
        self.dropped = 0

    def take_changes(self, extent: Extent) -> Saved:
        """What the next commit must hold."""
        keys = self._windows if extent is Extent.EVERYTHING else [key for key in self._windows if key in self._new]
        state = {}
        for key in keys:
            number, window = self._windows[key]
            state[_name(number)] = encode_tensors({"window": window}, {"key": key})
        gone = tuple(_name(number) for number in sorted(self._gone))
        self._new, self._gone = set(), set()
        return Saved(state, gone)

    def restore(self, saved: Mapping[str, bytes], dropped: int) -> None:
        """Go on from what a store holds. Raises StoreError."""
        self.dropped = dropped
        for name in sorted(name for name in saved if name.startswith(WINDOW)):
            tensors, meta = decode_tensors(saved[name], "saved window of a trial", StoreError, WINDOW_BYTES_MAX)
            fields = Fields(meta, "saved window of a trial", StoreError)
            key = fields.text("key", length_max=32)
            fields.finish()
            if set(tensors) != {"window"}:
                raise StoreError("saved window of a trial is damaged")
            number = int(name.removeprefix(WINDOW))
            self._windows[key] = number, tensors["window"]
            self._bytes += tensors["window"].nbytes
            self._next = number + 1


def _name(number: int) -> str:
    return f"{WINDOW}{number:012d}"
