"""The upper reference of the learning benchmark: the whole network fine-tuned, every labelled row kept and replayed."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.datasets import Rows
from benchmarks.tasks import Device, Task
from headway.arrays import Float32, Int64

RATE = 1e-3
EPOCHS_OF_FEW, REFIT_ROWS = 30, 256


class FullNetwork:
    """Adam on all weights over the training rows and everything taught so far, from raw windows."""

    def __init__(self, model: Any, task: Task) -> None:
        import keras

        self._model = keras.models.clone_model(model)
        self._model.set_weights(model.get_weights())
        self._model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy")
        self._task = task
        x = task.training.x
        self._mean = x.mean(axis=0, dtype=np.float64) if task.tabular else np.zeros(1)
        self._deviation = x.std(axis=0, dtype=np.float64) + 1e-12 if task.tabular else np.ones(1)

    def predict(self, x: Float32) -> Int64:
        return np.asarray(self._model(self._scaled(x), training=False).numpy().argmax(axis=1), np.int64)

    def fit(self, rows: Rows, epochs: int) -> None:
        x = np.concatenate([self._task.training.x, rows.x])
        y = np.concatenate([self._task.training.y, rows.y])
        self._model.fit(self._scaled(x), y, epochs=epochs, batch_size=64, verbose=0)

    def run(self, device: Device) -> dict[str, float]:
        """Accuracies of one device, as `benchmarks.learning` scores them."""
        if not self._task.prequential:
            self.fit(device.taught, EPOCHS_OF_FEW)
            return {name: float((self.predict(rows.x) == rows.y).mean()) for name, rows in device.tests.items()}
        right = 0
        for start in range(0, len(device.taught), REFIT_ROWS):
            part = device.taught[start : start + REFIT_ROWS]
            right += int((self.predict(part.x) == part.y).sum())
            self.fit(device.taught[: start + REFIT_ROWS], 2)
        return {"prequential": right / len(device.taught)}

    def _scaled(self, x: Float32) -> Float32:
        return np.asarray((x - self._mean) / self._deviation, np.float32)
