"""Bytes of a gradient update and what fewer of them cost: ours beside Flower's serialisation.

    python -m benchmarks.update_bytes [--seeds 5] [--rounds 15] [--json FILE]

Digits over 1,280 random features, so that an update is 12,810 weights; ten devices with 80 labels each, FedAvg through
what is shipped: `edge_agent.sync.error_feedback`, `headway.wire.Update` encoded and decoded, `aggregator.heads.average`
without a bound on norms. Flower's bytes are those of NumPy's `save`, which is its serialisation
(`benchmarks.round_peers` asks Flower itself, and finds the same number).
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path

import numpy as np

from aggregator.heads import Contribution, average
from aggregator.policy import AveragingPolicy
from benchmarks.attacked_fleets import DIGITS_KNOWN, AttackedFleet, Labelled, digits_rows
from benchmarks.one_class_fleet import accuracy, descended, unit
from edge_agent.sync.error_feedback import ErrorFeedback
from headway.arrays import Float32, Int8
from headway.maths import Statistics
from headway.wire import Precision, Update

FEATURES, DEVICES, LABELS = 1280, 10, 80
RATE, EPOCHS = 0.03, 2
GOAL, COST_MAX = 4.0, 0.1
NAMES = tuple(map(str, range(10)))


def features(codes: Int8, random: np.random.Generator) -> Int8:
    """Rectified random features of pixels, as codes."""
    ways = random.normal(0, 1, (codes.shape[1], FEATURES)).astype(np.float32)
    found = np.maximum(codes.astype(np.float32) / 64 @ ways / 8, 0)
    wide: Int8 = np.clip(np.rint(found * 40), -127, 127).astype(np.int8)
    return wide


def fleet(seed: int) -> AttackedFleet:
    """Ten devices and a test."""
    rows = digits_rows(seed)
    every = Labelled(features(rows.codes, np.random.default_rng(seed)), rows.labels)
    starts = [DIGITS_KNOWN + LABELS * device for device in range(DEVICES)]
    parts = tuple(every[slice(start, start + LABELS)] for start in starts)
    nothing = Statistics.zeros(FEATURES, NAMES, "digits")
    return AttackedFleet("digits", nothing, parts, (every[slice(DIGITS_KNOWN + LABELS * DEVICES, None)],))


def federated(made: AttackedFleet, precision: Precision, rounds: int, seed: int) -> tuple[float, float]:
    """Per cent after the last round, and bytes of an update."""
    random, policy = np.random.default_rng(seed), AveragingPolicy(norm_factor=1e6)
    weights: Float32 = np.zeros((len(NAMES), FEATURES + 1), np.float32)
    owed = [ErrorFeedback() for _ in made.devices]
    rows, sizes = [(unit(part), part.labels) for part in made.devices], []
    for number in range(1, rounds + 1):
        sent = []
        for device, (x, y) in enumerate(rows):
            change = descended(weights, x, y, RATE, EPOCHS, random) - weights
            wanted = owed[device].added(change, precision)
            said = Update(
                f"device-{device}", 1, number, number - 1, len(y), "5" * 64, NAMES, wanted, 7, precision,
                since=len(y) * (number - 1), counter=len(y) * number,
            ).encode()  # fmt: skip
            sizes.append(len(said))
            sent.append(Contribution(Update.decode(said).delta, len(y)))
        weights = average(weights, sent, policy)
    return accuracy(weights, made), float(np.mean(sizes))


def saved_bytes() -> int:
    """What Flower sends for as many weights: `numpy.save` into bytes (flwr.common.parameter, ndarray_to_bytes)."""
    stream = io.BytesIO()
    np.save(stream, np.zeros((len(NAMES), FEATURES + 1), np.float32), allow_pickle=False)
    return len(stream.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    fleets = [fleet(seed) for seed in range(given.seeds)]
    found = {
        precision: [federated(made, precision, given.rounds, seed) for seed, made in enumerate(fleets)]
        for precision in Precision
    }
    theirs = saved_bytes()
    print(f"{given.seeds} seeds, {given.rounds} rounds, load {os.getloadavg()[0]:.1f}; Flower: {theirs:,} bytes")
    table: dict[str, dict[str, float]] = {}
    plain = np.array([right for right, _ in found[Precision.FLOAT32]])
    for precision, each in found.items():
        size, right = float(np.mean([size for _, size in each])), np.array([right for right, _ in each])
        cost = float((plain - right).mean())
        table[precision] = {"bytes": size, "fewer": theirs / size, "per cent": float(right.mean()), "cost": cost}
        goal = f"  goal {GOAL:g} x at {COST_MAX:g}: {'reached' if theirs / size >= GOAL and cost <= COST_MAX else 'no'}"
        print(
            f"{precision:12} {size:9,.0f} bytes  {theirs / size:5.2f} x fewer  {right.mean():.2f} %, {cost:+.2f} lost"
            + (goal if precision is Precision.PACKED else "")
        )
    if given.json is not None:
        given.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
