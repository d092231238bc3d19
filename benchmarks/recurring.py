"""Streams under conditions that come back: every other stretch the device is held the other way round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.datasets import Rows
from benchmarks.tasks import Device, Task
from headway.arrays import Float32

TURNED_AXES = (0, 1, 3, 4)


def tilted_digits(data: Path, seed: int) -> Task:
    """Digits of many writers (MNIST), trained on upright ones; a stream of tilted ones, in a drawn order."""
    with np.load(data / "fields" / "image_digits_drift.npz", allow_pickle=False) as loaded:
        parts = [loaded[name].astype(np.float32)[..., None] for name in ("train_x", "tilt_x")]
        labels = [loaded[name].astype(np.int64) for name in ("train_y", "tilt_y")]
    training = Rows(parts[0] / max(float(parts[0].max()), 1.0) * 16, labels[0])
    stream = Rows(parts[1] / max(float(parts[1].max()), 1.0) * 16, labels[1])
    order = np.random.default_rng(seed).permutation(len(stream))
    device = Device("camera", stream[order], {})
    names = tuple(map(str, range(10)))
    return Task("tilted digits", "digits", names, training, (device,), prequential=True)


def recurring(task: Task, turned: Callable[[Float32], Float32], every: int) -> Task:
    """The stream of `task`, `turned` in every other stretch of `every` windows; the model never saw it so."""
    (device,) = task.devices
    x = device.taught.x.copy()
    other = np.arange(len(x)) // every % 2 == 1
    x[other] = turned(x[other])
    changed = Device(device.name, Rows(x, device.taught.y), {})
    return replace(task, name=f"{task.name}, upside down in turns of {every}", devices=(changed,))


def shuffled(task: Task, seed: int) -> Task:
    """The stream of `task` in an order drawn by `seed`, so that neither states nor people last."""
    (device,) = task.devices
    order = np.random.default_rng(seed).permutation(len(device.taught))
    return replace(task, name=f"{task.name}, shuffled", devices=(replace(device, taught=device.taught[order]),))


def watch_upside_down(x: Float32) -> Float32:
    """Turned by 180 degrees about the third axis. x: float32 (n, time, 6), acceleration and rate of turn."""
    signs = np.ones(x.shape[-1], np.float32)
    signs[list(TURNED_AXES)] = -1
    return x * signs


def image_upside_down(x: Float32) -> Float32:
    """x: float32 (n, height, width, 1)."""
    return x[:, ::-1, ::-1]
