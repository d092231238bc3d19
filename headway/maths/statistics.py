"""Integer sufficient statistics: everything a linear head can learn from labelled samples, as exact sums.

For int8 codes q extended by a constant 1, u = [q, 1], and one-hot labels y, two tables are kept:

    gram       G = sum u u^T   int64 (D, D),  D = d + 1
    class_sums B = sum u y^T   int64 (D, C)

The last row of B holds the samples per class and the corner of G their total. Integers add without rounding, so
learning is independent of order and of how samples are split over devices, and any part can be subtracted again
to the bit. Sources: Fed3R (Fani et al., ICML 2024), AFL (He et al., CVPR 2025), ACIL (Zhuang et al., NeurIPS 2022).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from headway.arrays import AnyArray, Int8, Int64, describe, is_large
from headway.errors import LocalError, RemoteError, listed
from headway.maths.features import CODE_MAX
from headway.maths.scatter import SCATTER_TOLERANCE, has_real_scatter

# 127^2 * 1024 < 2^24: a float32 matrix product of so many rows is still exact, and BLAS makes it fast
EXACT_ROWS = 1024
SAMPLES_MAX = 1 << 40

# rows of the gram from `start` on, each from column `start` on: (start, whole numbers (b, D - start))
Panel = tuple[int, AnyArray]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Tables of one set of samples in one feature space. Immutable; `+` and `-` are exact.

    gram: int64 (D, D) symmetric; class_sums: int64 (D, C); classes: C names; space: fingerprint of the feature map.
    """

    gram: Int64
    class_sums: Int64
    classes: tuple[str, ...]
    space: str

    def __post_init__(self) -> None:
        size = self.gram.shape[0]
        if self.gram.shape != (size, size) or self.class_sums.shape != (size, len(self.classes)):
            raise LocalError(
                f"statistics of {len(self.classes)} classes need gram (D, D) and class sums (D, "
                f"{len(self.classes)}), got {describe(self.gram)} and {describe(self.class_sums)}"
            )
        if self.gram.dtype != np.int64 or self.class_sums.dtype != np.int64:
            raise LocalError(f"statistics are int64, got {self.gram.dtype} and {self.class_sums.dtype}")

    @classmethod
    def zeros(cls, size: int, classes: Sequence[str], space: str) -> Statistics:
        """Tables of no samples; `size` is the number of codes d, without the constant."""
        names = tuple(classes)
        return cls(np.zeros((size + 1, size + 1), np.int64), np.zeros((size + 1, len(names)), np.int64), names, space)

    @classmethod
    def of(cls, codes: Int8, labels: Int64, classes: Sequence[str], space: str) -> Statistics:
        """Tables of labelled samples. codes: int8 (n, d); labels: int64 (n,), columns of `classes`."""
        total = cls.zeros(codes.shape[1], classes, space)
        gram, class_sums = total.gram, total.class_sums
        for start in range(0, len(codes), EXACT_ROWS):
            part = slice(start, start + EXACT_ROWS)
            part_gram, part_sums = _exact_sums(codes[part], labels[part], len(total.classes))
            gram += part_gram
            class_sums += part_sums
        return total

    @property
    def size(self) -> int:
        """Number of codes per sample, d (the constant not counted)."""
        return int(self.gram.shape[0]) - 1

    @property
    def samples(self) -> int:
        """Number of samples in the tables."""
        return int(self.gram[-1, -1])

    @property
    def counts(self) -> Int64:
        """Samples per class, int64 (C,)."""
        counts: Int64 = self.class_sums[-1]
        return counts

    def panels(self) -> Iterator[Panel]:
        """The upper part of the gram, in blocks of rows."""
        rows = panel_rows(len(self.gram))
        for start in range(0, len(self.gram), rows):
            yield start, self.gram[start : start + rows, start:]

    def statistics(self, space: str) -> Statistics:
        """These, for who has them in any form (headway/maths/sums.py)."""
        return self if space == self.space else replace(self, space=space)

    def __add__(self, other: Statistics) -> Statistics:
        left, right = _aligned(self, other)
        return Statistics(left.gram + right.gram, left.class_sums + right.class_sums, left.classes, left.space)

    def __sub__(self, other: Statistics) -> Statistics:
        left, right = _aligned(self, other)
        return Statistics(left.gram - right.gram, left.class_sums - right.class_sums, left.classes, left.space)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistics):
            return NotImplemented
        return (
            self.classes == other.classes
            and self.space == other.space
            and np.array_equal(self.gram, other.gram)
            and np.array_equal(self.class_sums, other.class_sums)
        )

    __hash__ = None  # type: ignore[assignment]

    def require_same_space(self, other: Statistics) -> None:
        """Raises LocalError where the two are of different features, so that their sum would mean nothing."""
        if self.space != other.space or self.size != other.size:
            raise LocalError(
                f"statistics of feature spaces {self.space[:12]} (d={self.size}) and {other.space[:12]} "
                f"(d={other.size}) cannot be combined"
            )

    def same_sums(self, other: Statistics) -> bool:
        """Whether both hold the same, whatever the order of their classes and those without samples."""
        difference = self - other
        return not difference.gram.any() and not difference.class_sums.any()

    def renamed(self, renames: Sequence[tuple[str, str]]) -> Statistics:
        """The same tables with other names (old, new) for some classes, which keep their places.

        Classes that come to have one name become one, in the place of the first.
        """
        classes, columns = renamed_columns(self.classes, renames)
        if len(classes) == len(self.classes):
            return replace(self, classes=classes)
        class_sums = np.zeros((self.size + 1, len(classes)), np.int64)
        np.add.at(class_sums.T, columns, self.class_sums.T)
        return replace(self, class_sums=class_sums, classes=classes)

    def with_classes(self, classes: Sequence[str]) -> Statistics:
        """The same tables with columns for `classes` in that order; new ones are empty.

        Raises LocalError when a class that holds samples is missing from `classes`.
        """
        names = tuple(classes)
        if names == self.classes:
            return self
        return Statistics(self.gram, with_columns(self.class_sums, self.classes, names), names, self.space)

    def inconsistency(self, real_scatter: bool = False) -> str | None:
        """Why no set of int8 samples with one label each could have made these tables; None when one could.

        Necessary conditions, for tables that came from outside: values within the reach of int8 codes, and a scatter
        within classes, W = G - sum_c b_c b_c^T / n_c, that is positive semidefinite, because it is a sum of squares.
        Sums of such tables have such a scatter again, so no mixture of them makes a covariance that cannot be solved.
        Costs one Cholesky factorisation, O(d^3), unless it is known that the scatter is real.
        """
        samples, bound = self.samples, CODE_MAX
        diagonal = np.diagonal(self.gram)
        if not 0 <= samples <= SAMPLES_MAX:
            return f"sample count {samples} is outside 0..{SAMPLES_MAX}"
        counts = self.counts.tolist()
        if min(counts, default=0) < 0 or max(counts, default=0) > samples or sum(counts) != samples:
            return f"class counts {counts[:16]} do not add up to {samples} samples"
        # of such a matrix no value lies further from zero than the largest of its diagonal, and rounding stays below 1
        alone = real_scatter and 4 * SCATTER_TOLERANCE * float(diagonal.sum(dtype=np.float64)) < 1
        if _beyond(diagonal[:-1] if alone else self.gram[:-1, :-1], bound * bound * samples) or int(diagonal.min()) < 0:
            return f"gram holds values that {samples} int8 samples cannot reach"
        if _beyond(self.class_sums[:-1], bound * self.counts):
            return "class sums hold values that int8 samples cannot reach"
        if not np.array_equal(self.class_sums.sum(axis=1), self.gram[:, -1]):
            return "class sums do not add up to the gram's constant row"
        if not real_scatter and not has_real_scatter(self.gram, self.class_sums):
            return "the scatter within classes is not positive semidefinite"
        return None


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Exact sum of one or more tables; their order does not matter, not even to the bit, up to class order."""
    total: Statistics | None = None
    for part in parts:
        total = part if total is None else total + part
    if total is None:
        raise LocalError("merge needs at least one table; use Statistics.zeros for none")
    return total


def pack(table: Int64, quickly: bool = False) -> AnyArray:
    """Compress an int64 table without loss. int64 (k,) -> uint8 (m,).

    Narrowest of int16/32/64 that holds every value, split into byte planes (high bytes are nearly constant and
    vanish), then zlib. The first byte is the width. quickly: by runs and Huffman's code alone, in a third to half of
    the time and with up to 6 % more bytes (ADR 87); `unpack` takes both.
    """
    largest = max(int(table.max()), -int(table.min())) if table.size else 0
    width = next(w for w in (2, 4, 8) if w == 8 or largest < 1 << (8 * w - 1))
    planes = np.ascontiguousarray(table.astype(f"<i{width}")).view(np.uint8).reshape(-1, width).T
    deflate = zlib.compressobj(1, strategy=zlib.Z_RLE) if quickly else zlib.compressobj(6)
    packed = bytes([width]) + deflate.compress(np.ascontiguousarray(planes).tobytes()) + deflate.flush()
    return np.frombuffer(packed, np.uint8)


def unpack(packed: AnyArray, length: int) -> Int64:
    """Inverse of `pack`; `length` is the number of values that must come out, so nothing larger is inflated.

    Raises RemoteError on bytes that `pack` cannot have made.
    """
    raw = packed.tobytes()
    if packed.dtype != np.uint8 or not raw or raw[0] not in (2, 4, 8):
        raise RemoteError(f"packed table starts with {raw[:1].hex() or 'nothing'}; its width must be 2, 4 or 8")
    width = raw[0]
    inflate = zlib.decompressobj()
    try:
        planes = inflate.decompress(raw[1:], width * length + 1)
    except zlib.error as error:
        raise RemoteError(f"packed table is not a zlib stream: {error}") from error
    if len(planes) != width * length or not inflate.eof or inflate.unused_data:
        raise RemoteError(f"packed table does not inflate to exactly {length} values of {width} bytes")
    values = np.frombuffer(planes, np.uint8).reshape(width, length).T
    return np.ascontiguousarray(values).view(f"<i{width}").reshape(length).astype(np.int64)


def to_arrays(statistics: Statistics, quickly: bool = False) -> dict[str, AnyArray]:
    """The two packed tensors that travel and rest: upper triangle of the gram, and the class sums. quickly: as `pack`
    does it."""
    upper = np.tri(statistics.size + 1, dtype=np.bool_).T
    sums = statistics.class_sums.reshape(-1)
    return {"gram": pack(statistics.gram[upper], quickly), "class_sums": pack(sums, quickly)}


def from_arrays(
    arrays: dict[str, AnyArray], size: int, classes: Sequence[str], space: str, accepted: bool = False
) -> Statistics:
    """Inverse of `to_arrays` for d = `size`. Raises RemoteError on anything inconsistent.

    accepted: these very bytes were found consistent before.
    """
    if set(arrays) != {"gram", "class_sums"}:
        raise RemoteError(f"statistics hold tensors {listed(arrays)}; expected class_sums and gram")
    full = size + 1
    upper = unpack(arrays["gram"], full * (full + 1) // 2)
    gram = np.take(upper, symmetric_places(full)).reshape(full, full)
    class_sums = unpack(arrays["class_sums"], full * len(classes)).reshape(full, len(classes))
    statistics = Statistics(gram, class_sums, tuple(classes), space)
    problem = None if accepted else statistics.inconsistency()
    if problem is not None:
        raise RemoteError(f"statistics refused: {problem}")
    return statistics


def symmetric_places(size: int) -> AnyArray:
    """Where each value of a flat symmetric (size, size) table lies in its upper triangle by rows; int32."""
    return _places.__wrapped__(size) if is_large(size) else _places(size)


@lru_cache(maxsize=2)
def _places(size: int) -> AnyArray:
    places = np.zeros((size, size), np.int32)
    upper = np.triu_indices(size)
    places[upper] = places.T[upper] = np.arange(len(upper[0]), dtype=np.int32)
    return places.reshape(-1)


def union_of_classes(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Names of both, those of `first` in their order, then the new ones of `second`."""
    if first == second:
        return tuple(first)
    known = set(first)
    return tuple(first) + tuple(name for name in second if name not in known)


def panel_rows(size: int) -> int:
    """How many rows of a square matrix are handed on together: all of a small one, 2 MB of one of 1,280."""
    return 256 if is_large(size) else size


def with_columns(class_sums: Int64, classes: Sequence[str], names: Sequence[str]) -> Int64:
    """Columns of `classes` put under `names`, int64 (D, len(names)).

    Raises LocalError when a class that holds samples is missing from `names`.
    """
    column = {name: index for index, name in enumerate(names)}
    result = np.zeros((len(class_sums), len(names)), np.int64)
    for index, name in enumerate(classes):
        if name in column:
            result[:, column[name]] = class_sums[:, index]
        elif class_sums[:, index].any():
            raise LocalError(f"class {name!r} holds {int(class_sums[-1, index])} samples and cannot be left out")
    return result


def renamed_columns(classes: Sequence[str], renames: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], Int64]:
    """Names after `renames` (old, new), each once, and the column that each of `classes` comes to, int64 (C,)."""
    names = dict(renames)
    every = [names.get(name, name) for name in classes]
    after = tuple(dict.fromkeys(every))
    return after, np.array([after.index(name) for name in every], np.int64)


def _aligned(left: Statistics, right: Statistics) -> tuple[Statistics, Statistics]:
    left.require_same_space(right)
    classes = union_of_classes(left.classes, right.classes)
    return left.with_classes(classes), right.with_classes(classes)


def _beyond(values: Int64, bound: int | Int64) -> bool:
    """True when a value lies outside -bound..bound. Not through abs: the least int64 has no positive twin."""
    if isinstance(bound, int):
        return bool(values.size) and (int(values.max()) > bound or int(values.min()) < -bound)
    return bool(((values > bound) | (values < -bound)).any())


def _exact_sums(codes: Int8, labels: Int64, class_count: int) -> tuple[Int64, Int64]:
    """Gram and class sums of at most EXACT_ROWS rows, through an exact float32 matrix product."""
    extended = np.ones((len(codes), codes.shape[1] + 1), np.float32)
    extended[:, :-1] = codes
    onehot = np.zeros((len(codes), class_count), np.float32)
    onehot[np.arange(len(codes)), labels] = 1
    return (extended.T @ extended).astype(np.int64), (extended.T @ onehot).astype(np.int64)
