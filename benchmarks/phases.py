"""A life in phases: what is known of each earlier one after each later one.

backward transfer   mean over phases of: accuracy at the end - accuracy just after the phase (Lopez-Paz & Ranzato 2017)
forgetting          mean over phases of: best accuracy ever - accuracy at the end (Chaudhry et al. 2018)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.peers import Contender
from benchmarks.tasks import Device
from edge_agent.pipeline import Features
from headway.arrays import Float64
from headway.maths import backward_transfer, forgetting

AFTER = "after phase "


def live(contender: Contender, device: Device, taught: Features, tested: Sequence[Features], block: int) -> Float64:
    """Accuracies float64 (T, T), [i, j] on rows of phase j that are never taught, after phase i.

    taught: of all phases in time order; tested: the rows of each phase.
    """
    accuracy = np.zeros((len(device.phases), len(device.phases)))
    start = 0
    for phase, (end, _) in enumerate(device.phases):
        for at in range(start, end, block):
            stop = min(at + block, end)
            contender.learn(taught.rows(at, stop), device.taught.y[at:stop])
        start = end
        for other, (_, rows) in enumerate(device.phases):
            accuracy[phase, other] = float((contender.predict(tested[other]) == rows.y).mean())
    return accuracy


def scores(accuracy: Float64) -> dict[str, float]:
    """By name, as `benchmarks.learning` keeps them: both figures, and every accuracy."""
    each = {
        f"{AFTER}{row}, on {column}": float(value)
        for row, values in enumerate(accuracy)
        for column, value in enumerate(values)
    }
    return {"backward transfer": backward_transfer(accuracy), "forgetting": forgetting(accuracy), **each}


def table(runs: Sequence[Sequence[Mapping[str, float]]]) -> list[str]:
    """Mean accuracies of one contender, a row after each phase. runs: seeds -> devices -> scores."""
    size = round(len([name for name in runs[0][0] if name.startswith(AFTER)]) ** 0.5)
    lines = [" " * 18 + "".join(f"   on {column}" for column in range(size))]
    for row in range(size):
        cells = [np.mean([[s[f"{AFTER}{row}, on {c}"] for s in devices] for devices in runs]) for c in range(size)]
        lines.append(f"    {AFTER}{row} " + "".join(f"{100 * cell:7.1f}" for cell in cells))
    return lines
