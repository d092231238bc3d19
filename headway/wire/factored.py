"""Packed tables of version 2: what class means and a few factors explain of the Gram matrix, and the rest in planes.

Of the tables of `headway.maths.statistics` with class counts n_c and sums B_c:

    P  =  floor((sum_c n_c q_c q_c^T + 256 sum_k w_k f_k f_k^T) / 256),    q_c = round(16 B_c / n_c)
    R  =  G - P

q, f and w are whole numbers small enough that float64 sums every product of them without rounding, so P has the same
bits whatever the order of summing, and a matrix product may compute it. f_k are the leading eigenvectors of what the
means leave, in int8. They need not be good: R carries the result.
"""

from __future__ import annotations

import struct

import numpy as np

from headway.arrays import AnyArray, Float64, Int64
from headway.errors import RemoteError
from headway.maths import symmetric_places
from headway.wire.planes import ValueReader, write_values

VERSION = 2
HEADER = struct.Struct("<BB")
# eigenvectors that are worth their bytes, for a share of the codes
FACTORS_MAX, CODES_OF_A_FACTOR = 32, 10
FACTOR_MAX = 127
# of power iteration with a block of vectors: the leading ones need not be exact
ITERATIONS = 2
MEANS_SCALE, MEANS_MAX = 16, 16 * 127
# so that the sum of n q q and 256 w f f stays below 2^53
SAMPLES_MAX, WEIGHTS_MAX = 1 << 30, 1 << 30


def pack_factored(gram: Int64, class_sums: Int64) -> bytes | None:
    """gram: int64 (d + 1, d + 1), class_sums: int64 (d + 1, C), as `Statistics`. None for more than 2^30 samples."""
    means = _means(class_sums)
    if means is None:
        return None
    inner = gram[:-1, :-1]
    none = np.zeros(0, np.uint64), np.zeros((0, len(inner)), np.int8)
    weights, factors = _leading((inner - _explained(*means, *none)).astype(np.float64))
    rest = (inner - _explained(*means, weights, factors))[np.tri(len(inner), dtype=np.bool_).T]
    head = HEADER.pack(VERSION, len(weights)) + weights.astype("<u8").tobytes() + factors.tobytes()
    return head + write_values(class_sums.reshape(-1)) + write_values(rest)


def unpack_factored(raw: bytes, size: int, classes: int) -> tuple[Int64, Int64]:
    """Inverse of `pack_factored` for d = `size` and C = `classes`: G without constant (d, d), class_sums (d + 1, C).

    Raises RemoteError on bytes that `pack_factored` cannot have made.
    """
    if len(raw) < HEADER.size:
        raise RemoteError(f"packed tables of {len(raw)} bytes are shorter than their header")
    count = HEADER.unpack_from(raw)[1]
    reader = ValueReader(raw, HEADER.size)
    weights = np.frombuffer(reader.take_bytes(8 * count), "<u8")
    if count and (int(weights.max()) > WEIGHTS_MAX or int(weights.sum()) > WEIGHTS_MAX):
        raise RemoteError(f"packed tables hold weights of more than {WEIGHTS_MAX}")
    factors = np.frombuffer(reader.take_bytes(count * size), np.int8).reshape(count, size)
    class_sums = reader.take((size + 1) * classes).reshape(size + 1, classes)
    rest = reader.take(size * (size + 1) // 2)
    reader.finish()
    means = _means(class_sums)
    if means is None:
        raise RemoteError("packed tables hold class sums that int8 samples cannot reach")
    gram = _explained(*means, weights, factors)
    gram += np.take(rest, symmetric_places(size)).reshape(size, size)
    return gram, class_sums


def _means(class_sums: Int64) -> tuple[Float64, Float64] | None:
    """Sixteenths of the class means, float64 (d, c), and the counts, of classes with samples; None out of range."""
    counts = class_sums[-1]
    if (counts < 0).any() or (counts > SAMPLES_MAX).any() or int(counts.sum()) > SAMPLES_MAX:
        return None
    held = counts > 0
    sums, counts = class_sums[:-1, held], counts[held]
    if (np.abs(sums.astype(np.float64)) > FACTOR_MAX * counts).any():
        return None
    means = (2 * MEANS_SCALE * sums + counts) // (2 * counts)
    return means.astype(np.float64), counts.astype(np.float64)


def _explained(means: Float64, counts: Float64, weights: AnyArray, factors: AnyArray) -> Int64:
    """P, int64 (d, d). means: sixteenths, float64 (d, c); counts: (c,); weights: (k,); factors: (k, d)."""
    columns = np.hstack([means, MEANS_SCALE * factors.T.astype(np.float64)])
    product = (columns * np.concatenate([counts, weights.astype(np.float64)])) @ columns.T
    product *= 1.0 / MEANS_SCALE**2
    return np.asarray(np.floor(product, out=product), np.int64)


def _leading(left: Float64) -> tuple[AnyArray, AnyArray]:
    """The leading eigenvectors of a symmetric matrix as weights, uint64 (k,), and factors, int8 (k, d)."""
    size = len(left)
    count = min(FACTORS_MAX, size // CODES_OF_A_FACTOR)
    # the columns that hold most are a start that needs no random numbers
    block = left[:, np.argsort(-np.abs(np.diagonal(left)), kind="stable")[:count]]
    for _ in range(ITERATIONS):
        block = left @ np.linalg.qr(block)[0]
    basis = np.linalg.qr(block)[0]
    values, turned = np.linalg.eigh(basis.T @ left @ basis)
    vectors = (basis @ turned).T * np.sqrt(np.maximum(values, 0.0))[:, None]
    weights = np.rint(np.square(np.abs(vectors).max(axis=1, initial=0.0) / FACTOR_MAX))
    used = weights >= 1.0
    vectors, weights = vectors[used], weights[used]
    factors = np.clip(np.rint(vectors / np.sqrt(weights)[:, None]), -FACTOR_MAX, FACTOR_MAX)
    if float(weights.sum()) > WEIGHTS_MAX:
        return np.zeros(0, np.uint64), np.zeros((0, size), np.int8)
    return weights.astype(np.uint64), factors.astype(np.int8)
