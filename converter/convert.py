"""Runs a conversion from start to end: load, cut, export, prove, fit, sign, write."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.assembling import assembled, begun, finished
from converter.export import Exporter, ExportQueue, open_remotely
from converter.features import (
    Data,
    TrainingData,
    as_training_data,
    fit_features,
    fit_preprocessing,
    fits_embedding,
    reading,
    settled,
    spread_rows,
)
from converter.findings import answer_lines, answers_of, check_windows, filled_lines, own_gaps_line
from converter.options import AUTO, Options, chosen, front_end, scaling
from converter.proof import (
    PROOF_ROWS_MAX,
    Reference,
    Written,
    ask_source,
    begin_first,
    both_classes,
    confusion,
    installed_runtimes,
    mixed_windows,
    score,
    write_backbones,
)
from converter.report import Report
from converter.sources import Opening, Source, open_source
from headway.arrays import AnyArray, Float32, Int64, describe
from headway.bundle import Backbone
from headway.errors import ConfigError, DataError, ModelError
from headway.maths import Head, HeadInput, Preprocessing, Statistics, TimeAxis, fleet_head, link


def convert(
    model: Any,
    data: Data,
    options: Options | None = None,
    *,
    out: str | Path,
    progress: Callable[[str], None] = lambda step: None,
    log: bool = False,
) -> Report:
    """Convert a trained model and write the bundle to `out`; what ``edge-convert`` does, as a call.

    model: a Keras model, or the path of a .keras, .h5 or .onnx file or a SavedModel folder.
    data: the path of an .npz with x, y and optional classes; or (x, y) or (x, y, classes); or a TrainingData.
    progress: called with the name of each step as it begins. log: show what the frameworks write about themselves.
    Raises ModelError when the model cannot be cut, converted or proven equal, DataError when the data does not fit,
    ConfigError when the options contradict themselves. Nothing is written unless everything held.

        report = convert(model, (x, y, ["idle", "walk"]), Options(quantize=("none", "int8")), out="model.hwb")
        print("\\n".join(report.lines()))
    """
    options = options or Options()
    out = Path(out)
    sign, stream = begun(model, data, options, out)
    with frameworks(model, log) as exporter:
        data = as_training_data(data, options.classes, reading(options, stream))
        progress("loading and cutting the model")
        source = opened(model, options, exporter)
        data, labels = settled(with_channel(data, source, options), source.weights, options.task)
        head = source.weights.head(data.classes)
        fits_embedding(options, len(head.kernel))
        preprocessing = fitted_preprocessing(source, data, options)
        notes = [*source.notes, *data.notes, *check_windows(data.x, time_axis(source, options))]
        inputs, _ = preprocessing.apply(data.x)
        rows = spread_rows(data, PROOF_ROWS_MAX)
        proof = np.ascontiguousarray(inputs[rows])
        with ExportQueue(source, proof, exporter, options.allow_flex) as exports:
            first = begin_first(source, options, exports)
            progress(f"running the source model on {len(rows)} windows")
            reference = _reference(source, head, rows, proof, data, options)
            unusual = ask_source(source, data.x, preprocessing, reference.embedding)
            notes += [unusual.note] if unusual is not None and unusual.note else []
            reference = replace(reference, unusual=unusual)
            notes += _gap_lines(source, head, data, reference, options)
            notes += answer_lines(answers_of(source, head), head, data, rows, proof, reference.outputs)
            written = write_backbones(source, head, data, reference, options, exports, first, progress)
    backbone = written.backbones[0]
    progress(f"running the written backbone on {len(inputs)} windows")
    embedding = _embeddings(written, reference, inputs, options)
    progress("fitting feature scales and source statistics")
    sha256 = hashlib.sha256(backbone.payload).hexdigest()
    fitted = fit_features(
        embedding, inputs, data, options, preprocessing, sha256, lambda rows: _embed(backbone, rows, options), head.kind
    )
    report = Report(
        bundle=out,
        bundle_bytes=0,
        samples=len(inputs),
        proof_rows=len(reference.rows),
        difference_max=options.difference_max,
        classes=data.classes,
        head_layer=source.weights.layer,
        embedding_size=embedding.shape[1],
        feature_count=fitted.features.size,
        source_accuracy=reference.score,
        exact_accuracy=_solved_accuracy(fitted.statistics, fitted.codes, data),
        proofs=written.proofs,
        left_out=written.left_out,
        expansion=fitted.expansion_reason,
        reduction=fitted.reduction_reason,
        labels=labels,
        notes=tuple(notes),
        input_shape=preprocessing.input_shape,
        chosen=chosen(options),
        confusion=confusion(reference.outputs, data, rows),
        kind=head.kind,
        columns=data.columns,
        label_columns=data.labels,
        text_column=options.text_column,
        stride=data.stride,
    )
    variant = assembled(options, data, head, preprocessing, fitted, embedding, report, stream,
                        name=options.name or source.name, backbones=written.backbones)  # fmt: skip
    return finished(variant, report, options, sign)


def with_channel(data: TrainingData, source: Source, options: Options) -> TrainingData:
    """One channel more or less, where that is all that x (n, ...) and the model differ in."""
    if front_end(options) is not None:  # x is what the front end takes, the model what it makes
        return data
    own, shape = data.x.shape[1:], source.input_shape
    if (*own, 1) == shape or own == (*shape, 1):
        return replace(data, x=data.x.reshape(len(data.x), *shape))
    return data


def fitted_preprocessing(source: Source, data: TrainingData, options: Options) -> Preprocessing:
    """Preprocessing of the data as the model takes it. Raises DataError for windows of another shape."""
    shape = source.input_shape
    if front_end(options) is not None:
        first = time_axis(source, options) or TimeAxis.FIRST
        return fit_preprocessing(data, data.x.shape[1:], options, first, shape)
    if data.x.shape[1:] != shape:
        raise DataError(f"x is {describe(data.x)}; the model takes (n, {', '.join(map(str, shape))})")
    axis = time_axis(source, options)
    along_time = options.missing in ("last", "linear") or options.denoise != "none"
    if axis is None and len(shape) > 1 and (along_time or scaling(options) != "none"):
        raise ConfigError(
            f"nothing in the model tells which axis of its input {shape} is time; give --time-axis first for "
            "(time, ..., channels), or --time-axis last for (channels, ..., time)"
        )
    # where nothing depends on it, bundles stay as they were before the axis was known
    matters = (
        along_time
        or scaling(options) != "none"
        or bool(options.clip)
        or options.time_axis != AUTO
        or not _whole(data.x)
    )
    return fit_preprocessing(data, shape, options, axis if axis is not None and matters else TimeAxis.FIRST)


def frameworks(model: Any, log: bool) -> Exporter:
    """Their process, begun."""
    return Exporter(tensorflow=not (isinstance(model, (str, Path)) and Path(model).suffix == ".onnx"), log=log)


def opened(model: Any, options: Options, exporter: Exporter) -> Source:
    """The model, cut: from a file in the process of the frameworks, so that TensorFlow is in memory once.

    Where this program has loaded Keras itself it is opened here: layers may be registered that only it knows.
    """
    opening = Opening(options.cut, options.input_shape, options.modules, options.allow_lambda)
    if isinstance(model, (str, Path)) and (Path(model).suffix == ".onnx" or "keras" not in sys.modules):
        return open_remotely(Path(model), opening, exporter)
    return open_source(model, opening)


def time_axis(source: Source, options: Options) -> TimeAxis | None:
    """Where time lies in a window, as given or as the model's first layers show; None where they do not.

    Before a front end the model's layers show nothing of it: there it is first, or as given.
    """
    if options.time_axis == AUTO and front_end(options) is not None:
        return TimeAxis.FIRST
    return source.time_axis if options.time_axis == AUTO else TimeAxis(options.time_axis)


def _whole(x: AnyArray) -> bool:
    """Nothing is missing."""
    return x.dtype.kind != "f" or bool(np.isfinite(x).all())


def _reference(
    source: Source, head: Head, rows: Int64, proof: Float32, data: TrainingData, options: Options
) -> Reference:
    """What the model says, and proof that backbone and head together say the same: a wrong cut shows here."""
    quantised = set(options.quantize) != {"none"}
    mixed = mixed_windows(proof) if quantised else proof[:0]
    answers, all_outputs = source.answers(np.concatenate([proof, mixed]))
    embedding, outputs = answers[: len(rows)], all_outputs[: len(rows)]
    if not np.isfinite(all_outputs).all():
        raise ModelError("the model itself gives values that are not finite on this data; retrain it or check x")
    if embedding.shape[1:] != head.kernel.shape[:1]:
        raise ModelError(
            f"the backbone gives {describe(embedding)}, layer {source.weights.layer!r} takes {len(head.kernel)} values "
            "of one vector per sample: pool or flatten before it"
        )
    rebuilt = link(head.logits(embedding), head.kind)
    outputs = both_classes(outputs, head)
    if rebuilt.shape != outputs.shape:
        raise ModelError(f"backbone and head give {describe(rebuilt)}, the model {describe(outputs)}")
    difference = float(np.abs(rebuilt - outputs).max()) / max(1.0, float(np.abs(outputs).max()))
    if difference > options.difference_max:
        raise ModelError(
            f"backbone and head together differ from the model's output by {difference:.1e}; something after "
            f"layer {source.weights.layer!r} changes the result: remove it, or name another layer with --cut "
            f"(at most {options.difference_max:.0e}; --max-difference)"
        )
    achieved = score(outputs, data, rows, head.kind)
    if not quantised:
        return Reference(rows, proof, embedding, outputs, achieved)
    between = both_classes(all_outputs[len(rows) :], head)
    return Reference(rows, proof, embedding, outputs, achieved, mixed, between)


def _gap_lines(source: Source, head: Head, data: TrainingData, reference: Reference, options: Options) -> list[str]:
    """What is said of missing values, and whether the model would take them by itself."""
    if data.x.dtype.kind != "f":
        return []
    missing = ~np.isfinite(data.x)
    lines = filled_lines(missing, options.missing)
    if lines and options.denoise == "none" and scaling(options) == "none" and front_end(options) is None:
        rows = missing[reference.rows].reshape(len(reference.rows), -1).any(axis=1)
        raw = np.asarray(data.x[reference.rows[rows]], np.float32)
        lines += own_gaps_line(raw, reference.outputs[rows], answers_of(source, head))
    return lines


def _embeddings(written: Written, reference: Reference, inputs: Float32, options: Options) -> Float32:
    """Embeddings of all windows; those of the proof are known, and a window is always run alone."""
    embedding = np.empty((len(inputs), written.embedding.shape[1]), np.float32)
    embedding[reference.rows] = written.embedding
    rest = np.setdiff1d(np.arange(len(inputs)), reference.rows)
    if len(rest):
        embedding[rest] = _embed(written.backbones[0], inputs[rest], options)
    return embedding


def _embed(backbone: Backbone, inputs: Float32, options: Options) -> Float32:
    """Embeddings of all windows, as the first runtime that ran the backbone right computes them."""
    runtimes = installed_runtimes(backbone.engine, options.tflite_python)
    runtime = next(runtime for runtime in runtimes if runtime.name in backbone.runtimes)
    embedding = runtime.run(backbone.payload, inputs).embedding
    if not np.isfinite(embedding).all():
        row = int((~np.isfinite(embedding)).any(axis=1).argmax())
        raise DataError(f"the backbone gives values that are not finite for sample {row}; remove it or check its scale")
    return embedding


def _solved_accuracy(statistics: Statistics, codes: Any, data: TrainingData) -> float:
    if data.targets is not None:
        return 0.0
    head: Head = fleet_head(statistics, Statistics.zeros(statistics.size, data.classes, statistics.space))
    assert head.input is HeadInput.CODES
    return float((head.logits(codes.astype(np.float32)).argmax(axis=1) == data.y).mean())
