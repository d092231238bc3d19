"""Sound as a network for speech or machines takes it: log-mel pictures and cepstral coefficients, in NumPy alone.

The same numbers as `tf.signal` gives with its defaults (Hann window, HTK mel scale, DCT-II), so that a network trained
on those may be fed from here on the device. They are computed in float64: in float32 `tf.signal` fills bands that hold
next to nothing, as those far from a pure tone, with its own rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headway.arrays import AnyArray, Float32, Float64, describe
from headway.errors import DataError, LocalError

FLOOR = 1e-6
FFT_MAX, BANDS_MAX = 1 << 15, 256  # so that a bundle cannot ask for memory without end


@dataclass(frozen=True, slots=True)
class LogMel:
    """How a sound becomes a picture. rate_hz: samples per second; frame, hop: samples; fft: at least `frame`.

    bands: of the mel scale, from low_hz to high_hz. coefficients: cepstral ones to keep (MFCC), 0 for the bands.
    symmetric: whether the Hann window is zero at both ends; by default as `tf.signal` has it, where `frame` is odd.
    """

    rate_hz: float = 16_000.0
    frame: int = 640
    hop: int = 320
    fft: int = 1024
    bands: int = 40
    low_hz: float = 20.0
    high_hz: float = 7_600.0
    coefficients: int = 0
    symmetric: bool | None = None

    def __post_init__(self) -> None:
        if self.symmetric is None:
            object.__setattr__(self, "symmetric", self.frame % 2 == 1)
        if not self.hop > 0 or not 0 < self.frame <= self.fft:
            raise LocalError(f"frame {self.frame}, hop {self.hop}: both above 0, and a frame at most fft {self.fft}")
        if not (self.fft <= FFT_MAX and 0 < self.bands <= BANDS_MAX):
            raise LocalError(
                f"fft {self.fft}, bands {self.bands}: at most {FFT_MAX} values and 1 to {BANDS_MAX} bands are computed"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise LocalError(f"bands from {self.low_hz:g} to {self.high_hz:g} Hz must rise, below {self.rate_hz / 2:g}")
        if not 0 <= self.coefficients <= self.bands:
            raise LocalError(f"{self.coefficients} coefficients of {self.bands} bands; give at most as many")

    def apply(self, sound: AnyArray) -> Float32:
        """sound: numbers (n, samples), -1 to 1 -> float32 (n, frames, bands), or (n, frames, coefficients).

        What is left at the end and fills no frame is not used. Raises DataError for a sound shorter than a frame.
        """
        if sound.ndim != 2 or sound.shape[1] < self.frame:
            raise DataError(f"sound is {describe(sound)}; it must be (n, samples) with at least {self.frame} samples")
        frames = np.lib.stride_tricks.sliding_window_view(sound, self.frame, axis=1)[:, :: self.hop]
        spectrum = np.abs(np.fft.rfft(frames * _hann(self.frame, self.symmetric is True), self.fft, axis=-1))
        bands = np.log(spectrum @ mel_weights(self.fft, self.rate_hz, self.bands, self.low_hz, self.high_hz) + FLOOR)
        if self.coefficients:
            bands = bands @ _cosines(self.bands)[:, : self.coefficients]
        return np.asarray(bands, np.float32)


@lru_cache(maxsize=8)
def mel_weights(fft: int, rate_hz: float, bands: int, low_hz: float, high_hz: float) -> Float64:
    """Triangles on the mel scale, float64 (fft / 2 + 1, bands); the constant part of the spectrum counts for none."""
    mel = _mel(np.linspace(0.0, rate_hz / 2, fft // 2 + 1))[:, None]
    ends = _mel(np.array([low_hz, high_hz]))
    edges = np.linspace(ends[0], ends[1], bands + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)))
    weights[0] = 0.0
    return np.asarray(weights)


def _mel(hertz: Float64) -> Float64:
    """HTK: 1127 ln(1 + f / 700)."""
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


@lru_cache(maxsize=8)
def _hann(frame: int, symmetric: bool) -> Float64:
    """float64 (frame,); periodic, or zero at both ends, of a single sample one."""
    if symmetric and frame == 1:
        return np.ones(1)
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / (frame - symmetric)))


@lru_cache(maxsize=8)
def _cosines(bands: int) -> Float64:
    """DCT-II as HTK has it: float64 (bands, coefficients)."""
    turns = np.arange(bands)[:, None] + 0.5
    return np.asarray(2.0 * np.cos(np.pi / bands * turns * np.arange(bands)) / np.sqrt(2.0 * bands))
