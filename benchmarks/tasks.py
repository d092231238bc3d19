"""What a learner is asked to do on each data set: which rows train the model, what each device sees, what is scored.

Nothing here is specific to a learner, and no choice below was made by looking at its results.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import datasets
from benchmarks.datasets import Rows
from headway.arrays import Int64

GAS_LABELS = 10
RAINFALL_TRAINED, DIGITS_TRAINED = 1000, 600


@dataclass(frozen=True, slots=True)
class Device:
    """taught: rows that get labels, in time order; tests: rows scored once all labels are in, by name.

    unlabelled: rows that the device sees and nobody labels, in time order; labels_before: how many of `taught` came
    before each, int64 (n,).
    phases: of a life in phases, how many of `taught` were in at the end of each (0 for what the model was trained on),
    and rows of that phase that are never taught; every phase is tested after each.
    """

    name: str
    taught: Rows
    tests: dict[str, Rows]
    phases: tuple[tuple[int, Rows], ...] = ()
    unlabelled: Rows | None = None
    labels_before: Int64 | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """training: what the shipped model was trained on; block: taught rows predicted before their labels come.

    prequential: the score is that of the predictions on `taught`; otherwise of `tests`. added: classes that the model
    does not know and devices label; in labels they follow those of `classes`. late: of a
    stream, how many windows are predicted before the label of the first of them comes. recurring: conditions come back.
    """

    name: str
    model: str
    classes: tuple[str, ...]
    training: Rows
    devices: tuple[Device, ...]
    block: int = 1
    prequential: bool = False
    tabular: bool = False
    added: tuple[str, ...] = ()
    late: int = 0
    recurring: bool = False


def gas_stream(data: Path, seed: int, by_class: bool) -> Task:
    """Backbone from batch 1; batches 2 to 6 as they come, in blocks of 16, shuffled within a batch or by class."""
    batches = datasets.gas_drift(data)
    random = np.random.default_rng(seed)
    parts = []
    for number in range(2, 7):
        rows = batches[number]
        parts.append(rows[np.argsort(rows.y, kind="stable") if by_class else random.permutation(len(rows))])
    stream = joined(parts)
    name = "gas drift, each batch sorted by class" if by_class else "gas drift"
    device = Device("sensors", stream, {})
    return Task(name, "gas", datasets.GAS_CLASSES, batches[1], (device,), 16, prequential=True, tabular=True)


def gas_few(data: Path, seed: int) -> Task:
    """Ten labels per class and batch, batches 2 to 6, one batch after the other; scored on all rows not taught.

    Phases are the batches; the first of them is what the model was trained on.
    """
    batches = datasets.gas_drift(data)
    random = np.random.default_rng(seed)
    taught, left = [], []
    for number in range(2, 7):
        chosen = np.concatenate([random.permutation(np.flatnonzero(batches[number].y == c))[:GAS_LABELS]
                                 for c in range(len(datasets.GAS_CLASSES))])  # fmt: skip
        taught.append(batches[number][random.permutation(chosen)])
        left.append(batches[number][np.setdiff1d(np.arange(len(batches[number])), chosen)])
    tests = {"all batches": joined([batches[1], *left]), "batch 1": batches[1]}
    ends = np.cumsum([0, *map(len, taught)]).tolist()
    device = Device("sensors", joined(taught), tests, tuple(zip(ends, [batches[1], *left], strict=True)))
    return Task("gas drift, 10 labels", "gas", datasets.GAS_CLASSES, batches[1], (device,), tabular=True)


def occupancy_stream(data: Path, seed: int) -> Task:
    """Trained on the part published for training; the other two, earlier and later weeks, as streams in time order."""
    training, earlier, later = datasets.occupancy(data)
    device = Device("office", joined([earlier, later]), {})
    return Task("occupancy", "occupancy", ("free", "occupied"), training, (device,), prequential=True, tabular=True)


def rainfall_stream(data: Path, seed: int) -> Task:
    """Trained on the first 1,000 days; a stream in which there is little to learn, and much to spoil."""
    rows = datasets.rainfall()
    device = Device("station", rows[RAINFALL_TRAINED:], {})
    return Task("rainfall", "rainfall", ("dry", "rain"), rows[:RAINFALL_TRAINED], (device,), prequential=True,
                tabular=True)  # fmt: skip


def digits_stream(data: Path, seed: int) -> Task:
    """Trained on the first 600 images; the rest come from a scanner that turns slowly and fades."""
    rows = datasets.digits()
    rest = rows[DIGITS_TRAINED:]
    part = np.linspace(0, 1, len(rest), dtype=np.float32)[:, None, None, None]
    shifted = np.roll(rest.x, 1, axis=2)
    x = (1 - 0.3 * part) * ((1 - part) * rest.x + part * shifted)
    device = Device("scanner", Rows(x.astype(np.float32), rest.y), {})
    names = tuple(map(str, range(10)))
    return Task("digits", "digits", names, rows[:DIGITS_TRAINED], (device,), prequential=True)


def joined(parts: list[Rows]) -> Rows:
    """The rows of all parts, one after the other."""
    return Rows(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))
