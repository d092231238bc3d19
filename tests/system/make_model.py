"""A small untrained 1D-CNN and data of its shape: python -m tests.system.make_model FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.optional import import_frameworks

SHAPE = (20, 3)
CLASSES = ("idle", "walk", "run", "fall")


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows whose class shows in their means; x float32 (n, 20, 3), y int64 (n,)."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % len(CLASSES)
    centres = np.random.default_rng(7).normal(0, 1.5, (len(CLASSES), 1, SHAPE[1]))
    x = centres[y] + random.normal(0, 0.6, (count, *SHAPE))
    return x.astype(np.float32), y.astype(np.int64)


def main(folder: Path) -> None:
    import_frameworks()
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    x, y = data(400, seed=1)
    model = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv1D(8, 3, activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(12, activation="relu"),
            layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=3, verbose=0)
    model.save(folder / "tiny.keras")
    np.savez(folder / "train.npz", x=x, y=y, classes=np.array(CLASSES))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
