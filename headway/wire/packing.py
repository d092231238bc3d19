"""Packs the integer tables of `headway.maths.statistics` for a message: in few bytes that are quick to read.

    rows       of a few samples: as many rows of the Gram matrix as it has rank       headway/wire/pivot_rows.py
    factored   of many: what class means and a few factors leave, in byte planes      headway/wire/factored.py
               or in fields of bits, which are quicker to read
    predicted  what releases up to 0.2 read: value by value, the shortest, slow       headway/wire/predicted.py

The first byte says which. docs/protocol.md has the formats, docs/adr/0073 the trade between bytes and time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headway.arrays import AnyArray, Int64
from headway.errors import RemoteError
from headway.maths import Statistics, from_arrays, to_arrays
from headway.wire.factored import FIELDS_VERSION, INT8_VERSION, SAMPLES_MAX, pack_factored, unpack_factored
from headway.wire.factored import VERSION as FACTORED
from headway.wire.pivot_rows import FIELDS_VERSION as ROWS_IN_FIELDS
from headway.wire.pivot_rows import VERSION as ROWS
from headway.wire.pivot_rows import pack_rows, unpack_rows
from headway.wire.predicted import VERSION as PREDICTED
from headway.wire.predicted import pack_predicted, unpack_predicted

# values of a Gram matrix that travel plain (88 codes): packing would save little
PLAIN_VALUES_MAX = 4096


def to_wire(statistics: Statistics, predict: bool = False) -> dict[str, AnyArray]:
    """The tensors that travel: plain planes (`to_arrays`) while these are small, else one packed tensor ``tables``.

    predict: for a reader of release 0.2 or before.
    """
    small = (statistics.size + 1) * (statistics.size + 2) // 2 <= PLAIN_VALUES_MAX
    # of more samples than a packing counts planes take everything
    if small or statistics.samples > SAMPLES_MAX:
        return to_arrays(statistics)
    return {"tables": pack_tables(statistics.gram, statistics.class_sums, predict, quick=True)}


def empty_gram(rows: int) -> Int64:
    """Memory for a gram, int64 (rows, rows), whatever it holds."""
    return np.empty((rows, rows), np.int64)


def from_wire(
    arrays: dict[str, AnyArray],
    size: int,
    classes: Sequence[str],
    space: str,
    accepted: bool = False,
    room: Callable[[int], Int64] = empty_gram,
) -> Statistics:
    """Inverse of `to_wire` for d = `size`. Raises RemoteError on anything inconsistent.

    accepted: these very bytes were found consistent before. room: where the gram of packed tables is written, as
    `empty_gram` makes it.
    """
    if set(arrays) != {"tables"}:
        return from_arrays(arrays, size, classes, space, accepted)
    gram, class_sums, proved = read_tables(arrays["tables"], size, len(classes), not accepted, room)
    statistics = Statistics(gram, class_sums, tuple(classes), space)
    problem = None if accepted else statistics.inconsistency(proved)
    if problem is not None:
        raise RemoteError(f"statistics refused: {problem}")
    return statistics


def pack_tables(gram: Int64, class_sums: Int64, predict: bool = False, quick: bool = False) -> AnyArray:
    """gram: int64 (d + 1, d + 1) symmetric, class_sums: int64 (d + 1, C), as `Statistics` -> uint8 (m,).

    quick: to read, for a few per cent more bytes.

    Raises LocalError for tables that no samples can have made, where predicting them is left.
    """
    raw = None if predict else pack_rows(gram, class_sums, quick) or pack_factored(gram, class_sums, quick)
    return pack_predicted(gram, class_sums) if raw is None else np.frombuffer(raw, np.uint8)


def unpack_tables(packed: AnyArray, size: int, classes: int) -> tuple[Int64, Int64]:
    """Inverse of `pack_tables` for d = `size` and C = `classes`: gram (d + 1, d + 1), class_sums (d + 1, C).

    Whether samples can have made such tables is for the caller to ask (`Statistics.inconsistency`).
    Raises RemoteError on bytes that `pack_tables` cannot have made.
    """
    return read_tables(packed, size, classes)[:2]


def read_tables(
    packed: AnyArray, size: int, classes: int, prove: bool = False, room: Callable[[int], Int64] = empty_gram
) -> tuple[Int64, Int64, bool]:
    """The same, and whether their scatter was proved on the way to be that of samples, as far as `prove` asks for it
    (`Statistics.inconsistency`). room: where the gram is written."""
    if packed.dtype != np.uint8 or packed.ndim != 1 or not packed.size:
        raise RemoteError(f"packed tables are uint8 (m,), got {packed.dtype} {packed.shape}")
    version = int(packed[0])
    if version == PREDICTED:
        return *unpack_predicted(packed, size, classes), False
    gram = room(size + 1)
    if version in (INT8_VERSION, FACTORED, FIELDS_VERSION):
        class_sums, proved = unpack_factored(packed.tobytes(), gram, classes, prove)
    elif version in (ROWS, ROWS_IN_FIELDS):
        class_sums, proved = unpack_rows(packed.tobytes(), gram, classes, prove)
    else:
        raise RemoteError(f"packed tables are of version {version}; this program reads 1 to 6")
    gram[-1] = class_sums.sum(axis=1)
    gram[:, -1] = gram[-1]
    return gram, class_sums, proved
