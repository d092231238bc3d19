"""Fleets in which one device, or a fifth of them, is to be malicious: real data, real codes, ten and a hundred devices.

    digits  scikit-learn, pixels as 64 codes, 200 images known beforehand; every device has the same share of 800
    watch   ten wrists of five people who did not train the model (drawn by the seed); of a hundred devices ten share
            the labels of a wrist, each with class frequencies of its own (Dirichlet, 1)
    gas     16 gas sensors in five batches, months apart, trained on another one: each device knows one batch, drifted
            as it is. Two devices of a batch among ten, twenty among a hundred. Five models, any number of draws
    speech  thirty spoken words of ten people, trained on twenty others; no threshold of the product was chosen on it

Half of the windows of a wrist, batch or speaker are tests. So devices of watch, gas and speech differ honestly, by
people and by drift.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.heads import FleetModel
from benchmarks import datasets
from benchmarks.datasets import Rows
from benchmarks.people import speech, watch
from benchmarks.tasks import Task, gas_stream, joined
from headway.arrays import Float32, Int8, Int64
from headway.bundle import TrainingRows, Variant
from headway.maths import (
    FeatureMap,
    Head,
    HeadInput,
    HeadKind,
    Preprocessing,
    Statistics,
    fleet_head,
    predicted_class,
)

DIGITS_KNOWN, DIGITS_TAUGHT = 200, 800
GAS_ROWS_MAX = 600
# trained on the same batch; a later seed draws rows and devices anew for one of them
GAS_MODELS = 5
PIXEL_MEAN, PIXEL_SCALE = 4.9, 11.2


@dataclass(frozen=True, slots=True)
class Labelled:
    """codes: int8 (n, d); labels: int64 (n,); embedding: float32 (n, e), what a frozen head takes, if it is asked."""

    codes: Int8
    labels: Int64
    embedding: Float32 | None = None

    def __getitem__(self, chosen: slice | Int64) -> Labelled:
        embedding = None if self.embedding is None else self.embedding[chosen]
        return Labelled(self.codes[chosen], self.labels[chosen], embedding)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class AttackedFleet:
    """source: of the training data; devices: what each has labelled; tests: scored, each with the same weight.

    variant: the bundle that devices have, where they are asked what they serve. places: of each device, the test that
    is of its own person or batch.
    """

    name: str
    source: Statistics
    devices: tuple[Labelled, ...]
    tests: tuple[Labelled, ...]
    variant: Variant | None = None
    places: tuple[int, ...] = ()

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
    codes = np.clip(np.rint((pixels - PIXEL_MEAN) * 127 / PIXEL_SCALE), -127, 127).astype(np.int8)
    return Labelled(codes, rows.y[order], (pixels - PIXEL_MEAN).astype(np.float32))


def digits(devices: int, seed: int) -> AttackedFleet:
    """Every device has the same share of the same writers' digits."""
    every = digits_rows(seed)
    names = tuple(map(str, range(10)))
    source = Statistics.of(every.codes[:DIGITS_KNOWN], every.labels[:DIGITS_KNOWN], names, "digits")
    share = DIGITS_TAUGHT // devices
    starts = range(DIGITS_KNOWN, DIGITS_KNOWN + share * devices, share)
    parts = tuple(every[start : start + share] for start in starts)
    tests, variant = (every[DIGITS_KNOWN + DIGITS_TAUGHT :],), _pixels_alone(every[:DIGITS_KNOWN], source)
    return AttackedFleet("digits", source, parts, tests, variant, (0,) * devices)


def _pixels_alone(known: Labelled, source: Statistics) -> Variant:
    """The bundle of a model without a backbone: its head is solved from the training data."""
    size, pixels = source.size, np.asarray(known.embedding, np.float32)
    features = FeatureMap(size, np.full(size, PIXEL_SCALE, np.float32))
    over_codes = fleet_head(source, Statistics.zeros(size, source.classes, source.space))
    kernel = over_codes.kernel * (np.float32(127) / features.scale)[:, None]
    return Variant(
        name="digits",
        version="1.0.0",
        release=1,
        backbones=(),
        head=Head(kernel, over_codes.bias, HeadKind.SOFTMAX, source.classes, HeadInput.EMBEDDING),
        features=features,
        preprocessing=Preprocessing((size,), np.zeros(size, np.float32)),
        training_statistics=source,
        probe_inputs=pixels[:4],
        probe_embedding=pixels[:4],
        buffer=TrainingRows(known.codes, known.labels),
        without_backbone=True,
    )


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
    return _shared_out(gas_stream(data, seed, by_class=False), some, devices, seed, seed % GAS_MODELS)


def _shared_out(
    task: Task, groups: list[Rows], devices: int, seed: int, model_seed: int | None = None
) -> AttackedFleet:
    """Half of each group's rows are tests, the others are the labels of its devices.

    model_seed: of the model, where more fleets are drawn than models trained.
    """
    from benchmarks.backbones import CACHE, bundle
    from benchmarks.ours import features_of

    variant = bundle(task, seed if model_seed is None else model_seed)
    random, classes = np.random.default_rng((seed, devices)), len(variant.classes)
    parts: list[Labelled] = []
    tests: list[Labelled] = []
    for number, rows in enumerate(groups):
        kept = CACHE / f"features-{task.model}-{seed}-{number}-{variant.space[:12]}-{len(rows)}.npz"
        if not kept.exists():
            made = features_of(variant, rows.x)
            # whole or not at all: a run may be stopped, and two may need the same
            part = kept.with_name(f"{os.getpid()}-{kept.name}")
            np.savez(part, codes=made.codes, embedding=made.embedding)
            part.replace(kept)
        with np.load(kept) as loaded:
            every = Labelled(loaded["codes"], rows.y, loaded["embedding"])
        order = random.permutation(len(every.labels))
        taught, tested = np.array_split(order, 2)
        tests.append(every[tested])
        shares = devices // len(groups)
        likely = random.dirichlet(np.ones(shares), size=classes)
        owner = np.array([random.choice(shares, p=likely[label]) for label in every.labels[taught]])
        # nobody is left without a label
        parts += [every[taught[owner == share] if (owner == share).any() else taught[:1]] for share in range(shares)]
    places = tuple(number for number in range(len(groups)) for _ in range(devices // len(groups)))
    return AttackedFleet(task.model, variant.training_statistics, tuple(parts), tuple(tests), variant, places)
