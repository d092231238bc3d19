"""Fits everything that comes from the training data: preprocessing, projection, scales, statistics, rehearsal rows."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace

import numpy as np

from converter.features.data import FLOAT32_MAX, TrainingData
from converter.features.expand import Choice, Embed, choose_expansion, random_expansion
from converter.features.reduction import Reduction, choose_reduction
from converter.features.selection import principal_components, selected_components
from converter.options import BY_MODEL, COMPARED, REDUCED, Options, front_end, scaling
from headway.arrays import AnyArray, Float32, Float64, Int8, Int64
from headway.bundle import FEATURES_MAX, TrainingRows
from headway.errors import ConfigError, LocalError
from headway.fields import JsonValue, canonical_json
from headway.maths import (
    Denoise,
    FeatureMap,
    HeadKind,
    Missing,
    Preprocessing,
    Statistics,
    TargetCodes,
    Task,
    TimeAxis,
    calibrate_scale,
    raw_features,
    time_first,
)

PROBES = 8
BUFFER_ROWS_MAX = 4096
EVALUATION_BYTES_MAX = 1 << 20
# 256 labels or 170 values a window; more have no statistics, and learn by descent
TARGETS_WIDTH_MAX = 512


@dataclass(frozen=True, slots=True)
class Fitted:
    """features and the codes int8 (n, d) they give; source tables; buffer.

    targets: how targets are coded in the tables, None for a classifier, or too many: the tables are empty then.
    Reasons are those of choices that were left to the converter, in one line; empty where there was nothing to choose.
    """

    features: FeatureMap
    codes: Int8
    statistics: Statistics
    buffer: TrainingRows | None
    expansion_reason: str = ""
    reduction_reason: str = ""
    targets: TargetCodes | None = None


def fit_preprocessing(
    data: TrainingData,
    input_shape: tuple[int, ...],
    options: Options,
    axis: TimeAxis = TimeAxis.FIRST,
    output_shape: tuple[int, ...] = (),
) -> Preprocessing:
    """Constants per channel over the finite training values; scaling over what the front end makes of them.

    output_shape: how the backbone takes what the front end makes; as it makes it when left out. Raises ConfigError
    where the input has no time axis, or cannot be taken by the front end.
    """
    ordered = time_first(data.x, axis)
    flat = ordered.reshape(-1, ordered.shape[-1]).astype(np.float64)
    flat[~(np.abs(flat) <= FLOAT32_MAX)] = np.nan  # on a device these are no numbers either
    dead = np.isnan(flat).all(axis=0)
    flat[:, dead] = 0.0  # a channel nobody ever measured
    fill = np.nanmedian(flat, axis=0) if options.missing == "median" else np.nanmean(flat, axis=0)
    made = None
    try:
        made = Preprocessing(
            input_shape,
            fill.astype(np.float32),
            missing=Missing(options.missing) if options.missing in ("last", "linear") else Missing.CONSTANT,
            denoise=Denoise(options.denoise),
            median_width=options.median_width,
            ewma_weight=options.ewma_weight,
            time_axis=axis,
            low=None if not options.clip else _quantile(flat, options.clip / 100),
            high=None if not options.clip else _quantile(flat, 1 - options.clip / 100),
            cutoff=options.cutoff or None,
            front_end=front_end(options),
            output_shape=output_shape,
        )
    except LocalError as error:
        asked = f"--denoise {options.denoise}" if options.denoise != "none" else f"--missing {options.missing}"
        if front_end(options) is not None:
            asked = f"--front-end {options.front_end}"
            if options.front_end == "none":
                asked = f"--features {','.join(options.features)}"
        raise ConfigError(f"{asked}: {error}") from error
    kind = scaling(options)
    if kind == "none":
        return made
    applied, _ = made.apply(data.x)
    if made.front_end is not None:
        rows = applied.reshape(-1, made.scaled_channels).astype(np.float64)
    else:
        values = time_first(applied, axis)
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    offset, width = _scale(rows, kind)
    gain = 1.0 / np.where(width > 1e-9, width, 1.0)
    return replace(made, offset=offset.astype(np.float32), gain=gain.astype(np.float32))


def _scale(rows: Float64, kind: str) -> tuple[Float64, Float64]:
    """What becomes 0 of each channel, and what becomes 1 above it. rows: float64 (n, channels)."""
    if kind == "robust":
        low, middle, high = np.quantile(rows, (0.25, 0.5, 0.75), axis=0)
        # a channel that nearly always has one value still has a deviation
        return middle, np.where(high > low, high - low, rows.std(axis=0))
    if kind == "min-max":
        return rows.min(axis=0), rows.max(axis=0) - rows.min(axis=0)
    return rows.mean(axis=0), rows.std(axis=0)


def _quantile(flat: Float64, share: float) -> Float32:
    """Of each channel's finite values. flat: float64 (n, channels), NaN where one is missing."""
    return np.asarray(np.nanquantile(flat, share, axis=0), np.float32)


def fit_features(
    embedding: Float32,
    inputs: Float32,
    data: TrainingData,
    options: Options,
    preprocessing: Preprocessing,
    backbone_sha256: str,
    embed: Embed,
    link: HeadKind = HeadKind.LINEAR,
) -> Fitted:
    """Projection, expansion, scales, codes, tables and buffer of the training data.

    embedding: float32 (n, e), from the written backbone; inputs: float32 (n, *input_shape), preprocessed;
    embed: runs that backbone again, on other inputs. link: of the head, which tells labels of 0 or 1 from values.
    """
    reduction = _reduction(embedding, data, options)
    options = replace(options, pca=reduction.count)
    mean, components = _projection(embedding, data, options)
    linear = raw_features(embedding, None, None, mean, components)
    choice = Choice(options.expand, options.expand_input, "")
    if options.expand == COMPARED or (options.expand == BY_MODEL and _one_axis(inputs, data)):
        choice = choose_expansion(
            embedding, inputs, data, embed, lambda rows, its: _projection(rows, its, options), options.seed
        )
    expansion = None
    if choice.count > 0:
        expansion = random_expansion(linear, inputs, choice.count, choice.of_input, options.seed)
    scale = calibrate_scale(raw_features(embedding, inputs, expansion, mean, components))
    features = FeatureMap(embedding.shape[1], scale, expansion, mean, components)
    codes, _ = features.codes(embedding, inputs)
    space = features.fingerprint(_input_sha256(preprocessing, backbone_sha256))
    targets: TargetCodes | None = None
    if data.targets is None:
        statistics = Statistics.of(codes, data.y, data.classes, space)
    else:
        targets = target_codes(data.targets, features.size, link)
        if targets is None:
            statistics = Statistics.zeros(features.size, data.classes, space)
        else:
            statistics = targets.statistics(codes, data.targets, targets.space(space))
    rows = balanced_rows(data, options.buffer_per_class, BUFFER_ROWS_MAX, options.seed)
    buffer = _labelled(codes, data, rows) if len(rows) else None
    return Fitted(features, codes, statistics, buffer, choice.reason, reduction.reason, targets)


def target_codes(targets: Float32, features: int, link: HeadKind) -> TargetCodes | None:
    """How targets are coded in the statistics; None where so many would make these too large to travel."""
    task = Task.MULTI_LABEL if link is HeadKind.SIGMOID else Task.REGRESSION
    codes = TargetCodes.fit(targets, task)
    return codes if codes.width <= TARGETS_WIDTH_MAX and features + codes.width <= FEATURES_MAX else None


def evaluation_slice(data: TrainingData, preprocessing: Preprocessing, options: Options) -> TrainingRows | None:
    """Raw windows, spread over the classes, at most a megabyte of them."""
    row_bytes = 4 * int(np.prod(preprocessing.input_shape))
    count = min(options.evaluation_rows, max(EVALUATION_BYTES_MAX // row_bytes, 1))
    rows = spread_rows(data, count)
    return _labelled(raw_windows(data.x[rows], preprocessing), data, rows) if len(rows) else None


def raw_windows(x: AnyArray, preprocessing: Preprocessing) -> Float32:
    """Windows as a sensor gives them, float32 (n, *input_shape), only the missing values filled in."""
    filled, _ = replace(
        preprocessing, denoise=Denoise.NONE, offset=None, gain=None, low=None, high=None, cutoff=None, front_end=None,
        output_shape=(),
    ).apply(x)  # fmt: skip
    return np.ascontiguousarray(filled)


def spread_rows(data: TrainingData, count: int) -> Int64:
    """Indices of at most `count` rows that cover the classes, in a fixed order."""
    order = np.argsort(data.y, kind="stable")
    return np.asarray(order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(np.int64)], np.int64)


def balanced_rows(data: TrainingData, per_class: int, rows_max: int, seed: int) -> Int64:
    """A class-balanced draw without replacement, sorted; without single labels, a plain draw of the same size."""
    random = np.random.default_rng(seed)
    each = min(per_class, max(rows_max // len(data.classes), 1))
    if data.targets is not None:
        count = min(len(data.x), each * len(data.classes))
        return np.sort(random.permutation(len(data.x))[:count])
    drawn = [random.permutation(np.flatnonzero(data.y == index))[:each] for index in range(len(data.classes))]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def _labelled(values: AnyArray, data: TrainingData, rows: Int64) -> TrainingRows:
    chosen = np.ascontiguousarray(values[rows] if len(values) != len(rows) else values)
    if data.targets is None:
        return TrainingRows(chosen, labels=data.y[rows])
    return TrainingRows(chosen, targets=data.targets[rows])


def fits_embedding(options: Options, embedding_size: int) -> None:
    """Refuse options that this embedding cannot serve, before anything is exported. Raises ConfigError."""
    kept = max(options.pca, 0) or options.select
    if kept > embedding_size:
        raise ConfigError(f"{kept} features were asked for, the embedding has {embedding_size}; give fewer")
    size = (kept or embedding_size) + max(options.expand, 0)
    if size > FEATURES_MAX:
        raise ConfigError(
            f"{size} features are more than a device sums over (at most {FEATURES_MAX}); "
            "keep fewer with --pca or --select, or give a smaller --expand"
        )


def _reduction(embedding: Float32, data: TrainingData, options: Options) -> Reduction:
    if options.pca != REDUCED:
        return Reduction(options.pca)
    return Reduction(0) if options.select else choose_reduction(embedding, data)


def _one_axis(inputs: Float32, data: TrainingData) -> bool:
    """Rows of sensor values with one label each: what the backbone threw away of them is cheap to keep."""
    return inputs.ndim == 2 and data.targets is None


def _projection(embedding: Float32, data: TrainingData, options: Options) -> tuple[Float32 | None, Float32 | None]:
    if options.pca:
        return principal_components(embedding, options.pca)
    if options.select:
        return selected_components(embedding, data, options.select, options.select_by)
    return None, None


def _input_sha256(preprocessing: Preprocessing, backbone_sha256: str) -> str:
    """Fingerprint of all that lies before the features."""
    digest = hashlib.sha256(backbone_sha256.encode())
    last: list[JsonValue] = [str(TimeAxis.LAST)] if preprocessing.time_axis is TimeAxis.LAST else []
    last += [] if preprocessing.cutoff is None else [preprocessing.cutoff]
    digest.update(canonical_json([str(preprocessing.missing), str(preprocessing.denoise), preprocessing.median_width,
                                  preprocessing.ewma_weight, *last]))  # fmt: skip
    if preprocessing.front_end is not None:
        shape: list[JsonValue] = list(preprocessing.output_shape)
        digest.update(canonical_json([type(preprocessing.front_end).__name__, asdict(preprocessing.front_end), shape]))
    for array in (preprocessing.fill, preprocessing.offset, preprocessing.gain):
        digest.update(b"-" if array is None else array.tobytes())
    if preprocessing.low is not None and preprocessing.high is not None:
        digest.update(preprocessing.low.tobytes() + preprocessing.high.tobytes())
    return digest.hexdigest()
