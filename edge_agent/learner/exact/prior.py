"""What a device starts from, before its own labels: the statistics of the training data, and those of other devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_agent.learner.exact.saved import packed, unpacked
from headway.arrays import AnyArray
from headway.fields import Fields, JsonValue
from headway.maths import Statistics, TrainingPrior


class Prior:
    """statistics: training data + fleet; centre: what a posterior makes of them; fleet: None without other devices."""

    def __init__(self, training: Statistics) -> None:
        self._training = self.statistics = training
        self.centre = TrainingPrior.of(training)
        self.fleet: Statistics | None = None

    def adopt(self, fleet: Statistics) -> None:
        """Count these statistics of other devices instead of any before. They hold nothing this device was taught."""
        self.fleet, self.statistics = fleet, self._training + fleet
        self.centre = TrainingPrior.of(self.statistics)

    def restart(self) -> None:
        """Know the training data alone."""
        self.fleet, self.statistics = None, self._training
        self.centre = TrainingPrior.of(self._training)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """The fleet's classes too: those that the bundle does not know."""
        if self.fleet is not None:
            self.adopt(self.fleet.renamed(renames))

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        if self.fleet is None:
            return {}, {}
        return packed(self.fleet, "fleet"), {"fleet_classes": [*self.fleet.classes]}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        if values.has("fleet_classes"):
            self.adopt(unpacked(tensors, "fleet", self._training, values.strings("fleet_classes")))
