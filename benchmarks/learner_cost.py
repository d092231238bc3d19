"""What learning costs on one core, features in memory: python -m benchmarks.learner_cost.

one label learned, head refreshed   d = 321, 10 classes, a stream of labels; amortised, the solves included
fit 1,024 rows                      d = 256, 16 classes; integer tables and one solve, against a grid of SGD fits
state on disk                       d = 65, 10 classes, 30 time buckets
with 1,280 features                 time of one label, growth of the process: `benchmarks.many_features`
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks import many_features
from benchmarks.many_features import drifting
from benchmarks.stream import Stream
from edge_agent.learner import HeadLearner
from edge_agent.learner.exact import ExactTrainer
from edge_agent.learner_settings import LearnerSettings
from headway.arrays import Int64
from headway.maths import Posterior, Statistics, TrainingPrior
from headway.tensors import encode_tensors

STREAM_LABELS = 4096
WHOLE_LABELS = 2048
ROUNDS = 5
SGD_GRID = (0.01, 0.1, 1.0)


def main() -> int:
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, one thread; medians")
    _one_label()
    _whole_label()
    _fit()
    _state()
    many_features.report()
    return 0


def _one_label() -> None:
    codes, labels, source = drifting(STREAM_LABELS, 321, 10)
    ours: list[float] = []
    for _ in range(ROUNDS):
        trainer = ExactTrainer(source)
        start = time.perf_counter()
        for row in range(STREAM_LABELS):
            trainer.learn(codes[row : row + 1], labels[row : row + 1])
            trainer.candidates()
        ours.append((time.perf_counter() - start) / STREAM_LABELS)
    print(f"one label learned, head refreshed, d=321, first {STREAM_LABELS} labels   {1e3 * _median(ours):7.3f} ms")
    trainer = ExactTrainer(source)
    trainer.learn(codes, labels)
    later: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for row in range(STREAM_LABELS):
            trainer.learn(codes[row : row + 1], labels[row : row + 1])
            trainer.candidates()
        later.append((time.perf_counter() - start) / STREAM_LABELS)
    print(f"  the same, the next {STREAM_LABELS} labels                             {1e3 * _median(later):7.3f} ms")
    if importlib.util.find_spec("sklearn"):
        from sklearn.linear_model import SGDClassifier

        model = SGDClassifier(loss="log_loss")
        rows = codes.astype(np.float32) / 127
        model.partial_fit(rows[:64], labels[:64], classes=np.arange(10))
        print(f"  scikit-learn SGDClassifier.partial_fit                       {_sklearn(model, rows, labels):7.3f} ms")
    if importlib.util.find_spec("river"):
        from river import linear_model

        softmax = linear_model.SoftmaxRegression()
        samples = [dict(enumerate(values)) for values in (codes[:200].astype(np.float32) / 127).tolist()]
        start = time.perf_counter()
        for sample, label in zip(samples, labels[:200].tolist(), strict=True):
            softmax.learn_one(sample, label)
        taken_ms = 1e3 * (time.perf_counter() - start) / 200
        print(f"  river SoftmaxRegression.learn_one (no solve)                 {taken_ms:7.3f} ms")


def _whole_label() -> None:
    """All that a device does with a label, but for its store: predict, score every head, learn, gate, doubt."""
    stream = Stream(321, 10)
    x, labels = stream.windows(WHOLE_LABELS, 1)
    features = stream.features(x)
    learner = HeadLearner(stream.variant, LearnerSettings())
    start = time.perf_counter()
    for row, label in enumerate(labels.tolist()):
        one = features.rows(row, row + 1)
        learner.learn(one, label, learner.predict(one))
    taken_ms = 1e3 * (time.perf_counter() - start) / WHOLE_LABELS
    print(f"  predicted, scored, learned and gated, first {WHOLE_LABELS} labels          {taken_ms:7.3f} ms")


def _sklearn(model: object, rows: object, labels: Int64) -> float:
    fit: Callable[..., object] = model.partial_fit  # type: ignore[attr-defined]
    start = time.perf_counter()
    for row in range(500):
        fit(rows[row : row + 1], labels[row : row + 1])  # type: ignore[index]
    return 1e3 * (time.perf_counter() - start) / 500


def _fit() -> None:
    codes, labels, source = drifting(1024, 256, 16)
    prior = TrainingPrior.of(source)
    ours: list[float] = []
    theirs: list[float] = []
    rows = codes.astype(np.float32) / 127
    for _ in range(4 * ROUNDS):
        start = time.perf_counter()
        Posterior(prior, Statistics.of(codes, labels, source.classes, "s"), 2.0).head()
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        for rate in SGD_GRID:
            _sgd(rows, labels, rate)
        theirs.append(time.perf_counter() - start)
    print(f"fit 1,024 rows, d=256, 16 classes                              {1e3 * _median(ours):7.3f} ms")
    print(
        f"  SGD in NumPy, a grid of {len(SGD_GRID)} rates, 10 passes each              {1e3 * _median(theirs):7.3f} ms"
    )


def _sgd(rows: object, labels: Int64, rate: float) -> None:
    from headway.maths import softmax

    x = np.asarray(rows)
    weights = np.zeros((x.shape[1], 16), np.float32)
    for _ in range(10):
        for start in range(0, len(x), 32):
            part = x[start : start + 32]
            error = softmax(part @ weights)
            error[np.arange(len(part)), labels[start : start + 32]] -= 1
            weights -= np.float32(rate / len(part)) * (part.T @ error)


def _state() -> None:
    codes, labels, source = drifting(64 * 30, 65, 10)
    trainer = ExactTrainer(source)
    trainer.learn(codes, labels)
    tensors, values = trainer.state()
    size = len(encode_tensors(tensors, values))
    print(f"learner state, d=65, 10 classes, 30 buckets                    {size / 1e6:7.3f} MB")


def _median(values: list[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    sys.exit(main())
