"""Labelled rows that are kept as such: those that wait for the next refit, and the newest of those already learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Int8, Int64
from headway.errors import StoreError
from headway.samples import UNLABELLED


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """In order of arrival. codes: int8 (n, d); labels: int64 (n,), -1 if taken back. Nobody else's arrays."""

    codes: Int8
    labels: Int64

    @classmethod
    def of(cls, rows: Sequence[tuple[Int8, int]], size: int) -> LabelledRows:
        """Single rows of `size` codes, int8 (d,), and their labels."""
        codes = np.array([code for code, _ in rows], np.int8).reshape(len(rows), size)
        return cls(codes, np.array([label for _, label in rows], np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def known(self) -> LabelledRows:
        """Those whose label was not taken back."""
        known = self.labels != UNLABELLED
        return self if known.all() else self.kept(known)

    def newest(self, count: int) -> LabelledRows:
        start = max(len(self) - count, 0)
        return LabelledRows(self.codes[start:], self.labels[start:])

    def kept(self, which: AnyArray) -> LabelledRows:
        """Some of them. which: bool (n,)."""
        return LabelledRows(self.codes[which], self.labels[which])

    def plus(self, other: LabelledRows) -> LabelledRows:
        return LabelledRows(np.concatenate([self.codes, other.codes]), np.concatenate([self.labels, other.labels]))

    def state(self, name: str) -> dict[str, AnyArray]:
        return {f"{name}.codes": self.codes, f"{name}.labels": self.labels}

    @classmethod
    def restored(cls, tensors: Mapping[str, AnyArray], name: str, size: int) -> LabelledRows:
        """Inverse of `state`. Raises StoreError."""
        codes, labels = tensors[f"{name}.codes"], tensors[f"{name}.labels"]
        if codes.dtype != np.int8 or codes.shape != (len(labels), size) or labels.dtype != np.int64:
            raise StoreError(f"saved {name} rows do not fit this bundle")
        return cls(codes, labels)
