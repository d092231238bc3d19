"""Heads over the same features and classes, stacked: one product scores them all, another pools them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.arrays import Float32, Float64
from headway.head import Head


class HeadStack:
    """Heads by name, a row for each: float32 (m, C * d + C), kernels by class, then biases."""

    def __init__(self, heads: Mapping[str, Head]) -> None:
        first = next(iter(heads.values()))
        self.names = tuple(heads)
        self._like = first
        self._row = {name: row for row, name in enumerate(self.names)}
        size, classes = first.kernel.shape
        self._rows: Float32 = np.empty((len(heads), classes * (size + 1)), np.float32)
        self._kernels: Float32 = self._rows[:, : classes * size].reshape(len(heads), classes, size)
        self._biases: Float32 = self._rows[:, classes * size :]
        for row, head in enumerate(heads.values()):
            self._kernels[row] = head.kernel.T
            self._biases[row] = head.bias

    def put(self, name: str, kernel: Float64, bias: Float64, temperature: float) -> None:
        """Another head under a known name, its logits divided by `temperature`. kernel: float64 (C, d); bias: (C,)."""
        row = self._row[name]
        np.multiply(kernel, 1.0 / temperature, out=self._kernels[row], casting="same_kind")
        self._biases[row] = bias / temperature

    def logits(self, values: Float32) -> Float64:
        """Of every head on one sample. values: float32 (d,) -> float64 (m, C)."""
        return (self._kernels @ values + self._biases).astype(np.float64)

    def pooled(self, weights: Float64) -> Head:
        """The head whose logits are the weighted sum of all. weights: float64 (m,)."""
        flat = weights.astype(np.float32) @ self._rows
        size, classes = self._like.kernel.shape
        kernel = np.ascontiguousarray(flat[: classes * size].reshape(classes, size).T)
        return Head(kernel, flat[classes * size :], self._like.kind, self._like.classes, self._like.input)

    def head(self, name: str) -> Head:
        """One of them, as it is now."""
        row = self._row[name]
        kernel = np.ascontiguousarray(self._kernels[row].T)
        return Head(kernel, self._biases[row].copy(), self._like.kind, self._like.classes, self._like.input)
