"""The only place that builds or parses a payload. Role-blind: both ends use the same classes.

Every message has ``encode`` and a strict ``decode`` that raises RemoteError. The normative text is docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.errors import RemoteError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.head import Head, HeadInput, HeadKind
from headway.metrics import ClassificationSums
from headway.statistics import Statistics, from_arrays, to_arrays
from headway.tensors import decode_tensors, encode_tensors

SCHEMA = 1
MESSAGE_BYTES_MAX = 128 * 1024
CLASSES_MAX = 4096
CODES_MAX = 1 << 14
TENSORS_TYPE = "application/vnd.safetensors"
JSON_TYPE = "application/json"

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class Status:
    """Is the sender there? Retained, and the last will with online false. `boot` counts starts of the process."""

    online: bool
    boot: int

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "online": self.online, "boot": self.boot})

    @classmethod
    def decode(cls, payload: bytes) -> Status:
        fields = _json_fields(payload, "status")
        return _finished(fields, cls(fields.boolean("online"), fields.integer("boot")))


@dataclass(frozen=True, slots=True)
class Reported:
    """The device's side of its twin: what it runs and how it is. Retained."""

    bundle: str
    bundle_version: str
    space: str
    learner: str
    runtime: str
    agent_version: str
    machine: str
    labels: int
    source: str
    problem: str = ""

    def encode(self) -> bytes:
        texts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return canonical_json({"schema": SCHEMA, **texts})

    @classmethod
    def decode(cls, payload: bytes) -> Reported:
        fields = _json_fields(payload, "reported")
        names = [name for name in cls.__dataclass_fields__ if name != "labels"]
        texts = {name: fields.text(name, length_max=512) for name in names}
        return _finished(fields, cls(labels=fields.integer("labels"), **texts))


@dataclass(frozen=True, slots=True)
class Metrics:
    """Mergeable prequential sums since the epoch began: of the served head, and of the frozen head beside it."""

    epoch: int
    counter: int
    served: ClassificationSums
    frozen: ClassificationSums

    def encode(self) -> bytes:
        value = {"epoch": self.epoch, "counter": self.counter, "schema": SCHEMA}
        return canonical_json({**value, "served": self.served.to_json(), "frozen": self.frozen.to_json()})

    @classmethod
    def decode(cls, payload: bytes, class_count: int) -> Metrics:
        fields = _json_fields(payload, "metrics")
        served = ClassificationSums.from_json(fields.mapping("served"), class_count)
        frozen = ClassificationSums.from_json(fields.mapping("frozen"), class_count)
        return _finished(fields, cls(fields.integer("epoch"), fields.integer("counter"), served, frozen))


@dataclass(frozen=True, slots=True)
class StatisticsReport:
    """A device's cumulative tables. Of one (device, epoch) only the highest counter matters."""

    device: str
    epoch: int
    counter: int
    statistics: Statistics

    def encode(self) -> bytes:
        statistics = self.statistics
        head = {"device": self.device, "epoch": self.epoch, "counter": self.counter}
        body = {"space": statistics.space, "size": statistics.size, "classes": list(statistics.classes)}
        return encode_tensors(to_arrays(statistics), {"schema": SCHEMA, "kind": "statistics", **head, **body})

    @classmethod
    def decode(cls, payload: bytes, size_max: int = CODES_MAX) -> StatisticsReport:
        """`size_max` bounds the memory that a small, well-compressed message can claim: (size_max + 1)^2 int64."""
        arrays, fields = _tensor_fields(payload, "statistics")
        size = fields.integer("size", low=1, high=size_max)
        classes = _classes(fields)
        statistics = from_arrays(arrays, size, classes, fields.text("space", length_max=64))
        report = cls(fields.text("device"), fields.integer("epoch"), fields.integer("counter"), statistics)
        return _finished(fields, report)


@dataclass(frozen=True, slots=True)
class Update:
    """A gradient learner's progress: a weight delta, float32 (C, d + 1), in units of `weights_over_unit_codes`.

    It covers what was learned since the update before it (or since head `base_version` was taken up, 0 for the
    frozen head). Sequences count 1, 2, 3, ... within an epoch and are sent in that order.
    """

    device: str
    epoch: int
    sequence: int
    base_version: int
    samples: int
    space: str
    classes: tuple[str, ...]
    delta: Float32

    def encode(self) -> bytes:
        names = ("device", "epoch", "sequence", "base_version", "samples", "space")
        head = {name: getattr(self, name) for name in names}
        meta = {"schema": SCHEMA, "kind": "update", **head, "classes": list(self.classes)}
        return encode_tensors({"delta": self.delta}, meta)

    @classmethod
    def decode(cls, payload: bytes) -> Update:
        arrays, fields = _tensor_fields(payload, "update")
        update = cls(
            fields.text("device"),
            fields.integer("epoch"),
            fields.integer("sequence", low=1),
            fields.integer("base_version"),
            fields.integer("samples", low=1),
            fields.text("space", length_max=64),
            _classes(fields),
            _float_matrix(arrays, "delta"),
        )
        if set(arrays) != {"delta"} or update.delta.shape[0] != len(update.classes):
            raise RemoteError(
                f"update holds {sorted(arrays)} for {len(update.classes)} classes; expected delta (C, d + 1)"
            )
        return _finished(fields, update)


@dataclass(frozen=True, slots=True)
class Ack:
    """What the aggregator has durably stored of a device, and how long the device should pause between syncs."""

    epoch: int
    counter: int
    sequence: int
    pace_s: float = 0.0

    def encode(self) -> bytes:
        value = {"schema": SCHEMA, "epoch": self.epoch, "counter": self.counter, "sequence": self.sequence}
        return canonical_json({**value, "pace_s": self.pace_s})

    @classmethod
    def decode(cls, payload: bytes) -> Ack:
        fields = _json_fields(payload, "ack")
        numbers = (fields.integer("epoch"), fields.integer("counter"), fields.integer("sequence"))
        return _finished(fields, cls(*numbers, fields.number("pace_s", low=0.0, high=86_400.0)))


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """The fleet's head. Versions only grow; `method` is ``exact`` or ``average``."""

    version: int
    method: str
    space: str
    devices: int
    samples: int
    head: Head

    def encode(self) -> bytes:
        meta = {
            "schema": SCHEMA,
            "kind": "head",
            "version": self.version,
            "method": self.method,
            "space": self.space,
            "devices": self.devices,
            "samples": self.samples,
            "link": str(self.head.kind),
            "classes": list(self.head.classes),
        }
        return encode_tensors({"kernel": self.head.kernel, "bias": self.head.bias}, meta)

    @classmethod
    def decode(cls, payload: bytes) -> PublishedHead:
        arrays, fields = _tensor_fields(payload, "head")
        classes = _classes(fields)
        kind = HeadKind(fields.choice("link", tuple(HeadKind)))
        kernel, bias = _float_matrix(arrays, "kernel"), arrays.get("bias")
        bias_fits = bias is not None and bias.dtype == np.float32 and bias.shape == (len(classes),)
        if set(arrays) != {"kernel", "bias"} or not bias_fits or kernel.shape[1] != len(classes):
            raise RemoteError(
                f"head holds {sorted(arrays)} for {len(classes)} classes; expected kernel (d, C), bias (C,)"
            )
        if bias is None or not np.isfinite(bias).all():
            raise RemoteError("head bias is not finite")
        return _finished(
            fields,
            cls(
                fields.integer("version", low=1),
                fields.choice("method", ("exact", "average")),
                fields.text("space", length_max=64),
                fields.integer("devices"),
                fields.integer("samples"),
                Head(kernel, bias, kind, classes, HeadInput.CODES),
            ),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person may want to know: drift, a gate decision, refused input, a rollback."""

    name: str
    detail: Mapping[str, JsonValue] = field(default_factory=dict)
    wall_s: float = 0.0

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, "name": self.name, "detail": dict(self.detail), "wall_s": self.wall_s})

    @classmethod
    def decode(cls, payload: bytes) -> Event:
        fields = _json_fields(payload, "event")
        return _finished(fields, cls(fields.text("name"), fields.mapping("detail"), fields.number("wall_s")))


def _json_fields(payload: bytes, kind: str) -> Fields:
    fields = Fields(parse_json(payload, kind, RemoteError, MESSAGE_BYTES_MAX), kind, RemoteError)
    return _checked_schema(fields)


def _tensor_fields(payload: bytes, kind: str) -> tuple[dict[str, AnyArray], Fields]:
    arrays, metadata = decode_tensors(payload, kind, RemoteError, MESSAGE_BYTES_MAX)
    fields = _checked_schema(Fields(metadata, f"{kind} metadata", RemoteError))
    fields.choice("kind", (kind,))
    return arrays, fields


def _checked_schema(fields: Fields) -> Fields:
    schema = fields.integer("schema")
    if schema != SCHEMA:
        raise RemoteError(f"{fields.where} has schema {schema}; this program reads {SCHEMA}")
    return fields


def _classes(fields: Fields) -> tuple[str, ...]:
    classes = fields.strings("classes", count_max=CLASSES_MAX)
    if len(set(classes)) != len(classes) or not classes:
        raise RemoteError(f"{fields.where} names no class, or one twice")
    return classes


def _float_matrix(arrays: Mapping[str, AnyArray], name: str) -> Float32:
    matrix = arrays.get(name)
    if matrix is None or matrix.dtype != np.float32 or matrix.ndim != 2:
        raise RemoteError(f"tensor {name} must be a float32 matrix")
    if not np.isfinite(matrix).all():
        raise RemoteError(f"tensor {name} holds values that are not finite")
    return matrix


def _finished(fields: Fields, message: Message) -> Message:
    fields.finish()
    return message
