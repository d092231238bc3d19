"""Windows that training data does not hold and a device meets: a dead, stuck, saturated or far too loud sensor.

A runtime may compute a layer in a form that fails only there: infinite beyond some size, not a number at zero. So
every backbone runs on these windows too, and a float32 one must give the source's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converter.sources import Source
from headway.arrays import AnyArray, Float32, Float64
from headway.errors import ModelError
from headway.maths import Preprocessing

LOUD = (10.0, 1000.0)  # times the range of the given data
DIFFERENCE_MAX = 1e-3  # of the largest feature; what a device asks of its probes (docs/bundle-format.md, section 5)
NUDGE = 2.0**-21  # a few roundings of a float32
NUDGED_SHARE = 8.0


@dataclass(frozen=True, slots=True)
class Unusual:
    """inputs: float32 (k, *input_shape), preprocessed; what each is, in words; embedding: float32 (k, e), the source's.

    allowed: float64 (k,), how far a float32 embedding may be off: `DIFFERENCE_MAX` of the largest feature, or more
    where the source itself moves so when its input is rounded otherwise.
    """

    inputs: Float32
    names: tuple[str, ...]
    embedding: Float32
    allowed: Float64

    def complaint(self, embedding: Float32) -> str:
        """What a backbone's float32 (k, e) does otherwise than the source, '' for nothing; sources may be infinite."""
        finite = np.isfinite(self.embedding).all(axis=1)
        lost = finite & ~np.isfinite(embedding).all(axis=1)
        if lost.any():
            return f"gives values that are not finite for {self.names[int(lost.argmax())]}, the source model does not"
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(embedding.astype(np.float64) - self.embedding).max(axis=1)
        far = finite & (apart > self.allowed)
        if not far.any():
            return ""
        worst = int(np.where(far, apart / np.maximum(self.allowed, 1e-300), 0).argmax())
        largest = float(np.abs(self.embedding[worst]).max())
        return (
            f"differs from the source model by {apart[worst]:.1e} for {self.names[worst]}, whose largest feature is "
            f"{largest:.1e}"
        )

    @property
    def note(self) -> str:
        """What the source itself does not survive, '' for nothing."""
        lost = ~np.isfinite(self.embedding).all(axis=1)
        return f"the model itself gives no finite features for {self.names[int(lost.argmax())]}" if lost.any() else ""


def unusual_windows(x: AnyArray) -> tuple[Float32, tuple[str, ...]]:
    """Raw windows float32 (k, ...) made of the range of each channel (last axis) of x (n, ...), and what each is."""
    flat = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    flat = flat[np.isfinite(flat).all(axis=1)] if not np.isfinite(flat).all() else flat
    if not len(flat):
        flat = np.zeros((1, x.shape[-1]))
    low, high, middle = flat.min(axis=0), flat.max(axis=0), flat.mean(axis=0)
    span = np.maximum(np.abs(low), np.abs(high))
    shape = x.shape[1:]
    alternating = np.where(np.indices(shape).sum(axis=0) % 2, 1.0, -1.0)
    first = np.nan_to_num(np.asarray(x[0], np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    made: dict[str, AnyArray] = {"a window of zeros": np.zeros(shape)}
    for name, value in (("lowest", low), ("mean", middle), ("highest", high)):
        made[f"every channel stuck at its {name} value"] = np.broadcast_to(value, shape)
    for channel in range(min(shape[-1], 4)):
        window = first.copy()
        window[..., channel] = 0
        made[f"channel {channel} dead"] = window
    for factor in LOUD:
        told = f"{factor:g} times the range"
        for sign, side in ((1, "above"), (-1, "below")):
            made[f"a constant {told} {side} zero"] = np.broadcast_to(sign * factor * span, shape)
            spike = first.copy()
            spike[tuple(length // 2 for length in shape)] = sign * factor * float(span.max())
            made[f"a spike of {told} {side} zero"] = spike
        made[f"a window {told}"] = factor * first
        made[f"values between both ends of {told}"] = factor * span * alternating
    largest = np.finfo(np.float32).max / 4
    return np.stack([np.clip(window, -largest, largest) for window in made.values()]).astype(np.float32), tuple(made)


def ask_source(source: Source, x: AnyArray, preprocessing: Preprocessing, embedding: Float32) -> Unusual | None:
    """What the source makes of such windows; None from one that cannot take them at all, such as of indices.

    x: raw training windows (n, *input_shape); embedding: float32 (m, e), the source's of the proof rows.
    """
    raw, names = unusual_windows(x)
    inputs, _ = preprocessing.apply(raw)
    random = np.random.default_rng(0).choice(np.array([1 - NUDGE, 1 + NUDGE]), inputs.shape)
    nudged = np.asarray(inputs * random, np.float32)
    try:
        both, _ = source.answers(np.concatenate([inputs, nudged]))
    except ModelError:
        return None
    found, moved = both[: len(inputs)], both[len(inputs) :]
    with np.errstate(invalid="ignore", over="ignore"):
        sensitive = np.abs(found.astype(np.float64) - moved).max(axis=1)
        largest = np.maximum(np.abs(found).max(axis=1), float(np.abs(embedding).max()))
        allowed = np.maximum(DIFFERENCE_MAX * largest.astype(np.float64), NUDGED_SHARE * sensitive)
    return Unusual(inputs, names, found, np.where(np.isfinite(allowed), allowed, 0.0))
