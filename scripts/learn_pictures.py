"""The pictures of docs/learn: ``python -m scripts.learn_pictures`` writes docs/images/learn-descent.svg and
learn-measures.svg.

One pass over 500 digits by SGD, Adam and the exact solution, in any order and sorted by class, as the course has them;
and the error plot and confusion matrix of such a pass.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float64, Int64

OUT = Path(__file__).resolve().parent.parent / "docs" / "images"
LABELS, EVERY = 500, 10
METHODS = ("SGD", "Adam", "exact")


def digits() -> tuple[Float64, Int64]:
    """x float64 (n, 65), a one at its end, and labels, in the order of the course."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return np.hstack([pixels / 16, np.ones((len(pixels), 1))])[order], labels[order].astype(np.int64)


def probabilities(x: Float64, weights: AnyArray) -> Float64:
    z = x @ weights
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def curve(method: str, x: Float64, y: Int64, order: Int64) -> list[float]:
    """Accuracy in per cent on the rows after the first `LABELS`, after every `EVERY` labels of `order`."""
    test, truth, one_hot = x[LABELS : 2 * LABELS], y[LABELS : 2 * LABELS], np.eye(10)[y]
    weights: AnyArray = np.zeros((65, 10))
    gram, sums = np.eye(65), np.zeros((65, 10))
    first, second = np.zeros((65, 10)), np.zeros((65, 10))
    found = []
    for step, row in enumerate(order, start=1):
        v = x[row : row + 1]
        slope = v.T @ (probabilities(v, weights) - one_hot[row : row + 1])
        if method == "SGD":
            weights = weights - 0.1 * slope
        elif method == "Adam":
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            weights = weights - 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
        else:
            gram, sums = gram + v.T @ v, sums + v.T @ one_hot[row : row + 1]
            weights = np.linalg.solve(gram, sums) if step % EVERY == 0 else weights
        if step % EVERY == 0:
            found.append(100 * float(((test @ weights).argmax(axis=1) == truth).mean()))
    return found


def answered(method: str, x: Float64, y: Int64) -> tuple[Int64, Float64]:
    """What is said of each of the first `LABELS` rows before its label is learned, (n,); and the weights at the end."""
    one_hot, said = np.eye(10)[y], []
    weights: AnyArray = np.zeros((65, 10))
    gram, sums = np.eye(65), np.zeros((65, 10))
    for row in range(LABELS):
        v = x[row : row + 1]
        p = probabilities(v, weights)
        said.append(int(p.argmax()))
        if method == "SGD":
            weights = weights - 0.1 * (v.T @ (p - one_hot[row : row + 1]))
        else:
            gram, sums = gram + v.T @ v, sums + v.T @ one_hot[row : row + 1]
            weights = np.linalg.solve(gram, sums)
    return np.array(said), weights


def descent(pyplot: Any, x: Float64, y: Int64) -> Any:
    orders: dict[str, AnyArray] = {
        "labels in any order": np.arange(LABELS),
        "labels sorted by class": np.argsort(y[:LABELS], kind="stable"),
    }
    figure, axes = pyplot.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
    for axis, (title, order) in zip(axes, orders.items(), strict=True):
        for method in METHODS:
            axis.plot(np.arange(EVERY, LABELS + 1, EVERY), curve(method, x, y, order), label=method)
        axis.set_title(title)
        axis.set_ylabel("accuracy, %")
        axis.grid(alpha=0.3)
    axes[1].set_xlabel("labels, each seen once")
    axes[0].legend()
    return figure


def measures(pyplot: Any, x: Float64, y: Int64) -> Any:
    """The error plot, each row answered before it is learned; and the confusion matrix on rows that come later."""
    figure, (plot, matrix) = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    said = {method: answered(method, x, y) for method in ("SGD", "exact")}
    lines = {**{method: found for method, (found, _) in said.items()}, "the last label again": np.roll(y[:LABELS], 1)}
    for name, found in lines.items():
        wrong = 100 * (found != y[:LABELS])
        plot.plot(np.arange(50, LABELS + 1, 50), wrong.reshape(-1, 50).mean(axis=1), label=name)
    plot.set_xlabel("rows, each answered before its label is learned")
    plot.set_ylabel("wrong, % of the last 50")
    plot.set_ylim(0, 100)
    plot.grid(alpha=0.3)
    plot.legend()
    later = slice(LABELS, 2 * LABELS)
    answers, counts = (x[later] @ said["SGD"][1]).argmax(axis=1), np.zeros((10, 10), int)
    np.add.at(counts, (y[later], answers), 1)
    matrix.imshow(counts, cmap="Blues")
    for row, column in np.argwhere(counts):
        colour = "white" if counts[row, column] > 25 else "black"
        matrix.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    matrix.set_xticks(range(10))
    matrix.set_yticks(range(10))
    matrix.set_xlabel("answer")
    matrix.set_ylabel("truth")
    matrix.set_title("SGD, 500 later rows")
    return figure


def main() -> int:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    x, y = digits()
    for name, draw in (("learn-descent", descent), ("learn-measures", measures)):
        pyplot.rcParams["svg.hashsalt"] = "course"
        drawn = io.StringIO()
        draw(pyplot, x, y).savefig(drawn, format="svg", metadata={"Date": None})
        out = OUT / f"{name}.svg"
        out.write_text("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n", encoding="utf-8")
        print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
