"""Encodes what a device says of itself, at most once a second, to programs around it. protocol.md, 4.30.

Nothing of ours reads it: programs take it as the JSON that it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from headway.fields import JsonValue, canonical_json
from headway.wire.codec import SCHEMA


@dataclass(frozen=True, slots=True)
class AskedWindow:
    """A window whose label would help: its id, when it came by the device's clock, and what was answered."""

    id: str
    wall_s: float
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one moment; a later one replaces it.

    prediction: class of the newest answer, smoothed where that is set, or the labels that hold, between commas; "" for
    values. probability: of the answer; None where there is none. values: of a model that gives them. accuracy: share of
    right answers among the newest labels; None before the first, and for values. labels: learned so far. head: that
    answered. drift: whether there was an alarm within a day. wanted: the window to label next; None where none is.
    labelled: id of the window that was labelled last by the topic labels; "" without.
    """

    prediction: str
    probability: float | None
    values: tuple[float, ...]
    accuracy: float | None
    labels: int
    head: str
    drift: bool
    wanted: AskedWindow | None
    labelled: str

    def encode(self) -> bytes:
        wanted: dict[str, JsonValue] | None = None
        if self.wanted is not None:
            window = self.wanted
            wanted = {"id": window.id, "wall_s": window.wall_s, "label": window.label}
            wanted["probability"] = window.probability
        table = {
            "schema": SCHEMA,
            "prediction": self.prediction,
            "probability": self.probability,
            "values": list(self.values),
            "accuracy": self.accuracy,
            "labels": self.labels,
            "head": self.head,
            "drift": self.drift,
            "wanted": wanted,
            "labelled": self.labelled,
        }
        return canonical_json(table)
