"""Small models that tell two states of a sensor apart: python -m tests.realsystem.make_sensor_models FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

COUNT = 200
# stream.toml of those that are cut from rows; a picture comes whole
STREAMS = {
    "power": """rate_hz = 50.0
length = 16
hop = 16
gap_s = 2.0
channels = [{name = "voltage1", unit = "mV"}, {name = "current3", unit = "mA"}]
""",
    "tilt": """rate_hz = 20.0
length = 8
hop = 8
gap_s = 2.0
channels = [{name = "accel_x", unit = "m/s2"}, {name = "accel_y", unit = "m/s2"}, {name = "accel_z", unit = "m/s2"}]
""",
    "sound": """rate_hz = 16000.0
length = 1600
hop = 1600
resampling = "none"
gap_s = 1.0
channels = [{name = "sound", unit = "FS"}]
""",
}
CLASSES = {
    "power": ("low", "high"), "tilt": ("upright", "sideways"), "sound": ("quiet", "tone"), "camera": ("dark", "bars")
}  # fmt: skip


def data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """x float32 (n, *shape of its windows), y int64 (n,)."""
    random = np.random.default_rng(3)
    y = np.arange(COUNT) % 2
    second = y.astype(bool)[:, None]
    if kind == "power":
        x = np.stack([np.where(second, 10_000, 5_000) + random.normal(0, 100, (COUNT, 16)),
                      random.normal(0, 20, (COUNT, 16))], axis=2)  # fmt: skip
    elif kind == "tilt":
        x = random.normal(0, 0.2, (COUNT, 8, 3))
        x[:, :, 0] += np.where(second, 9.81, 0.0)
        x[:, :, 2] += np.where(second, 0.0, 9.81)
    elif kind == "sound":
        turns = random.uniform(300, 600, (COUNT, 1)) * np.arange(1600) / 16_000 + random.uniform(0, 1, (COUNT, 1))
        x = np.where(second, random.uniform(0.2, 0.9, (COUNT, 1)), 0.0) * np.sin(2 * np.pi * turns)
        x = (x + random.normal(0, 0.003, x.shape))[:, :, None]
    else:
        bars = np.repeat(random.uniform(0, 255, (COUNT, 1, 8, 3)), 12, axis=2) * np.ones((1, 96, 1, 1))
        x = np.where(second[:, :, None, None], bars, random.uniform(0, 30, (COUNT, 96, 96, 3)))
    return x.astype(np.float32), y.astype(np.int64)


def main(folder: Path) -> None:
    import keras
    from keras import layers

    bodies = {
        "power": [layers.Rescaling(1e-4), layers.Flatten()],
        "tilt": [layers.Rescaling(0.1), layers.Flatten()],
        "sound": [layers.Conv1D(4, 16, strides=8, activation="relu"), layers.GlobalMaxPooling1D()],
        "camera": [layers.Rescaling(1 / 255), layers.AveragePooling2D(24), layers.Flatten()],
    }
    for kind, body in bodies.items():
        keras.utils.set_random_seed(3)
        x, y = data(kind)
        end = [layers.Dense(8, activation="relu"), layers.Dense(2, activation="softmax")]
        model = keras.Sequential([layers.Input(x.shape[1:]), *body, *end])
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, epochs=30, verbose=0)
        assert model.evaluate(x, y, verbose=0)[1] > 0.97, kind
        model.save(folder / f"{kind}.keras")
        np.savez(folder / f"{kind}.npz", x=x, y=y, classes=np.array(CLASSES[kind]))
        if kind in STREAMS:
            (folder / f"{kind}.toml").write_text(STREAMS[kind])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
