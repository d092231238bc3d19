"""Reads and writes the on-device variant of a model: a bundle as typed values instead of members and JSON.

The container (bundle.py) proves that the bytes are whole; this module proves that they make sense together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.bundle.container import (
    BundleLimits,
    Container,
    encode_container,
    manifest_with_members,
    read_container,
    without_hash,
)
from headway.bundle.parts import (
    TENSORS,
    Backbone,
    TrainingRows,
    read_backbone,
    read_feature_map,
    read_preprocessing,
    read_rows,
    read_source,
    read_targets,
    scaled_part,
    written_preprocessing,
)
from headway.bundle.signing import verify_signature
from headway.durable import write_durably
from headway.errors import BundleError, LocalError, RemoteError, listed
from headway.fields import Fields, JsonValue
from headway.maths import (
    WINDOWS,
    FeatureMap,
    Head,
    HeadInput,
    HeadKind,
    Preprocessing,
    Statistics,
    TargetCodes,
    Task,
    TimeAxis,
    to_arrays,
)
from headway.stream import StreamFormat
from headway.tensors import TensorTable, decode_tensors, encode_tensors

__all__ = ["FEATURES_MAX", "Backbone", "TrainingRows", "Variant", "decode_variant", "read_variant"]

TENSORS_BYTES_MAX = 256 << 20
INPUT_VALUES_MAX = 1 << 24
FEATURES_MAX = 4096  # their Gram then takes 134 MB, on a device too
PROBES_MAX = 64


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything a device needs: backbones to run, the frozen head, the feature map, training statistics.

    probe_inputs float32 (k, *input_shape) and probe_embedding float32 (k, e): raw training windows and what the
    source model's backbone makes of them; a device checks its own runtime against them before it serves.
    training_statistics: of the training data; of no samples at all where the model is not a one-label classifier and
    there are no `targets`. targets: how the targets of a regression, or several labels, are coded in them; their rows
    are wider than the features by `targets.width` then.
    buffer: int8 codes of a class-balanced draw of the training data; evaluation: raw windows to score heads on.
    stream: how windows are cut from raw rows; None where only whole windows are taken.
    without_backbone: the embedding is the preprocessed window itself, flattened; there is nothing to run.
    """

    name: str
    version: str
    release: int
    backbones: tuple[Backbone, ...]
    head: Head
    features: FeatureMap
    preprocessing: Preprocessing
    training_statistics: Statistics
    probe_inputs: Float32
    probe_embedding: Float32
    report: Mapping[str, JsonValue] = field(default_factory=dict)
    sha256: str = ""
    targets: TargetCodes | None = None
    buffer: TrainingRows | None = None
    evaluation: TrainingRows | None = None
    licence: str = ""
    provenance: str = ""
    stream: StreamFormat | None = None
    without_backbone: bool = False

    def __post_init__(self) -> None:
        width = 0 if self.targets is None else self.targets.width
        if self.training_statistics.size != self.features.size + width:
            raise LocalError(
                f"source statistics have d={self.training_statistics.size}, the feature map and targets "
                f"{self.features.size} + {width}"
            )
        if self.targets is not None:
            self._check_targets(self.targets)
        if self.head.input is not HeadInput.EMBEDDING or len(self.head.kernel) != self.features.embedding_size:
            raise LocalError(f"the frozen head must take the embedding, float32 (n, {self.features.embedding_size})")
        if self.stream is not None:
            self._check_stream(self.stream)
        if self.features.size > FEATURES_MAX:
            raise LocalError(f"{self.features.size} features; a device holds at most {FEATURES_MAX}")
        expansion, values = self.features.expansion, math.prod(self.preprocessing.output_shape)
        if expansion is not None and expansion.of_input and len(expansion.weights) != values:
            raise LocalError(f"the expansion takes {len(expansion.weights)} values, the input has {values}")
        if self.without_backbone and (self.backbones or self.features.embedding_size != values):
            raise LocalError(
                f"without a backbone the embedding is the preprocessed window of {values} values; the bundle says "
                f"{self.features.embedding_size}, and brings {len(self.backbones)} backbones"
            )
        if len(self.probe_inputs) != len(self.probe_embedding) or not 1 <= len(self.probe_inputs) <= PROBES_MAX:
            raise LocalError(
                f"{len(self.probe_inputs)} probe inputs and {len(self.probe_embedding)} probe embeddings; a device "
                f"checks itself against 1 to {PROBES_MAX} pairs"
            )

    def _check_stream(self, stream: StreamFormat) -> None:
        of, shape = (stream.length, len(stream.channels)), self.input_shape
        fits = math.prod(shape) == math.prod(of)
        if fits and len(shape) > 1:
            last = self.preprocessing.time_axis is TimeAxis.LAST
            fits = (shape[-1] if last else shape[0]) == stream.length
        if not fits:
            raise LocalError(f"stream windows of {of[0]} time steps and {of[1]} channels do not fit an input {shape}")

    def _check_targets(self, targets: TargetCodes) -> None:
        if targets.outputs != len(self.classes):
            raise LocalError(f"target codes of {targets.outputs} outputs, the head has {len(self.classes)}")
        if targets.digits != (1 if self.head.kind is HeadKind.SIGMOID else 2) or self.head.kind is HeadKind.SOFTMAX:
            raise LocalError(f"targets of {targets.digits} digits do not fit a head with a {self.head.kind} link")
        problem = targets.inconsistency(self.training_statistics)
        if problem is not None:
            raise LocalError(f"source statistics refused: {problem}")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.head.classes

    @property
    def task(self) -> Task:
        """Softmax outputs, or training data with one label per window, mean classification whatever the link.

        A linear output over classes is a classifier's logits (trained with from_logits=True).
        """
        tables = self.training_statistics.samples > 0 and self.targets is None
        one_label = tables or (self.buffer is not None and self.buffer.labels is not None)
        if self.head.kind is HeadKind.SOFTMAX or one_label:
            return Task.CLASSIFICATION
        return Task.MULTI_LABEL if self.head.kind is HeadKind.SIGMOID else Task.REGRESSION

    @property
    def frozen_head(self) -> Head:
        """The head as shipped, with the source's own link: softmax, or sigmoids, over classes too, which then need not
        add up to one. Logits get the link of their task."""
        return self.head if self.head.kind is HeadKind.SIGMOID else replace(self.head, kind=self.task.link)

    @property
    def space(self) -> str:
        """Fingerprint of the feature space; tables and heads fit only where it is the same."""
        return self.training_statistics.space

    @property
    def feature_statistics(self) -> Statistics:
        """Of the training data's features alone, without targets; of no samples where there are no statistics."""
        statistics = self.training_statistics
        return statistics if self.targets is None else self.targets.features_of(statistics)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.preprocessing.input_shape

    def encode(self, sign: Callable[[bytes], bytes] | None = None) -> bytes:
        """The bundle's bytes; the same variant always gives the same ones. `sign`: manifest -> 64-byte signature."""
        manifest, members = self._manifest(), self._members()
        signature = None if sign is None else sign(manifest_with_members(manifest, members))
        return encode_container(manifest, members, signature)

    def write(self, path: Path, sign: Callable[[bytes], bytes] | None = None) -> None:
        """Write the bundle durably."""
        write_durably(path, self.encode(sign))

    def _manifest(self) -> dict[str, object]:
        expansion = self.features.expansion
        return {
            "kind": "headway-variant",
            "name": self.name,
            "version": self.version,
            "release": self.release,
            "input_shape": list(self.input_shape),
            "embedding_size": self.features.embedding_size,
            "link": str(self.head.kind),
            "classes": list(self.classes),
            "space": self.space,
            "expansion": "none" if expansion is None else "input" if expansion.of_input else "embedding",
            "backbones": [
                {
                    "member": b.member,
                    "engine": b.engine,
                    "precision": b.precision,
                    "dynamic_batch": b.dynamic_batch,
                    "runtimes": dict(b.runtimes),
                }
                for b in self.backbones
            ],
            "preprocessing": written_preprocessing(self.preprocessing),
            "licence": self.licence,
            "provenance": self.provenance,
            "report": dict(self.report),
            **({} if self.stream is None else {"stream": self.stream.written()}),
            **({"embedding": "input"} if self.without_backbone else {}),
        }

    def _members(self) -> dict[str, bytes]:
        tensors: dict[str, AnyArray] = {
            "head.kernel": self.head.kernel,
            "head.bias": self.head.bias,
            "features.scale": self.features.scale,
            "preprocessing.fill": self.preprocessing.fill,
            "probe.inputs": self.probe_inputs,
            "probe.embedding": self.probe_embedding,
        }
        scaled = scaled_part(self.preprocessing.front_end)
        optional: dict[str, AnyArray | None] = {
            "features.mean": self.features.mean,
            "features.components": self.features.components,
            f"{scaled}.offset": self.preprocessing.offset,
            f"{scaled}.gain": self.preprocessing.gain,
            "preprocessing.low": self.preprocessing.low,
            "preprocessing.high": self.preprocessing.high,
        }
        if self.features.expansion is not None:
            optional["expansion.weights"] = self.features.expansion.weights
            optional["expansion.bias"] = self.features.expansion.bias
        if self.targets is not None:
            optional |= {"targets.offset": self.targets.offset, "targets.scale": self.targets.scale}
        for name, rows in (("buffer", self.buffer), ("evaluation", self.evaluation)):
            if rows is not None:
                optional[f"{name}.values"] = rows.values
                optional[f"{name}.labels" if rows.targets is None else f"{name}.targets"] = (
                    rows.labels if rows.targets is None else rows.targets
                )
        tensors |= {name: array for name, array in optional.items() if array is not None}
        tensors |= {f"source.{name}": array for name, array in to_arrays(self.training_statistics).items()}
        return {TENSORS: encode_tensors(tensors), **{b.member: b.payload for b in self.backbones}}


def read_variant(
    path: Path, limits: BundleLimits | None = None, *, public_key: bytes | None = None, release_min: int = 0
) -> Variant:
    """Read, verify and interpret a bundle file.

    public_key: 32 bytes; the bundle must then carry this key's signature. release_min: the release that runs
    already; an older one is refused, so that a signed bundle of yesterday cannot bring yesterday's faults back.
    Raises BundleError with the file and what is wrong with it.
    """
    container = read_container(path, limits or BundleLimits())
    try:
        if public_key is not None:
            verify_signature(container, public_key)
        variant = decode_variant(container)
        if variant.release < release_min:
            older = f"release {variant.release} is older than {release_min}, which was already accepted"
            raise BundleError(f"{older}; give one of release {release_min} or later")
        return variant
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def decode_variant(container: Container) -> Variant:
    """Interpret a verified container. Raises BundleError."""
    try:
        return _decoded(container)
    except (LocalError, RemoteError) as error:  # raised by the types that the members are turned into
        raise BundleError(str(error)) from error


def _decoded(container: Container) -> Variant:
    fields = Fields(container.manifest, "manifest", BundleError)
    # what later releases add there is for those who know it
    fields.optional()
    fields.choice("kind", ("headway-variant",))
    fields.tables("members")
    input_shape = fields.integers("input_shape", low=1, high=1 << 20, count_max=6)
    embedding_size = fields.integer("embedding_size", low=1, high=1 << 16)
    classes = fields.strings("classes")
    expansion_of = fields.choice("expansion", ("none", "input", "embedding"))
    space = fields.text("space", length_max=64)
    backbones = tuple(read_backbone(item, container) for item in fields.tables("backbones", count_max=16))
    none = fields.has("embedding") and fields.choice("embedding", ("input",)) == "input"
    if not input_shape or not classes or not (backbones or none):
        raise BundleError("manifest names no input shape, no class or no backbone")
    if len(set(classes)) != len(classes) or not all(classes):
        raise BundleError(f"classes must be different, non-empty names, got {list(classes[:10])}")
    if math.prod(input_shape) > INPUT_VALUES_MAX:
        raise BundleError(f"input shape {input_shape} has more than {INPUT_VALUES_MAX} values")
    used = [TENSORS, *(backbone.member for backbone in backbones)]
    if sorted(used) != sorted(container.members):
        raise BundleError(f"the bundle holds members {listed(container.members)}, its manifest uses {listed(used)}")
    loaded, _ = decode_tensors(container.members[TENSORS], TENSORS, BundleError, TENSORS_BYTES_MAX)
    tensors = TensorTable(loaded, BundleError)
    link = HeadKind(fields.choice("link", tuple(HeadKind)))
    head = Head(
        tensors.float32("head.kernel", (embedding_size, len(classes))),
        tensors.float32("head.bias", (len(classes),)),
        link,
        classes,
        HeadInput.EMBEDDING,
    )
    features = read_feature_map(tensors, embedding_size, expansion_of)
    if features.size > FEATURES_MAX:  # before its Gram is allocated
        raise BundleError(f"{features.size} features; a device holds at most {FEATURES_MAX}")
    packed = {name: tensors.take(f"source.{name}") for name in ("gram", "class_sums")}
    targets = read_targets(tensors, len(classes), 1 if link is HeadKind.SIGMOID else 2)
    size, of = (features.size, classes) if targets is None else (features.size + targets.width, WINDOWS)
    variant = Variant(
        name=fields.text("name"),
        version=fields.text("version", length_max=64),
        release=fields.integer("release"),
        backbones=backbones,
        head=head,
        features=features,
        preprocessing=read_preprocessing(tensors, fields.table("preprocessing"), input_shape),
        training_statistics=read_source(packed, size, of, space),
        probe_inputs=tensors.float32("probe.inputs", (-1, *input_shape)),
        probe_embedding=tensors.float32("probe.embedding", (-1, embedding_size)),
        report=without_hash(fields.mapping("report")),
        sha256=container.sha256,
        targets=targets,
        buffer=read_rows(tensors, "buffer", np.dtype(np.int8), (features.size,), len(classes)),
        evaluation=read_rows(tensors, "evaluation", np.dtype(np.float32), input_shape, len(classes)),
        licence=fields.text("licence", "", length_max=4096),
        provenance=fields.text("provenance", "", length_max=4096),
        stream=StreamFormat.read(fields.table("stream")) if fields.has("stream") else None,
        without_backbone=none,
    )
    fields.finish()
    tensors.finish()
    return variant
