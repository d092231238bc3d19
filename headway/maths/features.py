"""Turns the backbone's output into the int8 codes that learning sums over.

Scales are fixed when the model is converted, so every device codes alike and integer tables can be added
across a fleet. A value beyond the calibrated range is clipped; how often that happens is a drift signal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from headway.arrays import Float32, Int8, describe
from headway.errors import DataError, LocalError

CODE_MAX = 127
CALIBRATION_PERCENTILE = 99.9


@dataclass(frozen=True, slots=True)
class Expansion:
    """Seeded random ReLU features, relu(v W + b), appended to the features (Huang et al. 2006, ELM).

    weights: float32 (m, k); bias: float32 (k,); of_input: v is the flattened preprocessed input instead of the
    embedding. The matrix itself is stored, not its seed: NumPy does not promise its streams across versions.
    """

    weights: Float32
    bias: Float32
    of_input: bool

    def apply(self, values: Float32) -> Float32:
        """values: float32 (n, m) -> float32 (n, k)."""
        expanded: Float32 = np.maximum(values @ self.weights + self.bias, np.float32(0))
        return expanded


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Embedding (and, with an input expansion, the input) -> int8 codes.

    scale: float32 (d,), the absolute value that becomes code 127.
    mean, components: optional linear map (e,), (e, k) applied to the embedding first (PCA or selection).
    """

    embedding_size: int
    scale: Float32
    expansion: Expansion | None = None
    mean: Float32 | None = None
    components: Float32 | None = None
    _factor: Float32 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.scale.ndim != 1 or self.scale.dtype != np.float32:
            raise LocalError(f"feature scale must be float32 (d,), got {describe(self.scale)}")
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise LocalError("feature scales must be positive and finite")
        if (self.mean is None) != (self.components is None):
            raise LocalError("a projection needs both its mean and its components")
        if self.mean is not None and self.components is not None:
            if self.mean.shape != (self.embedding_size,) or self.components.shape[:1] != (self.embedding_size,):
                raise LocalError(
                    f"the projection takes {self.components.shape[0]} values less a mean of {describe(self.mean)}, "
                    f"the embedding has {self.embedding_size}"
                )
            if self.components.ndim != 2:
                raise LocalError(f"projection components must be float32 (e, k), got {describe(self.components)}")
        expansion = self.expansion
        if expansion is not None and not expansion.of_input and len(expansion.weights) != self._linear_size:
            raise LocalError(f"the expansion takes {len(expansion.weights)} values, the map has {self._linear_size}")
        if self.size != self._linear_size + self._expansion_size:
            raise LocalError(
                f"feature scale has {self.size} entries, the map makes {self._linear_size + self._expansion_size}"
            )
        with np.errstate(over="ignore"):
            factor = np.float32(CODE_MAX) / self.scale
        if not np.isfinite(factor).all():
            raise LocalError(f"feature scales must be at least 1e-36, got {self.scale.min()}")
        object.__setattr__(self, "_factor", factor)

    @property
    def size(self) -> int:
        """Number of codes per sample, d."""
        return int(self.scale.shape[0])

    @property
    def _linear_size(self) -> int:
        return self.embedding_size if self.components is None else int(self.components.shape[1])

    @property
    def _expansion_size(self) -> int:
        return 0 if self.expansion is None else int(self.expansion.bias.shape[0])

    def raw(self, embedding: Float32, inputs: Float32 | None = None) -> Float32:
        """Features before coding. embedding: (n, e); inputs: (n, ...) preprocessed -> float32 (n, d)."""
        return raw_features(embedding, inputs, self.expansion, self.mean, self.components)

    def codes(self, embedding: Float32, inputs: Float32 | None = None) -> tuple[Int8, int]:
        """Quantise to int8, clipped at +-127.

        embedding: float32 (n, e); inputs: float32 (n, ...), needed by an expansion of the input.
        Returns codes int8 (n, d) and how many values were clipped.
        Raises DataError when the backbone gave a value that is not finite.
        """
        scaled = self.raw(embedding, inputs) * self._factor
        if not np.isfinite(scaled).all():
            raise DataError("the backbone returned values that are not finite; check the sensor's input")
        np.rint(scaled, out=scaled)
        clipped = int(np.count_nonzero(np.abs(scaled) > CODE_MAX))
        np.clip(scaled, -CODE_MAX, CODE_MAX, out=scaled)
        return scaled.astype(np.int8), clipped

    def fingerprint(self, backbone_sha256: str) -> str:
        """Name of the feature space: tables may be added only when their fingerprints agree."""
        digest = hashlib.sha256(b"headway feature space 1\n")
        digest.update(backbone_sha256.encode())
        expansion = self.expansion
        arrays = [self.scale, self.mean, self.components]
        arrays += [expansion.weights, expansion.bias] if expansion is not None else [None, None]
        for array in arrays:
            digest.update(b"-" if array is None else describe(array).encode() + np.ascontiguousarray(array).tobytes())
        digest.update(b"input" if expansion is not None and expansion.of_input else b"embedding")
        return digest.hexdigest()


def raw_features(
    embedding: Float32,
    inputs: Float32 | None,
    expansion: Expansion | None,
    mean: Float32 | None = None,
    components: Float32 | None = None,
) -> Float32:
    """Projection and expansion, before any scale is known. Shapes as in `FeatureMap`."""
    linear = embedding
    if components is not None and mean is not None:
        linear = np.asarray((embedding - mean) @ components, dtype=np.float32)
    if expansion is None:
        # a copy where nothing was computed, so that callers may work in place
        return linear.copy() if linear is embedding else linear
    if expansion.of_input:
        if inputs is None:
            raise LocalError("this feature map expands the input, but no input was given")
        values = inputs.reshape(len(inputs), -1)
    else:
        values = linear
    return np.concatenate([linear, expansion.apply(values)], axis=1)


def calibrate_scale(raw: Float32) -> Float32:
    """Scale per feature: the 99.9th percentile of its absolute value on the training data.

    raw: float32 (n, d) -> float32 (d,). A feature that is (almost) always zero gets the median of the other
    scales, so that it stays near zero instead of turning noise into full-scale codes.
    """
    scale: Float32 = np.percentile(np.abs(raw), CALIBRATION_PERCENTILE, axis=0).astype(np.float32)
    alive = scale > 1e-6 * max(float(scale.max(initial=0.0)), 1e-30)
    scale[~alive] = np.median(scale[alive]) if alive.any() else np.float32(1)
    return scale
