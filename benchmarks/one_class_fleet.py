"""Rounds until a fleet is as good as one place with all the labels, where each device knows one class alone.

    python -m benchmarks.one_class_fleet [--devices 100] [--seeds 5] [--rounds 50] [--json FILE]

Digits of scikit-learn: 200 images trained the shipped head, 800 others are the devices' labels, dealt out so that each
of a hundred devices has eight of one class; the rest is the test. Ours: every device sends one report to the real
aggregator with its default settings, once. Its reference is the same learner with all 1,000 rows in one place. Peers:
FedAvg (McMahan et al., AISTATS 2017: five epochs, batches of ten, the best of three rates, every device in every round)
from a head of zeros and from the shipped one, and logistic regression by scikit-learn on all rows in one place.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from aggregator.policy import Policy
from benchmarks.attacked_fleets import DIGITS_KNOWN, AttackedFleet, Labelled, digits, digits_rows
from benchmarks.attacks import honest_rounds, published
from benchmarks.attacks_gradient import gradient
from headway.arrays import Float32
from headway.maths import Statistics, fleet_head

EPOCHS, BATCH = 5, 10
RATES = (0.03, 0.1, 0.3)
# after so many rounds figures are told
TOLD = (1, 5, 10, 20, 50)


def of_one_class(fleet: AttackedFleet) -> AttackedFleet:
    """The same rows, sorted by class and dealt out anew."""
    codes = np.concatenate([part.codes for part in fleet.devices])
    labels = np.concatenate([part.labels for part in fleet.devices])
    order = np.argsort(labels, kind="stable")
    shares = np.array_split(order, len(fleet.devices))
    return replace(fleet, devices=tuple(Labelled(codes[rows], labels[rows]) for rows in shares))


def unit(rows: Labelled) -> Float32:
    """Codes as features with a constant, float32 (n, d + 1)."""
    return np.concatenate([rows.codes.astype(np.float32) / 64, np.ones((len(rows), 1), np.float32)], axis=1)


def accuracy(weights: Float32, fleet: AttackedFleet) -> float:
    """Per cent; weights float32 (C, d + 1)."""
    test = fleet.tests[0]
    return 100.0 * float(((unit(test) @ weights.T).argmax(axis=1) == test.labels).mean())


def federated(fleet: AttackedFleet, start: Float32, rate: float, rounds: int, seed: int) -> list[float]:
    """Accuracy after each round of FedAvg."""
    random, weights, found = np.random.default_rng(seed), start, []
    rows = [(unit(part), part.labels) for part in fleet.devices]
    samples = np.array([len(part) for part in fleet.devices], np.float32)
    for _ in range(rounds):
        sent = np.stack([descended(weights, x, y, rate, EPOCHS, random) for x, y in rows])
        weights = np.tensordot(samples / samples.sum(), sent, 1).astype(np.float32)
        found.append(accuracy(weights, fleet))
    return found


def descended(
    weights: Float32, x: Float32, y: np.ndarray[tuple[int], np.dtype[np.int64]], rate: float, epochs: int,
    random: np.random.Generator,
) -> Float32:  # fmt: skip
    """SGD on one device."""
    moving = weights[None].copy()
    for _ in range(epochs):
        order = random.permutation(len(y))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            moving -= rate * gradient(moving, x[None, some], y[None, some])
    return np.asarray(moving[0], np.float32)


def measure(devices: int, seed: int, rounds: int) -> dict[str, float]:
    """Per cent of one seed, by what is measured."""
    fleet = of_one_class(digits(devices, seed))
    service = published(fleet, honest_rounds(fleet), Policy())
    every = Labelled(
        np.concatenate([part.codes for part in fleet.devices]), np.concatenate([part.labels for part in fleet.devices])
    )
    known = digits_rows(seed)[slice(0, DIGITS_KNOWN)]
    whole = fleet.tables(every)
    reference = fleet_head(fleet.source, whole)
    found = {
        "shipped head": fleet.accuracy(fleet_head(fleet.source, nothing_of(fleet))),
        "ours, one report each": fleet.accuracy(service.head),
        "ours, all in one place": fleet.accuracy(reference),
        "devices set aside": float(len(service.aside())),
        "scikit-learn, all in one place": logistic(known, every, fleet),
    }
    zeros = np.zeros((len(fleet.source.classes), fleet.source.size + 1), np.float32)
    shipped = descended(zeros, unit(known), known.labels, 0.1, 30, np.random.default_rng(seed))
    for name, start in (("FedAvg", zeros), ("FedAvg from a shipped head", shipped)):
        runs = [federated(fleet, start, rate, rounds, seed) for rate in RATES]
        best = max(runs, key=lambda run: run[-1])
        found |= {f"{name}, {at} rounds": best[at - 1] for at in TOLD if at <= rounds}
    return found


def nothing_of(fleet: AttackedFleet) -> Statistics:
    return Statistics.zeros(fleet.source.size, fleet.source.classes, fleet.source.space)


def logistic(known: Labelled, every: Labelled, fleet: AttackedFleet) -> float:
    """All rows in one place."""
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([unit(known), unit(every)])
    model = LogisticRegression(max_iter=2000).fit(x, np.concatenate([known.labels, every.labels]))
    test = fleet.tests[0]
    return 100.0 * float(model.score(unit(test), test.labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    each = [measure(given.devices, seed, given.rounds) for seed in range(given.seeds)]
    print(f"{given.devices} devices of one class each, {given.seeds} seeds, load {os.getloadavg()[0]:.1f}")
    means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    for name, mean in means.items():
        print(f"{name:34} {mean:6.2f}  +- {np.std([one[name] for one in each]):.2f}")
    if given.json is not None:
        given.json.write_text(json.dumps(means, indent=2) + "\n")


if __name__ == "__main__":
    main()
