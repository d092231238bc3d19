"""Labelled rows that wait for the next solve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headway.arrays import Int8, Int64


@dataclass(frozen=True, slots=True)
class Evidence:
    """The newest labelled codes, all of them in the tables. codes: int8 (n, d); labels: int64 (n,)."""

    codes: Int8
    labels: Int64

    def __len__(self) -> int:
        return len(self.labels)

    def newest(self, count: int) -> Evidence:
        return Evidence(self.codes[-count:], self.labels[-count:])


class PendingRows:
    """Labelled codes in order of arrival; taking one in copies no other. size: codes per row, d."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._codes: list[Int8] = []
        self._labels: list[int] = []

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[tuple[Int8, int]]:
        return iter(zip(self._codes, self._labels, strict=True))

    def add(self, code: Int8, label: int) -> None:
        """code: int8 (d,); label: its class."""
        self._codes.append(code.copy())
        self._labels.append(label)

    def clear(self) -> None:
        self._codes.clear()
        self._labels.clear()

    def fill(self, rows: Evidence) -> None:
        """Inverse of `rows`."""
        self._codes, self._labels = list(rows.codes), rows.labels.tolist()

    def rows(self) -> Evidence:
        """All of them, as arrays."""
        codes = np.array(self._codes, np.int8).reshape(len(self._codes), self._size)
        return Evidence(codes, np.array(self._labels, np.int64))
