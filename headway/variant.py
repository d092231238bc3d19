"""What a bundle means: the on-device variant of one model, as typed values instead of members and JSON.

The container (bundle.py) proves that the bytes are whole; this module proves that they make sense together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32, describe
from headway.bundle import BundleLimits, Container, encode_container, read_container
from headway.durable import write_durably
from headway.errors import BundleError, HeadwayError, LocalError, RemoteError
from headway.features import Expansion, FeatureMap
from headway.fields import Fields, JsonValue
from headway.head import Head, HeadInput, HeadKind
from headway.preprocessing import Preprocessing
from headway.statistics import Statistics, from_arrays, to_arrays
from headway.tensors import decode_tensors, encode_tensors

TENSORS = "tensors.safetensors"
TENSORS_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Backbone:
    """One executable form of the frozen backbone.

    engine: ``tflite`` or ``onnx``; precision: ``float32`` and so on; dynamic_batch: rows may come many at a time.
    """

    member: str
    engine: str
    precision: str
    dynamic_batch: bool
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything a device needs: backbones to run, the frozen head, the feature map, the source statistics.

    probe_inputs float32 (k, *input_shape) and probe_embedding float32 (k, e): raw training windows and what the
    source model's backbone makes of them; a device checks its own runtime against them before it serves.
    """

    name: str
    version: str
    release: int
    backbones: tuple[Backbone, ...]
    head: Head
    features: FeatureMap
    preprocessing: Preprocessing
    source: Statistics
    probe_inputs: Float32
    probe_embedding: Float32
    report: Mapping[str, JsonValue] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.source.size != self.features.size:
            raise LocalError(f"source statistics have d={self.source.size}, the feature map {self.features.size}")
        if self.head.input is not HeadInput.EMBEDDING or len(self.head.kernel) != self.features.embedding_size:
            raise LocalError(f"the frozen head must take the embedding, float32 (n, {self.features.embedding_size})")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.head.classes

    @property
    def space(self) -> str:
        """Fingerprint of the feature space; tables and heads fit only where it is the same."""
        return self.source.space

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.preprocessing.input_shape

    def encode(self) -> bytes:
        """The bundle's bytes; the same variant always gives the same ones."""
        return encode_container(self._manifest(), self._members())

    def write(self, path: Path) -> None:
        """Write the bundle durably."""
        write_durably(path, self.encode())

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
                }
                for b in self.backbones
            ],
            "report": dict(self.report),
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
        optional = {
            "features.mean": self.features.mean,
            "features.components": self.features.components,
            "preprocessing.offset": self.preprocessing.offset,
            "preprocessing.gain": self.preprocessing.gain,
        }
        if self.features.expansion is not None:
            optional["expansion.weights"] = self.features.expansion.weights
            optional["expansion.bias"] = self.features.expansion.bias
        tensors |= {name: array for name, array in optional.items() if array is not None}
        tensors |= {f"source.{name}": array for name, array in to_arrays(self.source).items()}
        return {TENSORS: encode_tensors(tensors), **{b.member: b.payload for b in self.backbones}}


def read_variant(path: Path, limits: BundleLimits | None = None) -> Variant:
    """Read, verify and interpret a bundle file. Raises BundleError with the file and what is wrong with it."""
    container = read_container(path, limits or BundleLimits())
    try:
        return decode_variant(container)
    except HeadwayError as error:
        raise BundleError(f"{path}: {error}") from error


def decode_variant(container: Container) -> Variant:
    """Interpret a verified container. Raises BundleError (or another family, for damaged content)."""
    fields = Fields(container.manifest, "manifest", BundleError)
    fields.choice("kind", ("headway-variant",))
    fields.tables("members")
    input_shape = fields.integers("input_shape", low=1, high=1 << 20, count_max=6)
    embedding_size = fields.integer("embedding_size", low=1, high=1 << 16)
    classes = fields.strings("classes")
    expansion_of = fields.choice("expansion", ("none", "input", "embedding"))
    space = fields.text("space", length_max=64)
    backbones = tuple(_backbone(item, container) for item in fields.tables("backbones", count_max=16))
    if not input_shape or not classes or not backbones:
        raise BundleError("manifest names no input shape, no class or no backbone")
    if TENSORS not in container.members:
        raise BundleError(f"member {TENSORS} is missing")
    loaded, _ = decode_tensors(container.members[TENSORS], TENSORS, BundleError, TENSORS_BYTES_MAX)
    tensors = _Tensors(loaded)
    head = Head(
        tensors.float32("head.kernel", (embedding_size, len(classes))),
        tensors.float32("head.bias", (len(classes),)),
        HeadKind(fields.choice("link", tuple(HeadKind))),
        classes,
        HeadInput.EMBEDDING,
    )
    features = _feature_map(tensors, embedding_size, expansion_of)
    packed = {name: tensors.take(f"source.{name}") for name in ("gram", "class_sums")}
    variant = Variant(
        name=fields.text("name"),
        version=fields.text("version", length_max=64),
        release=fields.integer("release"),
        backbones=backbones,
        head=head,
        features=features,
        preprocessing=Preprocessing(
            input_shape,
            tensors.float32("preprocessing.fill", (input_shape[-1],)),
            tensors.optional("preprocessing.offset"),
            tensors.optional("preprocessing.gain"),
        ),
        source=_source(packed, features.size, classes, space),
        probe_inputs=tensors.float32("probe.inputs", (-1, *input_shape)),
        probe_embedding=tensors.float32("probe.embedding", (-1, embedding_size)),
        report=fields.mapping("report"),
        sha256=container.sha256,
    )
    fields.finish()
    tensors.finish()
    return variant


def _backbone(item: Fields, container: Container) -> Backbone:
    member = item.text("member", length_max=128)
    engine = item.choice("engine", ("tflite", "onnx"))
    precision = item.choice("precision", ("float32", "float16", "dynamic", "int8"))
    dynamic = item.boolean("dynamic_batch")
    item.finish()
    if member not in container.members:
        raise BundleError(f"backbone {member} is listed but not in the bundle")
    return Backbone(member, engine, precision, dynamic, container.members[member])


def _feature_map(tensors: _Tensors, embedding_size: int, expansion_of: str) -> FeatureMap:
    expansion: Expansion | None = None
    if expansion_of != "none":
        weights = tensors.float32("expansion.weights", (-1, -1))
        bias = tensors.float32("expansion.bias", (weights.shape[1],))
        expansion = Expansion(weights, bias, expansion_of == "input")
    mean, components = tensors.optional("features.mean"), tensors.optional("features.components")
    return FeatureMap(embedding_size, tensors.float32("features.scale", (-1,)), expansion, mean, components)


def _source(packed: dict[str, AnyArray], size: int, classes: tuple[str, ...], space: str) -> Statistics:
    try:
        return from_arrays(packed, size, classes, space)
    except RemoteError as error:
        raise BundleError(f"source {error}") from error


class _Tensors:
    """The tensor member being read: every tensor of its type and shape, none left over."""

    def __init__(self, loaded: Mapping[str, AnyArray]) -> None:
        self._left = dict(loaded)

    def take(self, name: str) -> AnyArray:
        if name not in self._left:
            raise BundleError(f"tensor {name} is missing")
        return self._left.pop(name)

    def float32(self, name: str, shape: tuple[int, ...]) -> Float32:
        array = self.take(name)
        fits = array.ndim == len(shape) and all(s in (-1, a) for s, a in zip(shape, array.shape, strict=True))
        if array.dtype != np.float32 or not fits or not np.isfinite(array).all():
            raise BundleError(f"tensor {name} must be finite float32 {shape}, got {describe(array)}")
        return array

    def optional(self, name: str) -> Float32 | None:
        if name not in self._left:
            return None
        return self.float32(name, (-1,) * self._left[name].ndim)

    def finish(self) -> None:
        if self._left:
            raise BundleError(f"unknown tensors {sorted(self._left)}")
