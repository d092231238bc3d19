"""What comes out of the agent's decisions."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from headway.arrays import Float32, Int64, Strings
from headway.topics import Kind


@dataclass(frozen=True, slots=True)
class Answer:
    """The agent's predictions for a batch, made before any of its labels was used.

    prediction: int64 (n,); probability: float32 (n, C); source: text (n,), the head that served each row.
    """

    prediction: Int64
    probability: Float32
    source: Strings

    def encode(self) -> bytes:
        """As ``.npz`` bytes, three arrays by these names."""
        buffer = io.BytesIO()
        np.savez(buffer, prediction=self.prediction, probability=self.probability, source=self.source)
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the aggregator, of a kind that is safe to repeat or to lose. retained: if its kind ever is."""

    kind: Kind
    payload: bytes
    retained: bool = True


@dataclass(slots=True)
class LabelCounts:
    """What became of labels that came after their windows."""

    learned: int = 0
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0
