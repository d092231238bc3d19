"""Scores the frozen head fairly: its confidence is calibrated on this device before it is compared.

A network trained to the end is overconfident where its sensor has drifted. Without this the gate would leave it
for any head that merely hedges, even where it is just as often right. What it serves is calibrated by the same labels,
under a prior that expects more of the overconfidence: the gate compares, people believe. Where labels came of some
classes only, people are told less surely: what these labels say of the others is little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float32, Float64, Int64
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.maths import TEMPERATURES, log_softmax, scoring_loss, softmax, surprises, temperatures_of

REFIT_LABELS = 32
# the largest scoring loss: wrong, and sure of it
MISSED_LOSS = 2.0
# usual log2 of the temperature: for the gate, and for what is served, as networks are overconfident on new devices
JUDGED_LOG2, SERVED_LOG2 = 0.0, 1.0
# of what labels tell how sure it may be, so much is believed where they are of some classes only
BELIEVED = 0.3


@dataclass(frozen=True, slots=True)
class Calibration:
    """What this device's labels say about the frozen head: what its logits are divided by where it serves.

    missed: share of the labels that were of a class that it does not know. judged: the gate's temperature, at which it
    has its say beside a learned head.
    """

    temperature: float = 1.0
    missed: float = 0.0
    judged: float = 1.0


class FrozenScore:
    """The frozen head's logits on the newest labelled samples, at most `rows_max`."""

    def __init__(self, class_count: int, rows_max: int) -> None:
        self._rows_max = rows_max
        self._logits: Float64 = np.zeros((0, class_count))
        self._labels: Int64 = np.zeros(0, np.int64)
        # log-losses of each sample at each temperature, which do not change: float64 (G, n)
        self._surprises: Float64 = np.zeros((len(TEMPERATURES), 0))
        self._seen = 0
        self._temperature, self._served_temperature = 1.0, 1.0

    @property
    def calibration(self) -> Calibration:
        missed = int((self._labels >= self._logits.shape[1]).sum())
        return Calibration(self._served_temperature, missed / (len(self._labels) + 1), self._temperature)

    def add(self, logits: Float32, label: int) -> Float64 | None:
        """Take in one sample. Returns new losses of all kept samples, float64 (n,), when calibration moved them.

        logits: float32 (1, C).
        """
        self._logits = np.concatenate([self._logits, logits.astype(np.float64)])[-self._rows_max :]
        self._labels = np.append(self._labels, label)[-self._rows_max :]
        newest = self._surprises_of(self._logits[-1:], self._labels[-1:])
        self._surprises = np.concatenate([self._surprises, newest], axis=1)[:, -self._rows_max :]
        self._seen += 1
        if self._seen > self._rows_max and self._seen % REFIT_LABELS:
            return None
        known = self._labels < self._logits.shape[1]
        labels = self._labels[known]
        of_every_class = len(set(labels.tolist())) == self._logits.shape[1]  # NumPy's `unique` loads a megabyte
        priors = (JUDGED_LOG2, 1.0), (SERVED_LOG2, 1.0 if of_every_class else BELIEVED)
        self._temperature, self._served_temperature = temperatures_of(self._surprises[:, known], priors)
        return self.losses(self._logits, self._labels)

    def losses(self, logits: Float64, labels: Int64) -> Float64:
        """Scoring losses at the current temperature. logits: (n, C); labels: int64 (n,) -> float64 (n,)."""
        known = labels < logits.shape[1]
        losses: Float64 = np.full(len(labels), MISSED_LOSS)  # a class the bundle does not know is always missed
        probabilities = softmax((logits[known] / self._temperature).astype(np.float32))
        losses[known] = scoring_loss(probabilities.astype(np.float64), labels[known])
        return losses

    def calibrated(self, logits: Float32) -> Float64:
        """Log-probabilities at the current temperature. float32 (n, C) -> float64 (n, C)."""
        return log_softmax(logits.astype(np.float64) / self._temperature)

    def forget(self, ago: int) -> None:
        """Drop the sample after which `ago` others came."""
        kept = np.arange(len(self._labels)) != len(self._labels) - 1 - ago
        self._logits, self._labels = self._logits[kept], self._labels[kept]
        self._surprises = self._surprises[:, kept]

    def _surprises_of(self, logits: Float64, labels: Int64) -> Float64:
        """Zeros of classes that the bundle does not know. logits: (n, C); labels: int64 (n,) -> float64 (G, n)."""
        known = labels < logits.shape[1]
        losses: Float64 = np.zeros((len(TEMPERATURES), len(labels)))
        losses[:, known] = surprises(logits[known], labels[known])
        return losses

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        values: dict[str, JsonValue] = {
            "temperature": self._temperature,
            "served_temperature": self._served_temperature,
            "seen": self._seen,
        }
        return {"logits": self._logits, "labels": self._labels}, values

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        logits, labels = tensors["logits"], tensors["labels"]
        if logits.shape != (len(labels), self._logits.shape[1]) or logits.dtype != np.float64:
            raise StoreError("saved logits of the frozen head are damaged")
        self._logits, self._labels, self._seen = logits, labels, values.integer("seen")
        self._surprises = self._surprises_of(logits, labels)
        self._temperature = values.number("temperature", low=0.0)
        # agents before served probabilities were calibrated saved the gate's alone
        self._served_temperature = (
            values.number("served_temperature", low=0.0) if values.has("served_temperature") else self._temperature
        )
        values.finish()
