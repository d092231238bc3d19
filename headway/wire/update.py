"""Message of the gradient learner: one step of the head's weights, and where in the device's history it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headway.arrays import Float32
from headway.errors import RemoteError
from headway.fields import Fields, JsonValue
from headway.tensors import decode_arrays, decode_tensors, encode_tensors
from headway.wire.codec import MESSAGE_BYTES_MAX, SCHEMA, finished, read_classes, tensor_fields
from headway.wire.precision import Precision, dequantise, precision_of, quantise
from headway.wire.statistics_report import History

# precisions in which a delta is one tensor
PLAIN: dict[Precision, np.dtype[Any]] = {Precision.FLOAT32: np.dtype("<f4"), Precision.FLOAT16: np.dtype("<f2")}
NAMES = ("device", "epoch", "sequence", "base_version", "samples", "space", "acked")


@dataclass(frozen=True, slots=True)
class Update:
    """A gradient learner's progress: a weight delta, float32 (C, d + 1), in units of `weights_over_unit_codes`.

    It covers what was learned since the update before it (or since head `base_version` was taken up, 0 for the
    frozen head). Sequences grow by one and are sent in that order.
    acked: the sequence up to which nothing is to come any more, when this is sent.
    counter: of the last label that it covers; since: of the last one before it; history: the runs of the device's
    program up to `counter`. A counter of 0 tells that the update is of an agent before these three.
    """

    device: str
    epoch: int
    sequence: int
    base_version: int
    samples: int
    space: str
    classes: tuple[str, ...]
    delta: Float32
    run_id: int = 0
    precision: Precision = Precision.FLOAT32
    acked: int = 0
    since: int = 0
    counter: int = 0
    earlier_runs: tuple[int, ...] = ()
    run_ends: tuple[int, ...] = ()

    @property
    def history(self) -> History:
        return History(self.run_id, self.earlier_runs, self.run_ends)

    def encode(self) -> bytes:
        head = {name: getattr(self, name) for name in NAMES}
        meta = {"schema": SCHEMA, "kind": "update", **head, "life": self.run_id, "classes": list(self.classes)}
        if self.counter:
            meta |= {"since": self.since, "counter": self.counter, **self.history.to_json()}
        return encode_tensors(quantise(self.delta, self.precision), meta)

    @staticmethod
    def stamped(payload: bytes, acked: int, epoch: int, base: int) -> bytes:
        """An encoded update as it is sent now, its tensors untouched. base: where `epoch` begins, in the counters of
        the encoded one, which may be of an epoch before."""
        arrays, meta = decode_tensors(payload, "update", RemoteError, MESSAGE_BYTES_MAX)
        if not isinstance(meta, dict):
            raise RemoteError("update has no metadata")
        stamped: dict[str, JsonValue] = {**meta, "acked": acked}
        if "counter" in meta:
            fields = Fields(meta, "update", RemoteError)
            history = History.read(fields).since(base)
            since, counter = (max(0, fields.integer(name) - base) for name in ("since", "counter"))
            stamped |= {"epoch": epoch, "since": since, "counter": counter, **history.to_json()}
        return encode_tensors(arrays, stamped)

    @staticmethod
    def delta_of(payload: bytes, shape: tuple[int, int], precision: Precision) -> Float32:
        """The delta of an encoded update that was decoded before, with its shape and precision, not to be written to;
        the rest is not looked at. Raises RemoteError where the payload cannot be that one."""
        dtype, values = PLAIN.get(precision), None
        if dtype is None:
            values = dequantise(decode_arrays(payload, "update", RemoteError, MESSAGE_BYTES_MAX))
        else:
            # the only tensor is what follows the header
            start, count = 8 + int.from_bytes(payload[:8], "little"), shape[0] * shape[1]
            if len(payload) == start + count * dtype.itemsize:
                values = np.frombuffer(payload, dtype, count, start).reshape(shape).astype(np.float32, copy=False)
        if values is None or values.shape != shape or not np.isfinite(values).all():
            raise RemoteError(f"update of {len(payload)} bytes holds no finite delta of {precision} {shape}")
        return values

    @classmethod
    def decode(cls, payload: bytes) -> Update:
        arrays, fields = tensor_fields(payload, "update")
        delta = dequantise(arrays)
        placed = fields.has("counter")
        history = History.read(fields) if placed else History(fields.integer("life"))
        update = cls(
            fields.text("device"),
            fields.integer("epoch"),
            fields.integer("sequence", low=1),
            fields.integer("base_version"),
            fields.integer("samples", low=1),
            fields.text("space", length_max=64),
            read_classes(fields),
            delta,
            history.run_id,
            precision_of(arrays),
            fields.integer("acked"),
            fields.integer("since") if placed else 0,
            fields.integer("counter", low=1) if placed else 0,
            history.earlier_runs,
            history.run_ends,
        )
        if len(delta) != len(update.classes):
            raise RemoteError(f"update has {len(delta)} rows for {len(update.classes)} classes")
        if placed and update.since >= update.counter:
            raise RemoteError(f"update covers nothing: it goes from counter {update.since} to {update.counter}")
        return finished(fields, update)
