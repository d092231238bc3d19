"""What a device starts from, before its own labels: the statistics of the training data, and those of other devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_agent.learner.exact.saved import packed, unpacked
from headway.arrays import AnyArray
from headway.fields import Fields, JsonValue
from headway.maths import HalfSums, Statistics, SumOf, Sums, TrainingPrior


class Prior:
    """statistics: training data + fleet; centre: what a posterior makes of them."""

    def __init__(self, training: Statistics) -> None:
        self._training = training
        self.statistics: Sums = training
        self.centre = TrainingPrior.of(training)
        self._fleet: HalfSums | None = None

    @property
    def fleet(self) -> Statistics | None:
        """Those of other devices, None without any."""
        return None if self._fleet is None else self._fleet.statistics(self._training.space)

    @property
    def fleet_samples(self) -> int:
        """Samples of other devices."""
        return 0 if self._fleet is None else self._fleet.samples

    def adopt(self, fleet: Statistics) -> None:
        """Count these statistics of other devices instead of any before. They hold nothing this device was taught."""
        self._training.require_same_space(fleet)
        self._fleet = HalfSums.of(fleet)
        self.statistics = SumOf((self._training, self._fleet))
        self.centre = TrainingPrior.of(self.statistics)

    def restart(self) -> None:
        """Know the training data alone."""
        self._fleet, self.statistics = None, self._training
        self.centre = TrainingPrior.of(self._training)

    def is_of(self, other: Prior) -> bool:
        """Whether both have the very statistics of other devices that the other has, or none."""
        return self._fleet is other._fleet

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """The fleet's classes too: those that the bundle does not know."""
        fleet = self.fleet
        if fleet is not None:
            self.adopt(fleet.renamed(renames))

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        if self._fleet is None:
            return {}, {}
        return packed(self._fleet, "fleet"), {"fleet_classes": [*self._fleet.classes]}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        if values.has("fleet_classes"):
            self.adopt(unpacked(tensors, "fleet", self._training, values.strings("fleet_classes")))
