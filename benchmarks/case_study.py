"""The textbook case of incremental learning, through the real code: `make case-study`.

    python -m benchmarks.case_study [--draws N] [--out FOLDER]

A network is trained on 1,000 handwritten digits (scikit-learn's, 8 x 8 pixels) and converted; then ten rounds of ten
new digits are taught to the device's learner, and after each round it is tested on the remaining 697. Twice: with
digits as the network knows them, where learning must not hurt, and with the camera moved by a pixel and dimmed, where
it must help. Each figure is the mean over draws of the hundred new digits. What is tested is what the agent would
serve; for the gradient methods also the learned head itself, which the gate has not let through yet.

Writes rounds.csv and error-curve.png. docs/howto/case-study.md explains the result, docs/learn the formulas.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.learner import HeadLearner
from edge_agent.learner.gradient import CANDIDATE
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features, Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.sync import SyncState
from headway.arrays import Float32, Int64
from headway.bundle import Variant, read_variant
from headway.maths import ClassificationSums

BASE, ROUNDS, PER_ROUND = 1000, 10, 10
MEASURES = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "mse", "log_loss")
SCENARIOS = {"as trained": "digits as the network knows them", "moved": "camera moved by a pixel and dimmed"}


def methods() -> dict[str, LearnerSettings]:
    """Everything else is as a device has it by default."""
    found = {"exact": LearnerSettings(kind="exact")}
    for optimizer in ("sgd", "momentum", "adam"):
        for schedule in ("online", "batch"):
            settings = LearnerSettings(kind="gradient", optimizer=optimizer, schedule=schedule, train_rows=PER_ROUND)
            found[f"{optimizer} {schedule}"] = settings
    return found


@dataclass(frozen=True, slots=True)
class Digits:
    """Images float32 (n, 8, 8, 1) in 0..1 and labels int64 (n,): the base model's, and the later ones."""

    base: Float32
    base_labels: Int64
    later: Float32
    later_labels: Int64


@dataclass(frozen=True, slots=True)
class Row:
    """The test after a round. head: ``served``, or ``learned`` for what the gate may still hold back."""

    scenario: str
    method: str
    draw: int
    round: int
    head: str
    figures: dict[str, float | int]


def digits() -> Digits:
    """A fixed split in a random order."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    images = (x[order] / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    labels = y[order].astype(np.int64)
    return Digits(images[:BASE], labels[:BASE], images[BASE:], labels[BASE:])


def moved(images: Float32) -> Float32:
    """One pixel to the right, at 60 % of the brightness."""
    shifted = np.zeros_like(images)
    shifted[:, :, 1:] = images[:, :, :-1]
    return np.asarray(shifted * np.float32(0.6), np.float32)


def base_bundle(data: Digits, folder: Path) -> Path:
    """Train the base model and convert it."""
    import keras

    from converter.convert import convert
    from converter.features import training_data

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(data.base, data.base_labels, epochs=20, batch_size=32, verbose=0)
    out = folder / "digits.hwb"
    convert(model, training_data(data.base, data.base_labels), out=out)
    return out


def study(variant: Variant, features: Features, labels: Int64, scenario: str, method: str, draw: int) -> Iterator[Row]:
    """One draw of a hundred digits, taught in rounds; the rest is the test."""
    settings = methods()[method]
    order = np.random.default_rng(draw).permutation(len(labels))
    taught, tested = order[: ROUNDS * PER_ROUND], order[ROUNDS * PER_ROUND :]
    test, truth = taken(features, tested), labels[tested]
    agent = Agent("case", HeadLearner(variant, settings), SyncSettings(), SyncState(epoch=1))
    for number in range(ROUNDS + 1):
        if number:
            rows = taught[(number - 1) * PER_ROUND : number * PER_ROUND]
            agent.process(taken(features, rows), labels[rows])
        served = agent.process(test, None).probability
        yield Row(scenario, method, draw, number, "served", ClassificationSums.of(served, truth).summary())
        if agent.learner.kind == "gradient":
            head = agent.learner.trainer.candidates()[CANDIDATE]
            learned = head.probabilities(test.codes.astype(np.float32))
            yield Row(scenario, method, draw, number, "learned", ClassificationSums.of(learned, truth).summary())


def taken(features: Features, rows: Int64) -> Features:
    return Features(features.embedding[rows], features.codes[rows])


def mean(rows: Sequence[Row], scenario: str, method: str, number: int, head: str, measure: str) -> tuple[float, float]:
    """Mean and standard deviation over the draws."""
    key = (scenario, method, number, head)
    values = [r.figures[measure] for r in rows if (r.scenario, r.method, r.round, r.head) == key]
    return float(np.mean(values)), float(np.std(values))


def print_tables(rows: Sequence[Row]) -> None:
    """Accuracy round by round, then every measure after the last one."""
    for scenario, what in SCENARIOS.items():
        print(f"\n{what}: accuracy in % of what is served, after each round of {PER_ROUND} (0: before the first)")
        print(f"{'':<16}" + "".join(f"{number:>7}" for number in range(ROUNDS + 1)) + "   +- last")
        for method in methods():
            cells = [mean(rows, scenario, method, number, "served", "accuracy") for number in range(ROUNDS + 1)]
            print(f"{method:<16}" + "".join(f"{100 * m:7.1f}" for m, _ in cells) + f"{100 * cells[-1][1]:8.1f}")
        print(f"\n{what}: after the last round")
        print(f"{'':<16}{'head':<10}" + "".join(f"{measure.removeprefix('macro_'):>11}" for measure in MEASURES))
        for method in methods():
            for head in ("served", "learned") if method != "exact" else ("served",):
                cells = [mean(rows, scenario, method, ROUNDS, head, measure) for measure in MEASURES]
                print(f"{method:<16}{head:<10}" + "".join(f"{m:11.4f}" for m, _ in cells))


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Error and cross-entropy over the rounds: what is served as lines, learned heads dotted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), sharex=True, layout="constrained")
    colours = {"exact": "black", "sgd": "tab:blue", "momentum": "tab:orange", "adam": "tab:green"}
    numbers = np.arange(ROUNDS + 1)
    for column, (scenario, what) in enumerate(SCENARIOS.items()):
        for row, (measure, label) in enumerate((("accuracy", "wrong, %"), ("log_loss", "cross-entropy, nats"))):
            axis = axes[row][column]
            for method in methods():
                optimizer, _, schedule = method.partition(" ")
                for head in ("served", "learned") if method != "exact" else ("served",):
                    found = np.array([mean(rows, scenario, method, n, head, measure)[0] for n in range(ROUNDS + 1)])
                    values = 100 * (1 - found) if measure == "accuracy" else found
                    style = ":" if head == "learned" else "--" if schedule == "batch" else "-"
                    if head == "learned" and schedule == "batch":
                        continue  # as good as its online twin; eleven lines are enough
                    name = f"{method}, {head}" if head == "learned" else method
                    axis.plot(numbers, values, style, color=colours[optimizer], label=name, linewidth=1.6)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
            axis.set_ylabel(label)
            if not row:
                axis.set_title(what)
            else:
                axis.set_xlabel("rounds of ten new digits")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    figure.savefig(path, dpi=110)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scenario", "method", "draw", "round", "head", *rows[0].figures])
        for row in rows:
            writer.writerow([row.scenario, row.method, row.draw, row.round, row.head, *row.figures.values()])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5, help="draws of the hundred new digits (default 5)")
    parser.add_argument("--out", type=Path, default=Path("case-study-report"), help="folder of the results")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    data = digits()
    with tempfile.TemporaryDirectory(prefix="case-study-") as scratch:
        print(f"training the base model on {BASE} digits and converting it", flush=True)
        variant = read_variant(base_bundle(data, Path(scratch)))
    pipeline = Pipeline(variant, open_runtime(variant))
    rows: list[Row] = []
    for scenario in SCENARIOS:
        images = data.later if scenario == "as trained" else moved(data.later)
        features = pipeline.features(images)
        for method in methods():
            for draw in range(options.draws):
                rows += study(variant, features, data.later_labels, scenario, method, draw)
    print_tables(rows)
    write_rows(rows, options.out / "rounds.csv")
    draw_curves(rows, options.out / "error-curve.png")
    print(f"\n{options.out / 'error-curve.png'} and {options.out / 'rounds.csv'} are written; see docs/learn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
