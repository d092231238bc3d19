"""A bundle without a network: features of the window become codes directly, and the head is solved from the data.

For people who have data and no model. A device needs no inference runtime for it: `edge-convert --backbone none`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from converter.assembling import assembled, begun, finished
from converter.features import (
    Data,
    Fitted,
    TrainingData,
    as_training_data,
    fit_features,
    fit_preprocessing,
    fits_embedding,
    reading,
    settled_alone,
    spread_rows,
    table_of,
    target_codes,
)
from converter.findings import check_windows, filled_lines
from converter.held_out import EVERY, held_line, held_out
from converter.options import AUTO, Options, chosen, given, scaling
from converter.proof import PROOF_ROWS_MAX, Proof, confusion, score
from converter.report import Report
from headway.arrays import Float32, Int8, Int64
from headway.bundle import Variant, decode_container, decode_variant
from headway.errors import ConfigError, DataError, ModelError
from headway.maths import (
    CODE_MAX,
    FeatureMap,
    Head,
    HeadInput,
    HeadKind,
    Statistics,
    TimeAxis,
    calibrate_scale,
    fit_temperature,
    fleet_head,
    fleet_target_head,
    link,
)
from headway.tables import is_table

NO_BACKBONE = "none"  # stands for a backbone's SHA-256 in the fingerprint of the feature space
ROWS_MIN = 10
# options that only a network has a use for
OF_NETWORK = (
    "formats", "quantize", "cut", "modules", "allow_lambda", "allow_flex", "input_shape", "tflite_python",
    "drop_points_max", "agreement_percent_min", "difference_max",
)  # fmt: skip


def convert_data(
    data: Data,
    options: Options,
    *,
    out: str | Path,
    progress: Callable[[str], None] = lambda step: None,
    table: bool = False,
) -> Report:
    """Write a bundle of data alone; what ``edge-convert --data DATA --backbone none`` does, as a call.

    table: whether `data` is the path of one, whatever its name. Where no scaling is asked for it is `standard`, but for
    texts. Raises DataError when the data does not fit,
    ConfigError when the options contradict themselves, ModelError when the written bundle does not give the codes to
    the bit. Nothing is written unless everything held.
    """
    out = Path(out)
    refuse_network_options(options)
    sign, stream = begun(None, data, options, out)
    name = options.name or (Path(data).stem if isinstance(data, (str, Path)) else "features")
    if isinstance(data, (str, Path)) and (table or is_table(Path(data))):
        data = table_of(Path(data), reading(options, stream))
    data = as_training_data(data, options.classes, reading(options, stream))
    if len(data.x) < ROWS_MIN:
        raise DataError(f"the data holds {len(data.x)} windows; a bundle without a network needs {ROWS_MIN} at least")
    data, kind, labels = settled_alone(data, options.task)
    if not options.text_column and scaling(options) == "none":
        options = replace(options, scale="standard")
    progress(f"computing the features of {len(data.x)} windows")
    axis = TimeAxis.FIRST if options.time_axis == AUTO else TimeAxis(options.time_axis)
    preprocessing = fit_preprocessing(data, data.x.shape[1:], options, axis)
    notes = [*data.notes, *check_windows(data.x, axis)]
    if data.x.dtype.kind == "f":
        notes += filled_lines(~np.isfinite(data.x), options.missing)
    inputs, _ = preprocessing.apply(data.x)
    embedding = inputs.reshape(len(inputs), -1)
    fits_embedding(options, embedding.shape[1])
    progress("solving the head from its statistics")
    head, tried = solved_head(embedding, data, kind)
    fitted = fit_features(
        embedding, inputs, data, options, preprocessing, NO_BACKBONE, lambda x: x.reshape(len(x), -1), head.kind
    )
    rows = spread_rows(data, PROOF_ROWS_MAX)
    outputs = head.probabilities(embedding[rows])
    notes += [tried] if tried else []
    report = Report(
        bundle=out,
        bundle_bytes=0,
        samples=len(inputs),
        proof_rows=len(rows),
        difference_max=0.0,
        classes=data.classes,
        head_layer="",
        embedding_size=embedding.shape[1],
        feature_count=fitted.features.size,
        source_accuracy=score(outputs, data, rows, head.kind),
        exact_accuracy=0.0,
        proofs=(),
        left_out=(),
        expansion=fitted.expansion_reason,
        reduction=fitted.reduction_reason,
        labels=labels,
        notes=tuple(notes),
        input_shape=preprocessing.input_shape,
        chosen=chosen(options),
        confusion=confusion(outputs, data, rows),
        kind=kind,
        columns=data.columns,
        label_columns=data.labels,
        text_column=options.text_column,
        stride=data.stride,
    )

    def made(report: Report) -> Variant:
        return assembled(options, data, head, preprocessing, fitted, embedding, report, stream, name=name, backbones=(),
                         without_backbone=True)  # fmt: skip

    progress(f"reading it as a device does, and comparing the codes of {len(rows)} windows")
    report = replace(report, proofs=(prove(made(report).encode(), data, rows, fitted, report.source_accuracy),))
    return finished(made(report), report, options, sign)


def refuse_network_options(options: Options) -> None:
    """Raises ConfigError for what only a network has a use for."""
    if of_network := given(options, OF_NETWORK):
        raise ConfigError(f"{', '.join(of_network)} with --backbone none: there is no network; leave them out")


def solved_head(embedding: Float32, data: TrainingData, kind: HeadKind) -> tuple[Head, str]:
    """The head over float32 (n, e), in closed form from the statistics of the data; and how good it is on windows that
    are held out, in a line, empty where there are too few. kind: LINEAR for values, SIGMOID for several labels.

    A classifier's is a linear discriminant with the data's own shares of the classes, whose temperature is fitted on
    windows it was not solved from; the others are regressions, as the server solves them. Raises ConfigError.
    """
    features = FeatureMap(embedding.shape[1], calibrate_scale(embedding))
    codes, _ = features.codes(embedding)
    solve = _of_targets(codes, data, kind) if data.targets is not None else _of_classes(codes, data)
    whole = _over_embedding(solve(np.arange(len(codes))), features)
    held, fitted = held_out(data)
    if not held.any():
        return whole, ""
    rest = _over_embedding(solve(np.flatnonzero(fitted)), features)
    how = f"solved without every {EVERY}th window, the head"
    told = held_line(link(rest.logits(embedding[held]), kind), data, held, kind, how)
    if data.targets is None:
        heat = np.float32(fit_temperature(rest.logits(embedding[held]).astype(np.float64), data.y[held]))
        whole = replace(whole, kernel=whole.kernel / heat, bias=whole.bias / heat)
    return whole, told


def _of_targets(codes: Int8, data: TrainingData, kind: HeadKind) -> Callable[[Int64], Head]:
    """What solves a head over codes int8 (n, d) from some of the rows."""
    targets = data.targets
    assert targets is not None
    coded = target_codes(targets, codes.shape[1], kind)
    if coded is None:
        raise ConfigError(
            f"{targets.shape[1]} outputs with {codes.shape[1]} features are more than statistics of a bundle "
            "without a network hold; give fewer of either, or a model"
        )

    def solved(rows: Int64) -> Head:
        statistics = coded.statistics(codes[rows], targets[rows], coded.space("0" * 64))
        none = Statistics.zeros(statistics.size, statistics.classes, statistics.space)
        return fleet_target_head(statistics, none, coded, data.classes)

    return solved


def _of_classes(codes: Int8, data: TrainingData) -> Callable[[Int64], Head]:
    """As `_of_targets`. A fleet's head gives every class the same share; this one is of this data, as a network is."""

    def solved(rows: Int64) -> Head:
        statistics = Statistics.of(codes[rows], data.y[rows], data.classes, "0" * 64)
        head = fleet_head(statistics, Statistics.zeros(codes.shape[1], data.classes, "0" * 64))
        counts = np.bincount(data.y[rows], minlength=len(data.classes))
        shares = np.log(np.maximum(counts, 1) / max(int(counts.max()), 1))
        return replace(head, bias=head.bias + shares.astype(np.float32))

    return solved


def prove(payload: bytes, data: TrainingData, rows: Int64, fitted: Fitted, achieved: float) -> Proof:
    """Read the bundle's bytes as a device does, one window at a time: its codes must be those of the conversion to the
    bit, or ModelError is raised.
    """
    variant = decode_variant(decode_container(payload))
    codes, took_s = [], []
    for row in rows:
        began_s = time.perf_counter()
        inputs, _ = variant.preprocessing.apply(data.x[row : row + 1])
        codes.append(variant.features.codes(inputs.reshape(1, -1), inputs)[0][0])
        took_s.append(time.perf_counter() - began_s)
    different = int((np.stack(codes) != fitted.codes[rows]).sum())
    if different:
        raise ModelError(f"{different} codes of the written bundle differ from those of the conversion; report this")
    return Proof("none", "float32", "numpy", np.__version__, agreement=1.0, score=achieved,
                 latency_us=1e6 * float(np.median(took_s)), form="features")  # fmt: skip


def _over_embedding(head: Head, features: FeatureMap) -> Head:
    """A head over codes as one over the values they code."""
    kernel = head.kernel * (np.float32(CODE_MAX) / features.scale)[:, None]
    return Head(kernel.astype(np.float32), head.bias, head.kind, head.classes, HeadInput.EMBEDDING)
