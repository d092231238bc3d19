"""What others would do with the same features: the peers of the learning benchmark, all over the float embedding.

Each starts from the shipped head (or from the training rows, where a library takes no weights) and then sees the same
labelled rows in the same order as Headway. Step sizes are the usual ones of the field, the same for every task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from edge_agent.pipeline import Features
from headway.arrays import Float32, Int64
from headway.bundle import Variant
from headway.maths import softmax

SGD_RATE, ADAM_RATE = 0.1, 0.01
REPLAY_ROWS = 32
EPOCHS_OF_FEW = 50
BATCH = 32


class Contender(Protocol):
    """Anything that predicts blocks of windows and then learns their labels."""

    def predict(self, features: Features) -> Int64:
        """Classes int64 (n,)."""
        ...

    def learn(self, features: Features, labels: Int64) -> None:
        """A block that was predicted before."""
        ...


class Frozen:
    """The head as shipped."""

    def __init__(self, variant: Variant) -> None:
        self._head = variant.head

    def predict(self, features: Features) -> Int64:
        return np.asarray(self._head.logits(features.embedding).argmax(axis=1), np.int64)

    def probabilities(self, features: Features) -> Float32:
        """As sure as it was when it shipped; float32 (n, C)."""
        return self._head.probabilities(features.embedding)

    def learn(self, features: Features, labels: Int64) -> None:
        """Never."""


class LastLabel:
    """No model: the newest label once more. Where states last and labels come at once, many models are worse."""

    def __init__(self) -> None:
        self._label = 0

    def predict(self, features: Features) -> Int64:
        return np.full(len(features), self._label, np.int64)

    def learn(self, features: Features, labels: Int64) -> None:
        self._label = int(labels[-1])


class LastLayer:
    """Softmax regression on the embedding by SGD or Adam; with `source`, half of each batch is replayed from it.

    epochs: passes over everything taught so far at each call of `learn`; 1 is one step per block of a stream.
    """

    def __init__(
        self,
        variant: Variant,
        adam: bool,
        epochs: int = 1,
        source: tuple[Float32, Int64] | None = None,
        seed: int = 0,
        added: int = 0,
    ) -> None:
        weights = np.vstack([variant.head.kernel, variant.head.bias]).astype(np.float32)
        self._weights = np.hstack([weights, np.zeros((len(weights), added), np.float32)])
        self._adam, self._epochs, self._source = adam, epochs, source
        self._first, self._second = np.zeros_like(self._weights), np.zeros_like(self._weights)
        self._steps = 0
        self._random = np.random.default_rng(seed)

    def predict(self, features: Features) -> Int64:
        return np.asarray((_extended(features.embedding) @ self._weights).argmax(axis=1), np.int64)

    def learn(self, features: Features, labels: Int64) -> None:
        rows = _extended(features.embedding)
        for _ in range(self._epochs):
            order = self._random.permutation(len(rows)) if self._epochs > 1 else np.arange(len(rows))
            for start in range(0, len(rows), BATCH):
                part = order[start : start + BATCH]
                self._step(rows[part], labels[part])

    def _step(self, rows: Float32, labels: Int64) -> None:
        if self._source is not None:
            drawn = self._random.integers(0, len(self._source[1]), REPLAY_ROWS)
            rows = np.vstack([rows, _extended(self._source[0][drawn])])
            labels = np.concatenate([labels, self._source[1][drawn]])
        error = softmax(rows @ self._weights)
        error[np.arange(len(labels)), labels] -= 1
        gradient = rows.T @ error / np.float32(len(rows))
        if not self._adam:
            self._weights -= np.float32(SGD_RATE) * gradient
            return
        self._steps += 1
        self._first += 0.1 * (gradient - self._first)
        self._second += 0.001 * (gradient**2 - self._second)
        step = self._first / (1 - 0.9**self._steps)
        self._weights -= ADAM_RATE * step / (np.sqrt(self._second / (1 - 0.999**self._steps)) + 1e-8)


class ScikitLearn:
    """SGDClassifier(loss="log_loss").partial_fit on standardised embeddings."""

    def __init__(self, source: tuple[Float32, Int64], classes: int, epochs: int = 1) -> None:
        from sklearn.linear_model import SGDClassifier
        from sklearn.preprocessing import StandardScaler

        self._scaler = StandardScaler().fit(source[0])
        self._model = SGDClassifier(loss="log_loss", random_state=0)
        self._epochs = epochs
        for _ in range(5):
            self._model.partial_fit(self._scaler.transform(source[0]), source[1], classes=np.arange(classes))

    def predict(self, features: Features) -> Int64:
        return np.asarray(self._model.predict(self._scaler.transform(features.embedding)), np.int64)

    def learn(self, features: Features, labels: Int64) -> None:
        rows = self._scaler.transform(features.embedding)
        for _ in range(self._epochs):
            self._model.partial_fit(rows, labels)


class River:
    """river: StandardScaler | SoftmaxRegression, one sample at a time."""

    def __init__(self, source: tuple[Float32, Int64], epochs: int = 1) -> None:
        from river import linear_model, optim, preprocessing

        self._model: Any = preprocessing.StandardScaler() | linear_model.SoftmaxRegression(optim.SGD(0.05))
        self._epochs = epochs
        self._fit(source[0], source[1])

    def predict(self, features: Features) -> Int64:
        return np.array([self._model.predict_one(row) or 0 for row in _dicts(features.embedding)], np.int64)

    def learn(self, features: Features, labels: Int64) -> None:
        for _ in range(self._epochs):
            self._fit(features.embedding, labels)

    def _fit(self, embedding: Float32, labels: Int64) -> None:
        for row, label in zip(_dicts(embedding), labels.tolist(), strict=True):
            self._model.learn_one(row, label)


def peers(
    variant: Variant, source: tuple[Float32, Int64], epochs: int, added: int = 0
) -> dict[str, Callable[[], Contender]]:
    """Makers by name. source: embeddings float32 (n, e) of the training rows and their labels int64 (n,).

    added: classes that devices label and the model does not know; the frozen head never names them.
    """
    return {
        "frozen": lambda: Frozen(variant),
        "SGD, last layer": lambda: LastLayer(variant, adam=False, epochs=epochs, added=added),
        "Adam, last layer": lambda: LastLayer(variant, adam=True, epochs=epochs, added=added),
        "Adam + source replay": lambda: LastLayer(variant, adam=True, epochs=epochs, source=source, added=added),
        "scikit-learn partial_fit": lambda: ScikitLearn(source, len(variant.classes) + added, min(epochs, 5)),
        "river softmax": lambda: River(source, min(epochs, 5)),
    }


def _extended(embedding: Float32) -> Float32:
    return np.concatenate([embedding, np.ones((len(embedding), 1), np.float32)], axis=1)


def _dicts(embedding: Float32) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in embedding.tolist()]
