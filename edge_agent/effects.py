"""Holds what comes out of the agent's decisions: answers, messages to send, counts of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.learner import Prediction
from headway.arrays import AnyArray, Float32, Strings
from headway.maths import Task, predicted
from headway.wire import Kind


@dataclass(frozen=True, slots=True)
class Answer:
    """The agent's predictions for a batch, made before any of its labels was used.

    probability: float32 (n, C), a regression's values; served_by: text (n,), the head that served each row.
    prediction: int64 (n,); 0 or 1 per label, int64 (n, C); or values, float32 (n, C): `headway.maths.task.predicted`.
    """

    prediction: AnyArray
    probability: Float32
    served_by: Strings

    def __len__(self) -> int:
        return len(self.probability)

    @classmethod
    def from_outputs(cls, probability: Float32, served_by: Strings, task: Task) -> Answer:
        """Of what the heads gave, with what a person reads off it."""
        return cls(predicted(probability, task), probability, served_by)

    @classmethod
    def joined(cls, parts: Sequence[Answer]) -> Answer:
        """Of one part after another. Of a class that came later, earlier parts have the probability 0."""
        if len(parts) == 1:
            return parts[0]
        wide = max(part.probability.shape[1] for part in parts)
        probability = [np.pad(part.probability, [(0, 0), (0, wide - part.probability.shape[1])]) for part in parts]
        prediction, served_by = ([getattr(part, name) for part in parts] for name in ("prediction", "served_by"))
        return cls(np.concatenate(prediction), np.concatenate(probability), np.concatenate(served_by))

    @classmethod
    def of(cls, served: Sequence[Prediction], task: Task) -> Answer:
        """Of what was served for one run of windows after another."""
        probability = np.concatenate([one.probability for one in served])
        heads = [one.served_by for one in served for _ in range(len(one.probability))]
        return cls.from_outputs(probability, np.array(heads), task)


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the aggregator, of a kind that is safe to repeat or to lose. retained: if its kind ever is."""

    kind: Kind
    payload: bytes
    retained: bool = True


@dataclass(slots=True)
class LabelCounts:
    """What became of labels that came without their windows.

    early: of the unknown, those that wait for their windows; forgotten: others that waited so and had to go.
    """

    learned: int = 0
    waiting: int = 0
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0
    early: int = 0
    forgotten: int = 0

    def add(
        self,
        *,
        learned: int = 0,
        waiting: int = 0,
        repeated: int = 0,
        corrected: int = 0,
        unknown: int = 0,
        early: int = 0,
        forgotten: int = 0,
    ) -> None:
        """So many more."""
        self.learned += learned
        self.waiting += waiting
        self.repeated += repeated
        self.corrected += corrected
        self.unknown += unknown
        self.early += early
        self.forgotten += forgotten
