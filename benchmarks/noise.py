"""Wrong labels: what they cost, which are found, and what it brings to put these right.

    python -m benchmarks.noise --data FOLDER --seeds 3

Devices of `benchmarks.learning`, a share of whose labels is wrong: at random, or taken for the class that the frozen
head confuses the true one with most (confusable). Accuracy is on right labels: later windows of people, predictions
before each block of the stream. Headway's exact learner runs twice: with labels as they are, and with a person who
answers every label that it doubts, rightly and as soon as the block was taught, where the doubt was right; where the
label was right the person says so by doing nothing. Peers take the same labels as they are; LDA is scikit-learn's, with
shrinkage, fitted anew to training rows and all labels at every block. found: share of wrong labels that were doubted;
right: share of doubted labels that were wrong. Mean over devices and seeds, in per cent; in brackets the worst device.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import datasets
from benchmarks.backbones import bundle
from benchmarks.ours import features_of
from benchmarks.peers import EPOCHS_OF_FEW, Contender, LastLayer
from benchmarks.rows import TASKS
from benchmarks.tasks import Device, Task
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from headway.arrays import Float32, Int64
from headway.bundle import Variant
from headway.maths import softmax

ROWS = ("watch", "speech-5", "gas")
RATES = (0.0, 0.1, 0.2, 0.4)
KINDS = ("random", "confusable")
# of a stream, so many labels; the gas stream has thousands
LABELS_MAX = 1200
Scores = dict[str, float]


class Ours:
    """The learner alone. answered: a person puts doubted labels right after each block. truth: int64 (n,), of all."""

    def __init__(self, variant: Variant, kind: str, truth: Int64, *, answered: bool = False) -> None:
        self._learner = HeadLearner(variant, replace(LearnerSettings(), kind=kind))
        self._truth, self._answered = truth, answered
        self._rows: list[tuple[Features, int]] = []
        self.doubted: dict[int, bool] = {}

    def predict(self, features: Features) -> Int64:
        return self._learner.predict(features).classes

    def learn(self, features: Features, labels: Int64) -> None:
        served = self._learner.predict(features)
        for row, label in enumerate(labels.tolist()):
            one = replace(served, probability=served.probability[row : row + 1])
            self._rows.append((features.rows(row, row + 1), label))
            self._learner.learn(self._rows[-1][0], label, one)
            self._note()
        if self._answered:
            self._answer()

    def _note(self) -> None:
        for doubt in self._learner.doubts:
            wrong = doubt.given != self._truth[doubt.number]
            self.doubted[doubt.number] = self.doubted.get(doubt.number, False) or bool(wrong)

    def _answer(self) -> None:
        for doubt in self._learner.doubts:
            features, given = self._rows[doubt.number]
            right = int(self._truth[doubt.number])
            if right != given:
                self._learner.correct(doubt.number, features, given, right)
                self._rows[doubt.number] = features, right


class ScikitLearnLDA:
    """LinearDiscriminantAnalysis, Ledoit-Wolf shrinkage, fitted anew to the training rows and all labels so far."""

    def __init__(self, source: tuple[Float32, Int64]) -> None:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        self._rows, self._labels = source
        self._model: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        self._model.fit(*source)

    def predict(self, features: Features) -> Int64:
        return np.asarray(self._model.predict(features.embedding), np.int64)

    def learn(self, features: Features, labels: Int64) -> None:
        self._rows = np.concatenate([self._rows, features.embedding])
        self._labels = np.concatenate([self._labels, labels])
        self._model.fit(self._rows, self._labels)


def flipped(truth: Int64, rate: float, kind: str, confused: Int64, random: np.random.Generator) -> Int64:
    """Labels of which a share is wrong. confused: by class, the one it is taken for; int64 (n,) -> int64 (n,)."""
    wrong = random.random(len(truth)) < rate
    classes = len(confused)
    other = (truth + random.integers(1, classes, len(truth))) % classes if kind == "random" else confused[truth]
    return np.where(wrong, other, truth)


def confusions(variant: Variant, features: Features, truth: Int64) -> Int64:
    """By class, the other one that the frozen head finds most probable on its windows, int64 (C,)."""
    probability = softmax(variant.frozen_head.logits(features.embedding))
    classes = len(variant.classes)
    sums = np.array([probability[truth == c].sum(axis=0) if (truth == c).any() else np.zeros(classes)
                     for c in range(classes)])  # fmt: skip
    np.fill_diagonal(sums, -1.0)
    return np.asarray(sums.argmax(axis=1), np.int64)


def run(task: Task, seed: int) -> dict[str, dict[str, list[Scores]]]:
    """Noise -> contender -> a score per device."""
    variant = bundle(task, seed)
    source = features_of(variant, task.training.x).embedding, task.training.y
    results: dict[str, dict[str, list[Scores]]] = {}
    for at, device in enumerate(task.devices):
        count = min(len(device.taught), LABELS_MAX)
        taught, truth = features_of(variant, device.taught.x[:count]), device.taught.y[:count]
        tests = {name: features_of(variant, rows.x) for name, rows in device.tests.items()}
        confused = confusions(variant, taught, truth)
        for rate in RATES:
            for kind in KINDS if rate else KINDS[:1]:
                random = np.random.default_rng([seed, at, int(100 * rate)])
                given = flipped(truth, rate, kind, confused, random)
                noise = f"{100 * rate:.0f} % {kind}" if rate else "none"
                for name, make in makers(variant, source, truth, task).items():
                    contender = make()
                    score = drive(contender, task, device, taught, given, truth, tests)
                    if isinstance(contender, Ours) and name == "Headway, exact":
                        score |= found(contender.doubted, given != truth)
                    results.setdefault(noise, {}).setdefault(name, []).append(score)
    return results


def makers(
    variant: Variant, source: tuple[Float32, Int64], truth: Int64, task: Task
) -> Mapping[str, Callable[[], Contender]]:
    epochs = 1 if task.prequential else EPOCHS_OF_FEW
    return {
        "SGD, last layer": lambda: LastLayer(variant, adam=False, epochs=epochs),
        "scikit-learn LDA": lambda: ScikitLearnLDA(source),
        "Headway, gradient": lambda: Ours(variant, "gradient", truth),
        "Headway, exact": lambda: Ours(variant, "exact", truth),
        "Headway, exact, doubts answered": lambda: Ours(variant, "exact", truth, answered=True),
    }


def found(doubted: Mapping[int, bool], wrong: Int64) -> Scores:
    """Counts, to be added up over devices."""
    return {"wrong": float(wrong.sum()), "doubted": float(len(doubted)), "both": float(sum(doubted.values()))}


def drive(
    contender: Contender,
    task: Task,
    device: Device,
    taught: Features,
    given: Int64,
    truth: Int64,
    tests: Mapping[str, Features],
) -> Scores:
    """Accuracy on right labels."""
    block = task.block if task.prequential else 8 if isinstance(contender, Ours) else len(taught)
    right = 0
    for start in range(0, len(taught), block):
        rows = taught.rows(start, min(start + block, len(taught)))
        if task.prequential:
            right += int((contender.predict(rows) == truth[start : start + block]).sum())
        contender.learn(rows, given[start : start + block])
    if task.prequential:
        return {"accuracy": right / len(taught)}
    name, features = next(iter(tests.items()))
    return {"accuracy": float((contender.predict(features) == device.tests[name].y).mean())}


def table(title: str, seeds: list[dict[str, dict[str, list[Scores]]]]) -> list[str]:
    names = list(next(iter(seeds[0].values())))
    lines = [f"| {title} | {' | '.join(names)} | found | right |", f"|---{'|---:' * (len(names) + 2)}|"]
    for noise in seeds[0]:
        cells = []
        for name in names:
            values = 100 * np.array([[score["accuracy"] for score in run[noise][name]] for run in seeds])
            worst = f" [{values.min():.0f}]" if values.shape[1] > 1 else ""
            cells.append(f"{values.mean():.1f}{worst}")
        sums = {key: sum(score[key] for run in seeds for score in run[noise]["Headway, exact"])
                for key in ("wrong", "doubted", "both")}  # fmt: skip
        cells.append(f"{100 * sums['both'] / sums['wrong']:.0f}" if sums["wrong"] else "-")
        share = f"{100 * sums['both'] / sums['doubted']:.0f}" if sums["doubted"] and sums["wrong"] else "-"
        cells.append(share if sums["wrong"] else f"{sums['doubted']:.0f} doubted")
        lines.append(f"| {noise} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise", description=__doc__)
    parser.add_argument("--data", help=f"folder of the data sets (default: ${datasets.VARIABLE})")
    parser.add_argument(
        "--tasks", default=",".join(ROWS), help=f"rows of benchmarks.learning (default: {','.join(ROWS)})"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every score here")
    options = parser.parse_args()
    folder = datasets.folder(options.data)
    if folder is None:
        print(f"no data: name the folder with --data or {datasets.VARIABLE}", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)
    kept = {}
    for name in options.tasks.split(","):
        kept[name] = [run(TASKS[name](folder, seed), seed) for seed in range(options.seeds)]
        print("\n".join(table(name, kept[name])), flush=True)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
