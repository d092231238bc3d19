"""Packed tables of versions 2, 4 and 5: what class means and some factors explain of the Gram matrix, and the rest.

Of the tables of `headway.maths.statistics` with class counts n_c and sums B_c:

    P  =  floor((sum_c n_c q_c q_c^T + 256 w sum_k f_k f_k^T) / 256),    q_c = round(16 B_c / n_c)
    R  =  G - P

q, f and w are whole numbers small enough that float64 sums every product of them without rounding, so P has the same
bits whatever the order of summing, and a matrix product may compute it. f_k are the leading eigenvectors of what the
means leave, all in steps of the same size, w^1/2: entries of R cost alike wherever an error of a factor lands, so large
factors take more bits than small ones (uniform quantisation of components, "reverse water-filling"; Cover and Thomas
2006, section 10.3.3). They need not be good: R carries the result.

Version 2, which is read, has a weight w_k for each factor and factors in int8: the leading ones too coarse. Version 4
has R in planes, mostly a few per cent shorter; version 5 in fields of bits, by blocks, which are quick to read.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from headway.arrays import AnyArray, Float64, Int64, is_large
from headway.errors import RemoteError
from headway.maths import WithinScatter, panels_of, put_panel
from headway.wire.planes import ValueReader, write_values
from headway.wire.upper_blocks import Blocks, blocks_of, in_blocks, largest
from headway.wire.value_fields import fitting_bits, write_fields

INT8_VERSION, VERSION, FIELDS_VERSION = 2, 4, 5
HEADER, STEP_HEADER = struct.Struct("<BB"), struct.Struct("<BBQ")
# eigenvectors that are worth their bytes, for a share of the codes
FACTORS_MAX, CODES_OF_A_FACTOR = 48, 6
CODE_MAX = 127
# of which version 5 takes as few as cost no more than this part of all bytes each, as long as a value of the upper
# table takes no more than so many bytes (115,000 in all at d = 320)
FACTORS_TRIED, WORTH_A_FACTOR, QUICK_BYTES = (0, 24, FACTORS_MAX), 0.002, 2.23
# of power iteration with a block of vectors: the leading ones need not be exact
ITERATIONS = 3
MEANS_SCALE, MEANS_MAX = 16, 16 * 127
# so that the sum of n q q and 256 w f f stays below 2^53
SAMPLES_MAX, WEIGHTS_MAX = 1 << 30, 1 << 30
# and that of w f f below 2^44; what samples reach is less
FACTORS_REACH = 2.0**44
REST_MAX = 2.0**52

# sixteenths of class means, float64 (d, c), and the counts (c,), of classes with samples
Means = tuple[Float64, Float64]


def pack_factored(gram: Int64, class_sums: Int64, quick: bool = False) -> bytes | None:
    """gram: int64 (d + 1, d + 1), class_sums: int64 (d + 1, C), as `Statistics`. None for more than 2^30 samples.

    quick: to read, in version 5.
    """
    means = _means(class_sums)
    if means is None:
        return None
    inner = gram[:-1, :-1]
    size = len(inner)
    left = inner - _explained(*means, *_no_factors(size))
    values, vectors = _leading(left, min(FACTORS_MAX, size // CODES_OF_A_FACTOR))
    known = means, inner, left, write_values(class_sums.reshape(-1))
    if not quick:
        return _in_planes(*known, values, vectors)
    counts = [count for count in FACTORS_TRIED if count <= len(vectors)]
    tried = [_in_fields(*known, values[:count], vectors[:count]) for count in counts]
    for some in (tried, [one.shortest() for one in tried]):
        short = [one for one in some if one.length <= QUICK_BYTES * size * (size + 1) / 2]
        if short:
            return min(short, key=lambda one: one.length * (1.0 + WORTH_A_FACTOR * one.factors)).packed()
    return min([min(some, key=lambda one: one.length).packed(), _in_planes(*known, values, vectors)], key=len)


def _in_planes(means: Means, inner: Int64, left: Float64, tables: bytes, values: Float64, vectors: Float64) -> bytes:
    """Version 4. left: what the means leave of G; tables: the class sums, packed; values, vectors: see `_leading`."""
    weight, factors = _in_steps(left, values, vectors)
    rest = _rest(inner, means, weight, factors)[np.tri(len(inner), dtype=np.bool_).T]
    head = STEP_HEADER.pack(VERSION, len(factors), weight)
    return head + write_values(factors.reshape(-1)) + tables + write_values(rest)


class _Fields(NamedTuple):
    """Version 5, before it is written. length: bytes that come of it, about; rest: int64 (d (d - 1) / 2,)."""

    length: float
    factors: int
    head: bytes
    rest: Int64
    bits: int

    def shortest(self) -> _Fields:
        """The same, however long it takes to read."""
        bits, length = fitting_bits(self.rest, quick=False)
        return self._replace(length=length + len(self.head), bits=bits)

    def packed(self) -> bytes:
        return self.head + write_fields(self.rest, self.bits)


def _in_fields(means: Means, inner: Int64, left: Float64, tables: bytes, values: Float64, vectors: Float64) -> _Fields:
    """As `_in_planes`."""
    weight, factors = _in_steps(left, values, vectors)
    rest = _rest(inner, means, weight, factors)
    flat = in_blocks(rest)
    bits, length = fitting_bits(flat)
    head = STEP_HEADER.pack(FIELDS_VERSION, len(factors), weight) + write_values(factors.reshape(-1)) + tables
    head += write_values(np.diagonal(rest), deflate=False)
    return _Fields(length + len(head), len(factors), head, flat, bits)


def unpack_factored(raw: bytes, gram: Int64, classes: int, prove: bool = False) -> tuple[Int64, bool]:
    """Of any version, for C = `classes`: class_sums, int64 (d + 1, C), and whether their scatter within classes was
    proved to be positive semidefinite, which `prove` asks for. gram: int64 (d + 1, d + 1); G without the constant is
    written there.

    Raises RemoteError on bytes that `pack_factored` cannot have made.
    """
    size = len(gram) - 1
    reader, weights, factors = _read_factors(raw, size)
    class_sums = reader.take((size + 1) * classes).reshape(size + 1, classes)
    in_fields = raw[0] == FIELDS_VERSION
    rest = Blocks(reader, size) if in_fields else _Triangle(reader, size)
    reader.finish()
    means = _means(class_sums)
    if means is None:
        raise RemoteError("packed tables hold class sums that int8 samples cannot reach")
    if not rest.largest < REST_MAX:
        raise RemoteError("packed tables hold values that int8 samples cannot reach")
    left, right = _columns(*means, weights, factors)
    scatter = WithinScatter(class_sums) if prove else None
    for start, stop in blocks_of(size) if in_fields else panels_of(size):
        panel = left[start:stop] @ right[:, start:]
        np.floor(panel, out=panel)
        rest.add(start, panel)
        put_panel(gram, start, panel)
        if scatter is not None:
            scatter.put(start, panel)
    return class_sums, scatter is not None and scatter.is_real()


class _Triangle:
    """R of versions 2 and 4: its upper part by rows. size: d."""

    def __init__(self, reader: ValueReader, size: int) -> None:
        self._size, self._values = size, reader.take_floats(size * (size + 1) // 2)
        self.largest = largest(self._values)

    def add(self, start: int, panel: Float64) -> None:
        """Add the rows from `start` on, from column `start` on, to float64 (b, d - start)."""
        panel += np.take(self._values, _places(start, start + len(panel), self._size))


def _places(start: int, stop: int, size: int) -> AnyArray:
    """Where the values of a panel of a symmetric table lie in its upper part by rows: int64 (b, size - start)."""
    made = _panel_places.__wrapped__ if is_large(size) else _panel_places
    return np.asarray(made(start, stop, size))


@lru_cache(maxsize=16)
def _panel_places(start: int, stop: int, size: int) -> AnyArray:
    rows, columns = np.arange(start, stop)[:, None], np.arange(start, size)
    first, second = np.minimum(rows, columns), np.maximum(rows, columns)
    return np.asarray(first * (2 * size - first - 1) // 2 + second)


def _read_factors(raw: bytes, size: int) -> tuple[ValueReader, AnyArray, AnyArray]:
    """What reads on after them, the weights uint64 (k,), and the factors, whole numbers (k, d)."""
    header = HEADER if raw[:1] == bytes([INT8_VERSION]) else STEP_HEADER
    if len(raw) < header.size:
        raise RemoteError(f"packed tables of {len(raw)} bytes are shorter than their header")
    reader, count = ValueReader(raw, header.size), raw[1]
    if header is HEADER:
        weights = np.frombuffer(reader.take_bytes(8 * count), "<u8")
        if count and (int(weights.max()) > WEIGHTS_MAX or int(weights.sum()) > WEIGHTS_MAX):
            raise RemoteError(f"packed tables hold weights of more than {WEIGHTS_MAX}")
        return reader, weights, np.frombuffer(reader.take_bytes(count * size), np.int8).reshape(count, size)
    weight = int(header.unpack_from(raw)[2])
    if weight > WEIGHTS_MAX:
        raise RemoteError(f"packed tables hold a weight of more than {WEIGHTS_MAX}")
    factors = reader.take(count * size).reshape(count, size)
    if not _reach(weight, factors) <= FACTORS_REACH:
        raise RemoteError("packed tables hold factors that int8 samples cannot reach")
    return reader, np.full(count, weight, np.uint64), factors


def _reach(weight: int, factors: AnyArray) -> float:
    """The largest entry of w f f^T, as near as float64 comes; it stands on the diagonal."""
    values = factors.astype(np.float64)
    return weight * float(np.einsum("ij,ij->j", values, values).max(initial=0.0))


def _means(class_sums: Int64) -> Means | None:
    """Sixteenths of the class means, float64 (d, c), and the counts, of classes with samples; None out of range."""
    counts = class_sums[-1]
    if (counts < 0).any() or (counts > SAMPLES_MAX).any() or int(counts.sum()) > SAMPLES_MAX:
        return None
    held = counts > 0
    sums, counts = class_sums[:-1, held], counts[held]
    if (np.abs(sums.astype(np.float64)) > CODE_MAX * counts).any():
        return None
    means = (2 * MEANS_SCALE * sums + counts) // (2 * counts)
    return means.astype(np.float64), counts.astype(np.float64)


def _explained(means: Float64, counts: Float64, weights: AnyArray, factors: AnyArray) -> Float64:
    """P, float64 (d, d) of whole numbers. means: sixteenths, float64 (d, c); counts: (c,); weights: (k,); factors:
    (k, d)."""
    left, right = _columns(means, counts, weights, factors)
    product = left @ right
    return np.asarray(np.floor(product, out=product), np.float64)


def _columns(means: Float64, counts: Float64, weights: AnyArray, factors: AnyArray) -> tuple[Float64, Float64]:
    """What makes P, float64 (d, c + k) and (c + k, d): their product before it is rounded down.

    The 256 divides the first: a power of two, so the product is as exact as that of whole numbers.
    """
    columns = np.vstack([means.T, MEANS_SCALE * factors.astype(np.float64)])
    scales = np.concatenate([counts, weights.astype(np.float64)]) / MEANS_SCALE**2
    return np.ascontiguousarray((columns * scales[:, None]).T), columns


def _rest(inner: Int64, means: Means, weight: int, factors: Int64) -> Int64:
    """What these leave of G without the constant, int64 (d, d)."""
    return inner - _explained(*means, np.full(len(factors), weight, np.uint64), factors).astype(np.int64)


def _no_factors(size: int) -> tuple[AnyArray, Int64]:
    return np.zeros(0, np.uint64), np.zeros((0, size), np.int64)


def _leading(left: Float64, count: int) -> tuple[Float64, Float64]:
    """Leading eigenvalues of a symmetric matrix, float64 (k,), the largest first, and the eigenvectors times their
    roots, (k, d)."""
    if not count:
        return np.zeros(0), np.zeros((0, len(left)))
    # the columns that hold most are a start that needs no random numbers
    block = left[:, np.argsort(-np.abs(np.diagonal(left)), kind="stable")[:count]]
    for _ in range(ITERATIONS):
        block = left @ np.linalg.qr(block)[0]
    basis = np.linalg.qr(block)[0]
    values, turned = np.linalg.eigh(basis.T @ left @ basis)
    vectors = (basis @ turned).T * np.sqrt(np.maximum(values, 0.0))[:, None]
    return values[::-1], vectors[::-1]


def _in_steps(left: Float64, values: Float64, vectors: Float64) -> tuple[int, Int64]:
    """These as the weight w and factors, int64 (k, d)."""
    none = 1, np.zeros((0, len(left)), np.int64)
    if not len(values):
        return none
    weight = _weight(left, values, len(values))
    factors = np.rint(vectors / np.sqrt(weight)).astype(np.int64)
    factors = factors[factors.any(axis=1)]
    return (weight, factors) if weight <= WEIGHTS_MAX and _reach(weight, factors) <= FACTORS_REACH else none


def _weight(left: Float64, values: Float64, count: int) -> int:
    """The square of the step of the factors.

    A step s adds s^2 (A_ii + A_jj) / 12 to the variance v of R_ij, A being what the factors explain. Halving it takes
    a bit for each of k d values, and saves log2(1 + s^2 A / 6 v) / 2 of a bit for each of d^2 / 2: together they are
    least where the step adds 2 k / (d - 2 k) of v.
    """
    size = len(left)
    kept = np.maximum(values, 0.0)
    rest = max(float(np.vdot(left, left)) - float(kept @ kept), 0.0) / size**2
    explained = float(kept.sum()) / size
    added = 2 * count / (size - 2 * count) * rest
    return max(1, round(6.0 * added / explained)) if explained else 1
