"""What learning costs with the 1,280 features of a modern backbone: python -m benchmarks.many_features.

One label learned, head refreshed, and what the process grows by, in a fresh process that holds the statistics of the
training data and the labels' codes before it is measured. Times are of the processor, one thread. Beside it, in the
same run: a refit of scikit-learn's linear discriminant analysis on all labels so far, a step of its SGD, and a step of
the trainable .tflite of ours (batch 32). `benchmarks.learner_cost` prints it too.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gradient_step import Worker, start, trainable_file
from edge_agent.learner.exact import ExactTrainer
from headway.arrays import Int8, Int64
from headway.maths import Statistics
from headway.tensors import encode_tensors

SIZE = 1280
CLASSES = 10
# after so many labels it is told what one has cost since the last time
MARKS = (1, 200, 2000, 10000)
ROUNDS = 3


def report() -> None:
    """Prints the table; some minutes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        codes, labels, source = drifting(MARKS[-1], SIZE, CLASSES)
        np.savez(folder / "data.npz", codes=codes, labels=labels, gram=source.gram, class_sums=source.class_sums)
        command = [sys.executable, "-m", "benchmarks.many_features", str(folder / "data.npz")]
        runs = [_child_run(command) for _ in range(ROUNDS)]
        opened = median(run["open_ms"] for run in runs)
        print(f"d={SIZE}, {CLASSES} classes: opened, training data's axes included           {opened:7.1f} ms")
        for index, mark in enumerate(MARKS):
            taken_ms, rss_mb = (median(run["marks"][index][at] for run in runs) for at in (0, 1))
            words = f"one label learned, head refreshed, up to {mark:6,d} labels"
            print(f"  {words}         {taken_ms:7.2f} ms {rss_mb:+6.1f} MB")
        print(f"  state on disk after {MARKS[-1]:,} labels                          {runs[0]['state_mb']:7.1f} MB")
        _scikit_learn(codes, labels)
        path = trainable_file(SIZE, folder)
        worker = start("trainable .tflite, SGD", SIZE, [sys.executable], path) if path else "no Keras here"
        if isinstance(worker, Worker):
            steps_us = [worker.measure(50) for _ in range(ROUNDS)]
            worker.stop()
            print(f"  trainable .tflite, one step of SGD, batch 32                  {1e-3 * median(steps_us):7.2f} ms")
        else:
            print(f"  trainable .tflite: missing, {worker}")


def _child_run(command: list[str]) -> dict[str, Any]:
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    run: dict[str, Any] = json.loads(output)
    return run


def drifting(count: int, size: int, classes: int) -> tuple[Int8, Int64, Statistics]:
    """Codes of drifting Gaussian classes, and source tables of others from the same classes."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 20, (classes, size))
    labels = random.integers(0, classes, count)
    drift = np.linspace(0, 10, count)[:, None] * random.normal(0, 1, size)
    noise = random.normal(0, 25, (count, size))
    codes = np.clip(np.rint(centres[labels] + drift + noise), -127, 127).astype(np.int8)
    before = random.integers(0, classes, 2000)
    clean = np.clip(np.rint(centres[before] + random.normal(0, 25, (2000, size))), -127, 127).astype(np.int8)
    names = tuple(map(str, range(classes)))
    return codes, labels, Statistics.of(clean, before, names, "s")


def _scikit_learn(codes: Int8, labels: Int64) -> None:
    if not find_spec("sklearn"):
        print("  scikit-learn: missing")
        return
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import SGDClassifier

    rows = codes[:2000].astype(np.float64) / 127
    for count in (200, 2000):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.02)
        begun = time.process_time()
        model.fit(rows[:count], labels[:count])
        taken_ms = 1e3 * (time.process_time() - begun)
        print(f"  scikit-learn, discriminant analysis refitted on {count:5,d} labels   {taken_ms:7.2f} ms")
    sgd = SGDClassifier(loss="log_loss")
    sgd.partial_fit(rows[:64], labels[:64], classes=np.arange(CLASSES))
    begun = time.process_time()
    for row in range(200):
        sgd.partial_fit(rows[row : row + 1], labels[row : row + 1])
    print(
        f"  scikit-learn, SGDClassifier.partial_fit                       {5 * (time.process_time() - begun):7.2f} ms"
    )


def _resident_mb() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


def child(path: str) -> None:
    """Learns in this process; a line of JSON."""
    data = np.load(path)
    codes, labels = data["codes"], data["labels"]
    source = Statistics(data["gram"], data["class_sums"], tuple(map(str, range(CLASSES))), "s")
    before_mb, begun = _resident_mb(), time.process_time()
    trainer = ExactTrainer(source)
    open_ms = 1e3 * (time.process_time() - begun)
    marks: list[tuple[float, float]] = []
    learned = 0
    for mark in MARKS:
        begun = time.process_time()
        for row in range(learned, mark):
            trainer.learn(codes[row : row + 1], labels[row : row + 1])
            trainer.candidates()
        marks.append((1e3 * (time.process_time() - begun) / (mark - learned), _resident_mb() - before_mb))
        learned = mark
    state_mb = len(encode_tensors(*trainer.state())) / 1e6
    print(json.dumps({"open_ms": open_ms, "marks": marks, "state_mb": state_mb}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child(sys.argv[1])
    else:
        report()
