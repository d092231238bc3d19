"""What a trial keeps of each label that it compared, and the paired losses that follow from it.

The rows are all there is: the sums that a device tells are added up from them, so that a label which was corrected or
taken back leaves nothing behind, and none counts twice whatever happened in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge_agent.learner import window_losses
from edge_agent.pipeline import Features
from headway.arrays import AnyArray, Float32, Float64, Int8
from headway.errors import StoreError
from headway.fields import Fields
from headway.maths import PairedLoss, Task
from headway.samples import Label, no_label
from headway.tensors import decode_tensors, encode_tensors

ROW_BYTES_MAX = 16 << 20
OUTPUTS = ("old_frozen", "new_frozen", "old_served", "new_served")


@dataclass(frozen=True, slots=True)
class Outputs:
    """What both bundles said of one window before its label was learned, float32 (1, C) each, classes in one order."""

    old_frozen: Float32
    new_frozen: Float32
    old_served: Float32
    new_served: Float32


@dataclass(frozen=True, slots=True)
class Compared:
    """One label. number: the device's own number of it; label: a class index, or targets float32 (C,).

    old, new: features of the window under each bundle, where learners have to learn it again; else None.
    """

    number: int
    label: Label
    outputs: Outputs
    old: Features | None = None
    new: Features | None = None

    def encode(self) -> bytes:
        tensors: dict[str, AnyArray] = {name: getattr(self.outputs, name) for name in OUTPUTS}
        for name, features in (("old", self.old), ("new", self.new)):
            if features is not None:
                tensors |= {f"{name}.codes": features.codes, f"{name}.embedding": features.embedding}
        if not isinstance(self.label, int):
            tensors["targets"] = self.label
        return encode_tensors(tensors, {"label": self.label + 1 if isinstance(self.label, int) else 0})

    @classmethod
    def decode(cls, number: int, payload: bytes) -> Compared:
        """Inverse of `encode`. Raises StoreError."""
        tensors, meta = decode_tensors(payload, "saved row of a trial", StoreError, ROW_BYTES_MAX)
        fields = Fields(meta, "saved row of a trial", StoreError)
        label: Label = fields.integer("label") - 1
        fields.finish()
        if "targets" in tensors:
            label = tensors["targets"]
        try:
            outputs = Outputs(*(tensors[name] for name in OUTPUTS))
            pair = [_features(tensors, name) if f"{name}.codes" in tensors else None for name in ("old", "new")]
        except KeyError as error:
            raise StoreError(f"saved row of a trial lacks tensor {error}") from error
        return cls(number, label, outputs, *pair)


@dataclass(slots=True)
class Scale:
    """Mean |error| of the frozen head that serves, the unit of errors of values: what came first decides it."""

    count: Float64 = field(default_factory=lambda: np.zeros(0))
    absolute: Float64 = field(default_factory=lambda: np.zeros(0))

    def see(self, frozen: Float32, truth: AnyArray) -> None:
        """One more window. frozen, truth: float32 (1, C), NaN where unknown."""
        if not len(self.count):
            self.count, self.absolute = np.zeros(truth.shape[1]), np.zeros(truth.shape[1])
        known = ~np.isnan(truth[0])
        self.count += known
        self.absolute[known] += np.abs(frozen[0].astype(np.float64) - truth[0])[known]

    @property
    def units(self) -> Float64:
        """Of each value, float64 (C,)."""
        return np.maximum(self.absolute / np.maximum(self.count, 1.0), float(np.finfo(np.float32).tiny))


def paired(task: Task, row: Compared, scale: Scale) -> tuple[PairedLoss, PairedLoss]:
    """New minus old of one row: of the frozen heads, and of what would have been served. None of a label taken back."""
    if no_label(row.label):
        return PairedLoss(), PairedLoss()
    truth = np.asarray(row.label)[None]
    # a label may be corrected to a class that is newer than what was said
    missing = max(row.label + 1 - row.outputs.old_frozen.shape[1], 0) if isinstance(row.label, int) else 0
    loss = {
        name: window_losses(task, _wider(getattr(row.outputs, name), missing), truth, scale.units) for name in OUTPUTS
    }
    frozen = PairedLoss.of(loss["new_frozen"], loss["old_frozen"])
    return frozen, PairedLoss.of(loss["new_served"], loss["old_served"])


def in_order(outputs: Float32, given: tuple[str, ...], wanted: tuple[str, ...]) -> Float32:
    """Columns by name, float32 (1, C') -> (1, C); a class that is not given was never said."""
    if given == wanted:
        return outputs
    ordered = np.zeros((len(outputs), len(wanted)), np.float32)
    for column, name in enumerate(given):
        if name in wanted:
            ordered[:, wanted.index(name)] = outputs[:, column]
    return ordered


def _wider(outputs: Float32, missing: int) -> Float32:
    return np.pad(outputs, ((0, 0), (0, missing))) if missing else outputs


def _features(tensors: dict[str, AnyArray], name: str) -> Features:
    codes: Int8 = tensors[f"{name}.codes"]
    return Features(tensors[f"{name}.embedding"], codes)
