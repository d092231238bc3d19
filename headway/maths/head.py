"""The trainable last layer: one matrix, one bias, and the link that turns logits into predictions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from headway.arrays import Float32, Float64, Int64, describe
from headway.errors import LocalError


class HeadKind(StrEnum):
    """The link function, named as in Keras."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    LINEAR = "linear"


class HeadInput(StrEnum):
    """What a head multiplies: the backbone's float embedding, or the int8 codes of the feature map."""

    EMBEDDING = "embedding"
    CODES = "codes"


@dataclass(frozen=True, slots=True)
class Head:
    """A linear map from features to class scores.

    kernel: float32 (d, C); bias: float32 (C,); classes: C names, in column order.
    Raises LocalError when shapes disagree or a weight is not finite.
    """

    kernel: Float32
    bias: Float32
    kind: HeadKind
    classes: tuple[str, ...]
    input: HeadInput

    def __post_init__(self) -> None:
        expected = (self.kernel.shape[0], len(self.classes))
        if self.kernel.shape != expected or self.bias.shape != expected[1:]:
            raise LocalError(
                f"head with {len(self.classes)} classes needs kernel (d, {len(self.classes)}) and bias "
                f"({len(self.classes)},), got {describe(self.kernel)} and {describe(self.bias)}"
            )
        if self.kernel.dtype != np.float32 or self.bias.dtype != np.float32:
            raise LocalError(f"head weights must be float32, got {self.kernel.dtype} and {self.bias.dtype}")
        if not (np.isfinite(self.kernel).all() and np.isfinite(self.bias).all()):
            raise LocalError("head weights must be finite; solve again with more regularisation")

    def same_as(self, other: Head) -> bool:
        """Whether it is the same to the bit."""
        return (
            (self.classes, self.kind, self.input) == (other.classes, other.kind, other.input)
            and self.kernel.tobytes() == other.kernel.tobytes()
            and self.bias.tobytes() == other.bias.tobytes()
        )

    def logits(self, features: Float32) -> Float32:
        """features: float32 (n, d) -> float32 (n, C)."""
        logits: Float32 = features @ self.kernel + self.bias
        return logits

    def probabilities(self, features: Float32) -> Float32:
        """features: float32 (n, d) -> float32 (n, C); for a linear head the values themselves."""
        return link(self.logits(features), self.kind)


def link(logits: Float32, kind: HeadKind) -> Float32:
    """Apply the link function along the last axis. logits: float32 (n, C) -> float32 (n, C)."""
    if kind is HeadKind.SOFTMAX:
        return softmax(logits)
    if kind is HeadKind.SIGMOID:
        # exp of a large positive number overflows; the tanh form never does
        sigmoid: Float32 = np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float32)
        return sigmoid
    return logits


def softmax(logits: Float32) -> Float32:
    """Softmax over the last axis with the usual shift by the maximum. float32 (n, C) -> float32 (n, C)."""
    result: Float32 = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result /= result.sum(axis=-1, keepdims=True)
    return result


def log_softmax(logits: Float64) -> Float64:
    """Log of the softmax over the last axis, stable. float64 (n, C) -> float64 (n, C)."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Float64 = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def predicted_class(probabilities: Float32) -> Int64:
    """Index of the most probable class, the first one on ties. float32 (n, C) -> int64 (n,)."""
    return np.asarray(probabilities.argmax(axis=-1), dtype=np.int64)
