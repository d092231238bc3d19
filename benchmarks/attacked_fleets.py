"""Fleets in which one device, or a fifth of them, is to be malicious: real data, real codes, ten and a hundred devices.

    digits  scikit-learn, pixels as 64 codes, 200 images known beforehand; every device has the same share of 800
    watch   ten wrists of five people who did not train the model (drawn by the seed); of a hundred devices ten share
            the labels of a wrist, each with class frequencies of its own (Dirichlet, 1)
    gas     16 gas sensors in five batches, months apart, trained on another one: each device knows one batch, drifted
            as it is. Two devices of a batch among ten, twenty among a hundred
    speech  thirty spoken words of ten people, trained on twenty others; no threshold of the product was chosen on it

Half of the windows of a wrist, batch or speaker are tests. So devices of watch, gas and speech differ honestly, by
people and by drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.heads import FleetModel
from benchmarks import datasets
from benchmarks.datasets import Rows
from benchmarks.people import speech, watch
from benchmarks.tasks import Task, gas_stream, joined
from headway.arrays import Int8, Int64
from headway.maths import Head, HeadInput, HeadKind, Statistics, predicted_class

DIGITS_KNOWN, DIGITS_TAUGHT = 200, 800
GAS_ROWS_MAX = 600


@dataclass(frozen=True, slots=True)
class Labelled:
    """codes: int8 (n, d); labels: int64 (n,)."""

    codes: Int8
    labels: Int64

    def __getitem__(self, chosen: slice | Int64) -> Labelled:
        return Labelled(self.codes[chosen], self.labels[chosen])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class AttackedFleet:
    """source: of the training data; devices: what each has labelled; tests: scored, each with the same weight."""

    name: str
    source: Statistics
    devices: tuple[Labelled, ...]
    tests: tuple[Labelled, ...]

    @property
    def model(self) -> FleetModel:
        """Without a frozen head: the exact method needs none."""
        classes, size = self.source.classes, self.source.size
        nothing = np.zeros((size, len(classes)), np.float32)
        start = Head(nothing, nothing[0], HeadKind.SOFTMAX, classes, HeadInput.CODES)
        return FleetModel(self.source, start)

    def tables(self, rows: Labelled) -> Statistics:
        return Statistics.of(rows.codes, rows.labels, self.source.classes, self.source.space)

    def accuracy(self, head: Head) -> float:
        """Per cent, mean over the tests."""
        logits = [head.logits(test.codes.astype(np.float32)) for test in self.tests]
        right = [predicted_class(some) == test.labels for some, test in zip(logits, self.tests, strict=True)]
        return 100.0 * float(np.mean([some.mean() for some in right]))


def digits_rows(seed: int) -> Labelled:
    """Every digit, in an order drawn by the seed: first those that are known beforehand, then the devices'."""
    rows = datasets.digits()
    order = np.random.default_rng(seed).permutation(len(rows.y))
    pixels = rows.x.reshape(len(rows.x), -1)[order]
    return Labelled(np.clip(np.rint((pixels - 4.9) * 127 / 11.2), -127, 127).astype(np.int8), rows.y[order])


def digits(devices: int, seed: int) -> AttackedFleet:
    """Every device has the same share of the same writers' digits."""
    every = digits_rows(seed)
    names = tuple(map(str, range(10)))
    source = Statistics.of(every.codes[:DIGITS_KNOWN], every.labels[:DIGITS_KNOWN], names, "digits")
    share = DIGITS_TAUGHT // devices
    starts = range(DIGITS_KNOWN, DIGITS_KNOWN + share * devices, share)
    parts = tuple(every[start : start + share] for start in starts)
    return AttackedFleet("digits", source, parts, (every[DIGITS_KNOWN + DIGITS_TAUGHT :],))


def wrists(devices: int, seed: int) -> AttackedFleet:
    """Of people who did not train the model."""
    people = watch(Path())
    order = np.random.default_rng(seed).permutation(np.array(sorted(people.devices)))
    training = joined([rows for person in sorted(order[:5]) for rows, _ in people.devices[person]])
    worn = [rows for person in sorted(order[5:]) for rows, _ in people.devices[person]]
    return _shared_out(Task("watch", people.name, people.classes, training, ()), worn, devices, seed)


def speakers(data: Path, devices: int, seed: int) -> AttackedFleet:
    """Of people who did not train the model, who are the same for every seed."""
    people = speech(data)
    known, others = (sorted(people.devices)[part] for part in (slice(people.trained), slice(people.trained, None)))
    training = joined([rows for person in known for rows, _ in people.devices[person]])
    spoken = [rows for person in others for rows, _ in people.devices[person]]
    return _shared_out(Task("speech", people.name, people.classes, training, ()), spoken, devices, seed)


def gas_sensors(data: Path, devices: int, seed: int) -> AttackedFleet:
    """Of five batches, months apart."""
    random, batches = np.random.default_rng(seed), datasets.gas_drift(data)
    some = [batches[number][random.permutation(len(batches[number]))[:GAS_ROWS_MAX]] for number in range(2, 7)]
    return _shared_out(gas_stream(data, seed, by_class=False), some, devices, seed)


def _shared_out(task: Task, groups: list[Rows], devices: int, seed: int) -> AttackedFleet:
    """Half of each group's rows are tests, the others are the labels of its devices."""
    from benchmarks.backbones import CACHE, bundle
    from benchmarks.ours import features_of

    variant = bundle(task, seed)
    random, classes = np.random.default_rng((seed, devices)), len(variant.classes)
    parts: list[Labelled] = []
    tests: list[Labelled] = []
    for number, rows in enumerate(groups):
        kept = CACHE / f"codes-{task.model}-{seed}-{number}-{variant.space[:12]}-{len(rows)}.npy"
        if not kept.exists():
            np.save(kept, features_of(variant, rows.x).codes)
        every = Labelled(np.load(kept), rows.y)
        order = random.permutation(len(every.labels))
        taught, tested = np.array_split(order, 2)
        tests.append(every[tested])
        shares = devices // len(groups)
        likely = random.dirichlet(np.ones(shares), size=classes)
        owner = np.array([random.choice(shares, p=likely[label]) for label in every.labels[taught]])
        # nobody is left without a label
        parts += [every[taught[owner == share] if (owner == share).any() else taught[:1]] for share in range(shares)]
    return AttackedFleet(task.model, variant.training_statistics, tuple(parts), tuple(tests))
