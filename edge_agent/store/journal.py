"""What happened to the learner since its last checkpoint, so that a commit writes a row of codes instead of everything.

A learner's state is a pure function of what it was taught, in order. Each commit appends one entry: the sync state
and the operations since the entry before. A start takes the checkpoint and does the operations again, which gives the
same bits; a sum over each entry tells a damaged one from a good one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.learner import Learner, Prediction
from edge_agent.learner.gradient import GradientTrainer
from edge_agent.pipeline import Features
from headway.arrays import AnyArray, Float32
from headway.class_changes import ClassChanges
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.samples import Label, no_label
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import FleetPrior, PublishedHead

ENTRY_BYTES_MAX = 256 << 20
CHECK_BYTES = 4
# most of a short entry is names; more effort gains nothing
COMPRESSION = 1


@dataclass(frozen=True, slots=True)
class Taught:
    """One labelled window; `served` is what was answered for it. queued: an update was taken from the trainer after.

    label: class index, or targets float32 (C,).
    """

    features: Features
    label: Label
    served: Prediction
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Corrected:
    """Label `number` of a window was `before` and is `after`; -1 or nothing but NaN for none."""

    features: Features
    number: int
    before: Label
    after: Label


@dataclass(frozen=True, slots=True)
class Guessed:
    """A window without a label was learned by its prediction; or that was undone."""

    features: Features
    label: int
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class ClassAdded:
    """A class that the bundle does not know."""

    name: str


@dataclass(frozen=True, slots=True)
class ClassesChanged:
    """Classes were renamed, added or removed."""

    changes: ClassChanges


@dataclass(frozen=True, slots=True)
class HeadAdopted:
    """The fleet's new head, as it came over the wire."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PriorAdopted:
    """What other devices learned, as it came over the wire."""

    payload: bytes


Operation = Taught | Corrected | Guessed | ClassAdded | ClassesChanged | HeadAdopted | PriorAdopted
WITH_FEATURES = (Taught, Corrected, Guessed)


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit: the sync state after it, and what was done to the learner."""

    sync: bytes
    operations: Sequence[Operation]

    def encode(self) -> bytes:
        """A CRC-32 over the rest, then a zlib stream of tensors."""
        tensors: dict[str, AnyArray] = {"sync": np.frombuffer(self.sync, np.uint8)}
        features = [op.features for op in self.operations if isinstance(op, WITH_FEATURES)]
        if features:
            tensors["codes"] = np.concatenate([f.codes for f in features])
            tensors["embedding"] = np.concatenate([f.embedding for f in features])
        rows: list[JsonValue] = []
        for number, operation in enumerate(self.operations):
            rows.append(_row(operation, number, tensors))
        body = zlib.compress(encode_tensors(tensors, {"rows": rows}), COMPRESSION)
        return zlib.crc32(body).to_bytes(CHECK_BYTES, "little") + body

    @classmethod
    def decode(cls, payload: bytes) -> Entry:
        """Inverse of `encode`. Raises StoreError on damage."""
        check, body = payload[:CHECK_BYTES], payload[CHECK_BYTES:]
        if zlib.crc32(body).to_bytes(CHECK_BYTES, "little") != check:
            raise StoreError("a journal entry is damaged: its check sum does not fit")
        inflated = zlib.decompressobj().decompress(body, ENTRY_BYTES_MAX)
        tensors, meta = decode_tensors(inflated, "journal entry", StoreError, ENTRY_BYTES_MAX)
        fields = Fields(meta, "journal entry", StoreError)
        operations: list[Operation] = []
        at = 0
        try:
            for number, row in enumerate(fields.tables("rows", count_max=1 << 20)):
                operations.append(_operation(row, number, at, tensors))
                at += isinstance(operations[-1], WITH_FEATURES)
            return cls(tensors["sync"].tobytes(), tuple(operations))
        except KeyError as error:
            raise StoreError(f"a journal entry lacks tensor {error}") from error


def redo(learner: Learner, operations: Sequence[Operation]) -> None:
    """Do again to the learner what was done after its checkpoint. Raises StoreError when it does not fit."""
    for operation in operations:
        match operation:
            case Taught(features, label, served, queued):
                fits = (
                    0 <= label < len(learner.classes) if isinstance(label, int) else len(label) == len(learner.classes)
                )
                if not fits or served.probability.shape[1] > len(learner.classes):
                    raise StoreError(f"the journal teaches class {label}; this learner knows {len(learner.classes)}")
                learner.learn(features, label, served)
                if queued and isinstance(learner.trainer, GradientTrainer):
                    # the update itself lies in the outbox already; the next one starts where it ended
                    learner.trainer.take_update()
            case Corrected(features, number, before, after):
                learner.correct(number, features, before, None if no_label(after) else after)
            case Guessed(features, label, withdrawn):
                (learner.withdraw if withdrawn else learner.guess)(features, label)
            case ClassAdded(name):
                learner.add_class(name)
            case ClassesChanged(changes):
                learner.change_classes(changes)
            case HeadAdopted(payload):
                learner.adopt(PublishedHead.decode(payload))
            case PriorAdopted(payload):
                learner.adopt_prior(FleetPrior.decode(payload))
    learner.decisions.clear()
    learner.drifts.clear()


def _row(operation: Operation, number: int, tensors: dict[str, AnyArray]) -> JsonValue:
    match operation:
        case Taught(_, label, served, queued):
            # a head may have learned of new classes within one entry, so the widths differ
            tensors[f"served.{number}"] = served.probability
            taught = _label_fields(tensors, number, label=label)
            return {"do": "taught", **taught, "source": served.source, "queued": queued}
        case Corrected(_, label_number, before, after):
            return {
                "do": "corrected",
                "number": label_number,
                **_label_fields(tensors, number, before=before, after=after),
            }
        case Guessed(_, label, withdrawn):
            return {"do": "guessed", "label": label, "withdrawn": withdrawn}
        case ClassAdded(name):
            return {"do": "class", "name": name}
        case ClassesChanged(changes):
            return {
                "do": "classes",
                "old": [old for old, _ in changes.rename],
                "new": [new for _, new in changes.rename],
                "add": [*changes.add],
                "remove": [*changes.remove],
            }
        case HeadAdopted(payload):
            tensors[f"head.{number}"] = np.frombuffer(payload, np.uint8)
            return {"do": "head"}
        case PriorAdopted(payload):
            tensors[f"prior.{number}"] = np.frombuffer(payload, np.uint8)
            return {"do": "prior"}


def _operation(row: Fields, number: int, at: int, tensors: dict[str, AnyArray]) -> Operation:
    kind = row.choice("do", ("taught", "corrected", "guessed", "class", "classes", "head", "prior"))
    operation: Operation
    if kind == "taught":
        probability: Float32 = tensors[f"served.{number}"]
        served = Prediction(probability, row.text("source"))
        label = _label(row, "label", number, tensors)
        operation = Taught(_features(tensors, at), label, served, row.boolean("queued"))
    elif kind == "corrected":
        before, after = (_label(row, key, number, tensors) for key in ("before", "after"))
        operation = Corrected(_features(tensors, at), row.integer("number"), before, after)
    elif kind == "guessed":
        operation = Guessed(_features(tensors, at), row.integer("label"), row.boolean("withdrawn"))
    elif kind == "class":
        operation = ClassAdded(row.text("name"))
    elif kind == "classes":
        renames = tuple(zip(row.strings("old"), row.strings("new"), strict=True))
        operation = ClassesChanged(ClassChanges(renames, row.strings("add"), row.strings("remove")))
    elif kind == "prior":
        operation = PriorAdopted(tensors[f"prior.{number}"].tobytes())
    else:
        operation = HeadAdopted(tensors[f"head.{number}"].tobytes())
    row.finish()
    return operation


def _label_fields(tensors: dict[str, AnyArray], number: int, **labels: Label) -> dict[str, JsonValue]:
    """Class indices as numbers in the row, one added so that -1 fits; targets as tensors of their own."""
    fields: dict[str, JsonValue] = {}
    for key, label in labels.items():
        if isinstance(label, int):
            fields[key] = label + 1
        else:
            tensors[f"{key}.{number}"] = label
    return fields


def _label(row: Fields, key: str, number: int, tensors: dict[str, AnyArray]) -> Label:
    """Inverse of `_label_fields` for one label."""
    return row.integer(key) - 1 if row.has(key) else tensors[f"{key}.{number}"]


def _features(tensors: dict[str, AnyArray], at: int) -> Features:
    here = slice(at, at + 1)
    return Features(tensors["embedding"][here], tensors["codes"][here])
