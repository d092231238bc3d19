"""Converts heads to and from the units that gradient learning works in, on devices and on the aggregator.

Descent runs on codes / 127, and on targets divided by their spread, so that one learning rate suits every model.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32
from headway.bundle.variant import Variant
from headway.maths import CODE_MAX, FeatureMap, Head, HeadInput, HeadKind, Task


def fold_frozen_head(head: Head, features: FeatureMap) -> Head:
    """The frozen head as a head over codes: where gradient learning starts, on devices and in the fleet.

        q_j ~ 127 e_j / s_j   =>   sum_j e_j K_jc  ~  sum_j q_j (s_j / 127) K_jc

    head: over the embedding, kernel (e, C) -> over codes, kernel (d, C); the rows of an expansion start at zero.
    The two differ only by rounding and clipping of the codes; where the map projects the embedding, v = (e - mean) P,
    also by what the projection drops: e ~ mean + v P^+ (Moore-Penrose).
    """
    linear, bias = head.kernel, head.bias.copy()
    if features.components is not None:
        mean = np.zeros(features.embedding_size, np.float32) if features.mean is None else features.mean
        bias = bias + mean @ linear
        linear = np.linalg.pinv(features.components.astype(np.float64)).astype(np.float32) @ linear
    kernel = np.zeros((features.size, len(head.classes)), np.float32)
    size = len(linear)
    kernel[:size] = linear * (features.scale[:size] / np.float32(CODE_MAX))[:, None]
    return Head(kernel, bias, head.kind, head.classes, HeadInput.CODES)


def target_scale(variant: Variant) -> Float32:
    """What one unit of each output is worth, float32 (C,): a regression's standard deviation over the bundle's
    buffer, else 1. Devices and the aggregator read it from the same bundle.
    """
    scale = np.ones(len(variant.classes), np.float32)
    buffer = variant.buffer
    if variant.task is Task.REGRESSION and buffer is not None and buffer.targets is not None and len(buffer.targets):
        spread = buffer.targets.astype(np.float64).std(axis=0)
        np.copyto(scale, spread.astype(np.float32), where=spread > 0)
    return scale


def feature_energy(variant: Variant) -> float:
    """Mean squared length of codes / 127 with the 1 for the bias, over the training data; d + 1 when unknown."""
    source, buffer = variant.feature_statistics, variant.buffer
    if source.samples:
        return 1.0 + float(np.trace(source.gram[:-1, :-1])) / source.samples / CODE_MAX**2
    if buffer is not None and len(buffer.values):
        return 1.0 + float(np.square(buffer.values.astype(np.float64) / CODE_MAX).sum(axis=1).mean())
    return float(variant.features.size + 1)


def weights_over_unit_codes(head: Head, scale: Float32 | None = None) -> Float32:
    """A head over codes in the learner's layout and units, float32 (C, d + 1): kernel * 127, then the bias.

    scale: float32 (C,), the outputs' units (`target_scale`), divided out; None for 1.
    Deltas on the wire (`messages.Update`) and averages in the aggregator are in these units.
    """
    kernel = head.kernel.T * np.float32(CODE_MAX)
    weights = np.concatenate([kernel, head.bias[:, None]], axis=1)
    return np.ascontiguousarray(weights if scale is None else weights / scale[:, None])


def head_over_codes(
    weights: Float32, classes: tuple[str, ...], kind: HeadKind = HeadKind.SOFTMAX, scale: Float32 | None = None
) -> Head:
    """Inverse of `weights_over_unit_codes`: a head over codes."""
    weights = weights if scale is None else weights * scale[:, None]
    kernel = np.ascontiguousarray(weights[:, :-1].T / np.float32(CODE_MAX))
    return Head(kernel, weights[:, -1].copy(), kind, classes, HeadInput.CODES)
