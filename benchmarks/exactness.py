"""Bits that differ: the fleet's tables and head against those of one place. python -m benchmarks.exactness.

For 1, 7, 100 and 1,000 devices, with samples dealt out evenly, one class to a device, or by Dirichlet(0.1), each
device reporting several times, some reports repeated and all of them shuffled; then one device is taken out again.
"""

from __future__ import annotations

import sys

import numpy as np

from aggregator.heads import FleetSum
from headway.arrays import Int64
from headway.maths import Statistics, fleet_head

SAMPLES, SIZE, CLASSES = 4000, 33, 7
DEVICES = (1, 7, 100, 1000)
SHARES = ("even", "one class", "Dirichlet 0.1")
REPORTS = 3


def main() -> int:
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, SAMPLES)
    centres = random.normal(0, 40, (CLASSES, SIZE))
    codes = np.clip(np.rint(centres[labels] + random.normal(0, 20, (SAMPLES, SIZE))), -127, 127).astype(np.int8)
    names = tuple("abcdefg")
    source = Statistics.of(codes[:200], labels[:200], names, "s")
    whole = Statistics.of(codes, labels, names, "s")
    head = fleet_head(source, whole)
    differing = 0
    for count in DEVICES:
        for share in SHARES:
            owner = _owners(labels, count, share, random)
            fleet, rows = _merged(codes, labels, owner, source, random)
            bits = _differing(fleet.total.gram, whole.gram) + _differing(fleet.total.class_sums, whole.class_sums)
            found = fleet.head()
            bits += _differing(found.kernel, head.kernel) + _differing(found.bias, head.bias)
            gone = int(random.integers(0, count))
            fleet.replace(rows.get(gone), None)
            kept = Statistics.of(codes[owner != gone], labels[owner != gone], names, "s")
            removed = _differing(fleet.total.gram, kept.gram) + _differing(fleet.total.class_sums, kept.class_sums)
            print(f"{count:5d} devices, {share:<14} {bits} bits differ, {removed} after one device was taken out")
            differing += bits + removed
    print(f"{differing} differing bits in all")
    return int(differing > 0)


def _merged(
    codes: np.ndarray[tuple[int, int], np.dtype[np.int8]],
    labels: Int64,
    owner: Int64,
    source: Statistics,
    random: np.random.Generator,
) -> tuple[FleetSum, dict[int, Statistics]]:
    """Cumulative reports of every device, shuffled and some repeated; the newest of each counts."""
    fleet = FleetSum(source, 0.02)
    reports: list[tuple[int, int, Statistics]] = []
    for device in np.unique(owner).tolist():
        own = np.flatnonzero(owner == device)
        for counter in range(1, REPORTS + 1):
            part = own[: len(own) * counter // REPORTS]
            reports.append((device, counter, Statistics.of(codes[part], labels[part], source.classes, "s")))
    order = [*random.permutation(len(reports)), *random.integers(0, len(reports), len(reports) // 2)]
    newest: dict[int, tuple[int, Statistics]] = {}
    for index in order:
        device, counter, report = reports[index]
        known = newest.get(device)
        if known is None or counter > known[0]:
            fleet.replace(None if known is None else known[1], report)
            newest[device] = counter, report
    return fleet, {device: report for device, (_, report) in newest.items()}


def _owners(labels: Int64, count: int, share: str, random: np.random.Generator) -> Int64:
    if share == "even":
        return random.integers(0, count, len(labels))
    if share == "one class":
        # device i holds samples of class i mod C only
        options = [np.flatnonzero(np.arange(count) % CLASSES == c) for c in range(CLASSES)]
        return np.array([random.choice(options[c]) if len(options[c]) else c % count for c in labels], np.int64)
    weights = random.dirichlet([0.1] * count, CLASSES)
    return np.array([random.choice(count, p=weights[c]) for c in labels], np.int64)


def _differing(one: np.ndarray[tuple[int, ...], np.dtype[np.generic]], other: object) -> int:
    left, right = np.ascontiguousarray(one).view(np.uint8), np.ascontiguousarray(other).view(np.uint8)
    return int(np.unpackbits(left ^ right).sum())


if __name__ == "__main__":
    sys.exit(main())
