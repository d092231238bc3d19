"""What the exact learner starts from: the tables of the model's training data, and those of other devices."""

from __future__ import annotations

from collections.abc import Mapping

from headway.arrays import AnyArray
from headway.errors import RemoteError, StoreError
from headway.fields import Fields, JsonValue
from headway.maths import Statistics, TrainingPrior, from_arrays, to_arrays

TENSORS = ("gram", "class_sums")


class Origin:
    """tables: source + fleet; prior: what a posterior makes of them; fleet: of other devices, None without any."""

    def __init__(self, source: Statistics) -> None:
        self._source = self.tables = source
        self.prior = TrainingPrior.of(source)
        self.fleet: Statistics | None = None

    def take(self, fleet: Statistics) -> None:
        """Count these tables of other devices instead of any before. They hold nothing this device was taught."""
        self.fleet, self.tables = fleet, self._source + fleet
        self.prior = TrainingPrior.of(self.tables)

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        if self.fleet is None:
            return {}, {}
        tensors = {f"fleet.{name}": array for name, array in to_arrays(self.fleet).items()}
        return tensors, {"fleet_classes": [*self.fleet.classes]}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        if not values.has("fleet_classes"):
            return
        packed = {name: tensors[f"fleet.{name}"] for name in TENSORS}
        try:
            self.take(from_arrays(packed, self._source.size, values.strings("fleet_classes"), self._source.space))
        except RemoteError as error:
            raise StoreError(f"the saved tables of the fleet are damaged: {error}") from error
