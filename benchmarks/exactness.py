"""Bits that differ: the fleet's tables and head against those of one place. python -m benchmarks.exactness.

For 1, 7, 100 and 1,000 devices, with samples dealt out evenly, one class to a device, or by Dirichlet(0.1), each
device reporting several times, some reports repeated and all of them shuffled; then one device is taken out again.
Twice: with each sample counting one, and with the bound on what a device may weigh, where the reference are the tables
of each device, made in one place and weighed there.
"""

from __future__ import annotations

import sys

import numpy as np

from aggregator.heads import FleetSum, weighed
from aggregator.policy import Weighing
from headway.arrays import Int64
from headway.maths import Statistics, fleet_head, merge

SAMPLES, SIZE, CLASSES = 4000, 33, 7
DEVICES = (1, 7, 100, 1000)
SHARES = ("even", "one class", "Dirichlet 0.1")
REPORTS = 3
EVERY_SAMPLE = Weighing(samples_max=10_000_000, devices_min=0)


def main() -> int:
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, SAMPLES)
    centres = random.normal(0, 40, (CLASSES, SIZE))
    codes = np.clip(np.rint(centres[labels] + random.normal(0, 20, (SAMPLES, SIZE))), -127, 127).astype(np.int8)
    names = tuple("abcdefg")
    source = Statistics.of(codes[:200], labels[:200], names, "s")
    differing = 0
    for count in DEVICES:
        for share in SHARES:
            owner = _owners(labels, count, share, random)
            own = {str(device): owner == device for device in np.unique(owner).tolist()}
            tables = {name: Statistics.of(codes[rows], labels[rows], names, "s") for name, rows in own.items()}
            gone = str(int(random.integers(0, count)))
            rest = {name: part for name, part in tables.items() if name != gone}
            for weighing in (EVERY_SAMPLE, Weighing()):
                fleet = _merged(codes, labels, own, source, weighing, random)
                bits = _differing_from(fleet, source, tables, weighing)
                over = len(fleet.devices_over)
                if gone in tables:
                    part = fleet.stored.pop(gone)
                    fleet.replace(gone, part, None)
                removed = _differing_from(fleet, source, rest, weighing)
                print(
                    f"{count:5d} devices, {share:<14} {over:3d} over the bound: {bits} bits differ, "
                    f"{removed} after one device was taken out"
                )
                differing += bits + removed
    print(f"{differing} differing bits in all")
    return int(differing > 0)


class Fleet(FleetSum):
    """The aggregator's sum, with the newest tables of each device in memory instead of in a database."""

    def __init__(self, source: Statistics, weighing: Weighing) -> None:
        self.stored: dict[str, Statistics] = {}
        nothing = Statistics.zeros(source.size, source.classes, source.space)
        super().__init__(source, 0.02, weighing, lambda device: self.stored.get(device, nothing))


def _differing_from(fleet: Fleet, source: Statistics, tables: dict[str, Statistics], weighing: Weighing) -> int:
    """Bits of sum and head that are not those of one place, where all samples are at hand."""
    whole = merge([Statistics.zeros(source.size, source.classes, source.space), *tables.values()])
    counted = whole if weighing is EVERY_SAMPLE else weighed(tables, source, weighing)
    head, found = fleet_head(source, counted), fleet.head()
    bits = _differing(fleet.total.gram, whole.gram) + _differing(fleet.total.class_sums, whole.class_sums)
    return bits + _differing(found.kernel, head.kernel) + _differing(found.bias, head.bias)


def _merged(
    codes: np.ndarray[tuple[int, int], np.dtype[np.int8]],
    labels: Int64,
    own: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]],
    source: Statistics,
    weighing: Weighing,
    random: np.random.Generator,
) -> Fleet:
    """Cumulative reports of every device, shuffled and some repeated; the newest of each counts."""
    fleet = Fleet(source, weighing)
    reports: list[tuple[str, int, Statistics]] = []
    for device, rows in own.items():
        every = np.flatnonzero(rows)
        for counter in range(1, REPORTS + 1):
            part = every[: len(every) * counter // REPORTS]
            reports.append((device, counter, Statistics.of(codes[part], labels[part], source.classes, "s")))
    order = [*random.permutation(len(reports)), *random.integers(0, len(reports), len(reports) // 2)]
    newest: dict[str, int] = {}
    for index in order:
        device, counter, report = reports[index]
        if counter > newest.get(device, 0):
            old = fleet.stored.get(device)
            fleet.stored[device] = report
            fleet.replace(device, old, report)
            newest[device] = counter
            if random.random() < 0.1:
                fleet.head()  # whatever was solved on the way leaves no trace
    return fleet


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
