"""One gradient step on a head of 10 classes, batch 32, features in memory, one thread: ours against every peer.

    python -m benchmarks.gradient_step [--python PATH ...] [--rounds N] [--out FILE]

Each peer runs in a process of its own and all take short turns, round by round, so that a busy machine is unfair to
nobody. A figure is the median over the rounds, a ratio the median of the ratios within each round. --python names
further environments in which to look for peers that this one lacks (torch and river need not live beside TensorFlow).
A peer found nowhere is named as missing.

C (`native_step.c`) and Numba are no peers but limits: what a step compiled for this processor takes.

Goal: the fastest of all at every size, like with like: our SGD, momentum and Adam against theirs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.gradient_peers import CLASSES, PEERS

SIZES = (64, 256, 1280)
CHUNK_S = 0.01
STEPS_MAX = 1000
# no peers: what the machine could do, were the step compiled for it
LIMIT = "a limit: "


@dataclass(slots=True)
class Worker:
    """A peer that is ready. chunk: steps per turn, about `CHUNK_S` long."""

    process: subprocess.Popen[str]
    chunk: int = 1

    def measure(self, steps: int) -> float:
        """Microseconds per step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def start(peer: str, size: int, pythons: list[str], tflite: str) -> Worker | str:
    """The peer in the first environment that has it, else why it is missing."""
    reason = ""
    for python in pythons:
        process = subprocess.Popen(
            [python, "-m", "benchmarks.gradient_peers", peer, str(size), tflite],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        word = process.stdout.readline().strip()
        if word == "ready":
            worker = Worker(process)
            first_us = worker.measure(1)
            worker.chunk = max(1, min(STEPS_MAX, int(CHUNK_S * 1e6 / first_us)))
            return worker
        process.communicate()
        reason = word.removeprefix("missing ") or f"failed with exit code {process.returncode}"
    return reason


def trainable_file(size: int, folder: Path) -> str:
    """A trainable .tflite whose backbone passes its input through; empty when it cannot be written here."""
    try:
        import keras

        from converter.export import Exporter
        from converter.sources import KerasSource
        from converter.trainable import export_trainable
    except ImportError:
        return ""
    inputs = keras.Input((size,))
    outputs = keras.layers.Dense(CLASSES, activation="softmax")(keras.layers.Activation("linear")(inputs))
    source = KerasSource(keras.Model(inputs, outputs))
    path = folder / f"step-{size}.tflite"
    with Exporter() as exporter:  # its input needs no preprocessing, and the others get none
        head = source.weights.head(tuple(map(str, range(CLASSES))))
        path.write_bytes(export_trainable(source, head, None, exporter))
    return str(path)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one size: microseconds per step in each round by peer, and why others are missing."""

    times: dict[str, list[float]]
    missing: dict[str, str]

    def step_us(self, peer: str) -> float:
        return median(self.times[peer])

    def ratio(self, peer: str) -> float | None:
        """How many times our step with the same rule, None for our own and where there is none."""
        mine = f"ours, {peer.rpartition(', ')[2]}"
        if peer.startswith("ours") or mine not in self.times:
            return None
        return median(theirs / ours for theirs, ours in zip(self.times[peer], self.times[mine], strict=True))


def measure(size: int, pythons: list[str], rounds: int, tflite: str) -> Figures:
    """All peers that are found, in turns."""
    missing: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    for peer in PEERS:
        worker = start(peer, size, pythons, tflite)
        if isinstance(worker, Worker):
            workers[peer] = worker
        else:
            missing[peer] = worker
    times: dict[str, list[float]] = {peer: [] for peer in workers}
    for _ in range(rounds):
        for peer, worker in workers.items():
            times[peer].append(worker.measure(worker.chunk))
    for worker in workers.values():
        worker.stop()
    return Figures(times, missing)


def shortfalls(results: dict[int, Figures]) -> list[str]:
    """Where a peer is as fast as our step with the same rule."""
    ratios = [(size, peer, figures.ratio(peer)) for size, figures in results.items() for peer in figures.times]
    return [
        f"d = {size}: {peer} takes {ratio:.2f} times our step"
        for size, peer, ratio in ratios
        if ratio is not None and ratio <= 1.0 and not peer.startswith(LIMIT)
    ]


def table(results: dict[int, Figures]) -> str:
    """Microseconds per step, and in brackets how many times our step with the same rule."""
    lines = [f"{'us per step (ratio to ours)':<28}" + "".join(f"{f'd = {size}':>22}" for size in results)]
    for peer in PEERS:
        cells = []
        for figures in results.values():
            if peer in figures.missing:
                cells.append("missing")
                continue
            ratio = figures.ratio(peer)
            cells.append(f"{figures.step_us(peer):,.1f}" + (f" ({ratio:,.2f} x)" if ratio is not None else ""))
        lines.append(f"{peer:<28}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], help="interpreter of a further environment")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each peer (default 60)")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="gradient-step-") as scratch:
        for size in options.sizes:
            tflite = trainable_file(size, Path(scratch))
            results[size] = measure(size, [sys.executable, *options.python], options.rounds, tflite)
    print(table(results))
    for peer, reason in {peer: why for figures in results.values() for peer, why in figures.missing.items()}.items():
        print(f"missing: {peer}: {reason}")
    for line in shortfalls(results) or ["ours is the fastest of all that were measured, rule by rule, at every size"]:
        print(line)
    if options.out is not None:
        options.out.write_text(
            json.dumps(
                {
                    "numpy": np.__version__,
                    "step_us": {s: {peer: f.step_us(peer) for peer in f.times} for s, f in results.items()},
                    "ratio": {s: {peer: f.ratio(peer) for peer in f.times} for s, f in results.items()},
                    "missing": {s: f.missing for s, f in results.items()},
                },
                indent=2,
            )
            + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
