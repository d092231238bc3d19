"""Statistical and spectral features of a window, in NumPy alone: instead of a network, or before a small one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from headway.arrays import AnyArray, Float32, Float64, describe
from headway.errors import DataError, LocalError

BANDS = 8
SILENT = 1e-24  # a spectrum below this share of the window's power is rounding, not a sound


@dataclass(frozen=True, slots=True)
class _Window:
    """One window, in float64: x (time, channels), and what several features are made of.

    power: (bins, channels) of the window less its mean under a Hann window, without the constant; zeros where the
    channel does not change. frequency: (bins, 1), cycles per time step.
    """

    x: Float64
    mean: Float64
    centred: Float64
    std: Float64
    power: Float64
    frequency: Float64

    @classmethod
    def of(cls, x: Float64) -> _Window:
        steps = len(x)
        mean = x.mean(axis=0)
        centred = x - mean
        turns = 2 * np.pi * np.arange(steps) / steps
        spectrum = np.fft.rfft(centred * (0.5 - 0.5 * np.cos(turns))[:, None], axis=0)[1:]
        power = spectrum.real**2 + spectrum.imag**2
        heard = power.sum(axis=0) > SILENT * steps * (x**2).sum(axis=0)
        still = np.abs(centred).max(axis=0) <= 1e-12 * np.abs(x).max(axis=0)
        std = np.where(still, 0.0, np.sqrt((centred**2).mean(axis=0)))
        power = np.where(heard & ~still, power, 0.0)
        return cls(x, mean, centred, std, power, (np.arange(len(power))[:, None] + 1) / steps)

    def moment(self, order: int) -> Float64:
        """Of the values less their mean, over their deviation; 0 where they do not change."""
        share = np.where(self.std > 0, self.centred / np.where(self.std > 0, self.std, 1.0), 0.0)
        return np.asarray((share**order).mean(axis=0))

    def share(self) -> Float64:
        """Of the power in each bin, 0 where there is none."""
        total = self.power.sum(axis=0)
        return np.where(total > 0, self.power / np.where(total > 0, total, 1.0), 0.0)


def _mean_change(w: _Window) -> Float64:
    return np.abs(np.diff(w.x, axis=0)).mean(axis=0) if len(w.x) > 1 else np.zeros_like(w.mean)


def _crossings(w: _Window) -> Float64:
    above = (w.centred > 0) & (w.std > 0)
    return (above[1:] != above[:-1]).mean(axis=0) if len(w.x) > 1 else np.zeros_like(w.mean)


def _band_energy(w: _Window) -> Float64:
    """The root of the power in each of `BANDS` bands of equal width, so that it scales as the signal does."""
    if not len(w.power):
        return np.zeros((BANDS, w.x.shape[1]))
    band = np.minimum((w.frequency[:, 0] * 2 * BANDS).astype(np.int64), BANDS - 1)
    return np.stack([np.sqrt(w.power[band == one].sum(axis=0)) / len(w.x) for one in range(BANDS)])


def _dominant(w: _Window) -> Float64:
    if not len(w.power):
        return np.zeros_like(w.mean)
    return np.where(w.power.sum(axis=0) > 0, w.frequency[w.power.argmax(axis=0), 0], 0.0)


def _entropy(w: _Window) -> Float64:
    """0 for one tone, 1 for power that is the same at every frequency."""
    if len(w.power) < 2:
        return np.zeros_like(w.mean)
    share = w.share()
    return np.asarray(-(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=0) / np.log(len(share)))


# name -> float64 (channels,) or, for several values a channel, (values, channels)
WINDOW_FEATURES: dict[str, Callable[[_Window], Float64]] = {
    "mean": lambda w: w.mean,
    "std": lambda w: w.std,
    "min": lambda w: w.x.min(axis=0),
    "max": lambda w: w.x.max(axis=0),
    "median": lambda w: np.asarray(np.median(w.x, axis=0)),
    "rms": lambda w: np.sqrt((w.x**2).mean(axis=0)),
    "skewness": lambda w: w.moment(3),
    "kurtosis": lambda w: w.moment(4),
    "mean-change": _mean_change,
    "zero-crossings": _crossings,
    "band-energy": _band_energy,
    "dominant-frequency": _dominant,
    "spectral-centroid": lambda w: (w.share() * w.frequency).sum(axis=0),
    "spectral-entropy": _entropy,
}


@dataclass(frozen=True, slots=True)
class WindowFeatures:
    """Features by name (`WINDOW_FEATURES`), all of them by default, of each channel of a window along time.

    Frequencies are in cycles per time step, 0 to 0.5. `band-energy` gives eight values a channel, every other name one.
    """

    names: tuple[str, ...] = field(default=tuple(WINDOW_FEATURES))

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in WINDOW_FEATURES]
        if unknown or not self.names or len(set(self.names)) != len(self.names):
            known = ", ".join(WINDOW_FEATURES)
            raise LocalError(f"features {', '.join(self.names) or 'none'}: give different ones of {known}")

    def size(self, channels: int) -> int:
        """How many values come of a window."""
        return channels * sum(BANDS if name == "band-energy" else 1 for name in self.names)

    def apply(self, windows: AnyArray) -> Float32:
        """windows: finite numbers (n, time), or (n, time, ..., channels) -> float32 (n, features), channel by channel.

        Each window is computed by itself, in float64, so that its features do not depend on what it came with. Raises
        DataError for anything else.
        """
        if windows.ndim < 2 or not windows.size:
            raise DataError(f"windows are {describe(windows)}; features need (n, time) or (n, time, channels)")
        found = [self._one(np.asarray(window, np.float64).reshape(len(window), -1)) for window in windows]
        return np.stack(found).astype(np.float32)

    def _one(self, x: Float64) -> Float64:
        window = _Window.of(x)
        rows = [np.atleast_2d(WINDOW_FEATURES[name](window)) for name in self.names]
        return np.ascontiguousarray(np.concatenate(rows).T).reshape(-1)
