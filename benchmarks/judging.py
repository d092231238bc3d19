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
ROUNDINGS = 2.0
ROUNDING_MAX = 1e-4  # a twin in float64 that is farther from Keras than this is not the same model


@dataclass(frozen=True, slots=True)
class Truth:
    """Keras's own answers. embedding: float32 (n, e), before the head; outputs: float32 (n, C); y: as for training.

    exact_embedding, exact_outputs: the same from Keras in float64.
    """

    embedding: Float32
    outputs: Float32
    y: AnyArray
    exact_embedding: Float64 | None = None
    exact_outputs: Float64 | None = None

    @property
    def rounding(self) -> float:
        """How far Keras's own float32 outputs are from float64, over their scale."""
        return 0.0 if self.exact_outputs is None else _of_outputs(self.outputs, self.exact_outputs)

    @staticmethod
    def of(model: Any, x: Float32, y: AnyArray) -> Truth:
        """Cut here at the last Dense, by Keras alone."""
        import keras

        twin = keras.models.clone_model(model, clone_function=_in_float64, recursive=True)
        twin.set_weights(model.get_weights())
        for layer in twin._flatten_layers():
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        answers = []
        for each, windows in ((model, x), (twin, x.astype(np.float64))):
            head = next(layer for layer in reversed(each.layers) if type(layer).__name__ == "Dense")
            backbone = keras.Model(each.inputs, head.input)
            answers.append((backbone.predict(windows, verbose=0), each.predict(windows, verbose=0)))
        return Truth(*answers[0], y, *answers[1])


def _in_float64(layer: Any) -> Any:
    return type(layer).from_config({**layer.get_config(), "dtype": "float64"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """parity: max |difference| of embeddings over their scale; drop: points of accuracy lost on the windows.

    wrong: why this is no match, '' when it is one; exact_parity, rounding: how far these outputs, and the source
    model's own, are from the source model in float64.
    """

    parity: float = 0.0
    output_parity: float = 0.0
    agreement: float = 1.0
    drop_points: float = 0.0
    wrong: str = ""
    rounding: float = 0.0
    exact_parity: float = 0.0


def judge(truth: Truth, outputs: Float32, exact: bool, embedding: Float32 | None = None) -> Verdict:
    """exact: float32, which must match to 1e-5; or be at most twice as far from float64 as Keras's own float32 is.

    Others may lose half a point, plus two standard errors of the loss.
    """
    for name, found, expected in (("outputs", outputs, truth.outputs), ("embedding", embedding, truth.embedding)):
        if found is not None and (found.shape != expected.shape or not np.isfinite(found).all()):
            finite = "" if found.shape != expected.shape else " with values that are not finite"
            return Verdict(wrong=f"{name} {found.shape}{finite}, expected {expected.shape}")
    parity = 0.0 if embedding is None else _difference(embedding, truth.embedding)
    output_parity = _of_outputs(outputs, truth.outputs)
    exact_parity = 0.0 if truth.exact_outputs is None else _of_outputs(outputs, truth.exact_outputs)
    loss = _scores(truth.outputs, truth.y) - _scores(outputs, truth.y)
    drop = 100 * float(loss.mean())
    error = 100 * float(loss.std()) / np.sqrt(len(loss))
    wrong = ""
    if exact and max(parity, output_parity) > PARITY_MAX and not _as_close_as_keras(truth, outputs, embedding):
        wrong = f"differs by {parity:.1e} of the features' scale, {output_parity:.1e} in the outputs"
    elif drop - SIGMAS * error > DROP_POINTS_MAX:
        wrong = f"loses {drop:.1f} points"
    return Verdict(parity, output_parity, _agreement(outputs, truth), drop, wrong, truth.rounding, exact_parity)


def _as_close_as_keras(truth: Truth, outputs: Float32, embedding: Float32 | None) -> bool:
    """To the model in float64, in outputs and, where they are known, in features."""
    if truth.exact_outputs is None or truth.exact_embedding is None:
        return False
    pairs = [(_of_outputs(outputs, truth.exact_outputs), truth.rounding)]
    if embedding is not None:
        features = (_difference(each, truth.exact_embedding) for each in (embedding, truth.embedding))
        pairs.append((next(features), next(features)))
    return all(theirs < ROUNDING_MAX and ours <= max(PARITY_MAX, ROUNDINGS * theirs) for ours, theirs in pairs)


def judge_answers(truth: Truth, answers: Mapping[str, AnyArray], name: str, exact: bool) -> Verdict:
    """One pair of what `bundle_check` wrote."""
    if f"{name}/error" in answers:
        return Verdict(wrong=f"cannot run: {answers[f'{name}/error']}")
    if f"{name}/outputs" not in answers:
        return Verdict(wrong="was not run")
    return judge(truth, answers[f"{name}/outputs"], exact, answers[f"{name}/embedding"])


def _of_outputs(found: AnyArray, expected: AnyArray) -> float:
    return float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))


def _difference(found: AnyArray, expected: AnyArray) -> float:
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
