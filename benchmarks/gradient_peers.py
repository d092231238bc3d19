"""One training step of a softmax head, by each library: what `gradient_step` measures. Run by it, in processes.

    python -m benchmarks.gradient_peers PEER SIZE [TFLITE_FILE]

prints ``ready`` (or ``missing REASON``), then for every line N on its input the microseconds per step of N steps.
A peer is a function that makes N steps; ours makes them in one call, as its own interface has it.
Each peer gets the same 1,024 rows, 10 classes, batches of 32 in a fixed order, float32, in the layout it likes best,
prepared outside the clock. One thread each.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import ctypes
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import Float32, Int64

ROWS, BATCH, CLASSES, RATE = 1024, 32, 10, 0.01
BATCHES = ROWS // BATCH
Steps = Callable[[int], Any]


def batch_slices() -> Iterator[slice]:
    """The rows of each batch, epoch after epoch."""
    return itertools.cycle([slice(start, start + BATCH) for start in range(0, ROWS, BATCH)])


def one_by_one(step: Callable[[], Any]) -> Steps:
    """Steps as a loop, for a library that makes one at a time."""

    def run(count: int) -> None:
        for _ in range(count):
            step()

    return run


def data(size: int) -> tuple[Float32, Int64]:
    """Features float32 (1024, size) about as large as codes / 127, and labels int64 (1024,)."""
    random = np.random.default_rng(0)
    return random.normal(0, 0.3, (ROWS, size)).astype(np.float32), random.integers(0, CLASSES, ROWS)


def ours(size: int, optimizer: str) -> Steps:
    """The library's step on a prepared epoch: features with their ones, one-hot labels class-major."""
    from headway.maths import Descent, DescentSettings, Optimizer

    x, y = data(size)
    extended = np.concatenate([x, np.ones((ROWS, 1), np.float32)], axis=1)
    one_hot = np.eye(CLASSES, dtype=np.float32)[y]
    batches = [(extended[s : s + BATCH], np.ascontiguousarray(one_hot[s : s + BATCH].T)) for s in range(0, ROWS, BATCH)]
    settings = DescentSettings(optimizer=Optimizer(optimizer), learning_rate=RATE)
    descent = Descent(np.zeros((CLASSES, size + 1), np.float32), settings, BATCH)
    epochs = itertools.cycle(batches)
    return lambda count: descent.run(itertools.islice(epochs, count))


def ours_on_device(size: int) -> Steps:
    """What a device does for a label: draw 31 rehearsed int8 rows, convert, step with momentum, remember the row."""
    from edge_agent.learner.gradient import GradientTrainer
    from edge_agent.learner_settings import LearnerSettings
    from headway.bundle import Backbone, TrainingRows, Variant
    from headway.maths import FeatureMap, Head, HeadInput, HeadKind, Preprocessing, Statistics

    x, y = data(size)
    codes = np.clip(np.rint(x * 127), -127, 127).astype(np.int8)
    classes = tuple(map(str, range(CLASSES)))
    features = FeatureMap(size, np.ones(size, np.float32))
    head = Head(np.zeros((size, CLASSES), np.float32), np.zeros(CLASSES, np.float32), HeadKind.SOFTMAX, classes,
                HeadInput.EMBEDDING)  # fmt: skip
    variant = Variant(
        name="step", version="1", release=1,
        backbones=(Backbone("backbone.tflite", "tflite", "float32", True, b"none"),),
        head=head, features=features, preprocessing=Preprocessing((size,), np.zeros(size, np.float32)),
        training_statistics=Statistics.of(codes, y, classes, features.fingerprint("none")),
        probe_inputs=x[:1], probe_embedding=x[:1], buffer=TrainingRows(codes[:400], labels=y[:400]),
    )  # fmt: skip
    settings = replace(LearnerSettings(), batch_rows=BATCH, steps_per_label=1)
    trainer = GradientTrainer(variant, settings)
    rows = itertools.cycle(range(ROWS))
    return one_by_one(lambda: trainer.learn(codes[(row := next(rows)) : row + 1], y[row : row + 1]))


def scikit_learn(size: int) -> Steps:
    from sklearn.linear_model import SGDClassifier

    x, y = data(size)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=RATE, alpha=0.0)
    model.partial_fit(x[:BATCH], y[:BATCH], classes=np.arange(CLASSES))
    batches = batch_slices()
    return one_by_one(lambda: model.partial_fit(x[rows := next(batches)], y[rows]))


def river(size: int) -> Steps:
    """One `learn_one` per row: this model has no mini-batches."""
    from river.linear_model import SoftmaxRegression
    from river.optim import SGD

    x, y = data(size)
    rows = [dict(enumerate(row)) for row in x.tolist()]
    labels = y.tolist()
    model = SoftmaxRegression(SGD(RATE))

    batches = batch_slices()

    def step() -> None:
        for row in range(*next(batches).indices(ROWS)):
            model.learn_one(rows[row], labels[row])

    return one_by_one(step)


def torch(size: int, optimizer: str) -> Steps:
    import torch as library

    library.set_num_threads(1)
    x, y = data(size)
    features, labels = library.from_numpy(x), library.from_numpy(y)
    layer, loss = library.nn.Linear(size, CLASSES), library.nn.CrossEntropyLoss()
    kinds = {
        "sgd": lambda p: library.optim.SGD(p, lr=RATE),
        "momentum": lambda p: library.optim.SGD(p, lr=RATE, momentum=0.9),
        "adam": lambda p: library.optim.Adam(p, lr=RATE),
    }
    rule = kinds[optimizer](layer.parameters())

    batches = batch_slices()

    def step() -> None:
        rows = next(batches)
        rule.zero_grad()
        loss(layer(features[rows]), labels[rows]).backward()
        rule.step()

    return one_by_one(step)


def keras(size: int, optimizer: str) -> Steps:
    import keras as library

    x, y = data(size)
    model = library.Sequential([library.Input((size,)), library.layers.Dense(CLASSES)])
    kinds = {
        "sgd": lambda: library.optimizers.SGD(RATE),
        "momentum": lambda: library.optimizers.SGD(RATE, momentum=0.9),
        "adam": lambda: library.optimizers.Adam(RATE),
    }
    model.compile(kinds[optimizer](), library.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = batch_slices()
    return one_by_one(lambda: model.train_on_batch(x[rows := next(batches)], y[rows]))


def trainable_tflite(size: int, path: str) -> Steps:
    """The ``train`` signature of a file written by `converter.trainable.trainable`, on LiteRT; it also computes the
    loss.
    """
    from ai_edge_litert.interpreter import Interpreter

    x, y = data(size)
    one_hot = np.eye(CLASSES, dtype=np.float32)[y]
    train = Interpreter(model_path=path, num_threads=1).get_signature_runner("train")
    rate = np.float32(RATE)
    batches = itertools.cycle([(x[rows], one_hot[rows]) for rows in itertools.islice(batch_slices(), BATCHES)])

    def step() -> None:
        features, labels = next(batches)
        train(x=features, y=labels, learning_rate=rate)

    return one_by_one(step)


def extended_data(size: int) -> tuple[Float32, Int64]:
    """The same rows with a one at the end of each."""
    x, y = data(size)
    return np.ascontiguousarray(np.concatenate([x, np.ones((ROWS, 1), np.float32)], axis=1)), y


def native(size: int) -> Steps:
    """A limit: the step in C, for this processor, called through ctypes."""
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/step.so"
        source = str(Path(__file__).with_name("native_step.c"))
        flags = ["-O3", "-march=native", "-ffast-math", "-funroll-loops", f"-DCLASSES={CLASSES}", f"-DBATCH={BATCH}"]
        subprocess.run(["cc", *flags, "-shared", "-fPIC", source, "-lm", "-o", library], check=True)
        loaded = ctypes.CDLL(library)
    x, y = extended_data(size)
    weights = np.zeros((CLASSES, size + 1), np.float32)
    wide, rate = ctypes.c_int(size + 1), ctypes.c_float(RATE)
    to, pointer = weights.ctypes.data_as(ctypes.c_void_p), ctypes.c_void_p
    places = [
        (x[some].ctypes.data_as(pointer), y[some].ctypes.data_as(pointer), some)
        for some in itertools.islice(batch_slices(), BATCHES)
    ]
    batches = itertools.cycle(places)

    def step() -> None:
        rows, labels, _ = next(batches)
        loaded.step(to, rows, labels, wide, rate)

    first = weights.copy()
    step()
    if not np.abs(weights - first).max() > 0:
        raise RuntimeError("the C step changed nothing")
    return one_by_one(step)


def numba(size: int) -> Steps:
    """A limit: the step in NumPy's words, compiled by Numba."""
    from numba import njit

    x, y = extended_data(size)
    one_hot = np.eye(CLASSES, dtype=np.float32)[y]
    weights = np.zeros((CLASSES, size + 1), np.float32)

    def step(w: Float32, rows: Float32, labels: Float32, rate: np.float32) -> None:
        scores = rows @ w.T
        for b in range(rows.shape[0]):
            most = scores[b].max()
            total = np.float32(0)
            for c in range(scores.shape[1]):
                scores[b, c] = np.exp(scores[b, c] - most)
                total += scores[b, c]
            for c in range(scores.shape[1]):
                scores[b, c] = rate * (scores[b, c] / total - labels[b, c])
        w -= scores.T @ rows

    compiled = njit(fastmath=True)(step)
    rate = np.float32(RATE / BATCH)
    batches = batch_slices()

    def run() -> None:
        some = next(batches)
        compiled(weights, x[some], one_hot[some], rate)

    return one_by_one(run)


PEERS: dict[str, Callable[[int, str], Steps]] = {
    "ours, SGD": lambda size, _: ours(size, "sgd"),
    "ours, momentum": lambda size, _: ours(size, "momentum"),
    "ours, Adam": lambda size, _: ours(size, "adam"),
    "ours, on the device": lambda size, _: ours_on_device(size),
    "trainable .tflite, SGD": trainable_tflite,
    "torch, SGD": lambda size, _: torch(size, "sgd"),
    "torch, momentum": lambda size, _: torch(size, "momentum"),
    "torch, Adam": lambda size, _: torch(size, "adam"),
    "Keras, SGD": lambda size, _: keras(size, "sgd"),
    "Keras, Adam": lambda size, _: keras(size, "adam"),
    "scikit-learn, SGD": lambda size, _: scikit_learn(size),
    "river, SGD": lambda size, _: river(size),
    "a limit: C, SGD": lambda size, _: native(size),
    "a limit: Numba, SGD": lambda size, _: numba(size),
}


def main() -> int:
    peer, size, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries may print what they like
    try:
        steps = PEERS[peer](size, path)
        steps(5)
    except (ImportError, FileNotFoundError) as error:  # a compiler may be missing, too
        answers.write(f"missing {error}\n")
        return 0
    answers.write("ready\n")
    for line in sys.stdin:
        count = int(line)
        before_s = time.perf_counter()
        steps(count)
        answers.write(f"{(time.perf_counter() - before_s) / count * 1e6}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
