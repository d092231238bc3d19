"""Train the demo's small 1D-CNN; a program of its own, so that TensorFlow's memory goes away with it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np

from demo import watch

EPOCHS, BATCH = 15, 64


def train(training: watch.Windows, class_count: int, seed: int) -> object:
    """A 1D-CNN with a 64-d embedding. training.x: float32 (n, 100, 6) -> a fitted keras.Model."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    mean, variance = training.x.mean(axis=(0, 1)), training.x.var(axis=(0, 1))
    model = keras.Sequential(
        [
            layers.Input((watch.WINDOW, training.x.shape[2])),
            layers.Normalization(mean=mean, variance=variance),
            layers.Conv1D(32, 7, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(64, 5, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(64, 5, padding="same", activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(64, activation="relu", name="embedding"),
            layers.Dropout(0.3),
            layers.Dense(class_count, activation="softmax"),
        ],
        name="watch",
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(training.x, training.y, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where watch.keras and train.npz are written")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    training, _, classes = watch.load()
    np.savez(options.folder / "train.npz", x=training.x, y=training.y, classes=np.array(classes))
    train(training, len(classes), options.seed).save(options.folder / "watch.keras")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
