"""Drives an agent over a recording as the service drives it over a file: unit by unit.

What is predicted together is predicted by one head. Over a whole recording at once, what the learner makes of windows
without a label would show at the next label only, as it never does on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge_agent.agent import Agent
from edge_agent.effects import Answer
from edge_agent.file_at_hand import UNIT_ROWS
from edge_agent.pipeline import Features, Pipeline
from headway.arrays import AnyArray
from headway.samples import Samples


def recorded_features(samples: Samples, pipeline: Pipeline) -> Features:
    """Of all windows, one at least, to the bit as the service computes them. Raises DataError."""
    units = [pipeline.features(samples.windows(start, stop)) for start, stop in _units(len(samples))]
    return Features(
        np.concatenate([unit.embedding for unit in units]),
        np.concatenate([unit.codes for unit in units]),
        sum(unit.clipped for unit in units),
        sum(unit.missing for unit in units),
    )


def process(
    agent: Agent,
    features: Features,
    labels: AnyArray | None,
    ids: Sequence[str] | None,
    after: Callable[[int], None] = lambda stop: None,
) -> Answer:
    """`Agent.process`, a unit at a time. features: of one window at least. after: told how many rows are done."""
    answers = []
    for start, stop in _units(len(features)):
        answers.append(
            agent.process(
                features.rows(start, stop),
                None if labels is None else labels[start:stop],
                None if ids is None else ids[start:stop],
            )
        )
        after(stop)
    return Answer.joined(answers)


def _units(rows: int) -> list[tuple[int, int]]:
    return [(start, min(start + UNIT_ROWS, rows)) for start in range(0, rows, UNIT_ROWS)]
