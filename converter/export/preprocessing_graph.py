"""Builds fitted preprocessing from TensorFlow operations that TFLite has built in; values equal `Preprocessing.apply`.

Loops along time would unroll into a node per step, so both recurrences run by doubling: after the k-th of log2(steps)
rounds a value has seen the 2^k steps before it (Hillis and Steele 1986).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.arrays import Float32
from headway.maths import Denoise, Missing, Preprocessing, TimeAxis

FORGOTTEN = 1e-9  # a weight below this cannot move a float32


def apply(x: Any, fitted: Preprocessing) -> Any:
    """x: float32 tensor (n, *input_shape), NaN or infinite where a value is missing -> the same shape, preprocessed.

    A window without any finite value, which `Preprocessing.apply` refuses, becomes the training constants.
    """
    last = fitted.time_axis is TimeAxis.LAST
    steps = fitted.input_shape[-1 if last else 0]
    x = _time_first(x) if last else x
    x = _imputed(x, fitted, steps)
    if fitted.low is not None and fitted.high is not None:
        x = _clipped(x, fitted.low, fitted.high)
    if fitted.denoise is Denoise.MEDIAN:
        x = _median(x, fitted.median_width)
    elif fitted.denoise is Denoise.EWMA:
        x = _ewma(x, fitted.ewma_weight, steps)
    if fitted.offset is not None and fitted.gain is not None:
        x = (x - fitted.offset) * fitted.gain
    return _time_first(x) if last else x


def _clipped(x: Any, low: Float32, high: Float32) -> Any:
    import tensorflow as tf

    return tf.minimum(tf.maximum(x, low), high)


def _time_first(x: Any) -> Any:
    """Time and channels change places."""
    import tensorflow as tf

    inner = range(2, len(x.shape) - 1)
    return tf.transpose(x, [0, len(x.shape) - 1, *inner, *([1] if len(x.shape) > 2 else [])])


def _imputed(x: Any, fitted: Preprocessing, steps: int) -> Any:
    import tensorflow as tf

    largest = np.finfo(np.float32).max
    # selected, never multiplied: NaN times zero is NaN
    found = tf.cast(tf.abs(x) <= largest, tf.float32)  # NaN compares false
    x = tf.where(found > 0.5, x, tf.zeros_like(x))
    shift = 1
    while fitted.missing is Missing.LAST and shift < steps:
        x = tf.where(found > 0.5, x, _later(x, shift))
        found = tf.maximum(found, _later(found, shift))
        shift *= 2
    return tf.where(found > 0.5, x, tf.zeros_like(x) + fitted.fill)


def _median(x: Any, width: int) -> Any:
    """Of the `width` neighbours, the (width + 1) / 2 largest, and of those the last."""
    import tensorflow as tf

    half, steps = width // 2, x.shape[1]
    padded = tf.concat([x[:, :1]] * half + [x] + [x[:, -1:]] * half, axis=1)
    neighbours = tf.stack([padded[:, start : start + steps] for start in range(width)], axis=-1)
    return tf.math.top_k(neighbours, k=half + 1).values[..., half]


def _ewma(x: Any, weight: float, steps: int) -> Any:
    import tensorflow as tf

    new, decay = np.float32(weight), float(np.float32(1 - weight))
    x = tf.concat([x[:, :1], x[:, 1:] * new], axis=1)
    shift = 1
    while shift < steps and decay > FORGOTTEN:
        x = x + _later(x, shift) * np.float32(decay)
        shift, decay = 2 * shift, decay * decay
    return x


def _later(x: Any, shift: int) -> Any:
    """The same values `shift` steps later, zeros before them."""
    import tensorflow as tf

    return tf.pad(x[:, :-shift], [[0, 0], [shift, 0]] + [[0, 0]] * (len(x.shape) - 2))
