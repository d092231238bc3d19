"""Updates folded into few numbers, so that a round compares them without reading them again.

    sketch(x)_b = sum of s_j x_j over the entries j with j mod DIMENSIONS = b        s_j = +1 or -1, drawn once

The product of two sketches is that of the two updates, with a standard deviation of at most sqrt(2 / DIMENSIONS) of the
product of their lengths (count sketch: Charikar, Chen, Farach-Colton 2002). The signs are drawn anew for each round, so
that no device is unlucky in several rounds in a row, and never leave the process: who knew them could send an update
whose sketch shows nothing of it. Updates of no more than DIMENSIONS entries stay as they are, and so do their products.

A sketch is finite whatever is sent: one that is not would make every comparison of its round one with NaN.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32

# two kilobytes of each device that waits
DIMENSIONS = 512
ENTRY_MAX = float(np.finfo(np.float32).max)


class Sketch:
    """Of arrays of `size` entries."""

    def __init__(self, size: int) -> None:
        self._size, rows = size, -(-size // DIMENSIONS)
        self._signs = np.ones(size, np.float32)
        if rows > 1:
            self._signs = np.float32(1) - 2 * np.random.default_rng().integers(0, 2, size).astype(np.float32)
        self._folded = np.zeros((rows, DIMENSIONS), np.float32)

    def of(self, delta: Float32) -> Float32:
        """float32 of `size` entries in any shape, finite -> float32 (DIMENSIONS,), finite."""
        np.multiply(delta.ravel(), self._signs, out=self._folded.reshape(-1)[: self._size])
        with np.errstate(over="ignore"):
            found = np.asarray(self._folded.sum(axis=0), np.float32)
        if not np.isfinite(found).all():
            # entries near the end of float32; beside such a length a sum cut off there is as good
            found = np.clip(self._folded.sum(axis=0, dtype=np.float64), -ENTRY_MAX, ENTRY_MAX).astype(np.float32)
        return found
