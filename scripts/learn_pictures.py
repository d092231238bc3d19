"""The picture of docs/learn: ``python -m scripts.learn_pictures`` writes docs/images/learn-descent.svg.

One pass over 500 digits by SGD, Adam and the exact solution, in any order and sorted by class, as the course has them.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float64, Int64

OUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "learn-descent.svg"
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


def main() -> int:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    x, y = digits()
    orders: dict[str, AnyArray] = {
        "labels in any order": np.arange(LABELS),
        "labels sorted by class": np.argsort(y[:LABELS], kind="stable"),
    }
    pyplot.rcParams["svg.hashsalt"] = "course"
    figure, axes = pyplot.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
    for axis, (title, order) in zip(axes, orders.items(), strict=True):
        for method in METHODS:
            axis.plot(np.arange(EVERY, LABELS + 1, EVERY), curve(method, x, y, order), label=method)
        axis.set_title(title)
        axis.set_ylabel("accuracy, %")
        axis.grid(alpha=0.3)
    axes[1].set_xlabel("labels, each seen once")
    axes[0].legend()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    OUT.write_text("\n".join(line.rstrip() for line in drawn.getvalue().splitlines()) + "\n", encoding="utf-8")
    print(OUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
