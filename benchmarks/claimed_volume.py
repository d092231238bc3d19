"""What a device gains by claiming more samples than it has: python -m benchmarks.claimed_volume.

Handwritten digits (scikit-learn), 64 codes, accuracies in per cent on samples that nobody learned. First, in a fleet of
ten with 80 samples each, one device rotates its labels and claims its samples so many times, with the bound on what a
device may weigh and without. Then the same in a fleet that averages gradient updates, where the tenth replaces the
model. Last, what the bound costs honest fleets.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from aggregator.heads import Contribution, average, weighed
from aggregator.policy import AveragingPolicy, Weighing
from benchmarks.datasets import digits
from headway.arrays import Float32, Int8, Int64
from headway.bundle import head_over_codes, weights_over_unit_codes
from headway.maths import Head, Statistics, fleet_head, predicted_class

DEVICES, SAMPLES = 10, 80
FACTORS = (1, 2, 10, 100, 10_000, 10**8)
CLAIMS = (1, 10, 2**36)
# samples of the devices of honest fleets
FLEETS = {
    "ten alike": [80] * 10,
    "ten by Zipf": [350 // rank for rank in range(1, 11)],
    "one": [400],
    "two": [400, 20],
    "three": [400, 40, 4],
    "one busy among four idle": [600, 10, 10, 10, 10],
}
BOUND, UNBOUND = Weighing(), Weighing(samples_max=10_000_000, devices_min=0)
SEEDS = 10
CLASSES = tuple(str(digit) for digit in range(10))
ROUNDS, BATCH, PASSES, RATE = 15, 16, 4, 0.5


class Data:
    """Digits as int8 codes (n, 64) and labels (n,), in an order of their own for each seed."""

    def __init__(self, seed: int) -> None:
        rows = digits()
        order = np.random.default_rng(seed).permutation(len(rows.y))
        pixels = rows.x.reshape(len(rows.x), -1)[order]
        self.codes: Int8 = np.clip(np.rint((pixels - 4.9) * 127 / 11.2), -127, 127).astype(np.int8)
        self.labels: Int64 = rows.y[order]

    def tables(self, rows: slice, rotated: bool = False) -> Statistics:
        labels = (self.labels[rows] + rotated) % 10
        return Statistics.of(self.codes[rows], labels, CLASSES, "digits")

    def accuracy(self, head: Head, start: int) -> float:
        """On the rows from `start`."""
        found = predicted_class(head.logits(self.codes[start:].astype(np.float32)))
        return 100.0 * float((found == self.labels[start:]).mean())


def main() -> int:
    data = [Data(seed) for seed in range(SEEDS)]
    print("exact: one of ten rotates its labels and claims them")
    for factor in FACTORS:
        bounded, unbounded = (np.mean([claimed(part, factor, how) for part in data]) for how in (BOUND, UNBOUND))
        print(f"  {factor:>11,} times   bound {bounded:5.1f}   without {unbounded:5.1f}", flush=True)
    print(f"gradient: one of ten replaces the model; ten honest {np.mean([averaged(part, 0) for part in data]):.1f}")
    for factor in CLAIMS:
        print(
            f"  {factor:>14,} times its samples   {np.mean([averaged(part, factor) for part in data]):5.1f}", flush=True
        )
    print("exact, honest fleets: samples of each device")
    for name, counts in FLEETS.items():
        bounded, unbounded = (np.mean([honest(part, counts, how) for part in data]) for how in (BOUND, UNBOUND))
        print(f"  {name:<26} bound {bounded:5.1f}   without {unbounded:5.1f}   {counts}", flush=True)
    return 0


def claimed(data: Data, factor: int, weighing: Weighing) -> float:
    """Accuracy of the head of nine honest devices and one that claims `factor` times its rotated samples."""
    source, start = data.tables(slice(200)), 200
    parts = {}
    for number in range(DEVICES):
        rows = slice(start + SAMPLES * number, start + SAMPLES * (number + 1))
        parts[str(number)] = data.tables(rows, rotated=number == DEVICES - 1)
    liar = parts[str(DEVICES - 1)]
    loud = replace(liar, gram=liar.gram * factor, class_sums=liar.class_sums * factor)
    parts[str(DEVICES - 1)] = loud
    return data.accuracy(fleet_head(source, weighed(parts, source, weighing)), start + SAMPLES * DEVICES)


def honest(data: Data, counts: list[int], weighing: Weighing) -> float:
    """Accuracy of the head of a fleet whose devices have so many samples; 60 were the training data."""
    source, start = data.tables(slice(60)), 60
    parts = {}
    for number, count in enumerate(counts):
        parts[str(number)] = data.tables(slice(start, start + count))
        start += count
    return data.accuracy(fleet_head(source, weighed(parts, source, weighing)), 1200)


def averaged(data: Data, factor: int) -> float:
    """Accuracy after rounds of one update per device; the tenth is a rotated model for its 16 samples, claimed so many
    times; 0: it is honest."""
    source = data.tables(slice(200))
    first = weights_over_unit_codes(fleet_head(source, Statistics.zeros(64, CLASSES, "digits"))) * np.float32(0.05)
    features = np.hstack([data.codes / np.float32(127.0), np.ones((len(data.codes), 1), np.float32)])
    weights, policy = first, AveragingPolicy()
    for turn in range(ROUNDS):
        contributions = []
        for number in range(DEVICES):
            rows = 200 + SAMPLES * number + (np.arange(BATCH) + BATCH * turn) % SAMPLES
            delta = _descended(weights, features[rows], data.labels[rows]) - weights
            contributions.append(Contribution(delta, BATCH))
        if factor:
            contributions[-1] = Contribution(np.roll(first, 1, axis=0) - weights, BATCH * factor)
        weights = average(weights, contributions, policy)
    return data.accuracy(head_over_codes(weights, CLASSES), 200 + SAMPLES * DEVICES)


def _descended(weights: Float32, features: Float32, labels: Int64) -> Float32:
    """Plain steps of softmax regression, one sample at a time."""
    moved = weights.astype(np.float64)
    for row, label in [*zip(features, labels.tolist(), strict=True)] * PASSES:
        logits = moved @ row
        share = np.exp(logits - logits.max())
        share /= share.sum()
        share[label] -= 1.0
        moved -= RATE / BATCH * np.outer(share, row)
    return moved.astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
