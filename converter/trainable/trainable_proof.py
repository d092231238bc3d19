"""Proves a trainable .tflite: its answers match the source's, and its steps match the gradient learner's."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converter.options import Options
from converter.proof import ROUNDING_MAX, Runtime, both_classes, close_to_exact, installed_runtimes
from converter.sources import Source
from headway.arrays import AnyArray, Float32
from headway.errors import ConfigError, ModelError
from headway.maths import Head, HeadKind, Preprocessing, link

REQUIRED = "ai-edge-litert"
CURVE_STEPS = 20
CURVE_ROWS = 32
CURVE_LEARNING_RATE = 0.01
CURVE_MAX = 1e-5
HOLES = 10  # one of so many values is taken out of the windows that prove the missing values


@dataclass(frozen=True, slots=True)
class Curve:
    """One runtime. parity: of the outputs over their scale; head: largest difference on the way, over the head's."""

    runtime: str
    version: str
    parity: float
    head: float


def prove(
    payload: bytes, source: Source, head: Head, preprocessing: Preprocessing, x: AnyArray, y: Float32, options: Options
) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
    """Curves of the runtimes that train it right, and why others do not.

    x: raw windows (n, *input_shape), y: targets float32 (n, C). Raises ModelError where ai-edge-litert does not.
    """
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and so missing
        raw = np.asarray(x, np.float32)
    shown = np.concatenate([raw, with_holes(raw)])
    inputs, _ = preprocessing.apply(shown)
    embedding, outputs = source.answers(inputs)
    outputs = both_classes(outputs, head)
    runtimes = installed_runtimes("tflite", options.tflite_python)
    if REQUIRED not in [runtime.name for runtime in runtimes]:
        raise ConfigError(f"{REQUIRED} is not installed to prove the file on; pip install {REQUIRED}")
    proofs, left_out = [], []
    for runtime in runtimes:
        try:
            found = _train(runtime, payload, head, shown, raw, y, rate := _rate(embedding[: len(raw)]))
            proof = _judge(runtime, found, head, embedding[: len(raw)], outputs, y, rate)
            _refuse_far(proof, found["output"], outputs, source, head, inputs, options)
            proofs.append(proof)
        except ModelError as error:
            if runtime.name == REQUIRED:
                raise
            left_out.append(str(error))
    return tuple(proofs), tuple(left_out)


def reference_step(kernel: Float32, bias: Float32, kind: HeadKind, embedding: Float32, y: Float32, rate: float) -> None:
    """The step that ``train`` makes, in place: kernel float32 (e, C), bias (C,), embedding (n, e), y (n, C)."""
    delta = (link(embedding @ kernel + bias, kind) - y) * np.float32(rate / len(y))
    kernel -= embedding.T @ delta
    bias -= delta.sum(axis=0)


def with_holes(windows: Float32) -> Float32:
    """The same windows float32 (n, ...) with every tenth value missing, another tenth in each; none left empty."""
    flat = windows.reshape(len(windows), -1).copy()
    places = (np.arange(flat.shape[1]) + np.arange(len(flat))[:, None]) % HOLES == 0
    flat[places] = np.nan
    empty = ~np.isfinite(flat).any(axis=1)
    flat[empty] = windows.reshape(len(windows), -1)[empty]
    return flat.reshape(windows.shape)


def _rate(embedding: Float32) -> np.float32:
    """A step this long moves every head by about as much, whatever the size of its features."""
    return np.float32(CURVE_LEARNING_RATE / max(float(np.square(embedding).mean()), 1e-6))


def _train(
    runtime: Runtime, payload: bytes, head: Head, shown: Float32, x: Float32, y: Float32, rate: np.float32
) -> dict[str, AnyArray]:
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
        model, given, out = (Path(scratch) / name for name in ("model", "in.npz", "out.npz"))
        model.write_bytes(payload)
        np.savez(given, kernel=head.kernel, bias=head.bias, infer=shown, x=x, y=y, rate=rate, steps=CURVE_STEPS)
        runtime.call("trainable_worker.py", model, given, out)
        with np.load(out, allow_pickle=False) as answer:
            return dict(answer)


def _judge(
    runtime: Runtime, found: dict[str, AnyArray], head: Head, embedding: Float32, outputs: Float32, y: Float32,
    rate: np.float32,
) -> Curve:  # fmt: skip
    for name, values in found.items():  # NaN would get lost in a maximum
        if not np.isfinite(values).all():
            raise ModelError(f"{name} of the trainable file on {runtime.name} are not finite; check x, or the model")
    kernel, bias = head.kernel.copy(), head.bias.copy()
    worst = 0.0
    for trained_kernel, trained_bias in zip(found["kernels"], found["biases"], strict=True):
        reference_step(kernel, bias, head.kind, embedding, y, float(rate))
        scale = max(float(np.abs(kernel).max()), float(np.abs(bias).max()), 1e-6)
        apart = max(float(np.abs(trained_kernel - kernel).max()), float(np.abs(trained_bias - bias).max()))
        worst = max(worst, apart / scale)
    parity = float(np.abs(found["output"] - outputs).max()) / max(1.0, float(np.abs(outputs).max()))
    return Curve(runtime.name, runtime.version, parity, worst)


def _refuse_far(
    proof: Curve, found: AnyArray, outputs: Float32, source: Source, head: Head, inputs: Float32, options: Options
) -> None:
    """As for a float32 backbone: a model whose own float32 is far from float64 cannot be matched more closely."""
    close = proof.parity <= options.difference_max
    if not close and proof.parity < ROUNDING_MAX and (exact := source.exact(inputs)) is not None:
        truth = both_classes(exact[1], head)
        span = max(1.0, float(np.abs(truth).max()))
        ours, theirs = (float(np.abs(each - truth).max()) / span for each in (found, outputs))
        close = close_to_exact(ours, theirs, options.difference_max)
    if not close or not proof.head <= CURVE_MAX:
        raise ModelError(
            f"the trainable file differs from the source on {proof.runtime} by {proof.parity:.1e} in its output and "
            f"{proof.head:.1e} after {CURVE_STEPS} steps (at most {options.difference_max:.0e} and {CURVE_MAX:.0e}); "
            "a layer behaves differently after conversion: replace it, or cut the model elsewhere with --cut"
        )
