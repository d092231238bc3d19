"""Replays a recorded stream in phases: what is still known of each earlier phase after each later one.

Every fifth labelled window of a phase is held back: predicted like all others, its label never learned. Accuracy on
those, after phase i and of phase j, gives backward transfer (Lopez-Paz & Ranzato 2017) and forgetting (Chaudhry et al.
2018). A running agent cannot know them: it keeps no rows that it has not learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.agent import Agent
from edge_agent.commands.recording import process
from edge_agent.effects import Answer
from edge_agent.pipeline import Features
from headway.arrays import Float64, Int64
from headway.errors import DataError
from headway.maths import backward_transfer, forgetting
from headway.samples import UNLABELLED, is_labelled

HELD_EVERY = 5


@dataclass(frozen=True, slots=True)
class Lived:
    """accuracy: float64 (T, T), [i, j] on windows held back of phase j, after phase i; held: their number."""

    answer: Answer
    accuracy: Float64
    held: int

    def summary(self) -> dict[str, object]:
        """The same for JSON."""
        return {
            "accuracy": self.accuracy.tolist(),
            "backward_transfer": backward_transfer(self.accuracy),
            "forgetting": forgetting(self.accuracy),
            "held_back": self.held,
        }


def live(
    agent: Agent,
    features: Features,
    labels: Int64,
    ids: Sequence[str] | None,
    count: int,
    names: Sequence[str] = (),
) -> Lived:
    """Drive `agent` over a stream in `count` phases of equally many labels. labels: int64 (n,), -1 for none; names: of
    classes that come with them, as `process` takes them.

    Raises DataError when a phase would have no label to hold back.
    """
    known = np.flatnonzero(is_labelled(labels))
    parts = np.array_split(known, count)
    if len(known) < count * HELD_EVERY:
        raise DataError(f"{len(known)} labels are too few for {count} phases; each needs {HELD_EVERY}, one held back")
    held = [part[HELD_EVERY // 2 :: HELD_EVERY] for part in parts]
    learned = labels.copy()
    learned[np.concatenate(held)] = UNLABELLED
    answers: list[Answer] = []
    accuracy = np.zeros((count, count))
    start = 0
    for phase, part in enumerate(parts):
        stop = len(labels) if phase == count - 1 else int(part[-1]) + 1
        rows = features.rows(start, stop)
        answers.append(process(agent, rows, learned[start:stop], None if ids is None else ids[start:stop], names=names))
        start = stop
        accuracy[phase] = [_accuracy(agent, features, labels, rows) for rows in held]
    return Lived(Answer.joined(answers), accuracy, sum(map(len, held)))


def _accuracy(agent: Agent, features: Features, labels: Int64, rows: Int64) -> float:
    """Of the head that serves now, on some windows of the stream; nothing is learned."""
    served = agent.learner.predict(Features(features.embedding[rows], features.codes[rows]))
    return float((served.classes == labels[rows]).mean())
