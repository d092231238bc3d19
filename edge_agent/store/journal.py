"""Encodes what happened to the learner since its last checkpoint, so that a commit need not write everything.

A learner's state is a pure function of what it learned, in order. Each commit appends one entry: the sync state
and the operations since the entry before. A start takes the checkpoint and does the operations again, which gives the
same bits; a sum over each entry tells a damaged one from a good one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.learner import (
    AddClass,
    AddPseudoLabel,
    AdoptHead,
    AdoptPrior,
    AdoptWindowMeans,
    ChangeClasses,
    CorrectLabel,
    EndUpdate,
    HeadLearner,
    LearnLabel,
    Operation,
    Prediction,
    WithdrawPseudoLabel,
    apply,
)
from edge_agent.pipeline import Features
from headway.arrays import AnyArray, Float32, describe
from headway.class_changes import ClassChanges
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.samples import Label
from headway.tensors import decode_tensors, encode_tensors

ENTRY_BYTES_MAX = 256 << 20
CHECK_BYTES = 4
# most of a short entry is names; more effort gains nothing
COMPRESSION = 1


JOURNALLED = ("taught", "corrected", "ended", "guessed", "windows", "class", "classes", "head", "prior")
WITH_FEATURES = (LearnLabel, CorrectLabel, AddPseudoLabel, WithdrawPseudoLabel)


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
    def decode(cls, payload: bytes, labels: int = 0) -> Entry:
        """Inverse of `encode`. labels: learned before this entry, from which its numbers go on. Raises StoreError."""
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
                operations.append(_operation(row, number, at, labels, tensors))
                at += isinstance(operations[-1], WITH_FEATURES)
                labels += isinstance(operations[-1], LearnLabel)
            return cls(tensors["sync"].tobytes(), tuple(operations))
        except KeyError as error:
            raise StoreError(f"a journal entry lacks tensor {error}") from error


def redo(learner: HeadLearner, operations: Sequence[Operation]) -> None:
    """Do again to the learner what was done after its checkpoint. Raises StoreError when it does not fit."""
    for operation in operations:
        if isinstance(operation, LearnLabel):
            _check_width(operation, len(learner.classes))
        if isinstance(operation, AdoptWindowMeans):
            _check_sums(operation.class_sums, learner)
        # the update that a label finished lies in the outbox already
        apply(learner, operation)
    # the events of then were sent then
    learner.take_decisions()
    learner.take_drifts()


def _check_width(operation: LearnLabel, classes: int) -> None:
    label = operation.label
    fits = 0 <= label < classes if isinstance(label, int) else len(label) == classes
    if not fits or operation.served.probability.shape[1] > classes:
        raise StoreError(f"the journal teaches class {label}; this learner knows {classes}")


def _check_sums(class_sums: AnyArray, learner: HeadLearner) -> None:
    expected = (learner.feature_size + 1, len(learner.classes))
    if class_sums.dtype != np.int64 or class_sums.shape != expected:
        raise StoreError(f"the journal holds window sums {describe(class_sums)}; this learner has int64 {expected}")


def _row(operation: Operation, number: int, tensors: dict[str, AnyArray]) -> JsonValue:
    match operation:
        case LearnLabel(_, _, label, served, queued):
            # a head may have learned of new classes within one entry, so the widths differ
            tensors[f"served.{number}"] = served.probability
            fields = _label_fields(tensors, number, label=label)
            if served.temperature != 1.0:
                fields["temperature"] = served.temperature
            return {"do": "taught", **fields, "source": served.served_by, "queued": queued}
        case CorrectLabel(label_number, _, before, after, again):
            fields = _label_fields(tensors, number, before=before, after=after)
            return {"do": "corrected", "number": label_number, "again": again, **fields}
        case EndUpdate():
            return {"do": "ended"}
        case AddPseudoLabel(_, label):
            return {"do": "guessed", "label": label, "withdrawn": False}
        case WithdrawPseudoLabel(_, label):
            return {"do": "guessed", "label": label, "withdrawn": True}
        case AdoptWindowMeans(class_sums):
            tensors[f"windows.{number}"] = class_sums
            return {"do": "windows"}
        case AddClass(name):
            return {"do": "class", "name": name}
        case ChangeClasses(changes):
            return {
                "do": "classes",
                "old": [old for old, _ in changes.rename],
                "new": [new for _, new in changes.rename],
                "add": [*changes.add],
                "remove": [*changes.remove],
            }
        case AdoptHead(payload, _):
            tensors[f"head.{number}"] = np.frombuffer(payload, np.uint8)
            return {"do": "head"}
        case AdoptPrior(payload):
            tensors[f"prior.{number}"] = np.frombuffer(payload, np.uint8)
            return {"do": "prior"}


def _operation(row: Fields, number: int, at: int, labels: int, tensors: dict[str, AnyArray]) -> Operation:
    """Row `number` of an entry. at: its row among the features; labels: learned before it."""
    kind = row.choice("do", JOURNALLED)
    operation: Operation
    if kind == "taught":
        probability: Float32 = tensors[f"served.{number}"]
        temperature = row.number("temperature", low=0.0) if row.has("temperature") else 1.0
        served = Prediction(probability, row.text("source"), temperature)
        label = _label(row, "label", number, tensors)
        operation = LearnLabel(labels, _features(tensors, at), label, served, row.boolean("queued"))
    elif kind == "corrected":
        before, after = (_label(row, key, number, tensors) for key in ("before", "after"))
        again = row.boolean("again", False)
        operation = CorrectLabel(row.integer("number"), _features(tensors, at), before, after, again)
    elif kind == "ended":
        operation = EndUpdate()
    elif kind == "guessed":
        change = WithdrawPseudoLabel if row.boolean("withdrawn") else AddPseudoLabel
        operation = change(_features(tensors, at), row.integer("label"))
    elif kind == "windows":
        operation = AdoptWindowMeans(tensors[f"windows.{number}"])
    elif kind == "class":
        operation = AddClass(row.text("name"))
    elif kind == "classes":
        renames = tuple(zip(row.strings("old"), row.strings("new"), strict=True))
        operation = ChangeClasses(ClassChanges(renames, row.strings("add"), row.strings("remove")))
    elif kind == "prior":
        operation = AdoptPrior(tensors[f"prior.{number}"].tobytes())
    else:
        # it was taken up then, whatever its version
        operation = AdoptHead(tensors[f"head.{number}"].tobytes(), retained=True)
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
