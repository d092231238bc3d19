"""Detects drift by error: has what was served become wrong more often than before? One alarm per drift, not a storm.

    error of what was served -> detector -> rise that matters, and none a moment ago -> alarm

Part of the learner's state: a pure function of the labels, in order, so a restart comes to the same alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.learner.drift.detectors import Adwin, Detector, PageHinkley, Rise
from headway.arrays import AnyArray
from headway.fields import Fields, JsonValue

DETECTORS = ("adwin", "page-hinkley", "off")
# a rise below it is real perhaps, but no reason to forget or to ask anybody
RISE_MIN = 0.05
# labels after an alarm in which no other one is raised: the learner needs some to answer the first
COOL_DOWN_LABELS = 64


@dataclass(frozen=True, slots=True)
class Drift:
    """An alarm. label: number of the label that raised it; since: number of the first label after the change.

    before, after: mean error on either side of it.
    """

    label: int
    since: int
    before: float
    after: float


class ErrorDrift:
    """One detector behind a cool-down. kind: one of `DETECTORS`; ``off`` never alarms. quiet_until: the label before
    which no alarm is raised."""

    def __init__(self, kind: str, quiet_until: int = 0) -> None:
        self.kind = kind
        self._detector = _detector(kind)
        self._quiet_until = quiet_until

    @property
    def quiet_until(self) -> int:
        return self._quiet_until

    def add(self, error: float, label: int) -> Drift | None:
        rise = None if self._detector is None else self._detector.add(error)
        if rise is None or label < self._quiet_until or rise.after - rise.before < RISE_MIN:
            return None
        self._quiet_until = label + COOL_DOWN_LABELS
        return _drift(rise, label)

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        values: dict[str, JsonValue] = {"kind": self.kind, "quiet_until": self._quiet_until}
        return {} if self._detector is None else {"detector": self._detector.state()}, values

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        saved = values.choice("kind", DETECTORS, "off")
        self._quiet_until = values.integer("quiet_until", 0)
        values.finish()
        self._detector = _detector(self.kind)
        # another detector than the one configured now, or none, as agents before drift saved: it starts anew
        if saved == self.kind and self._detector is not None:
            self._detector.restore(np.asarray(tensors["detector"], np.float64))

    def copy(self) -> ErrorDrift:
        """Another one that stands where this one does."""
        other = ErrorDrift(self.kind, self._quiet_until)
        if self._detector is not None and other._detector is not None:
            other._detector.restore(self._detector.state())
        return other


def _detector(kind: str) -> Detector | None:
    return Adwin() if kind == "adwin" else PageHinkley() if kind == "page-hinkley" else None


def _drift(rise: Rise, label: int) -> Drift:
    return Drift(label, max(0, label + 1 - rise.ago), rise.before, rise.after)
