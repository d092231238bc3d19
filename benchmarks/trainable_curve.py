"""``edge-convert --trainable`` against Headway's own gradient learner, step for step, and the official recipe.

    python -m benchmarks.trainable_curve [--only NAME ...] [--steps N]

The .tflite trains with its ``train`` signature on plain ai-edge-litert; beside it `headway.maths.descent.Descent`
takes the same mini-batches, on the embedding that Keras computes. After every step the two heads are compared, over
the largest weight, and the two losses, over the largest loss. The goal is 1e-5 in both, with builtin operators only.
The peer is TensorFlow's own guide to on-device training (benchmarks/peer_exports.py), in the same run on the same
runtime.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peer_exports
from benchmarks.interpreters import machine, scratch_rows
from benchmarks.judging import Truth
from benchmarks.models import SHAPES, Shape, trained
from converter import Options, training_data
from converter.export import flex_operators, operators
from converter.sources import QUIET
from converter.trainable import write_trainable
from headway.arrays import AnyArray, Float32
from headway.errors import HeadwayError
from headway.maths import Descent, DescentSettings, HeadKind, Loss, link

BATCH_ROWS = 32
LOSSES = {
    HeadKind.SOFTMAX: Loss.CROSS_ENTROPY,
    HeadKind.SIGMOID: Loss.BINARY_CROSS_ENTROPY,
    HeadKind.LINEAR: Loss.SQUARED_ERROR,
}
GOAL = 1e-5


@dataclass(frozen=True, slots=True)
class Curve:
    """infer: difference of the first answers from Keras; head, loss: largest difference on the way."""

    kind: HeadKind
    infer: float
    head: float
    loss: float
    fell: float
    operators: int


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainable_curve", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(SHAPES), default=tuple(SHAPES), metavar="NAME")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    print(f"{machine()}; {options.steps} steps of {BATCH_ROWS} windows\n")
    print(
        "| shape | head | infer | head after every step | loss | loss fell to | builtin operators | official recipe |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    missed = False
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="headway-trainable-") as folder:
            model, x, y = trained(SHAPES[name])
            model.save(Path(folder) / "model.keras")
            try:
                curve = measure(SHAPES[name], model, x, y, Path(folder), options.steps)
                missed |= not max(curve.infer, curve.head, curve.loss) <= GOAL
                row = (
                    f"{curve.kind} | {curve.infer:.1e} | {curve.head:.1e} | {curve.loss:.1e} | "
                    f"{100 * curve.fell:.0f} % | {curve.operators}, no other"
                )
            except HeadwayError as error:
                row = f"refused: {error} | | | | |"
            print(f"| {name} | {row} | {_recipe(model, x, y, Path(folder))} |", flush=True)
    return int(missed)


def measure(shape: Shape, model: Any, x: Float32, y: AnyArray, folder: Path, steps: int) -> Curve:
    """Write, load, train beside the learner. Raises HeadwayError when the converter refuses the model."""
    from ai_edge_litert.interpreter import Interpreter

    file = folder / "trainable.tflite"
    write_trainable(folder / "model.keras", training_data(x, y, shape.class_names), file, Options())
    flex = flex_operators(payload := file.read_bytes())
    assert not flex, flex
    interpreter = Interpreter(model_content=payload, num_threads=1)
    infer, train, get_head, set_head = map(interpreter.get_signature_runner, ("infer", "train", "get_head", "set_head"))
    truth = Truth.of(model, x, y)
    targets = one_hot(y, shape.classes)
    outputs = infer(x=x[:BATCH_ROWS])["output"]
    first = float(np.abs(outputs - truth.outputs[:BATCH_ROWS]).max()) / max(1.0, float(np.abs(truth.outputs).max()))
    kind = _kind(shape)
    frozen = get_head(unused=np.zeros(1, np.float32))
    set_head(kernel=np.zeros_like(frozen["kernel"]), bias=np.zeros_like(frozen["bias"]))  # a long way to go
    rate = np.float32(0.02 / float(np.square(truth.embedding).mean()))
    weights = np.zeros((shape.classes, len(frozen["kernel"]) + 1), np.float32)
    descent = Descent(weights, DescentSettings(LOSSES[kind], learning_rate=float(rate)), BATCH_ROWS)
    extended = np.concatenate([truth.embedding, np.ones((len(x), 1), np.float32)], axis=1)
    heads, losses, file_losses = [], [], []
    order = np.random.default_rng(0)
    for _ in range(steps):
        rows = order.permutation(len(x))[:BATCH_ROWS]
        losses.append(_loss(kind, extended[rows] @ descent.weights.T, targets[rows]))
        descent.step(extended[rows], np.ascontiguousarray(targets[rows].T))
        file_losses.append(float(train(x=x[rows], y=targets[rows], learning_rate=rate)["loss"]))
        head = get_head(unused=np.zeros(1, np.float32))
        found = np.concatenate([head["kernel"], head["bias"][None]]).T
        heads.append(float(np.abs(found - descent.weights).max()) / float(np.abs(descent.weights).max()))
    loss = float(np.abs(np.array(losses) - file_losses).max()) / max(losses)
    tenth = max(1, steps // 10)
    fell = float(np.mean(losses[-tenth:]) / np.mean(losses[:tenth]))
    return Curve(kind, first, max(heads), loss, fell, len(operators(payload)))


def one_hot(y: AnyArray, classes: int) -> Float32:
    """Targets as the files take them, float32 (n, C)."""
    return np.asarray(np.eye(classes, dtype=np.float32)[y] if y.ndim == 1 else y, np.float32)


def _kind(shape: Shape) -> HeadKind:
    kinds = {"binary_crossentropy": HeadKind.SIGMOID, "mse": HeadKind.LINEAR}
    return kinds.get(shape.loss, HeadKind.SOFTMAX)


def _loss(kind: HeadKind, logits: Float32, targets: Float32) -> float:
    """Mean over the batch, in float64: what ``train`` says it returns."""
    outputs = link(logits.astype(np.float64), kind).astype(np.float64)
    if kind is HeadKind.SOFTMAX:
        return float(-(targets * np.log(outputs)).sum(axis=1).mean())
    if kind is HeadKind.SIGMOID:
        return float(-(targets * np.log(outputs) + (1 - targets) * np.log1p(-outputs)).sum(axis=1).mean())
    return float(np.square(outputs - targets).sum(axis=1).mean() / 2)


def _recipe(model: Any, x: Float32, y: AnyArray, folder: Path) -> str:
    """What becomes of the official recipe on the same model, in a few words."""
    from ai_edge_litert.interpreter import Interpreter

    rows = scratch_rows(folder, "rows", x[:BATCH_ROWS])
    file = peer_exports.export(folder / "model.keras", rows, folder, (peer_exports.RECIPE,))[peer_exports.RECIPE]
    if isinstance(file, str):
        return f"conversion refused: {file[:80]}"
    flex = flex_operators(payload := file.read_bytes())
    note = f"{len(flex)} Flex operators; " if flex else ""
    try:
        interpreter = Interpreter(model_content=payload, num_threads=1)
        infer, train = (interpreter.get_signature_runner(name) for name in ("infer", "train"))
        expected = model.predict(x[:BATCH_ROWS], verbose=0)
        difference = float(np.abs(infer(x=x[:BATCH_ROWS])["output"] - expected).max())
        targets = one_hot(y, expected.shape[1])
        losses = [float(train(x=x[:BATCH_ROWS], y=targets[:BATCH_ROWS])["loss"]) for _ in range(5)]
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{note}cannot run: {lines[0][:90]}"
    return f"{note}runs; infer differs by {difference:.1e}; losses {', '.join(f'{loss:.3g}' for loss in losses)}"


if __name__ == "__main__":
    sys.exit(main())
