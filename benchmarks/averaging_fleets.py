"""The fleets that average, for attacks on them: real data as int8 codes, split into training data, devices and a test.

    digits   64 pixels; 60 rows were the training data, devices draw of the others
    watch    per channel mean, deviation and four quantiles of a window; five people trained, wrists of five others are
             the devices, of a hundred devices ten share a wrist
    gas      128 features; the first batch trained, devices draw of the next three, months later
    breast, wine   30 and 13 measurements of scikit-learn's sets; 12 rows trained. Nothing was chosen on these

A linear head over standardised features stands for a whole network: what attacks the fleet is the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import datasets
from benchmarks.attacked_fleets import Labelled
from headway.arrays import Float32, Int8, Int64

NAMES = ("digits", "watch", "gas")
UNSEEN = ("breast", "wine")


@dataclass(frozen=True, slots=True)
class AveragingFleet:
    """One fleet. source: of the training data; devices: what each has labelled; test: nobody's."""

    name: str
    classes: tuple[str, ...]
    source: Labelled
    devices: tuple[Labelled, ...]
    test: Labelled


def fleet(name: str, devices: int, seed: int, data: Path | None) -> AveragingFleet:
    """One of `NAMES` with so many devices, drawn by `seed`. data: the folder of gas."""
    random = np.random.default_rng(seed)
    match name:
        case "digits":
            rows = datasets.digits()
            x, y, order = rows.x.reshape(len(rows.x), -1), rows.y, random.permutation(len(rows.y))
            per = 80 if devices <= 12 else 10
            parts = [order[60 + per * at : 60 + per * (at + 1)] for at in range(devices)]
            source, test = order[:60], order[60 + per * devices :][-597:]
        case "watch":
            return _watch(devices, random)
        case "gas":
            if data is None:
                raise SystemExit("gas needs a folder of data: --data FOLDER, or the variable HEADWAY_DATA")
            batches = datasets.gas_drift(data)
            x, y = (np.concatenate([getattr(batches[at], part) for at in range(1, 5)]) for part in ("x", "y"))
            first = len(batches[1])
            order = first + random.permutation(len(y) - first)
            per = 80 if devices <= 12 else 15
            parts = [order[per * at : per * (at + 1)] for at in range(devices)]
            source, test = np.arange(first), order[per * devices :][:800]
        case "breast" | "wine":
            from sklearn.datasets import load_breast_cancer, load_wine

            x, y = (load_wine if name == "wine" else load_breast_cancer)(return_X_y=True)
            x, y, order = np.asarray(x, np.float32), np.asarray(y, np.int64), random.permutation(len(y))
            source, half = order[:12], 12 + (len(y) - 12) // 2
            parts, test = np.array_split(order[12:half], devices), order[half:]
        case _:
            raise SystemExit(f"there is no fleet {name!r}; known: {', '.join((*NAMES, *UNSEEN))}")
    codes = _codes(x, source)
    count = int(y.max()) + 1
    whole = Labelled(codes, y)
    classes = tuple(map(str, range(count)))
    return AveragingFleet(name, classes, whole[source], tuple(whole[part] for part in parts), whole[test])


def _watch(devices: int, random: np.random.Generator) -> AveragingFleet:
    wrists, classes = datasets.watch()
    people = random.permutation(np.arange(1, 11))
    x, y, key, position = [], [], [], []
    for (person, side), (rows, at) in wrists.items():
        quantiles = np.quantile(rows.x, (0.05, 0.3, 0.7, 0.95), axis=1).transpose(1, 0, 2).reshape(len(rows.x), -1)
        x.append(np.concatenate([rows.x.mean(axis=1), rows.x.std(axis=1), quantiles], axis=1))
        y.append(rows.y)
        key.append(np.full(len(rows.y), 2 * person + side))
        position.append(at)
    x_all, y_all, wrist, place = (np.concatenate(part) for part in (x, y, key, position))
    trained = np.isin(wrist // 2, people[:5])
    labels = 12
    own = [np.flatnonzero((wrist == 2 * p + s) & (place < labels)) for p in people[5:] for s in (0, 1)]
    shares = -(-devices // len(own))
    parts = [part for rows in own for part in np.array_split(random.permutation(rows), shares)][:devices]
    test = np.flatnonzero(~trained & (place > labels))
    source = np.flatnonzero(trained)
    whole = Labelled(_codes(x_all, source), y_all)
    return AveragingFleet("watch", classes, whole[source], tuple(whole[np.sort(part)] for part in parts), whole[test])


def one_class_each(made: AveragingFleet) -> AveragingFleet:
    """The same rows, dealt out so that each device has one class alone, as far as there are devices for it."""
    codes = np.concatenate([part.codes for part in made.devices])
    labels = np.concatenate([part.labels for part in made.devices])
    order = np.argsort(labels, kind="stable")
    parts = tuple(Labelled(codes[rows], labels[rows]) for rows in np.array_split(order, len(made.devices)))
    return AveragingFleet(made.name, made.classes, made.source, parts, made.test)


def _codes(x: Float32, source: Int64) -> Int8:
    """int8, by mean and deviation of the training data."""
    centre, spread = x[source].mean(axis=0), x[source].std(axis=0)
    scaled = (x - centre) / np.where(spread > 0, spread, 1.0)
    return np.asarray(np.clip(np.rint(scaled * 127 / 3), -127, 127), np.int8)
