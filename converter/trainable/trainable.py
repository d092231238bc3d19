"""Builds one .tflite that also trains: signatures ``infer``, ``train``, ``get_head``, ``set_head``; builtin ops only.

For Android and C++ programs that embed plain LiteRT. It takes raw windows: the fitted preprocessing is part of it.

    train(x (n, *input_shape), y (n, C), learning_rate ()) -> loss
        Z = E K + b;  P = link(Z);  K <- K - lr / n * E^T (P - Y);  b <- b - lr / n * sum (P - Y)

which is mean cross-entropy for softmax, summed binary cross-entropy for sigmoid, and half the squared error
for linear heads: in all three the gradient by Z is P - Y.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from converter.convert import fitted_preprocessing, frameworks, opened, time_axis, with_channel
from converter.export import Exporter, Job, flex_operators, tflite_minimum, write_plan
from converter.features import Data, TrainingData, as_training_data, reading, settled, spread_rows
from converter.findings import answer_lines, answers_of, check_windows
from converter.options import Options, given
from converter.overwriting import check_targets, read_by
from converter.proof import PROOF_ROWS_MAX
from converter.sources import Source
from converter.trainable.trainable_proof import CURVE_ROWS, CURVE_STEPS, Curve, prove
from headway.arrays import Float32
from headway.durable import write_durably
from headway.errors import ConfigError, ModelError
from headway.fields import JsonValue
from headway.maths import Head, Preprocessing

CARRIED = ("classes", "label_columns", "columns", "window", "image_size", "input_shape", "modules", "allow_lambda",
           "task", "cut", "time_axis", "missing", "denoise", "median_width", "ewma_weight", "clip", "scale",
           "standardise",
           "difference_max", "tflite_python")  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainableReport:
    """proofs: one for each runtime here that trains it; left_out: the others, with the reason.

    parity, curve_difference: the largest of them, of the outputs and of the head on the way. notes: what looks wrong
    about data and model together.
    """

    path: Path
    payload_bytes: int
    proofs: tuple[Curve, ...]
    left_out: tuple[str, ...]
    oldest_runtime: str
    notes: tuple[str, ...] = ()

    @property
    def parity(self) -> float:
        return max(proof.parity for proof in self.proofs)

    @property
    def curve_difference(self) -> float:
        return max(proof.head for proof in self.proofs)

    def as_json(self) -> dict[str, JsonValue]:
        """For programs."""
        return {
            "path": str(self.path),
            "payload_bytes": self.payload_bytes,
            "oldest_runtime": self.oldest_runtime,
            "proofs": [dict(asdict(proof)) for proof in self.proofs],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """For the terminal."""
        lines = [f"  trainable  {self.path} ({self.payload_bytes:,} bytes), TFLite {self.oldest_runtime} or newer"]
        lines += [
            f"  parity     {proof.runtime} {proof.version}: outputs {proof.parity:.1e} of their scale, head after "
            f"{CURVE_STEPS} steps within {proof.head:.1e} of the same steps in NumPy"
            for proof in self.proofs
        ]
        lines += [f"  left out   {reason}" for reason in self.left_out]
        return lines + [f"  note       {note}" for note in self.notes]


def write_trainable(
    model: Any,
    data: Data,
    out: Path,
    options: Options,
    progress: Callable[[str], None] = lambda step: None,
    log: bool = False,
) -> TrainableReport:
    """Write the trainable .tflite, proven on every TFLite runtime here.

    Raises ModelError when it cannot be made to match on ai-edge-litert, ConfigError when an option has no place in
    such a file. Nothing is written then.
    """
    refuse_unused(options)
    check_targets({"--out": ("trainable .tflite", Path(out))}, read_by(model, data, options))
    with frameworks(model, log) as exporter:
        data = as_training_data(data, options.classes, reading(options))
        progress("loading and cutting the model")
        source = opened(model, options, exporter)
        if "tflite" not in source.formats:
            raise ModelError("a trainable .tflite is made from Keras models and SavedModels, not from ONNX")
        data, labels = settled(with_channel(data, source, options), source.weights, options.task)
        head = source.weights.head(data.classes)
        preprocessing = fitted_preprocessing(source, data, options)
        notes = [*source.notes, *check_windows(data.x, time_axis(source, options))]
        notes += _answer_lines(source, head, preprocessing, data)
        progress("exporting the four signatures")
        payload = export_trainable(source, head, preprocessing, exporter)
        progress("training it and the same head in NumPy, step for step")
        rows = spread_rows(data, CURVE_ROWS)
        proofs, left_out = prove(payload, source, head, preprocessing, data.x[rows], _targets(data, rows), options)
    write_durably(Path(out), payload)
    return TrainableReport(Path(out), len(payload), proofs, left_out, tflite_minimum(payload), (labels, *notes))


def _answer_lines(source: Source, head: Head, preprocessing: Preprocessing, data: TrainingData) -> list[str]:
    rows = spread_rows(data, PROOF_ROWS_MAX)
    inputs, _ = preprocessing.apply(data.x[rows])
    answers = answers_of(source, head)
    return answer_lines(answers, head, data, rows, inputs, answers(inputs))


def export_trainable(source: Source, head: Head, preprocessing: Preprocessing | None, exporter: Exporter) -> bytes:
    """The file, not yet proven. preprocessing: None for one that takes windows already preprocessed."""
    form = "any" if "any" in source.forms() else source.forms()[-1]
    if form == "one":
        raise ModelError("the backbone takes one fixed batch size; a trainable file needs a free one")
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
        saved, plan, target = (Path(scratch) / name for name in ("backbone", "plan.npz", "trainable.tflite"))
        source.save(saved, form)
        write_plan(plan, head.kernel, head.bias, head.kind, source.input_shape, preprocessing)
        try:
            payload = exporter.run(Job("trainable", "float32", str(saved), form, str(target), plan=str(plan)))
        except ModelError as error:
            raise ModelError(f"TFLite cannot hold this backbone with builtin operators: {error}") from error
    if found := flex_operators(payload):
        raise ModelError(f"needs TensorFlow operators {found}, which plain LiteRT does not have; use other layers")
    return payload


def refuse_unused(options: Options) -> None:
    """A trainable .tflite is backbone and head alone. Raises ConfigError for what a bundle would carry besides."""
    unused = given(options, {each.name for each in fields(Options)}.difference(CARRIED))
    if options.missing == "linear":
        unused.append("--missing linear")
    if unused:
        raise ConfigError(f"{', '.join(unused)} cannot go into a trainable .tflite; leave out, or write a bundle")


def _targets(data: TrainingData, rows: Any) -> Float32:
    if data.targets is not None:
        return np.asarray(data.targets[rows])
    return np.asarray(np.eye(len(data.classes), dtype=np.float32)[data.y[rows]])
