"""Sensors: a watch on people who are not in the training data, and gas sensors that drift over months."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from demo import watch
from headway.arrays import AnyArray, Float32, Int64
from recipes.learning import compared, each, follow, together
from recipes.measuring import Measured, drawn, measured
from recipes.naive import NearestMean
from recipes.networks import Workspace, dense, fitted

TITLE = "Sensors: other people's wrists, and gas sensors over months"
CREDIT = (
    "Watch: Burns et al., Shoulder physiotherapy exercise recognition, Physiol. Meas. 39 (2018), as shipped in "
    "seglearn. Gas: UCI 270, Vergara et al., Chemical gas sensor drift compensation, Sens. Actuators B 166 (2012)."
)


def run(workspace: Workspace, seed: int) -> list[Measured]:
    calls = {"wrists": lambda: wrists(workspace, seed)}
    try:
        folder = workspace.file("gas_drift_b1-6.npz").parent
        calls["gas"] = lambda: gas(workspace, folder, seed)
    except FileNotFoundError:
        return [calls["wrists"]()]  # the watch comes with a package, the gas sensors do not
    return [*together(calls).values()]


def wrists(workspace: Workspace, seed: int) -> Measured:
    """Ten wrists of five people, a device each; every window gets its label after it was answered."""
    training, devices, classes = watch.load()
    train = training.x, training.y
    bundle = workspace.bundle("watch", seed, lambda: (network(train[0], train[1], seed), *train))
    random = np.random.default_rng(seed)
    x, y, streams, along = [], [], [], []
    start = 0
    for device in devices.values():
        # windows of an exercise follow each other; in any order no rule can repeat the last label
        order = random.permutation(len(device.y))
        x.append(device.x[order])
        y.append(device.y[order])
        streams.append(start + np.arange(len(order)))
        along.append(np.arange(len(order)) / len(order))
        start += len(order)
    later = np.concatenate(x), np.concatenate(y)
    answers = compared(bundle, train, later, seed, streams)
    answers["nearest mean of own windows"] = each(lambda: NearestMean(*later, len(classes)), streams, start)
    return measured("Exercises of people the network never saw", later[1], answers, along=np.concatenate(along),
                    naive="nearest mean of own windows",
                    picture=drawn(lambda axes: signal(axes, later[0])))  # fmt: skip


def network(x: AnyArray, y: Int64, seed: int) -> Any:
    """The 1D-CNN of `make demo`, smaller."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    body = keras.Sequential([
        keras.Input(x.shape[1:]),
        layers.Normalization(mean=x.mean(axis=(0, 1)), variance=x.var(axis=(0, 1))),
        layers.Conv1D(32, 7, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(64, 5, padding="same", activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(64, activation="relu"),
        layers.Dropout(0.3),
    ])  # fmt: skip
    return fitted(body, y, x, 15)


def gas(workspace: Workspace, folder: Path, seed: int) -> Measured:
    """Trained on the first batch, then the others in the order of their months."""
    from benchmarks.datasets import gas_drift

    batches = gas_drift(folder)
    train = batches[1].x.astype(np.float32), batches[1].y
    later = (
        np.concatenate([batches[n].x for n in range(2, 7)]).astype(np.float32),
        np.concatenate([batches[n].y for n in range(2, 7)]),
    )
    bundle = workspace.bundle("gas", seed, lambda: (dense(train[0], train[1], seed, (64,), epochs=40), *train))
    answers = compared(bundle, train, later, seed)
    answers["nearest mean"] = follow(NearestMean(*later, int(train[1].max()) + 1, train), np.arange(len(later[1])))
    return measured("Six gases, sensors that drift over months", later[1], answers, naive="nearest mean",
                    picture=drawn(lambda axes: drift(axes, later[0])))  # fmt: skip


def signal(axes: Any, x: Float32) -> None:
    axes.plot(x[0], label=[f"{what} {axis}" for what in ("acceleration", "rotation") for axis in "xyz"])
    axes.set_title("one window of 2 s, as the network gets it")
    axes.set_xlabel("time step")
    axes.legend(fontsize=8, ncols=2)


def drift(axes: Any, x: Float32) -> None:
    for sensor in (0, 5, 10, 15):  # each has eight features, of which the first is its resistance
        axes.plot(np.maximum(x[:, 8 * sensor], 1), ".", markersize=1, label=f"sensor {sensor + 1}")
    axes.set_yscale("log")
    axes.set_ylim(bottom=100)
    axes.set_xlabel("sample, over months")
    axes.set_title("how far the resistance moves, of four of 16 sensors")
    axes.legend(fontsize=8, markerscale=8)
