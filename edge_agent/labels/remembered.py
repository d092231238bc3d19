"""Remembers windows until their label comes: late, out of order, twice, corrected, or never. Bounded, by window id.

What is kept is what learning needs (codes, embedding) and what was served at the time, so that a label that comes
an hour later is scored against the prediction that was made then.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from edge_agent.learner import Prediction
from edge_agent.pipeline import Features
from headway.arrays import AnyArray, Float32, Int8
from headway.durable import checked, unchecked_tensors
from headway.errors import StoreError
from headway.samples import UNLABELLED, Label, no_label
from headway.tensors import decode_tensors, encode_tensors

log = logging.getLogger("edge-agent")

ROW_BYTES_MAX = 16 << 20
NOT_LEARNED = -1


@dataclass(frozen=True, slots=True)
class Window:
    """One remembered window.

    codes: int8 (1, d); embedding: float32 (1, e); probability: float32 (1, C) as head `served_by` gave it.
    label: what it was learned with, a class index (-1 for none) or targets float32 (C,); number: the trainer's number
    of that label. pseudo_label: the class it was learned as by its own prediction meanwhile, -1 for none. temperature:
    see `Prediction`. ended_s: when it ended, in seconds since 1970; 0 where nobody knows.
    """

    codes: Int8
    embedding: Float32
    probability: Float32
    served_by: str
    label: Label = UNLABELLED
    number: int = NOT_LEARNED
    pseudo_label: int = UNLABELLED
    temperature: float = 1.0
    ended_s: float = 0.0

    @property
    def features(self) -> Features:
        return Features(self.embedding, self.codes)

    @property
    def served(self) -> Prediction:
        return Prediction(self.probability, self.served_by, self.temperature)

    def encode(self) -> bytes:
        tensors: dict[str, AnyArray] = {
            "codes": self.codes,
            "embedding": self.embedding,
            "probability": self.probability,
        }
        if not isinstance(self.label, int):
            tensors["targets"] = self.label
        label = self.label if isinstance(self.label, int) else 0
        numbers = [label, self.number, self.pseudo_label, self.temperature, self.ended_s]
        return checked(encode_tensors(tensors, [self.served_by, *numbers]))

    @classmethod
    def decode(cls, payload: bytes) -> Window:
        """Inverse of `encode`. Raises StoreError."""
        body = unchecked_tensors(payload, "saved window")
        tensors, meta = decode_tensors(body, "saved window", StoreError, ROW_BYTES_MAX)
        targets = tensors.pop("targets", None)
        fits = isinstance(meta, list) and 3 <= len(meta) <= 6 and set(tensors) == {"codes", "embedding", "probability"}
        if not fits or not isinstance(meta, list):
            raise StoreError("saved window is damaged")
        # agents before self-training saved three, those before served probabilities were calibrated four, those before
        # labels for spans five
        served_by, label, number = meta[:3]
        pseudo_label = meta[3] if len(meta) > 3 else UNLABELLED
        temperature = meta[4] if len(meta) > 4 else 1.0
        ended_s = meta[5] if len(meta) > 5 else 0.0
        learned: Label = int(label) if targets is None else targets
        codes, embedding, probability = tensors["codes"], tensors["embedding"], tensors["probability"]
        return cls(
            codes,
            embedding,
            probability,
            str(served_by),
            learned,
            int(number),
            int(pseudo_label),
            float(temperature),
            float(ended_s),
        )


class RememberedWindows:
    """The newest `rows_max` windows that came with an id. version: another number after each change."""

    def __init__(self, rows_max: int) -> None:
        self.rows_max, self.version = rows_max, 0
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self._changed: set[str] = set()
        self._gone: set[str] = set()

    def __len__(self) -> int:
        return len(self._windows)

    def get(self, window_id: str) -> Window | None:
        return self._windows.get(window_id)

    def add(self, window_id: str, window: Window) -> None:
        """Remember a window, the oldest one is forgotten beyond the limit. An id seen again replaces the old one."""
        if self._windows.pop(window_id, None) is not None:
            # the saved row goes first: saved over, it would keep its old place, and be forgotten too early
            self._gone.add(window_id)
        self._windows[window_id] = window
        self._note(window_id)
        while len(self._windows) > self.rows_max:
            old, _ = self._windows.popitem(last=False)
            self._changed.discard(old)
            self._gone.add(old)

    def ids_of(self, numbers: Collection[int]) -> dict[int, str]:
        """Ids by label number, of the windows that were learned under these numbers."""
        wanted = frozenset(numbers)
        return {window.number: window_id for window_id, window in self._windows.items() if window.number in wanted}

    def without_label(self) -> list[tuple[str, Window]]:
        """Windows that nobody has labelled, with their ids, oldest first."""
        return [(window_id, window) for window_id, window in self._windows.items() if no_label(window.label)]

    def labelled(self, count_max: int) -> list[tuple[str, Window]]:
        """The newest windows that somebody has labelled, at most so many, with their ids, the newest first."""
        found = ((name, window) for name, window in reversed(self._windows.items()) if not no_label(window.label))
        return list(islice(found, count_max))

    def ended(self, ids: Sequence[str], ended_s: Iterable[float]) -> None:
        """When windows ended, in seconds since 1970; of those that are remembered and whose end is not known yet."""
        for window_id, end_s in zip(ids, ended_s, strict=True):
            window = self._windows.get(window_id)
            if window is not None and not window.ended_s:
                self._windows[window_id] = replace(window, ended_s=end_s)
                self._changed.add(window_id)

    def ended_between(self, from_s: float, to_s: float) -> list[str]:
        """Ids of windows that ended at `from_s` or later and before `to_s`, in the order in which they ended."""
        inside = [
            (window.ended_s, window_id)
            for window_id, window in self._windows.items()
            if window.ended_s and from_s <= window.ended_s < to_s
        ]
        return [window_id for _, window_id in sorted(inside, key=lambda each: each[0])]

    @property
    def ended_span(self) -> tuple[float, float] | None:
        """When the first and the last window ended of which that is known; None of none."""
        ends_s = [window.ended_s for window in self._windows.values() if window.ended_s]
        return (min(ends_s), max(ends_s)) if ends_s else None

    def relabel(self, window_id: str, label: Label, number: int) -> None:
        """Note what a window was learned with."""
        self._windows[window_id] = replace(self._windows[window_id], label=label, number=number)
        self._note(window_id)

    def note_pseudo_label(self, window_id: str, label: int) -> None:
        """Note the prediction by which a window was learned; -1 when that was undone."""
        self._windows[window_id] = replace(self._windows[window_id], pseudo_label=label)
        self._note(window_id)

    def all(self) -> list[tuple[str, bytes]]:
        """Every remembered window, oldest first."""
        return [(window_id, window.encode()) for window_id, window in self._windows.items()]

    def take_changes(self) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Windows to save and ids to forget, which must come first, since the last call."""
        saved = {
            window_id: self._windows[window_id].encode() for window_id in self._windows if window_id in self._changed
        }
        gone = tuple(sorted(self._gone))
        self.discard_changes()
        return saved, gone

    def discard_changes(self) -> None:
        """As `take_changes`, for who saves nothing, or all of them: what is noted for a store would only grow."""
        self._changed.clear()
        self._gone.clear()

    def restore(self, rows: list[tuple[str, bytes]]) -> None:
        """Inverse of all `take_changes` so far; rows come oldest first. Damaged ones are forgotten: their labels, when
        they come, are counted as unknown."""
        self._windows, self.version = OrderedDict(), self.version + 1
        for window_id, payload in rows:
            try:
                self._windows[window_id] = Window.decode(payload)
            except StoreError as error:
                log.warning("window %r is forgotten: %s", window_id, error)
                self._gone.add(window_id)

    def _note(self, window_id: str) -> None:
        self._changed.add(window_id)
        self.version += 1


def unlabelled(features: Features, served: Prediction, row: int) -> Window:
    """The window in row `row` of a batch that was just predicted."""
    here = slice(row, row + 1)
    return Window(
        np.ascontiguousarray(features.codes[here]),
        np.ascontiguousarray(features.embedding[here]),
        np.ascontiguousarray(served.probability[here]),
        served.served_by,
        temperature=served.temperature,
    )
