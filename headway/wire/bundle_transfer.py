"""Messages that deliver a bundle: the desired bundle, a request for a byte range, and the range.

Kept apart from messages.py only for its length; the rules are the same. Normative text: docs/protocol.md, 4.9 to 4.11.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from headway.errors import RemoteError
from headway.fields import Fields, canonical_json
from headway.tensors import encode_tensors
from headway.wire.codec import SCHEMA, json_fields, tensor_fields

CHUNK_BYTES_MAX = 96 * 1024
BUNDLE_BYTES_MAX = 512 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")
# how an order is meant: switch to it; only try it beside what runs; leave it for the bundle before
SWITCH, TRIAL, ROLL_BACK = "switch", "trial", "roll-back"


@dataclass(frozen=True, slots=True)
class Desired:
    """The bundle a device should run. Retained. sha256: of the whole file; size: its bytes.

    mode: SWITCH, TRIAL or ROLL_BACK; the first is not written, so that devices which know no other read it.
    """

    sha256: str
    size: int
    name: str
    version: str
    release: int
    mode: str = SWITCH

    def encode(self) -> bytes:
        table = {n: getattr(self, n) for n in self.__dataclass_fields__ if n != "mode" or self.mode != SWITCH}
        return canonical_json({"schema": SCHEMA, **table})

    @classmethod
    def decode(cls, payload: bytes) -> Desired:
        fields = json_fields(payload, "desired")
        desired = cls(
            _sha256(fields, "sha256"),
            fields.integer("size", low=1, high=BUNDLE_BYTES_MAX),
            fields.text("name"),
            fields.text("version", length_max=64),
            fields.integer("release"),
            fields.choice("mode", (TRIAL, ROLL_BACK)) if fields.has("mode") else SWITCH,
        )
        fields.finish()
        return desired


# that no bundle is desired any more, as a message that can be sealed; an empty payload says the same without a seal
WITHDRAWN = canonical_json({"schema": SCHEMA, "withdrawn": True})


def read_desired(payload: bytes) -> Desired | None:
    """The desired bundle; None where none is. Raises RemoteError."""
    if not payload:
        return None
    fields = json_fields(payload, "desired")
    if not fields.has("withdrawn"):
        return Desired.decode(payload)
    if not fields.boolean("withdrawn"):
        raise RemoteError("withdrawn of desired must be true, or left out")
    fields.finish()
    return None


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A device asks for `length` bytes of a bundle, from `offset`."""

    sha256: str
    offset: int
    length: int

    def encode(self) -> bytes:
        return canonical_json({"schema": SCHEMA, **{n: getattr(self, n) for n in self.__dataclass_fields__}})

    @classmethod
    def decode(cls, payload: bytes) -> RangeRequest:
        fields = json_fields(payload, "request")
        request = cls(
            _sha256(fields, "sha256"),
            fields.integer("offset", high=BUNDLE_BYTES_MAX),
            fields.integer("length", low=1, high=CHUNK_BYTES_MAX),
        )
        fields.finish()
        return request


@dataclass(frozen=True, slots=True)
class FileRange:
    """Part of a bundle, from `offset`; no bytes at all mean: ask again after `pace_s`. size: of the whole file."""

    sha256: str
    offset: int
    size: int
    pace_s: float
    data: bytes

    def encode(self) -> bytes:
        meta = {
            "schema": SCHEMA,
            "kind": "file",
            "sha256": self.sha256,
            "offset": self.offset,
            "size": self.size,
            "pace_s": self.pace_s,
            "data_sha256": hashlib.sha256(self.data).hexdigest(),
        }
        return encode_tensors({"data": np.frombuffer(self.data, np.uint8)}, meta)

    @classmethod
    def decode(cls, payload: bytes) -> FileRange:
        arrays, fields = tensor_fields(payload, "file")
        data = arrays.pop("data", None)
        if data is None or arrays or data.dtype != np.uint8 or data.ndim != 1 or len(data) > CHUNK_BYTES_MAX:
            raise RemoteError(f"file must hold one tensor, data, uint8 of at most {CHUNK_BYTES_MAX} bytes")
        found = cls(
            _sha256(fields, "sha256"),
            fields.integer("offset", high=BUNDLE_BYTES_MAX),
            fields.integer("size", low=1, high=BUNDLE_BYTES_MAX),
            fields.number("pace_s", low=0.0, high=86_400.0),
            data.tobytes(),
        )
        told = _sha256(fields, "data_sha256")
        fields.finish()
        if hashlib.sha256(found.data).hexdigest() != told:
            raise RemoteError(f"file range at {found.offset} does not match its sha256")
        if found.offset + len(found.data) > found.size:
            raise RemoteError(f"file range at {found.offset} ends behind the file's {found.size} bytes")
        return found


def _sha256(fields: Fields, key: str) -> str:
    value = fields.text(key, length_max=64)
    if not SHA256.fullmatch(value):
        raise RemoteError(f"{key} of {fields.where} must be 64 hexadecimal digits, got {value[:80]!r}")
    return value
