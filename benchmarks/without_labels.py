"""What windows without a label are worth, before any label and after some: python -m benchmarks.without_labels.

Two fleets of people (benchmarks/people.py). The devices see their windows in even shares, without a third of the
classes, or with one class that makes 70 per cent. Before any label, methods of the literature adapt the discriminant of
the training data to these windows and are scored on the same ones. After 1, 3 or 5 labels of each class the exact
learner's pool is scored on later windows, with and without the expert whose prior begins where the windows lie
(edge_agent/learner/exact/window_means.py). Figures: accuracy, points gained, paired by device, the share of devices
that lost more than a point, and the largest loss.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import datasets
from benchmarks.backbones import bundle
from benchmarks.ours import features_of
from benchmarks.people import few_labels, speech, watch
from benchmarks.tasks import Device
from edge_agent.learner.exact.trainer import CANDIDATE, ExactTrainer
from headway.arrays import Float64, Int8, Int64
from headway.bundle import Variant
from headway.maths import Head, Posterior, Statistics, TrainingPrior, softmax

FLEETS = {"watch": watch, "speech": speech}
SHARES, LABELS, POINT = ("all", "missing", "uneven"), (1, 3, 5), 1.0
ROUNDS, LEAST_SHARE, TEMPERATURE = 50, 1e-3, 4.0
Scores = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.without_labels", description=__doc__)
    parser.add_argument("--data", help=f"folder of the data sets (default: ${datasets.VARIABLE})")
    parser.add_argument("--fleets", default=",".join(FLEETS), help=f"any of {','.join(FLEETS)}")
    parser.add_argument("--seeds", type=int, default=4, help="backbones, each trained by other people")
    parser.add_argument("--draws", type=int, default=3, help="of the labelled windows, for each backbone")
    options = parser.parse_args()
    folder = datasets.folder(options.data)
    if folder is None:
        print(f"no data: name the folder with --data or {datasets.VARIABLE}", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)
    for fleet in options.fleets.split(","):
        for labels in LABELS:
            for shares in SHARES:
                runs = list(_scores(folder, fleet, labels, shares, options.seeds, options.draws))
                print("\n".join(_lines(f"{fleet}, {labels} labels per class, {shares}", runs)), flush=True)
    return 0


def _scores(folder: Path, fleet: str, labels: int, shares: str, seeds: int, draws: int) -> Iterator[Scores]:
    """Accuracies of one device after another, by method."""
    for seed in range(seeds):
        for draw in range(draws):
            task = few_labels(FLEETS[fleet], labels, drawn=True, windows=shares, draw=draw)(folder, seed)
            variant = bundle(task, seed)
            for device in task.devices:
                if device.unlabelled is not None and len(device.unlabelled):
                    yield from _device_scores(variant, device, before=labels == LABELS[0])


def _device_scores(variant: Variant, device: Device, before: bool) -> Iterator[Scores]:
    """before: adapt before any label, too."""
    if device.unlabelled is None:
        return
    windows = features_of(variant, device.unlabelled.x).codes
    later = features_of(variant, device.tests["later"].x).codes
    scores = _before_any_label(variant.training_statistics, windows, device.unlabelled.y) if before else {}
    trainer = ExactTrainer(variant.training_statistics)
    trainer.learn(features_of(variant, device.taught.x).codes, device.taught.y)
    truth = device.tests["later"].y
    scores["labels"] = _accuracy(trainer.candidates()[CANDIDATE], later, truth)
    class_sums = trainer.guess_windows(windows)
    if class_sums is not None:
        trainer.adopt_window_means(class_sums)
    scores["labels, windows"] = _accuracy(trainer.candidates()[CANDIDATE], later, truth)
    yield scores


def _before_any_label(training: Statistics, windows: Int8, truth: Int64) -> Scores:
    """The discriminant of the training data on windows int8 (n, d), as it is and adapted to them."""
    head = Posterior(TrainingPrior.of(training), Statistics.zeros(training.size, training.classes, training.space), 2.0)
    served = head.head()
    means = training.class_sums[:-1] / np.maximum(training.counts, 1)
    moved = windows - windows.mean(axis=0) + means.mean(axis=1)
    probability = softmax(served.logits(windows.astype(np.float32)) / np.float32(TEMPERATURE)).astype(np.float64)
    return {
        "no label": _accuracy(served, windows, truth),
        "no label, prior by EM": float(((probability * _shares(probability)).argmax(axis=1) == truth).mean()),
        "no label, means aligned": float((served.logits(moved.astype(np.float32)).argmax(axis=1) == truth).mean()),
    }


def _shares(probability: Float64) -> Float64:
    """Class priors float64 (C,) by expectation and maximisation (Saerens et al. 2002). probability: float64 (n, C)."""
    shares = np.full(probability.shape[1], 1.0 / probability.shape[1])
    for _ in range(ROUNDS):
        weighed = probability * shares
        shares = np.maximum((weighed / weighed.sum(axis=1, keepdims=True)).mean(axis=0), LEAST_SHARE)
        shares /= shares.sum()
    return shares


def _accuracy(head: Head, codes: Int8, truth: Int64) -> float:
    return float((head.logits(codes.astype(np.float32)).argmax(axis=1) == truth).mean())


def _lines(title: str, runs: list[Scores]) -> list[str]:
    lines = [f"{title}: {len(runs)} device(s)"]
    for method in runs[0] if runs else ():
        values = 100 * np.array([scores[method] for scores in runs])
        line = f"  {method:<26}{values.mean():6.2f}"
        reference = method.split(",")[0]
        if reference != method:
            gained = values - 100 * np.array([scores[reference] for scores in runs])
            line += f" {gained.mean():+6.2f} [worse {100 * (gained < -POINT).mean():.1f} %, "
            line += f"at most {max(0.0, -gained.min()):.1f}]"
        lines.append(line)
    return lines


if __name__ == "__main__":
    sys.exit(main())
