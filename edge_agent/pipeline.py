"""Turns a sensor batch into features, before any learning: window -> preprocess -> backbone -> features."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.runtime import Runtime
from headway.arrays import AnyArray, Float32, Int8
from headway.bundle import Variant


@dataclass(frozen=True, slots=True)
class Features:
    """Both forms of each window: embedding float32 (n, e) and codes int8 (n, d).

    clipped, missing: how many feature values were beyond the calibrated range, and input values not finite.
    """

    embedding: Float32
    codes: Int8
    clipped: int = 0
    missing: int = 0

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, start: int, stop: int) -> Features:
        """A slice of the batch, without the counts, which belong to the batch as a whole."""
        return Features(self.embedding[start:stop], self.codes[start:stop])


class Pipeline:
    """The frozen part of the model; a window crosses it exactly once."""

    def __init__(self, variant: Variant, runtime: Runtime) -> None:
        self._preprocessing = variant.preprocessing
        self._map = variant.features
        self._runtime = runtime

    @property
    def runtime_name(self) -> str:
        return self._runtime.name

    def features(self, x: AnyArray) -> Features:
        """x: numeric (n, *input_shape), n >= 1. Raises DataError on a wrong shape or an unusable window."""
        inputs, missing = self._preprocessing.apply(x)
        embedding = self._runtime.embed(inputs)
        codes, clipped = self._map.codes(embedding, inputs)
        return Features(embedding, codes, clipped, missing)

    def check(self, x: AnyArray) -> None:
        """Raises what `features` would for the windows themselves, without computing anything of them."""
        self._preprocessing.check(x)
