"""Splits the learner's state into pieces named by their content, so that what did not change is not written again.

Most of a state are closed time buckets, which never change. A piece's name is the SHA-256 of its bytes: equal pieces
have equal names wherever they stand, and a damaged piece does not fit its name. One small index tells which piece is
which tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from edge_agent.learner import STATE_BYTES_MAX
from headway.arrays import AnyArray
from headway.errors import StoreError
from headway.fields import Fields
from headway.tensors import decode_tensors, encode_tensors

INDEX = "index"
PIECE = "piece/"
PIECE_BYTES_MIN = 512


def split(blob: bytes) -> dict[str, bytes]:
    """`Learner.encode`'s blob as an index and pieces, by the names they are stored under."""
    tensors, meta = decode_tensors(blob, "learner", StoreError, STATE_BYTES_MAX)
    small: dict[str, AnyArray] = {}
    pieces: dict[str, bytes] = {}
    names: dict[str, str] = {}
    for name, array in tensors.items():
        if array.nbytes < PIECE_BYTES_MIN:
            small[name] = array
            continue
        piece = encode_tensors({"t": array})
        digest = hashlib.sha256(piece).hexdigest()
        names[name] = digest
        pieces[PIECE + digest] = piece
    index = encode_tensors(small, {"meta": meta, "pieces": names})
    return pieces | {INDEX: hashlib.sha256(index).digest() + index}


def join(saved: Mapping[str, bytes]) -> bytes:
    """Inverse of `split`: a blob for `Learner.restore`. Raises StoreError on a piece that is missing or damaged."""
    stored = saved.get(INDEX, b"")
    index = stored[32:]
    if hashlib.sha256(index).digest() != stored[:32]:
        raise StoreError("the saved learner's index is damaged: its check sum does not fit")
    tensors, value = decode_tensors(index, "saved learner's index", StoreError, STATE_BYTES_MAX)
    fields = Fields(value, "saved learner's index", StoreError)
    names, meta = fields.mapping("pieces"), fields.mapping("meta")
    fields.finish()
    for name, digest in names.items():
        piece = saved.get(f"{PIECE}{digest}")
        if piece is None or hashlib.sha256(piece).hexdigest() != digest:
            raise StoreError(f"the saved learner's {name} is {'missing' if piece is None else 'damaged'}")
        tensors[name] = decode_tensors(piece, f"saved learner's {name}", StoreError, STATE_BYTES_MAX)[0]["t"]
    return encode_tensors({name: np.asarray(array) for name, array in tensors.items()}, meta)
