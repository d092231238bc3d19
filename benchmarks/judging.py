"""Does an output match the source model? Independent of the converter's own gate, on windows it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Float64

PARITY_MAX = 1e-5
DROP_POINTS_MAX = 0.5
SIGMAS = 2.0
ROUNDINGS = 4.0


@dataclass(frozen=True, slots=True)
class Truth:
    """Keras's own answers. embedding: float32 (n, e), before the head; outputs: float32 (n, C); y: as for training.

    rounding: how far these outputs are from Keras's own in float64, over their scale.
    """

    embedding: Float32
    outputs: Float32
    y: AnyArray
    rounding: float = 0.0

    @staticmethod
    def of(model: Any, x: Float32, y: AnyArray) -> Truth:
        """Cut here at the last Dense, by Keras alone."""
        import keras

        head = next(layer for layer in reversed(model.layers) if type(layer).__name__ == "Dense")
        backbone = keras.Model(model.inputs, head.input)
        outputs = model.predict(x, verbose=0)
        twin = keras.models.clone_model(model, clone_function=_in_float64, recursive=True)
        twin.set_weights(model.get_weights())
        exact = twin.predict(x.astype(np.float64), verbose=0)
        rounding = float(np.abs(outputs - exact).max()) / max(1.0, float(np.abs(exact).max()))
        return Truth(backbone.predict(x, verbose=0), outputs, y, rounding)


def _in_float64(layer: Any) -> Any:
    return type(layer).from_config({**layer.get_config(), "dtype": "float64"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """parity: max |difference| of embeddings over their scale; drop: points of accuracy lost on the windows.

    wrong: why this is no match, '' when it is one; rounding: of the source model itself.
    """

    parity: float = 0.0
    output_parity: float = 0.0
    agreement: float = 1.0
    drop_points: float = 0.0
    wrong: str = ""
    rounding: float = 0.0


def judge(truth: Truth, outputs: Float32, exact: bool, embedding: Float32 | None = None) -> Verdict:
    """exact: float32, which must match to 1e-5, or to four times what Keras's own float32 is off where that is more.

    Others may lose half a point, plus two standard errors of the loss.
    """
    for name, found, expected in (("outputs", outputs, truth.outputs), ("embedding", embedding, truth.embedding)):
        if found is not None and (found.shape != expected.shape or not np.isfinite(found).all()):
            finite = "" if found.shape != expected.shape else " with values that are not finite"
            return Verdict(wrong=f"{name} {found.shape}{finite}, expected {expected.shape}")
    parity = 0.0 if embedding is None else _difference(embedding, truth.embedding)
    output_parity = float(np.abs(outputs - truth.outputs).max()) / max(1.0, float(np.abs(truth.outputs).max()))
    loss = _scores(truth.outputs, truth.y) - _scores(outputs, truth.y)
    drop = 100 * float(loss.mean())
    error = 100 * float(loss.std()) / np.sqrt(len(loss))
    wrong = ""
    if exact and max(parity, output_parity) > max(PARITY_MAX, ROUNDINGS * truth.rounding):
        wrong = f"differs by {parity:.1e} of the features' scale, {output_parity:.1e} in the outputs"
    elif drop - SIGMAS * error > DROP_POINTS_MAX:
        wrong = f"loses {drop:.1f} points"
    return Verdict(parity, output_parity, _agreement(outputs, truth), drop, wrong, truth.rounding)


def judge_answers(truth: Truth, answers: Mapping[str, AnyArray], name: str, exact: bool) -> Verdict:
    """One pair of what `bundle_check` wrote."""
    if f"{name}/error" in answers:
        return Verdict(wrong=f"cannot run: {answers[f'{name}/error']}")
    if f"{name}/outputs" not in answers:
        return Verdict(wrong="was not run")
    return judge(truth, answers[f"{name}/outputs"], exact, answers[f"{name}/embedding"])


def _difference(found: Float32, expected: Float32) -> float:
    return float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-12)


def _scores(outputs: Float32, y: AnyArray) -> Float64:
    """Per window, 0..1: right or not; share of right labels; for values, 1 - squared error over the spread."""
    if y.ndim == 1:
        return np.asarray(outputs.argmax(axis=1) == y, np.float64)
    if np.isin(y, (0, 1)).all():
        return np.asarray(((outputs >= 0.5) == (y >= 0.5)).mean(axis=1), np.float64)
    spread = np.square(y - y.mean(axis=0)).mean(axis=0)
    return np.asarray(1 - (np.square(outputs - y) / spread).mean(axis=1), np.float64)


def _agreement(outputs: Float32, truth: Truth) -> float:
    if truth.y.ndim == 1:
        return float((outputs.argmax(axis=1) == truth.outputs.argmax(axis=1)).mean())
    if np.isin(truth.y, (0, 1)).all():
        return float(((outputs >= 0.5) == (truth.outputs >= 0.5)).mean())
    return float(np.mean(1 - np.square(outputs - truth.outputs).mean(axis=0) / truth.outputs.var(axis=0)))
