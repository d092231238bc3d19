"""Small Keras models for the tasks, trained and converted once per seed; bundles are kept in .cache/benchmarks."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from benchmarks.tasks import Task
from headway.bundle import Variant, read_variant

CACHE = Path(".cache/benchmarks")
EMBEDDING = 64


def bundle(task: Task, seed: int) -> Variant:
    """The task's model, trained with `seed`, as a device gets it: with the converter's defaults, rows standardised."""
    path = CACHE / f"{task.model}-{seed}-{_fingerprint(task)}.hwb"
    if not path.exists():
        from converter import Options, convert

        CACHE.mkdir(parents=True, exist_ok=True)
        model = trained(task, seed)
        model.save(path.with_suffix(".keras"))
        data = (task.training.x, task.training.y, task.classes)
        convert(model, data, Options(name=task.model, standardise=task.tabular), out=path)
    return read_variant(path)


def keras_model(task: Task, seed: int) -> Any:
    """The Keras model behind `bundle`; for tabular tasks it takes standardised values."""
    import keras

    bundle(task, seed)
    return keras.models.load_model(CACHE / f"{task.model}-{seed}-{_fingerprint(task)}.keras")


def trained(task: Task, seed: int) -> Any:
    """A classifier with a 64-d embedding: convolutional over windows and images, dense over rows."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    x, y = task.training.x, task.training.y
    if task.tabular:
        mean, deviation = x.mean(axis=0, dtype="float64"), x.std(axis=0, dtype="float64")
        x = ((x - mean) / (deviation + 1e-12)).astype("float32")
        body = [layers.Dense(128, activation="relu")]
        epochs = 60 if len(x) < 2000 else 10
    elif x.ndim == 3:
        body = [
            layers.Normalization(mean=x.mean(axis=(0, 1)), variance=x.var(axis=(0, 1))),
            layers.Conv1D(32, 7, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(64, 5, padding="same", activation="relu"),
            layers.MaxPooling1D(2),
            layers.Conv1D(64, 5, padding="same", activation="relu"),
            layers.GlobalAveragePooling1D(),
        ]
        epochs = 15
    else:
        body = [
            layers.Rescaling(1 / 16),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
        ]
        epochs = 20
    tail = [
        layers.Dense(EMBEDDING, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(len(task.classes), activation="softmax"),
    ]
    model = keras.Sequential([layers.Input(x.shape[1:]), *body, *tail], name=task.model.split("-")[0])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return model


def _fingerprint(task: Task) -> str:
    """Changes with the training rows and with this file, so that a stale bundle is never used."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(task.training.x.tobytes() + task.training.y.tobytes())
    return digest.hexdigest()[:12]
