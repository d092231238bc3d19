"""What the head of a fleet loses or gains on a labelled sample without each device.

A device is subtracted from the sum exactly, and the head is solved again: nothing is estimated. Two passes over the
stored reports; the sum and one device at a time are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aggregator.heads.contributions import quarantined_in
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.stored_reports import stored_tables
from aggregator.policy import Policy
from aggregator.store import Store
from headway.arrays import Float32, Int64
from headway.maths import Head, Statistics, predicted_class

LEAST = 1e-7


@dataclass(frozen=True, slots=True)
class Score:
    """Of a head on a sample: share of right answers, and mean negative log probability of the true class, in nats."""

    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True)
class Influence:
    """Of one device that counts. weight: of its samples, 0..1; gain: accuracy of the head with it less that without it;
    loss: of the head without it less that with it, so that in both what is below zero harms."""

    device: str
    samples: int
    weight: float
    gain: float
    loss: float


@dataclass(frozen=True, slots=True)
class Influences:
    """whole: of the head of all; devices: worst first; unsolved: those without which there is no head."""

    whole: Score
    devices: tuple[Influence, ...]
    unsolved: tuple[str, ...]


def influences(store: Store, model: FleetModel, policy: Policy, codes: Float32, labels: Int64) -> Influences:
    """codes: float32 (n, d), as int8 codes; labels: int64 (n,), by the bundle's classes. While reading the store.

    Raises numpy.linalg.LinAlgError where there is no head at all.
    """
    source = model.training_statistics
    aside = quarantined_in(store, source.space)

    def tables_of(device: str) -> Statistics:
        total = Statistics.zeros(source.size, source.classes, source.space)
        for _, tables in _counted(store, source.space, aside, device):
            total += tables
        return total

    total = FleetSum(source, policy.shrinkage, policy.weighing, tables_of, model.solve)
    devices: dict[str, int] = {}
    for device, tables in _counted(store, source.space, aside):
        total.replace(device, None, tables)
        devices[device] = devices.get(device, 0) + tables.samples
    whole = _score(total.head(), source.classes, codes, labels)
    found, unsolved = [], []
    for device, samples in devices.items():
        try:
            rest = model.solve(source, total.without(device), policy.shrinkage)
        except np.linalg.LinAlgError:
            unsolved.append(device)
            continue
        score = _score(rest, source.classes, codes, labels)
        gain, loss = whole.accuracy - score.accuracy, score.loss - whole.loss
        found.append(Influence(device, samples, total.weight(device), gain, loss))
    found.sort(key=lambda one: (one.loss, one.device))
    return Influences(whole, tuple(found), tuple(sorted(unsolved)))


def _counted(
    store: Store, space: str, aside: frozenset[tuple[str, int]], device: str | None = None
) -> Iterator[tuple[str, Statistics]]:
    """Devices and tables of the reports that count, of all devices or of one."""
    for row in store.every_statistics(space, device):
        tables = None if (row.device, row.epoch) in aside else stored_tables(row)
        if tables is not None and tables.samples:
            yield row.device, tables


def _score(head: Head, classes: tuple[str, ...], codes: Float32, labels: Int64) -> Score:
    """Classes that the bundle does not know can be answered, and are wrong."""
    places = np.array([head.classes.index(name) for name in classes])
    probabilities = head.probabilities(codes)
    right = predicted_class(probabilities) == places[labels]
    true = probabilities[np.arange(len(labels)), places[labels]]
    return Score(float(right.mean()), float(-np.log(np.maximum(true, LEAST)).mean()))
