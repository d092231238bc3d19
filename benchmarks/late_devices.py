"""Time to the same accuracy where some devices are slow and many drop out: buffered rounds beside synchronous ones.

    python -m benchmarks.late_devices [--devices 100] [--seeds 5] [--dropout 0.3] [--tail 1.2] [--json FILE]

Digits, as in `benchmarks.one_class_fleet`, dealt out at random. A simulated clock: a device that has a head trains, and
its update arrives after a time drawn from a Pareto law (shape `--tail`, at least one unit: the mean of what remains
grows with what has passed, as of phones and field devices); a share of the updates never arrives. Ours: every device
works all the time, and a round closes with the shipped number of updates, each weighted by its age
(`aggregator.heads.average`, the shipped settings). Synchronous: a round asks devices and ends with the last answer that
comes; who drops out is known at once, which is kind. "ten asked": ten of them at a time, for both. "first ten of 13":
13 are asked, and the round ends with the tenth (Bonawitz et al., MLSys 2019); "first ten of all": likewise, with every
device asked, so that nine tenths of what devices train is thrown away. The goal is beside rounds that wait for whom
they asked. The page judges beside the others, too, where it is missed; docs/adr/0110 has what was tried. The target is
99 % of what the synchronous fleet of all devices reaches after `ROUNDS` rounds.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.heads import Contribution, average
from aggregator.policy import AveragingPolicy
from benchmarks.attacked_fleets import DIGITS_KNOWN, AttackedFleet, digits, digits_rows
from benchmarks.one_class_fleet import accuracy, descended, unit
from headway.arrays import Float32

ROUNDS = 40
RATE, EPOCHS = 0.1, 5
GOAL = 3.0
TIME_MAX = 1e5
# accuracy at a moment, per cent
Curve = Iterator[tuple[float, float]]


@dataclass
class Field:
    """The devices, and how long what they do takes. dropout: share of updates that never arrive."""

    fleet: AttackedFleet
    random: np.random.Generator
    tail: float
    dropout: float

    def __post_init__(self) -> None:
        self.rows = [(unit(part), part.labels) for part in self.fleet.devices]
        self.samples = [len(part) for part in self.fleet.devices]

    def time(self) -> float:
        """Until an update arrives."""
        return 1.0 + float(self.random.pareto(self.tail))

    def lost(self) -> bool:
        return bool(self.random.random() < self.dropout)

    def trained(self, device: int, weights: Float32) -> Float32:
        """The change that a device sends."""
        x, y = self.rows[device]
        return descended(weights, x, y, RATE, EPOCHS, self.random) - weights


def synchronous(field: Field, weights: Float32, asked: int, enough: int, policy: AveragingPolicy) -> Curve:
    """Rounds of `asked` devices that end with the answer number `enough`, or the last one that comes."""
    now = 0.0
    while now < TIME_MAX:
        chosen = field.random.permutation(len(field.rows))[:asked].tolist()
        answers = sorted((field.time(), device) for device in chosen if not field.lost())[:enough]
        if answers:
            now += answers[-1][0]
            sent = [Contribution(field.trained(device, weights), field.samples[device]) for _, device in answers]
            weights = average(weights, sent, policy)
        else:
            now += field.time()
        yield now, accuracy(weights, field.fleet)


def buffered(field: Field, weights: Float32, working: int, policy: AveragingPolicy) -> Curve:
    """`working` devices at a time, each on the newest head that there was when it began."""
    heads, waiting = [weights], dict[int, Contribution]()
    idle = field.random.permutation(len(field.rows)).tolist()
    under_way: list[tuple[float, int, int]] = []

    def begin(now: float) -> None:
        heapq.heappush(under_way, (now + field.time(), idle.pop(0), len(heads) - 1))

    for _ in range(working):
        begin(0.0)
    while under_way:
        now, device, version = heapq.heappop(under_way)
        if not field.lost():
            change = field.trained(device, heads[version])
            waiting[device] = Contribution(change, field.samples[device], len(heads) - 1 - version)
        idle.append(device)
        begin(now)
        if len(waiting) >= policy.updates_min:
            heads.append(average(heads[-1], list(waiting.values()), policy))
            waiting.clear()
            yield now, accuracy(heads[-1], field.fleet)
        if now > TIME_MAX:
            return


def reached(curve: Curve, target: float) -> float:
    """When a curve first is at `target`; infinite where it never is."""
    return next((at for at, found in curve if found >= target), float("inf"))


def measure(devices: int, seed: int, dropout: float, tail: float) -> dict[str, float]:
    """Time to the target of each way, in units of the fastest answer there can be."""
    fleet = digits(devices, seed)
    known = digits_rows(seed)[slice(0, DIGITS_KNOWN)]
    zeros = np.zeros((len(fleet.source.classes), fleet.source.size + 1), np.float32)
    # the shipped head knows little: else there is nothing to wait for
    start = descended(zeros, unit(known[slice(0, 20)]), known.labels[:20], RATE, EPOCHS, np.random.default_rng(seed))
    policy, plain = AveragingPolicy(), AveragingPolicy(norm_factor=1e6)

    def field() -> Field:
        return Field(fleet, np.random.default_rng(seed), tail, dropout)

    whole = synchronous(field(), start, devices, devices, plain)
    target = 0.99 * max(found for _, (_, found) in zip(range(ROUNDS), whole, strict=False))
    ways: dict[str, Callable[[], Curve]] = {
        "synchronous, all": lambda: synchronous(field(), start, devices, devices, plain),
        "synchronous, first ten of all": lambda: synchronous(field(), start, devices, 10, plain),
        "buffered (ours), all": lambda: buffered(field(), start, devices, policy),
        "synchronous, ten asked": lambda: synchronous(field(), start, 10, 10, plain),
        "synchronous, first ten of 13": lambda: synchronous(field(), start, 13, 10, plain),
        "buffered (ours), ten at work": lambda: buffered(field(), start, 10, policy),
    }
    found = {name: reached(way(), target) for name, way in ways.items()}
    return {"shipped head, per cent": accuracy(start, fleet), "target, per cent": target, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--tail", type=float, default=1.2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    each = [measure(given.devices, seed, given.dropout, given.tail) for seed in range(given.seeds)]
    medians = {name: float(np.median([one[name] for one in each])) for name in each[0]}
    print(f"{given.devices} devices, {given.dropout:.0%} drop out, {given.seeds} seeds, load {os.getloadavg()[0]:.1f}")
    for name, median in medians.items():
        low, high = min(one[name] for one in each), max(one[name] for one in each)
        print(f"{name:32} {median:8.1f}  ({low:.1f} to {high:.1f})")
    for slow, fast in (
        ("synchronous, all", "buffered (ours), all"), ("synchronous, first ten of all", "buffered (ours), all"),
        ("synchronous, ten asked", "buffered (ours), ten at work"),
        ("synchronous, first ten of 13", "buffered (ours), ten at work"),
    ):  # fmt: skip
        ratios = [one[slow] / one[fast] for one in each]
        medians[f"{slow} / {fast}"] = float(np.median(ratios))
        print(f"{slow} / {fast}: {np.median(ratios):.1f} (goal {GOAL:g}; {min(ratios):.1f} to {max(ratios):.1f})")
    if given.json is not None:
        given.json.write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
