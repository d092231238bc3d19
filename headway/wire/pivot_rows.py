"""Packed tables of versions 3 and 6: a few rows of the Gram matrix, from which all others follow.

The Gram matrix of n samples has a rank r of at most n. r rows C of it, chosen so that they are far from dependent, say
everything (A = C at the columns of the same rows):

    G = C^T A^-1 C

Entries of G are whole numbers, so float64 only has to come within a half of them: a writer uses this where what it
computes is within 2^-10, and a reader refuses what is not within an eighth. A change of ten samples of 321 codes is
5 to 8 KB.

In version 3 their values travel in planes, in version 6 in fields of bits, which are quicker to read, and as long or
shorter where all features vary alike.

Rows are chosen by Cholesky factorisation with pivots, the largest of what is left first (Higham 2002, section 10.3).
"""

from __future__ import annotations

import struct

import numpy as np

from headway.arrays import Float64, Int64
from headway.errors import RemoteError
from headway.maths import panels_of, put_panel
from headway.wire.planes import ValueReader, write_values
from headway.wire.rows_proof import proves_scatter
from headway.wire.value_fields import fitting_bits, read_fields, write_fields

VERSION, FIELDS_VERSION = 3, 6
HEADER, MIDDLE = struct.Struct("<BH"), struct.Struct("<q")
# more of them would not be shorter than the table
RANK_SHARE, RANK_MAX = 2, 256
# more of them take longer to read than what factors leave (headway/wire/factored.py)
QUICK_SHARE = 10 / 3
# what fields may be longer than planes; and of how many values, as planes of fewer are read as quickly
QUICK_WORTH, QUICK_VALUES_MIN = 1.06, 2048
# what a diagonal of whole numbers has left once everything is explained is far below this
NOTHING_LEFT = 0.25
WRITTEN_WITHIN, READ_WITHIN = 2.0**-10, 0.125
VALUE_MAX = 2.0**52
INVERTED_AT_ONCE = 32


def pack_rows(gram: Int64, class_sums: Int64, quick: bool = False) -> bytes | None:
    """gram: int64 (d + 1, d + 1), class_sums: int64 (d + 1, C), as `Statistics`. None where rows do not say it all.

    quick: only as many as are quick to read.
    """
    inner = gram[:-1, :-1]
    size = len(inner)
    rank_max = min(int(size / (QUICK_SHARE if quick else RANK_SHARE)), RANK_MAX)
    if int(gram[-1, -1]) > rank_max:
        return None
    pivots = _pivots(inner.astype(np.float64), rank_max)
    if pivots is None:
        return None
    rows = inner[pivots]
    if len(pivots):
        found = _explained(rows.astype(np.float64), pivots)
        if found is None or not float(np.abs(found - inner).max()) <= WRITTEN_WITHIN:
            return None
    elif inner.any():
        return None
    told, values = np.asarray(pivots, "<u2").tobytes(), rows[_said(pivots, size)]
    told, planes = told + write_values(class_sums.reshape(-1)), write_values(values, quick=True)
    if quick and len(values) >= QUICK_VALUES_MIN:
        middle = int(np.median(values))
        fields = write_fields(values - middle, fitting_bits(values - middle)[0])
        if len(fields) <= QUICK_WORTH * len(planes):
            return HEADER.pack(FIELDS_VERSION, len(pivots)) + told + MIDDLE.pack(middle) + fields
    return HEADER.pack(VERSION, len(pivots)) + told + planes


def unpack_rows(raw: bytes, gram: Int64, classes: int, prove: bool = False) -> tuple[Int64, bool]:
    """Inverse of `pack_rows` for C = `classes`: class_sums, int64 (d + 1, C), and whether their scatter within classes
    was proved to be positive semidefinite, which `prove` asks for. gram: int64 (d + 1, d + 1); G without the constant
    is written there.

    Raises RemoteError on bytes that `pack_rows` cannot have made.
    """
    size = len(gram) - 1
    if len(raw) < HEADER.size:
        raise RemoteError(f"packed tables of {len(raw)} bytes are shorter than their header")
    rank = HEADER.unpack_from(raw)[1]
    if rank > min(size // RANK_SHARE, RANK_MAX):
        raise RemoteError(f"packed tables hold {rank} rows of {size}")
    reader = ValueReader(raw, HEADER.size)
    pivots = np.frombuffer(reader.take_bytes(2 * rank), "<u2").astype(np.int64)
    if rank and (int(pivots.max()) >= size or len(set(pivots.tolist())) != rank):
        raise RemoteError(f"packed tables name a row twice, or one beyond {size}")
    class_sums = reader.take((size + 1) * classes).reshape(size + 1, classes)
    said = _said(pivots, size)
    rows: Float64 = np.zeros((rank, size))
    # beyond 2^53 they are not the values themselves, and refused
    rows[said] = _read_rows(reader, raw[0] == FIELDS_VERSION, int(said.sum()))
    reader.finish()
    if not rank:
        gram[:-1, :-1] = 0
        return class_sums, False
    corner = rows[:, pivots]
    mirrored = corner + corner.T
    # below its diagonal it is zero until now
    np.fill_diagonal(mirrored, np.diagonal(corner))
    rows[:, pivots] = mirrored
    factored = _factored(rows, pivots)
    if factored is not None:
        factor, inverse, trace = factored
        missed = _multiplied(factor, gram)
        if missed <= READ_WITHIN and np.array_equal(gram[pivots, :-1], rows):
            return class_sums, prove and proves_scatter(factor, inverse, pivots, trace, missed, class_sums)
    gram[:-1, :-1] = _by_elimination(rows, pivots)
    return class_sums, False


def _read_rows(reader: ValueReader, in_fields: bool, count: int) -> Float64:
    if not in_fields:
        return reader.take_floats(count)
    middle = MIDDLE.unpack(reader.take_bytes(MIDDLE.size))[0]
    if not abs(middle) < VALUE_MAX:
        # with a value as large, of the other sign, it would add up to a small number, and in float64 to a wrong one
        raise RemoteError("packed tables hold values that int8 samples cannot reach")
    values = read_fields(reader, count)
    values += middle
    return values


def _multiplied(factor: Float64, gram: Int64) -> float:
    """Write the whole numbers that are nearest to Y^T Y; returns how far the farthest is."""
    missed = 0.0
    for start, stop in panels_of(factor.shape[1]):
        panel = factor[:, start:stop].T @ factor[:, start:]
        whole = np.rint(panel)
        panel -= whole
        missed = max(missed, float(panel.max()), -float(panel.min()))
        put_panel(gram, start, whole)
    return missed


def _by_elimination(rows: Float64, pivots: Int64) -> Float64:
    """G as the writer made sure that it follows from its rows, which costs twice as much as by their factor."""
    found = _explained(rows, pivots)
    if found is None:
        raise RemoteError("packed tables hold rows that depend on each other, or are out of range")
    gram = np.rint(found)
    found -= gram
    if not max(float(found.max()), -float(found.min())) <= READ_WITHIN:
        raise RemoteError("packed tables hold rows from which no whole numbers follow")
    gram[pivots] = rows
    gram[:, pivots] = rows.T
    if not np.array_equal(gram, gram.T):
        raise RemoteError("packed tables hold rows from which no Gram matrix follows")
    return gram


def _factored(rows: Float64, pivots: Int64) -> tuple[Float64, Float64, float] | None:
    """Y of Y^T Y = C^T A^-1 C, float64 (r, d), the inverse of the factor of A (r, r), and the trace of Y^T Y; None
    where A has no factor, or values are not those of whole numbers."""
    # no value is larger than the root of the sum of all squares, nor of Y^T Y than its trace
    if not float(np.vdot(rows, rows)) < VALUE_MAX**2:
        return None
    try:
        inverse = _inverted(np.asarray(np.linalg.cholesky(rows[:, pivots]), np.float64))
    except np.linalg.LinAlgError:
        return None
    with np.errstate(all="ignore"):
        factor: Float64 = inverse @ rows
        trace = float(np.vdot(factor, factor))
    return (factor, inverse, trace) if trace < VALUE_MAX else None


def _inverted(lower: Float64) -> Float64:
    """Inverse of a lower triangular matrix, by halves: products are many times as quick as a solver for any matrix."""
    size = len(lower)
    if size <= INVERTED_AT_ONCE:
        return np.asarray(np.linalg.inv(lower), np.float64)
    half = size // 2
    inverse = np.zeros_like(lower)
    first, second = _inverted(lower[:half, :half]), _inverted(lower[half:, half:])
    inverse[:half, :half], inverse[half:, half:] = first, second
    inverse[half:, :half] = -(second @ (lower[half:, :half] @ first))
    return inverse


def _pivots(inner: Float64, rank_max: int) -> Int64 | None:
    """Rows that say everything, in the order of what they add; None where there are more than `rank_max`."""
    left = np.diagonal(inner).copy()
    factors: Float64 = np.zeros((rank_max, len(inner)))
    pivots: list[int] = []
    while True:
        pivot = int(np.argmax(left))
        if left[pivot] < NOTHING_LEFT:
            return np.asarray(pivots, np.int64)
        if len(pivots) == rank_max:
            return None
        known = factors[: len(pivots)]
        factor = (inner[pivot] - known[:, pivot] @ known) / np.sqrt(left[pivot])
        factors[len(pivots)] = factor
        left -= factor * factor
        left[pivot] = 0.0
        pivots.append(pivot)


def _said(pivots: Int64, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which values of the rows travel, bool (r, d): what an earlier row has said of a later one does not."""
    place = np.full(size, len(pivots))
    place[pivots] = np.arange(len(pivots))
    return np.asarray(place >= np.arange(len(pivots))[:, None])


def _explained(rows: Float64, pivots: Int64) -> Float64 | None:
    """C^T A^-1 C, float64 (d, d); None where A is singular, or the values are not those of whole numbers."""
    if not max(float(rows.max()), -float(rows.min())) < VALUE_MAX:
        return None
    try:
        with np.errstate(all="ignore"):
            found: Float64 = rows.T @ np.linalg.solve(rows[:, pivots], rows)
    except np.linalg.LinAlgError:
        return None
    return found if float(np.abs(found).max()) < VALUE_MAX else None
