"""What noise on rounds of averages costs in accuracy: python -m benchmarks.privacy_rounds [--data FOLDER] [--seeds N].

Fleets of ten, a hundred and a thousand devices with `LABELS` labels each, drawn with replacement from the labels of
`benchmarks.averaging_fleets` (digits, watch, gas, breast, wine), so that all sizes have the same people and sensors.
In each of `ROUNDS` rounds every device sends one update, as in `benchmarks.attacks_gradient`; all rounds together
spend epsilon at delta 1e-6 for whole devices. Accuracy in per cent of the last head on windows that nobody learned.

    frozen          the head of the training data
    without noise   FedAvg of the same rounds
    epsilon         the aggregator's rounds (`aggregator.heads.private_rounds`) with its shipped clip_norm
    peer            DP-FedAvg as Flower and TensorFlow Federated have it: the same noise on the mean, the number of
                    devices known and not hidden, updates shortened to the median of a first round that costs nothing
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aggregator.heads.averaging import Contribution, gathered, mean_of, weights_of
from aggregator.heads.privacy_budget import PrivacyBudget, multiplier
from aggregator.heads.private_rounds import PrivateRounds
from aggregator.policy import Method, Policy, Robust
from aggregator.privacy_policy import PrivacyPolicy, Unit
from aggregator.store import MemoryStore
from benchmarks.attacked_fleets import Labelled
from benchmarks.attacks_gradient import BATCH, RATE, STEPS, Run, gradient
from benchmarks.averaging_fleets import AveragingFleet, fleet
from headway.arrays import Float32, Float64, Int8, Int64

LABELS, ROUNDS, DELTA = 20, 30, 1e-6
SIZES, EPSILONS = (10, 100, 1000), (1.0, 3.0, 10.0)
SPACE = "averaging"

# updates of one round, float32 (n, C, D) -> what to add to the weights, float64 (C, D)
Mean = Callable[[Float32], Float64]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy_rounds", description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="with gas_drift_b1-6.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fleets", default="digits,watch")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    options = parser.parse_args()
    print(
        f"load {os.getloadavg()[0]:.1f}; {LABELS} labels a device; {ROUNDS} rounds; {options.seeds} seeds", flush=True
    )
    for name in options.fleets.split(","):
        made = [fleet(name, 10, seed, options.data) for seed in range(options.seeds)]
        for size in map(int, options.sizes.split(",")):
            found: dict[str, list[float]] = {}
            for seed, base in enumerate(made):
                for key, accuracy in measured(base, size, seed).items():
                    found.setdefault(key, []).append(accuracy)
            accuracies = {key: round(float(np.mean(values)), 2) for key, values in found.items()}
            print(json.dumps({"fleet": name, "devices": size, "accuracy": accuracies}), flush=True)
    return 0


def measured(base: AveragingFleet, size: int, seed: int) -> dict[str, float]:
    """Accuracy by how rounds are made."""
    run, devices = drawn(base, size, seed)
    means: dict[str, Mean] = {"without noise": without_noise}
    for epsilon in EPSILONS:
        means[f"epsilon {epsilon:g}"] = private(epsilon, ROUNDS)
        means[f"peer epsilon {epsilon:g}"] = peer(epsilon, np.random.default_rng((seed, 1)))
    found = {"frozen": run.accuracy(run.start)}
    for key, mean in means.items():
        weights, random = run.start, np.random.default_rng((seed, 2))
        for _ in range(ROUNDS):
            weights = np.asarray(weights + mean(devices.updates(weights[None], random)[0]), np.float32)
        found[key] = run.accuracy(weights)
    return found


def drawn(base: AveragingFleet, size: int, seed: int) -> tuple[Run, LocalDescent]:
    """A fleet of so many devices, each with some labels of one of the ten of `base`."""
    random = np.random.default_rng((seed, size))
    few = [base.devices[number % len(base.devices)] for number in range(size)]
    rows = [part[random.integers(0, len(part), LABELS)] for part in few]
    codes, labels = np.stack([part.codes for part in rows]), np.stack([part.labels for part in rows])
    made = replace(base, devices=tuple(rows))
    return Run(made, seed), LocalDescent(unit(codes), labels, unit(base.source.codes), base.source.labels)


@dataclass(frozen=True, slots=True)
class LocalDescent:
    """Honest updates of a fleet, or of several at once. x: float32 (n, labels, D); y: int64 (n, labels); source: of the
    bundle, (m, D) and (m,)."""

    x: Float32
    y: Int64
    source_x: Float32
    source_y: Int64

    def updates(self, weights: Float32, random: np.random.Generator) -> Float32:
        """What each device sends in each of f fleets, which share the devices in turn. weights: float32 (f, C, D), the
        head of each fleet -> float32 (f, n / f, C, D)."""
        count, half = len(self.x), BATCH // 2
        start = np.repeat(weights, count // len(weights), axis=0)
        moving, every = start.copy(), np.arange(count)[:, None]
        for _ in range(STEPS):
            mine = random.integers(0, self.x.shape[1], (count, half))
            theirs = random.integers(0, len(self.source_x), (count, half))
            x = np.concatenate([self.x[every, mine], self.source_x[theirs]], axis=1)
            y = np.concatenate([self.y[every, mine], self.source_y[theirs]], axis=1)
            moving -= RATE * gradient(moving, x, y)
        return np.asarray((moving - start).reshape(len(weights), -1, *weights.shape[1:]), np.float32)


def without_noise(updates: Float32) -> Float64:
    """FedAvg, every device alike."""
    return np.asarray(updates.mean(axis=0, dtype=np.float64))


def private(epsilon: float, rounds: int, clip_norm: float | None = None) -> Mean:
    """The aggregator's rounds, with a budget for so many. clip_norm: by default as shipped."""
    settings = PrivacyPolicy(epsilon=epsilon, delta=DELTA, unit=Unit.DEVICE, heads_max=rounds)
    averaging = replace(Policy().averaging, robust=Robust.NONE)
    averaging = averaging if clip_norm is None else replace(averaging, clip_norm=clip_norm)
    policy = Policy(method=Method.AVERAGE, averaging=averaging, privacy=settings).in_effect.averaging
    store = MemoryStore()
    with store.transaction():
        made = PrivateRounds(store, SPACE, policy, PrivacyBudget(store, SPACE, settings))
    versions = iter(range(1, rounds + 1))

    def mean(updates: Float32) -> Float64:
        with store.transaction():
            sent = gathered([Contribution(update, LABELS) for update in updates])
            return made.change(sent, weights_of(sent, made.policy, measured=False), next(versions), 0.0)[0]

    return mean


def peer(epsilon: float, random: np.random.Generator, rounds: int = ROUNDS, clip_norm: float | None = None) -> Mean:
    """DP-FedAvg with one clip norm, and the mean of all devices with the noise that hides one. clip_norm: by default
    the median length in the first round."""
    noise = multiplier(PrivacyPolicy(epsilon=epsilon, delta=DELTA, unit=Unit.DEVICE, heads_max=rounds))
    bounds = [] if clip_norm is None else [clip_norm]

    def mean(updates: Float32) -> Float64:
        if not bounds:
            bounds.append(float(np.median(np.linalg.norm(updates.reshape(len(updates), -1), axis=1))))
        policy = replace(Policy().averaging, clip_norm=bounds[0], samples_max=1)
        sent = gathered([Contribution(update, 1) for update in updates])
        exact = mean_of(sent, weights_of(sent, policy, measured=False))
        return exact + random.normal(0.0, noise * bounds[0] / len(updates), exact.shape)

    return mean


def unit(codes: Int8) -> Float32:
    """Codes (..., d) -> (..., d + 1) with a bias."""
    ones = np.ones((*codes.shape[:-1], 1), np.float32)
    return np.asarray(np.concatenate([codes / np.float32(127), ones], axis=-1), np.float32)


def pooled(base: AveragingFleet) -> Labelled:
    """What any device may have labelled."""
    parts = base.devices
    return Labelled(np.concatenate([one.codes for one in parts]), np.concatenate([one.labels for one in parts]))


if __name__ == "__main__":
    sys.exit(main())
