"""Packed tables of version 3: a few rows of the Gram matrix, from which all others follow.

The Gram matrix of n samples has a rank r of at most n. r rows C of it, chosen so that they are far from dependent, say
everything (A = C at the columns of the same rows):

    G = C^T A^-1 C

Entries of G are whole numbers, so float64 only has to come within a half of them: a writer uses this where what it
computes is within 2^-10, and a reader refuses what is not within an eighth. A change of ten samples of 321 codes is
5 to 8 KB.

Rows are chosen by Cholesky factorisation with pivots, the largest of what is left first (Higham 2002, section 10.3).
"""

from __future__ import annotations

import struct

import numpy as np

from headway.arrays import Float64, Int64
from headway.errors import RemoteError
from headway.wire.planes import ValueReader, write_values
from headway.wire.rows_proof import proves_scatter

VERSION = 3
HEADER = struct.Struct("<BH")
# more of them would not be shorter than the table
RANK_SHARE, RANK_MAX = 2, 256
# what a diagonal of whole numbers has left once everything is explained is far below this
NOTHING_LEFT = 0.25
WRITTEN_WITHIN, READ_WITHIN = 2.0**-10, 0.125
VALUE_MAX = 2.0**52
INVERTED_AT_ONCE = 48


def pack_rows(gram: Int64, class_sums: Int64) -> bytes | None:
    """gram: int64 (d + 1, d + 1), class_sums: int64 (d + 1, C), as `Statistics`. None where rows do not say it all."""
    inner = gram[:-1, :-1]
    size = len(inner)
    rank_max = min(size // RANK_SHARE, RANK_MAX)
    if int(gram[-1, -1]) > rank_max:
        return None
    pivots = _pivots(inner.astype(np.float64), rank_max)
    if pivots is None:
        return None
    rows = inner[pivots]
    if len(pivots):
        found = _explained(rows, pivots)
        if found is None or not float(np.abs(found - inner).max()) <= WRITTEN_WITHIN:
            return None
    elif inner.any():
        return None
    head = HEADER.pack(VERSION, len(pivots)) + np.asarray(pivots, "<u2").tobytes()
    return head + write_values(class_sums.reshape(-1)) + write_values(rows[_said(pivots, size)])


def unpack_rows(raw: bytes, size: int, classes: int, prove: bool = False) -> tuple[Int64, Int64, bool]:
    """Inverse of `pack_rows` for d = `size` and C = `classes`: G without constant (d, d), class_sums (d + 1, C), and
    whether their scatter within classes was proved to be positive semidefinite, which `prove` asks for.

    Raises RemoteError on bytes that `pack_rows` cannot have made.
    """
    if len(raw) < HEADER.size:
        raise RemoteError(f"packed tables of {len(raw)} bytes are shorter than their header")
    rank = HEADER.unpack_from(raw)[1]
    if rank > min(size // RANK_SHARE, RANK_MAX):
        raise RemoteError(f"packed tables hold {rank} rows of {size}")
    reader = ValueReader(raw, HEADER.size)
    pivots = np.frombuffer(reader.take_bytes(2 * rank), "<u2").astype(np.int64)
    if rank and (int(pivots.max()) >= size or len(np.unique(pivots)) != rank):
        raise RemoteError(f"packed tables name a row twice, or one beyond {size}")
    class_sums = reader.take((size + 1) * classes).reshape(size + 1, classes)
    said = _said(pivots, size)
    rows = np.zeros((rank, size), np.int64)
    rows[said] = reader.take(int(said.sum()))
    reader.finish()
    if not rank:
        return np.zeros((size, size), np.int64), class_sums, False
    corner = np.triu(rows[:, pivots])
    rows[:, pivots] = corner + np.triu(corner, 1).T
    factored = _factored(rows, pivots)
    if factored is not None:
        factor, inverse = factored
        gram, missed = _whole(factor.T @ factor)
        if missed <= READ_WITHIN and np.array_equal(gram[pivots], rows):
            return gram, class_sums, prove and proves_scatter(factor, inverse, pivots, missed, class_sums)
    return _by_elimination(rows, pivots), class_sums, False


def _by_elimination(rows: Int64, pivots: Int64) -> Int64:
    """G as the writer made sure that it follows from its rows, which costs twice as much as by their factor."""
    found = _explained(rows, pivots)
    if found is None:
        raise RemoteError("packed tables hold rows that depend on each other, or are out of range")
    gram, missed = _whole(found)
    if not missed <= READ_WITHIN:
        raise RemoteError("packed tables hold rows from which no whole numbers follow")
    gram[pivots] = rows
    gram[:, pivots] = rows.T
    if not np.array_equal(gram, gram.T):
        raise RemoteError("packed tables hold rows from which no Gram matrix follows")
    return gram


def _whole(found: Float64) -> tuple[Int64, float]:
    """The nearest whole numbers, and how far the farthest is. found: is used up."""
    whole = np.rint(found)
    np.subtract(found, whole, out=found)
    return whole.astype(np.int64), max(float(found.max()), -float(found.min()))


def _factored(rows: Int64, pivots: Int64) -> tuple[Float64, Float64] | None:
    """Y of Y^T Y = C^T A^-1 C, float64 (r, d), and the inverse of the factor of A (r, r); None where A has none, or
    values are not those of whole numbers."""
    values = rows.astype(np.float64)
    if not float(np.abs(values).max()) < VALUE_MAX:
        return None
    try:
        inverse = _inverted(np.asarray(np.linalg.cholesky(values[:, pivots]), np.float64))
    except np.linalg.LinAlgError:
        return None
    with np.errstate(all="ignore"):
        factor: Float64 = inverse @ values
        largest = float(np.einsum("ij,ij->j", factor, factor).max())
    return (factor, inverse) if largest < VALUE_MAX else None


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


def _explained(rows: Int64, pivots: Int64) -> Float64 | None:
    """C^T A^-1 C, float64 (d, d); None where A is singular, or the values are not those of whole numbers."""
    values = rows.astype(np.float64)
    if not float(np.abs(values).max()) < VALUE_MAX:
        return None
    try:
        with np.errstate(all="ignore"):
            found: Float64 = values.T @ np.linalg.solve(values[:, pivots], values)
    except np.linalg.LinAlgError:
        return None
    return found if float(np.abs(found).max()) < VALUE_MAX else None
