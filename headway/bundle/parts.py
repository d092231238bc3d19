"""The parts of an on-device variant, and how each is read from the manifest and the tensors of a bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from headway.arrays import AnyArray, Float32, Int64, describe
from headway.bundle.container import Container
from headway.errors import BundleError, LocalError, RemoteError
from headway.fields import Fields
from headway.maths import (
    Denoise,
    Expansion,
    FeatureMap,
    FrontEnd,
    LogMel,
    Missing,
    Preprocessing,
    Statistics,
    TargetCodes,
    TimeAxis,
    WindowFeatures,
    from_arrays,
)
from headway.tensors import TensorTable

RUNTIMES = {"ai-edge-litert": "tflite", "tflite-runtime": "tflite", "onnxruntime": "onnx"}
TENSORS = "tensors.safetensors"
VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}")


@dataclass(frozen=True, slots=True)
class Backbone:
    """One executable form of the frozen backbone.

    engine: ``tflite`` or ``onnx``; precision: ``float32`` and so on; dynamic_batch: rows may come many at a time.
    runtimes: name -> oldest version whose operators suffice, of the runtimes that were seen to run it right.
    """

    member: str
    engine: str
    precision: str
    dynamic_batch: bool
    payload: bytes = field(repr=False)
    runtimes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Some of the training data, carried along. A classifier's rows have labels, all others targets.

    values: int8 codes (n, d), or raw windows float32 (n, *input_shape).
    labels: int64 (n,), index of the class; targets: float32 (n, C), 0 / 1 per label or regression values.
    """

    values: AnyArray
    labels: Int64 | None = None
    targets: Float32 | None = None

    def __post_init__(self) -> None:
        held = [part for part in (self.labels, self.targets) if part is not None]
        if len(held) != 1 or len(held[0]) != len(self.values):
            raise LocalError("source rows need either labels or targets, one per row")


def read_backbone(item: Fields, container: Container) -> Backbone:
    """One entry of ``backbones``; the file itself is a member."""
    member = item.text("member", length_max=128)
    engine = item.choice("engine", ("tflite", "onnx"))
    precision = item.choice("precision", ("float32", "float16", "dynamic", "int8"))
    dynamic = item.boolean("dynamic_batch")
    runtimes = item.table("runtimes")
    suitable = [name for name in RUNTIMES if RUNTIMES[name] == engine and runtimes.has(name)]
    oldest = {name: runtimes.text(name, length_max=40) for name in suitable}
    for name, version in oldest.items():
        if not VERSION.fullmatch(version):
            raise BundleError(f"oldest {name} {version!r} of {member} is not a version such as 2.14.0")
    runtimes.finish()
    item.finish()
    if member not in container.members or member == TENSORS:
        raise BundleError(f"backbone {member} is listed but not in the bundle")
    return Backbone(member, engine, precision, dynamic, container.members[member], oldest)


def read_preprocessing(tensors: TensorTable, fields: Fields, input_shape: tuple[int, ...]) -> Preprocessing:
    """The table ``preprocessing`` and its tensors."""
    axis = TimeAxis(fields.choice("time_axis", tuple(TimeAxis), TimeAxis.FIRST))
    front_end, shape = _read_front_end(fields.table("front_end")) if fields.has("front_end") else (None, ())
    channels = input_shape[-1] if axis is TimeAxis.FIRST else input_shape[0]
    scaled = scaled_part(front_end)
    made = Preprocessing(
        input_shape,
        tensors.float32("preprocessing.fill", (channels,)),
        tensors.optional(f"{scaled}.offset"),
        tensors.optional(f"{scaled}.gain"),
        Missing(fields.choice("missing", tuple(Missing), Missing.CONSTANT)),
        Denoise(fields.choice("denoise", tuple(Denoise), Denoise.NONE)),
        fields.integer("median_width", 3),
        fields.number("ewma_weight", 0.5),
        axis,
        tensors.optional("preprocessing.low"),
        tensors.optional("preprocessing.high"),
        fields.number("cutoff") if fields.has("cutoff") else None,
        front_end,
        shape,
    )
    fields.finish()
    return made


def scaled_part(front_end: FrontEnd | None) -> str:
    """Where the tensors of standardising stand.

    Those of a front end have names of their own: by any other, earlier readers would refuse their shape before they
    came to the key ``front_end``, and name the wrong thing.
    """
    return "preprocessing" if front_end is None else "front_end"


def _read_front_end(fields: Fields) -> tuple[FrontEnd, tuple[int, ...]]:
    """The table ``front_end``, and the shape in which the backbone takes what it makes."""
    made: FrontEnd
    if fields.choice("kind", ("log-mel", "features")) == "features":
        made = WindowFeatures(fields.strings("names", count_max=64))
    else:
        frame, hop, fft, bands = (
            fields.integer(name, low=1, high=1 << 24) for name in ("frame", "hop", "fft", "bands")
        )
        rate_hz, coefficients = fields.number("rate_hz", low=1e-3, high=1e9), fields.integer("coefficients", 0)
        ends = fields.number("low_hz"), fields.number("high_hz")
        made = LogMel(rate_hz, frame, hop, fft, bands, *ends, coefficients, fields.boolean("symmetric", False))
    shape = fields.integers("shape", low=1, high=1 << 24, count_max=6)
    fields.finish()
    return made, shape


def written_preprocessing(made: Preprocessing) -> dict[str, object]:
    """As `read_preprocessing` takes it; what is not used is left out, as ever."""
    table: dict[str, object] = {
        "missing": str(made.missing),
        "denoise": str(made.denoise),
        "median_width": made.median_width,
        "ewma_weight": made.ewma_weight,
    }
    if made.time_axis is TimeAxis.LAST:
        table["time_axis"] = str(TimeAxis.LAST)
    if made.cutoff is not None:
        table["cutoff"] = made.cutoff
    if isinstance(made.front_end, LogMel):
        front_end = {"kind": "log-mel", **asdict(made.front_end), "shape": list(made.output_shape)}
        if not made.front_end.symmetric:  # what readers before this key took for granted
            front_end.pop("symmetric")
        table["front_end"] = front_end
    elif made.front_end is not None:
        names = list(made.front_end.names)
        table["front_end"] = {"kind": "features", "names": names, "shape": list(made.output_shape)}
    return table


def read_rows(
    tensors: TensorTable, name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...], classes: int
) -> TrainingRows | None:
    """``buffer`` or ``evaluation``; None when the bundle carries none."""
    values = tensors.maybe(f"{name}.values")
    if values is None:
        return None
    if values.dtype != dtype or values.shape[1:] != shape:
        raise BundleError(f"tensor {name}.values must be {dtype} (n, {shape}), got {describe(values)}")
    labels, targets = tensors.maybe(f"{name}.labels"), tensors.maybe(f"{name}.targets")
    if labels is not None and (labels.dtype != np.int64 or labels.ndim != 1 or not _within(labels, classes)):
        raise BundleError(f"tensor {name}.labels must be int64 class indices, got {describe(labels)}")
    if targets is not None and (targets.dtype != np.float32 or targets.shape[1:] != (classes,)):
        raise BundleError(f"tensor {name}.targets must be float32 (n, {classes}), got {describe(targets)}")
    if not np.isfinite(values).all() or (targets is not None and not np.isfinite(targets).all()):
        raise BundleError(f"tensors of {name} must be finite")
    return TrainingRows(values, labels, targets)


def _within(labels: AnyArray, classes: int) -> bool:
    return not len(labels) or (int(labels.min()) >= 0 and int(labels.max()) < classes)


def read_feature_map(tensors: TensorTable, embedding_size: int, expansion_of: str) -> FeatureMap:
    """Scales, and the projection and expansion if there are any."""
    expansion: Expansion | None = None
    if expansion_of != "none":
        weights = tensors.float32("expansion.weights", (-1, -1))
        bias = tensors.float32("expansion.bias", (weights.shape[1],))
        expansion = Expansion(weights, bias, expansion_of == "input")
    mean, components = tensors.optional("features.mean"), tensors.optional("features.components")
    return FeatureMap(embedding_size, tensors.float32("features.scale", (-1,)), expansion, mean, components)


def read_targets(tensors: TensorTable, outputs: int, digits: int) -> TargetCodes | None:
    """How the targets in the statistics are coded; None where they hold none."""
    offset = tensors.optional("targets.offset")
    if offset is None:
        return None
    scale = tensors.float32("targets.scale", (outputs,))
    if offset.shape != scale.shape:
        raise BundleError(f"tensor targets.offset must be finite float32 ({outputs},), got {describe(offset)}")
    return TargetCodes(offset, scale, digits)


def read_source(packed: dict[str, AnyArray], size: int, classes: tuple[str, ...], space: str) -> Statistics:
    """The tables of the training data."""
    try:
        return from_arrays(packed, size, classes, space)
    except RemoteError as error:
        raise BundleError(f"source {error}") from error
