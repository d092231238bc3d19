"""What the aggregator needs of a bundle: the statistics of its training data, and how heads follow from them."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.heads.evaluation import EvaluationSample
from headway.arrays import Float32
from headway.bundle import Variant, fold_frozen_head, target_scale
from headway.errors import RemoteError
from headway.maths import Head, Statistics, TargetCodes, Task, fleet_head, fleet_target_head
from headway.wire import MESSAGE_BYTES_MAX

HEAD_OVERHEAD_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class FleetModel:
    """What the aggregator needs of a bundle.

    training_statistics: of the original training data; start: the frozen head over codes, where averaging begins.
    task: what the model is for; scale: units of its outputs, float32 (C,), None for 1 (`headway.bundle.head_weights`);
    targets: how targets are coded in the statistics, None for a classifier. bundle: its name and version, for people.
    sample: what heads are scored on, None where the bundle carries none.
    """

    training_statistics: Statistics
    start: Head
    task: Task = Task.CLASSIFICATION
    scale: Float32 | None = None
    targets: TargetCodes | None = None
    bundle: str = ""
    sample: EvaluationSample | None = None

    @classmethod
    def of(cls, variant: Variant) -> FleetModel:
        """The model of a bundle."""
        start = fold_frozen_head(variant.frozen_head, variant.features)
        scale, bundle = target_scale(variant), f"{variant.name} {variant.version}"
        sample = EvaluationSample.of(variant) if variant.task is Task.CLASSIFICATION else None
        return cls(variant.training_statistics, start, variant.task, scale, variant.targets, bundle, sample)

    @property
    def space(self) -> str:
        """Fingerprint of the feature space."""
        return self.training_statistics.space

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the bundle: a classifier's, or the outputs."""
        return self.start.classes

    def solve(self, source: Statistics, devices: Statistics, shrinkage: float) -> Head:
        """The head that follows from the statistics."""
        if self.targets is None:
            return fleet_head(source, devices, shrinkage)
        return fleet_target_head(source, devices, self.targets, self.classes, shrinkage)

    def check(self, statistics: Statistics) -> None:
        """Raises RemoteError for statistics of this size that no targets can have made."""
        problem = None if self.targets is None else self.targets.inconsistency(statistics)
        if problem is not None:
            raise RemoteError(f"statistics refused: {problem}")

    def classes_max(self) -> int:
        """Classes for which a head still fits one message: d + 1 float32 each."""
        return (MESSAGE_BYTES_MAX - HEAD_OVERHEAD_BYTES) // (4 * (len(self.start.kernel) + 1))
