"""Error of Headway's learners and their peers on regressions and multi-label models: python -m benchmarks.targets.

Every contender gets the same features of the same backbone and the same labels in the same order, each window predicted
before its label comes. A regression's figure is the mean absolute error, a multi-label model's the wrong labels in per
cent, by how many labels a device had; mean and standard deviation over seeds. Headway and edge-convert run with their
default settings. River is left out where it is not installed. The last row counts the bits in which the head of a fleet
of 1 to 1,000 devices, after one more was taken out again, differs from the head of all its samples in one place.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import inspect
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from aggregator.heads import FleetModel, FleetSum
from aggregator.policy import Weighing
from benchmarks import datasets
from benchmarks.backbones import CACHE, EMBEDDING
from benchmarks.ours import features_of
from benchmarks.target_tasks import TASKS, TargetTask
from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from edge_agent.sync import SyncState
from headway.arrays import AnyArray, Float32, Float64
from headway.bundle import Variant, read_variant
from headway.maths import Head, Task, link

EDGES = (1, 8, 32, 128, 512)
SGD_RATE = 0.01
# river's steps: its linear regression diverges on values at 0.003
RIVER_RATES = {Task.REGRESSION: 0.001, Task.MULTI_LABEL: 0.01}
DEVIATIONS_MAX = 8.0
SHRINKAGE = 0.02
DEVICES = (1, 7, 100, 1000)
# rows of the training data, the newest, that peers which take no weights are fitted to first
PEER_ROWS = 20_000


class Contender(Protocol):
    def predict(self, features: Features) -> Float32:
        """Values, or probabilities of labels, float32 (n, C)."""
        ...

    def learn(self, features: Features, targets: Float32) -> None:
        """Windows that were predicted before; targets float32 (n, C), NaN where unknown."""
        ...


class Headway:
    """One device, as the service drives it."""

    def __init__(self, variant: Variant, kind: str) -> None:
        learner = HeadLearner(variant, LearnerSettings(kind=kind))
        self.agent = Agent(
            "benchmark",
            learner,
            SyncSettings(),
            SyncState(epoch=1),
            windows=RememberedWindows(learner.settings.horizon_rows),
        )
        self._seen = 0

    def predict(self, features: Features) -> Float32:
        return self.agent.process(features, None).probability

    def learn(self, features: Features, targets: Float32) -> None:
        ids = [str(self._seen + row) for row in range(len(targets))]
        self._seen += len(targets)
        self.agent.process(features, None, ids)
        self.agent.label(ids, targets)
        self.agent.take_events(0.0)


class Frozen:
    """The head as shipped."""

    def __init__(self, variant: Variant) -> None:
        self._head = variant.frozen_head

    def predict(self, features: Features) -> Float32:
        return self._head.probabilities(features.embedding)

    def learn(self, features: Features, targets: Float32) -> None:
        """Never."""


class LastLayer:
    """The last layer by plain SGD, one step a label, from the shipped weights; values in units of their spread."""

    def __init__(self, variant: Variant, spread: Float64) -> None:
        self._kind = variant.frozen_head.kind
        self._spread = spread if variant.task is Task.REGRESSION else np.ones_like(spread)
        head = variant.frozen_head
        self._weights = np.vstack([head.kernel, head.bias]).astype(np.float64) / self._spread

    def predict(self, features: Features) -> Float32:
        return link((_extended(features.embedding) @ self._weights * self._spread).astype(np.float32), self._kind)

    def learn(self, features: Features, targets: Float32) -> None:
        rows = _extended(features.embedding)
        error = np.nan_to_num((self.predict(features) - targets) / self._spread)
        self._weights -= SGD_RATE * rows.T @ error / len(rows)


class ScikitLearn:
    """SGDRegressor, or SGDClassifier(loss="log_loss"), of each output on standardised embeddings, by partial_fit."""

    def __init__(self, task: Task, embedding: Float32, targets: Float32) -> None:
        from sklearn.linear_model import SGDClassifier, SGDRegressor
        from sklearn.preprocessing import StandardScaler

        self._values = task is Task.REGRESSION
        self._scaler = StandardScaler().fit(embedding)
        self._centre = targets.mean(axis=0) if self._values else np.zeros(targets.shape[1])
        self._spread = targets.std(axis=0) if self._values else np.ones(targets.shape[1])
        make = SGDRegressor if self._values else lambda **options: SGDClassifier(loss="log_loss", **options)
        self._models: list[Any] = [make(random_state=0) for _ in range(targets.shape[1])]
        for _ in range(5):
            self._fit(self._rows(embedding), targets)

    def predict(self, features: Features) -> Float32:
        rows = self._rows(features.embedding)
        given = [model.predict(rows) if self._values else model.predict_proba(rows)[:, 1] for model in self._models]
        return (np.stack(given, axis=1) * self._spread + self._centre).astype(np.float32)

    def learn(self, features: Features, targets: Float32) -> None:
        self._fit(self._rows(features.embedding), targets)

    def _rows(self, embedding: Float32) -> AnyArray:
        """Standardised, and bounded: features that hardly varied in training would make it diverge."""
        return np.asarray(np.clip(self._scaler.transform(embedding), -DEVIATIONS_MAX, DEVIATIONS_MAX))

    def _fit(self, rows: AnyArray, targets: Float32) -> None:
        scaled = (targets - self._centre) / self._spread
        for model, column in zip(self._models, scaled.T, strict=True):
            known = np.isfinite(column)
            if known.any():
                also = {} if self._values else {"classes": [0.0, 1.0]}
                model.partial_fit(rows[known], column[known], **also)


class River:
    """river: StandardScaler | LinearRegression or LogisticRegression of each output, one sample at a time."""

    def __init__(self, task: Task, embedding: Float32, targets: Float32) -> None:
        from river import compose, linear_model, optim, preprocessing

        self._values = task is Task.REGRESSION
        self._centre = targets.mean(axis=0) if self._values else np.zeros(targets.shape[1])
        self._spread = targets.std(axis=0) if self._values else np.ones(targets.shape[1])
        model = linear_model.LinearRegression if self._values else linear_model.LogisticRegression
        self._models: list[Any] = [
            preprocessing.StandardScaler() | compose.FuncTransformer(_bounded) | model(optim.SGD(RIVER_RATES[task]))
            for _ in range(targets.shape[1])
        ]
        self._fit(embedding, targets)

    def predict(self, features: Features) -> Float32:
        given = [
            [
                model.predict_one(row) if self._values else model.predict_proba_one(row).get(True, 0.5)
                for model in self._models
            ]
            for row in _dicts(features.embedding)
        ]
        return (np.array(given) * self._spread + self._centre).astype(np.float32)

    def learn(self, features: Features, targets: Float32) -> None:
        self._fit(features.embedding, targets)

    def _fit(self, embedding: Float32, targets: Float32) -> None:
        scaled = (targets - self._centre) / self._spread
        for row, values in zip(_dicts(embedding), scaled.tolist(), strict=True):
            for model, value in zip(self._models, values, strict=True):
                if np.isfinite(value):
                    model.learn_one(row, value if self._values else value > 0.5)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description=__doc__)
    parser.add_argument("--data", help=f"folder of the data sets (default: ${datasets.VARIABLE})")
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"any of {','.join(TASKS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ours-only", action="store_true", help="leave the peers out")
    parser.add_argument("--json", type=Path, help="write every score here")
    options = parser.parse_args()
    folder = datasets.folder(options.data)
    if folder is None:
        print(f"no data: name the folder with --data or {datasets.VARIABLE}", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)
    kept: dict[str, dict[str, list[list[float]]]] = {}
    differing = 0
    for name in options.tasks.split(","):
        runs: dict[str, list[list[float]]] = {}
        for seed in range(options.seeds):
            task = TASKS[name](folder, seed)
            variant = bundle(task, seed)
            for contender, errors in run(task, variant, ours_only=options.ours_only).items():
                runs.setdefault(contender, []).append(errors)
        kept[name] = runs
        print("\n".join(table(task, runs)), flush=True)
        bits = differing_bits(task, variant)
        differing += sum(bits)
        print(f"  head of {', '.join(map(str, DEVICES))} devices: {', '.join(map(str, bits))} bits differ", flush=True)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    return int(differing > 0)


def bundle(task: TargetTask, seed: int) -> Variant:
    """The task's model, trained with `seed`, as a device gets it: edge-convert without an option."""
    # changes with the training rows and with how they are used, so that a stale bundle is never taken
    digest = hashlib.sha256(inspect.getsource(trained).encode() + task.name.encode())
    digest.update(task.x[task.training].tobytes() + task.y[task.training].tobytes())
    path = CACHE / f"targets-{seed}-{digest.hexdigest()[:12]}.hwb"
    if not path.exists():
        from converter import Options, convert

        CACHE.mkdir(parents=True, exist_ok=True)
        data = task.x[task.training], task.y[task.training], task.outputs
        convert(trained(task, seed), data, Options(name="targets"), out=path)
    return read_variant(path)


def trained(task: TargetTask, seed: int) -> Any:
    """A model with a 64-d embedding: convolutional over images, dense over rows."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    x, y = task.x[task.training], task.y[task.training]
    values = task.task is Task.REGRESSION
    if x.ndim == 2:
        body = [layers.Normalization(mean=x.mean(axis=0), variance=x.var(axis=0) + 1e-6), layers.Dense(128, "relu")]
    else:
        body = [layers.Conv2D(16, 3, activation="relu"), layers.Conv2D(32, 3, activation="relu"), layers.Flatten()]
    head = layers.Dense(y.shape[1], activation=None if values else "sigmoid")
    model = keras.Sequential([layers.Input(x.shape[1:]), *body, layers.Dense(EMBEDDING, "relu"), head])
    model.compile("adam", "mse" if values else "binary_crossentropy")
    centre, spread = (y.mean(axis=0), y.std(axis=0)) if values else (0.0, 1.0)
    model.fit(x, (y - centre) / spread, epochs=20 if len(x) > 4000 else 60, batch_size=64, verbose=0)
    if values:  # trained in units of the spread, shipped in its own
        kernel, bias = head.get_weights()
        head.set_weights([kernel * spread, bias * spread + centre])
    return model


def run(task: TargetTask, variant: Variant, *, ours_only: bool = False) -> dict[str, list[float]]:
    """Mean error of every contender by labels known, over all streams; then of all labels."""
    shown = task.training[-PEER_ROWS:]
    training, targets = features_of(variant, task.x[shown]), task.y[shown]
    makers: dict[str, Callable[[], Contender]] = {
        "frozen": lambda: Frozen(variant),
        "Headway, exact": lambda: Headway(variant, "exact"),
        "Headway, gradient": lambda: Headway(variant, "gradient"),
    }
    if not ours_only:
        makers |= {
            "SGD, last layer": lambda: LastLayer(variant, targets.std(axis=0).astype(np.float64)),
            "scikit-learn partial_fit": lambda: ScikitLearn(task.task, training.embedding, targets),
        }
        if importlib.util.find_spec("river") is not None:
            makers["river"] = lambda: River(task.task, training.embedding, targets)
    streams = [(features_of(variant, task.x[rows]), task.y[rows]) for rows in task.streams]
    results: dict[str, list[float]] = {}
    for name, make in makers.items():
        errors = [drive(make(), task.task, features, truth) for features, truth in streams]
        parts = [_mean([error[start:end] for error in errors]) for start, end in _bins(max(map(len, errors)))]
        results[name] = [*parts, _mean(errors)]
        print(f"  {task.name}, {name}: {np.round(results[name], 3).tolist()}", file=sys.stderr, flush=True)
    return results


def drive(contender: Contender, task: Task, features: Features, truth: Float32) -> Float64:
    """The error of each window, float64 (n,): mean over its known targets of |error|, or of wrong labels in %."""
    errors = np.full(len(truth), np.nan)
    for row in range(len(truth)):
        window, targets = features.rows(row, row + 1), truth[row : row + 1]
        given, known = contender.predict(window), np.isfinite(targets)
        if not known.any():
            continue
        if task is Task.REGRESSION:
            errors[row] = np.abs(given - targets)[known].mean()
        else:
            errors[row] = 100 * ((given >= 0.5) != (targets > 0.5))[known].mean()
        contender.learn(window, targets)
    return errors


def table(task: TargetTask, runs: dict[str, list[list[float]]]) -> list[str]:
    unit = "mean absolute error" if task.task is Task.REGRESSION else "wrong labels, %"
    bins = _bins(max(map(len, task.streams)))
    heads = [f"{start + 1}-{end}" for start, end in bins] + ["all"]
    lines = [f"{task.name}: {unit}, by labels", f"  {'':<26}" + "".join(f"{head:>16}" for head in heads)]
    for name, errors in runs.items():
        mean, deviation = np.mean(errors, axis=0), np.std(errors, axis=0)
        cells = [f"{m:.2f} +- {d:.2f}" for m, d in zip(mean, deviation, strict=True)]
        lines.append(f"  {name:<26}" + "".join(f"{cell:>16}" for cell in cells))
    return lines


def differing_bits(task: TargetTask, variant: Variant) -> list[int]:
    """Of the head of fleets whose devices share out the streams, one device taken out again, against one place."""
    rows = np.concatenate(task.streams)
    codes, targets = features_of(variant, task.x[rows]).codes, task.y[rows]
    keep = np.isfinite(targets).any(axis=1)
    codes, targets = codes[keep], targets[keep]
    assert variant.targets is not None
    model, coded, source = FleetModel.of(variant), variant.targets, variant.training_statistics
    counts = []
    for devices in DEVICES:
        random = np.random.default_rng(devices)
        owner = random.integers(0, devices + 1, len(codes))
        own = {str(one): coded.statistics(codes[owner == one], targets[owner == one], variant.space)
               for one in range(devices + 1)}  # fmt: skip
        fleet = FleetSum(source, SHRINKAGE, Weighing(devices_min=0), own.__getitem__, model.solve)
        for device in random.permutation(list(own)).tolist():
            fleet.replace(device, None, own[device])
        gone = str(devices)
        fleet.replace(gone, own[gone], None)
        one_place = coded.statistics(codes[owner != devices], targets[owner != devices], variant.space)
        counts.append(_bits(fleet.head(), model.solve(source, one_place, SHRINKAGE)))
    return counts


def _bits(one: Head, other: Head) -> int:
    """In how many bits two heads differ."""
    different = [a.view(np.uint32) ^ b.view(np.uint32) for a, b in ((one.kernel, other.kernel), (one.bias, other.bias))]
    return sum(int(np.unpackbits(np.ascontiguousarray(part).view(np.uint8)).sum()) for part in different)


def _bins(length: int) -> list[tuple[int, int]]:
    edges = [0, *(edge for edge in EDGES if edge < length), length]
    return list(itertools.pairwise(edges))


def _mean(parts: list[Float64]) -> float:
    return float(np.nanmean(np.concatenate(parts)))


def _extended(embedding: Float32) -> Float64:
    return np.concatenate([embedding, np.ones((len(embedding), 1))], axis=1).astype(np.float64)


def _bounded(row: dict[int, float]) -> dict[int, float]:
    """Standardised features of one sample, bounded as for scikit-learn."""
    return {name: max(-DEVIATIONS_MAX, min(value, DEVIATIONS_MAX)) for name, value in row.items()}


def _dicts(embedding: Float32) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in embedding.tolist()]


if __name__ == "__main__":
    raise SystemExit(main())
