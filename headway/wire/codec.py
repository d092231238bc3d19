"""Shared by the codecs of all messages: the schema, the limits, and strict readers that raise RemoteError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.errors import RemoteError
from headway.fields import Fields, parse_json
from headway.printable import is_printable
from headway.tensors import decode_metadata, decode_tensors

SCHEMA = 1
MESSAGE_BYTES_MAX = 128 * 1024
# what travels in parts: the tables of some 3,000 codes
REPORT_BYTES_MAX = 16 << 20
PART_BYTES = 120 * 1024
CLASSES_MAX = 4096
CODES_MAX = 1 << 14
RUNS_MAX = 32
TENSORS_TYPE = "application/vnd.safetensors"
JSON_TYPE = "application/json"

Message = TypeVar("Message")


def json_fields(payload: bytes, kind: str) -> Fields:
    """A JSON message of this schema, to be read field by field. Raises RemoteError."""
    fields = Fields(parse_json(payload, kind, RemoteError, MESSAGE_BYTES_MAX), kind, RemoteError)
    return checked_schema(fields)


def tensor_fields(payload: bytes, kind: str, bytes_max: int = MESSAGE_BYTES_MAX) -> tuple[dict[str, AnyArray], Fields]:
    """A tensor message of this schema and kind: its arrays, and its metadata. Raises RemoteError."""
    arrays, metadata = decode_tensors(payload, kind, RemoteError, bytes_max)
    return arrays, _of_kind(metadata, kind)


def metadata_fields(payload: bytes, kind: str, bytes_max: int = MESSAGE_BYTES_MAX) -> Fields:
    """The metadata of such a message alone; its arrays are not looked at. Raises RemoteError."""
    return _of_kind(decode_metadata(payload, kind, RemoteError, bytes_max), kind)


def _of_kind(metadata: object, kind: str) -> Fields:
    fields = checked_schema(Fields(metadata, f"{kind} metadata", RemoteError))
    fields.choice("kind", (kind,))
    return fields


def checked_schema(fields: Fields) -> Fields:
    schema = fields.integer("schema")
    if schema != SCHEMA:
        raise RemoteError(f"{fields.where} has schema {schema}; this program reads {SCHEMA}")
    # what later releases add there is for those who know it
    fields.optional()
    return fields


def read_classes(fields: Fields) -> tuple[str, ...]:
    classes = fields.strings("classes", count_max=CLASSES_MAX)
    if len(set(classes)) != len(classes) or not classes:
        raise RemoteError(f"{fields.where} names no class, or one twice")
    strange = [name for name in classes if not is_printable(name)]
    if strange:
        raise RemoteError(f"{fields.where} names class {strange[0][:32]!r}, which holds control characters")
    return classes


def float_matrix(arrays: Mapping[str, AnyArray], name: str) -> Float32:
    matrix = arrays.get(name)
    if matrix is None or matrix.dtype != np.float32 or matrix.ndim != 2:
        raise RemoteError(f"tensor {name} must be a float32 matrix")
    if not np.isfinite(matrix).all():
        raise RemoteError(f"tensor {name} holds values that are not finite")
    return matrix


def finished(fields: Fields, message: Message) -> Message:
    fields.finish()
    return message
