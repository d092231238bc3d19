"""Rows of statistics with the numbers of their labels: those that wait, and the newest of those already learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Int8, Int64
from headway.errors import StoreError


@dataclass(frozen=True, slots=True)
class NumberedRows:
    """In order of arrival. rows: int8 (n, d + width), see `headway.maths.TargetCodes`; numbers: int64 (n,)."""

    rows: Int8
    numbers: Int64

    @classmethod
    def of(cls, rows: Sequence[Int8], first: int, size: int) -> NumberedRows:
        """Single rows of `size` codes, int8 (size,), of the labels from `first` on."""
        codes = np.array(rows, np.int8).reshape(len(rows), size)
        return cls(codes, np.arange(first, first + len(rows), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.numbers)

    def plus(self, other: NumberedRows, rows_max: int) -> NumberedRows:
        """Both, the newest `rows_max` of them."""
        rows, numbers = np.concatenate([self.rows, other.rows]), np.concatenate([self.numbers, other.numbers])
        return NumberedRows(rows[-rows_max:], numbers[-rows_max:])

    def since(self, number: int) -> NumberedRows:
        """Those of label `number` and later."""
        which = self.numbers >= number
        return NumberedRows(self.rows[which], self.numbers[which])

    def changed(self, number: int, row: Int8 | None) -> NumberedRows:
        """With another row for label `number`, int8 (1, d + width), or none; as they are where it is not among them."""
        at = np.flatnonzero(self.numbers == number)
        if not len(at):
            return self
        if row is None:
            kept = self.numbers != number
            return NumberedRows(self.rows[kept], self.numbers[kept])
        rows = self.rows.copy()
        rows[at[0]] = row[0]
        return NumberedRows(rows, self.numbers)

    def unbroken(self, end: int) -> NumberedRows:
        """The newest ones up to but without label `end` between which none is missing."""
        due = np.arange(end - len(self), end)
        missing = np.flatnonzero(self.numbers != due)
        return self.since(int(due[missing[-1]]) + 1) if len(missing) else self

    def state(self, name: str) -> dict[str, AnyArray]:
        return {f"{name}.rows": self.rows, f"{name}.numbers": self.numbers}

    @classmethod
    def restored(cls, tensors: Mapping[str, AnyArray], name: str, size: int) -> NumberedRows:
        """Inverse of `state`. Raises StoreError."""
        rows, numbers = tensors[f"{name}.rows"], tensors[f"{name}.numbers"]
        if rows.dtype != np.int8 or rows.shape != (len(numbers), size) or numbers.dtype != np.int64:
            raise StoreError(f"saved {name} rows do not fit this bundle")
        return cls(rows, numbers)
