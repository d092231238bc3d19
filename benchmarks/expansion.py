"""What `--expand auto` picks, beside every choice it has: python -m benchmarks.expansion --data FOLDER.

One Keras model per task and seed, converted once per choice of random features. Each bundle then lives through the same
real drift, prequentially: a block is predicted before its labels are learned. Two learners: the device's own with its
defaults, which can forget, and one head solved from all tables so far, which cannot; the converter's simulated drift
(converter/features/expand.py) stands in for the second. "None" is the peer. Mean and standard deviation over seeds,
in per cent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import datasets
from benchmarks.backbones import keras_model
from benchmarks.ours import Headway, features_of
from benchmarks.rows import TASKS
from benchmarks.tasks import Device, Task
from converter import Options, convert
from edge_agent.pipeline import Features
from headway.bundle import Variant, read_variant
from headway.maths import Statistics, fleet_head

CHOICES = ((0, False), (64, False), (192, False), (64, True), (192, True))
LEARNERS = ("device's own", "never forgets")
Choice = tuple[int, bool]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.expansion", description=__doc__)
    parser.add_argument("--data", help=f"folder of the data sets (default: ${datasets.VARIABLE})")
    streams = [name for name in TASKS if name in ("gas", "gas-sorted", "occupancy", "rainfall", "digits")]
    parser.add_argument("--tasks", default="gas,occupancy", help=f"any of {','.join(streams)}")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    folder = datasets.folder(options.data)
    if folder is None:
        print(f"no data: name the folder with --data or {datasets.VARIABLE}", file=sys.stderr)
        return 2
    unknown = sorted(set(options.tasks.split(",")) - set(streams))
    if unknown:
        print(f"no stream {', '.join(unknown)}; there are {', '.join(streams)}", file=sys.stderr)
        return 2
    for name in options.tasks.split(","):
        picked: list[Choice] = []
        scores: dict[Choice, list[list[float]]] = {}
        for seed in range(options.seeds):
            task = TASKS[name](folder, seed)
            model = keras_model(task, seed)
            variants = _variants(task, model)
            picked.append(_auto(task, model))
            for choice, variant in variants.items():
                scores.setdefault(choice, []).append(_live(task, variant))
        print("\n".join(table(task.name, scores, picked)), flush=True)
    return 0


def _variants(task: Task, model: object) -> dict[Choice, Variant]:
    """A bundle for every choice; of the input only where auto would consider it."""
    small = task.training.x[0].size <= 256
    return {
        (count, of_input): _converted(task, model, count, of_input)[0]
        for count, of_input in CHOICES
        if small or not of_input
    }


def _auto(task: Task, model: object) -> Choice:
    variant, reason = _converted(task, model, -1, False)
    print(f"  {reason}", file=sys.stderr)
    expansion = variant.features.expansion
    return (0, False) if expansion is None else (expansion.weights.shape[1], expansion.of_input)


def _converted(task: Task, model: object, count: int, of_input: bool) -> tuple[Variant, str]:
    data = (task.training.x, task.training.y, task.classes)
    options = Options(name=task.model, expand=count, expand_input=of_input, standardise=task.tabular)
    with tempfile.TemporaryDirectory(prefix="headway-expansion-") as folder:
        report = convert(model, data, options, out=Path(folder) / "model.hwb")
        return read_variant(Path(folder) / "model.hwb"), report.expansion


def _live(task: Task, variant: Variant) -> list[float]:
    """Prequential accuracy of each learner, the mean over the task's devices."""
    results = []
    for device in task.devices:
        features = features_of(variant, device.taught.x)
        results.append([_own(variant, device, features, task.block), _solved(variant, device, features, task.block)])
    return [float(mean) for mean in np.mean(results, axis=0)]


def _own(variant: Variant, device: Device, features: Features, block: int) -> float:
    learner, right = Headway(variant), 0
    for start in range(0, len(features), block):
        stop = min(start + block, len(features))
        rows, labels = features.rows(start, stop), device.taught.y[start:stop]
        right += int((learner.predict(rows) == labels).sum())
        learner.learn(rows, labels)
    return right / len(features)


def _solved(variant: Variant, device: Device, features: Features, block: int) -> float:
    """At least 16 rows between two solves: on an even stream the head hardly moves in fewer."""
    tables, right, block = variant.training_statistics, 0, max(block, 16)
    nothing = Statistics.zeros(tables.size, tables.classes, tables.space)
    for start in range(0, len(features), block):
        codes, labels = features.codes[start : start + block], device.taught.y[start : start + block]
        head = fleet_head(tables, nothing)
        right += int((head.logits(codes.astype(np.float32)).argmax(axis=1) == labels).sum())
        tables = tables + Statistics.of(codes, labels, tables.classes, tables.space)
    return right / len(features)


def table(title: str, scores: dict[Choice, list[list[float]]], picked: list[Choice]) -> list[str]:
    """scores: choice -> seeds -> one accuracy per learner; picked: what auto chose, one per seed."""
    lines = [f"{title}, {len(picked)} seed(s)", "", f"| random features | {' | '.join(LEARNERS)} | auto picked it |"]
    lines.append("| --- | --- | --- | --- |")
    for choice, seeds in scores.items():
        values = 100 * np.array(seeds)
        cells = [f"{mean:.2f} +- {spread:.2f}" for mean, spread in zip(values.mean(0), values.std(0), strict=True)]
        lines.append(f"| {named(choice)} | {' | '.join(cells)} | {picked.count(choice)} of {len(picked)} |")
    every = 100 * np.array([scores[choice] for choice in scores])
    chosen = 100 * np.array([scores[choice][seed] for seed, choice in enumerate(picked)])
    for index, learner in enumerate(LEARNERS):
        short = (every[:, :, index].max(axis=0) - chosen[:, index]).mean()
        gained = (chosen[:, index] - 100 * np.array(scores[CHOICES[0]])[:, index]).mean()
        lines.append(f"{learner}: auto is {gained:+.2f} points from none and {short:.2f} short of each seed's best")
    return [*lines, ""]


def named(choice: Choice) -> str:
    count, of_input = choice
    return f"{count} of the {'input' if of_input else 'embedding'}" if count else "none"


if __name__ == "__main__":
    sys.exit(main())
