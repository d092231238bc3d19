"""What a device with few labels gains from what the others learned: python -m benchmarks.fleet_prior [--seeds N].

Watch, wrists of people who did not train the model: each wrist learns its first labels under the source's prior alone,
and under one that counts the tables of the other people's wrists (the person's own other wrist is left out), all
eight labels per class of each. Accuracy on later windows; devices more than a point below the frozen head in brackets.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.backbones import bundle
from benchmarks.ours import Headway, accuracy, features_of
from benchmarks.rows import TASKS
from benchmarks.tasks import Task
from headway.bundle import Variant
from headway.maths import Statistics, merge
from headway.wire import FleetPrior

ROUNDS = (1, 3, 8)
NAMES = ("watch", "watch-two", "watch-people")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_prior", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    for name in NAMES:
        found: dict[tuple[int, str], list[float]] = {}
        for seed in range(options.seeds):
            task = TASKS[name](Path(), seed)
            for key, values in run(task, bundle(task, seed)).items():
                found.setdefault(key, []).extend(values)
        print(f"{name}: {len(task.devices)} devices, {options.seeds} seeds")
        for rounds in ROUNDS:
            frozen = np.array(found[rounds, "frozen"])
            cells = []
            for what in ("frozen", "source", "source + fleet"):
                scores = np.array(found[rounds, what])
                cells.append(f"{what} {100 * scores.mean():.1f} [{100 * (scores < frozen - 0.01).mean():.0f} %]")
            print(f"  {rounds} labels per class: {', '.join(cells)}", flush=True)
    return 0


def run(task: Task, variant: Variant) -> Mapping[tuple[int, str], list[float]]:
    """Accuracy of every device, by (labels per class, prior)."""
    taught = [features_of(variant, device.taught.x) for device in task.devices]
    tables = [
        Statistics.of(features.codes, device.taught.y, variant.classes, variant.space)
        for features, device in zip(taught, task.devices, strict=True)
    ]
    people = [device.name.split("-")[0] for device in task.devices]
    found: dict[tuple[int, str], list[float]] = {}
    for number, device in enumerate(task.devices):
        (later,) = device.tests.values()
        windows = features_of(variant, later.x)
        others = [table for table, person in zip(tables, people, strict=True) if person != people[number]]
        prior = FleetPrior(len(others), merge(others))
        frozen = variant.frozen_head.logits(windows.embedding).argmax(axis=1)
        for rounds in ROUNDS:
            rows = rounds * len(np.unique(device.taught.y))
            found.setdefault((rounds, "frozen"), []).append(accuracy(frozen, later.y))
            for what in ("source", "source + fleet"):
                subject = Headway(variant)
                if what != "source":
                    subject.agent.prior_received(prior.encode())
                subject.learn(taught[number].rows(0, rows), device.taught.y[:rows])
                found.setdefault((rounds, what), []).append(accuracy(subject.predict(windows), later.y))
    return found


if __name__ == "__main__":
    sys.exit(main())
