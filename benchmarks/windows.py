"""Synthetic windows with classes in them, in the ranges real sensors have: no data set is needed to run a figure.

What belongs to a class (frequencies, textures, centres) comes from one seed, the windows from another, so that
windows of two seeds are two draws of the same distribution.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32, Int64

CLASS_SEED = 7


def labels(count: int, classes: int) -> Int64:
    """int64 (count,), every class in turn."""
    return np.arange(count, dtype=np.int64) % classes


def series(count: int, steps: int, channels: int, classes: int, seed: int) -> Float32:
    """Accelerometer-like windows, float32 (count, steps, channels): a class is a mix of tones, with free phase."""
    kind, random = np.random.default_rng(CLASS_SEED), np.random.default_rng(seed)
    tones = 3
    frequency = kind.uniform(0.5, steps / 6, (classes, tones, 1, channels))
    amplitude = kind.uniform(0.2, 1.5, (classes, tones, 1, channels))
    offset = kind.normal(0, 0.7, (classes, 1, channels))
    y = labels(count, classes)
    time = np.linspace(0, 1, steps)[:, None]
    phase = random.uniform(0, 2 * np.pi, (count, tones, 1, channels))
    gain = random.uniform(0.7, 1.3, (count, 1, 1))
    wave = (amplitude[y] * np.sin(2 * np.pi * frequency[y] * time + phase)).sum(axis=1)
    return np.asarray(gain * wave + offset[y] + random.normal(0, 0.5, wave.shape), np.float32)


def mfcc(count: int, classes: int, seed: int) -> Float32:
    """Keyword-like MFCC, float32 (count, 49, 10, 1), unscaled: the first coefficient is tens, the last about one."""
    size = 20.0 / np.arange(1, 11)
    return np.asarray((series(count, 49, 10, classes, seed) * size)[..., None], np.float32)


def images(count: int, size: int, classes: int, seed: int) -> Float32:
    """Textures shifted at random under noise, float32 (count, size, size, 3) from -1 to 1."""
    kind, random = np.random.default_rng(CLASS_SEED), np.random.default_rng(seed)
    cells = -(-size // 8)
    textures = np.kron(kind.uniform(-0.7, 0.7, (classes, cells, cells, 3)), np.ones((1, 8, 8, 1)))[:, :size, :size]
    textures += kind.normal(0, 0.4, (classes, 1, 1, 3))
    y = labels(count, classes)
    shifts = random.integers(0, 4, (count, 2))
    moved = np.stack([np.roll(textures[c], tuple(s), (0, 1)) for c, s in zip(y, shifts, strict=True)])
    gain = random.uniform(0.8, 1.0, (count, 1, 1, 1))
    return np.asarray(np.clip(gain * moved + random.normal(0, 0.1, moved.shape), -1, 1), np.float32)


def table(count: int, columns: int, classes: int, seed: int) -> Float32:
    """Gas-sensor-like rows, float32 (count, columns): correlated columns, centres per class."""
    kind, random = np.random.default_rng(CLASS_SEED), np.random.default_rng(seed)
    centres = kind.normal(0, 1.2, (classes, columns))
    mixing = kind.normal(0, 1 / np.sqrt(columns), (columns, columns))
    rows = centres[labels(count, classes)] + random.normal(0, 1.5, (count, columns)) @ mixing
    return np.asarray(rows, np.float32)


def several_labels(x: Float32, count: int) -> Float32:
    """0 / 1 per label, float32 (n, count): signs of fixed projections of the window."""
    flat = x.reshape(len(x), -1)
    planes = np.random.default_rng(CLASS_SEED).normal(0, 1, (flat.shape[1], count))
    return np.asarray(flat @ planes > 0, np.float32)


def values(x: Float32, count: int) -> Float32:
    """Regression targets, float32 (n, count): smooth functions of fixed projections of the window."""
    flat = x.reshape(len(x), -1)
    planes = np.random.default_rng(CLASS_SEED).normal(0, 1 / np.sqrt(flat.shape[1]), (flat.shape[1], count))
    return np.asarray(np.tanh(flat @ planes) + 0.3 * flat @ planes, np.float32)
