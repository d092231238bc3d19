"""What each part of the exact learner is worth: python -m benchmarks.learning --ablate --data FOLDER.

The same devices and labels as `benchmarks.learning`, the exact learner once as it is and once without each part. A part
is left out by `ExactSettings` alone, so what is measured is the shipped code. Features are computed once per task and
seed. One stream more is synthetic: classes whose features change places at once, where the real ones drift slowly.
Figures: accuracy without the part minus accuracy with it, paired by seed, in points; mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.backbones import bundle
from benchmarks.drift import LABELS_AFTER, LABELS_BEFORE
from benchmarks.ours import features_of
from benchmarks.peers import Contender
from benchmarks.stream import Stream
from benchmarks.tasks import Device, Task
from edge_agent.learner import HeadLearner
from edge_agent.learner.exact import ExactSettings, Recipe
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from headway.arrays import Int64
from headway.bundle import Variant

FULL, SUDDEN = "as it is", "sudden drift"
FULL_SETTINGS, DEFAULTS = ExactSettings(), LearnerSettings()
Drive = Callable[[Contender, Task, Device, Features, dict[str, Features], list[Features]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Variation:
    """The exact learner with other settings."""

    exact: ExactSettings = FULL_SETTINGS
    learner: LearnerSettings = DEFAULTS


class Alone:
    """The learner without an agent around it: the same scores as `benchmarks.ours.Headway`, a third faster."""

    def __init__(self, variant: Variant, variation: Variation) -> None:
        self._learner = HeadLearner(variant, variation.learner, variation.exact)

    def predict(self, features: Features) -> Int64:
        """Classes int64 (n,), by the head that serves now."""
        return self._learner.predict(features).classes

    def learn(self, features: Features, labels: Int64) -> None:
        """A block that was predicted, and then got its labels."""
        served = self._learner.predict(features)
        for row, label in enumerate(labels.tolist()):
            one = replace(served, probability=served.probability[row : row + 1])
            self._learner.learn(features.rows(row, row + 1), label, one)


def variations() -> dict[str, Variation]:
    """By name, the whole learner first."""
    full = FULL_SETTINGS
    found = {FULL: Variation()}
    for left_out in full.recipes:
        if left_out.window_means:
            continue  # there is none with self_training = 0
        found[f"without {left_out.name}"] = _with(recipe for recipe in full.recipes if recipe != left_out)
    found["without ridge and steady"] = _with(r for r in full.recipes if not r.labels_max)
    found["without local class priors"] = _with(r for r in full.recipes if not r.local_priors)
    found["without look-backs"] = _with(r for r in full.recipes if not r.lookback_labels)
    found["drift ignored"] = Variation(learner=replace(DEFAULTS, drift="off"))
    found["drift experts at once"] = Variation(replace(full, drift_coverage=0.0))
    found["look-backs from the start"] = Variation(replace(full, remember_labels=0))
    found["no temperature"] = Variation(replace(full, temperatures=(1.0,)))
    found["temperature 4 always"] = Variation(replace(full, temperatures=(4.0,)))
    found["no head start"] = Variation(replace(full, unlabelled_nats=0.0))
    found["no pool: all alike"] = Variation(replace(full, loss_max=0.0))
    found["no pool: best alone"] = Variation(replace(full, few_rate=10.0, rate=10.0, share=1e-300))
    found["no pool: quick alone"] = _with(full.recipes[:1])
    found["no leave-one-out"] = Variation(replace(full, few_labels=0))
    found["left out alone"] = Variation(replace(full, left_in_labels=0.0))
    return found


def scores(task: Task, seed: int, drive: Drive, chosen: Mapping[str, Variation]) -> Iterator[tuple[str, float]]:
    """Accuracy by variation, the mean over the task's devices; backbone and features are shared."""
    variant = bundle(task, seed)
    prepared = [
        (
            device,
            features_of(variant, device.taught.x),
            {name: features_of(variant, rows.x) for name, rows in device.tests.items()},
            [features_of(variant, rows.x) for _, rows in device.phases],
        )
        for device in task.devices
    ]
    for name, variation in chosen.items():
        results = [next(iter(drive(Alone(variant, variation), task, *parts).values())) for parts in prepared]
        yield name, float(np.mean(results))


def sudden_drift_scores(seed: int, chosen: Mapping[str, Variation]) -> Iterator[tuple[str, float]]:
    """Accuracy on the labels after a sudden change, each predicted before it is learned, by variation."""
    stream = Stream(64, 6)
    before, after = (
        stream.windows(LABELS_BEFORE, 100 + seed),
        stream.windows(LABELS_AFTER, 200 + seed, drift=True),
    )
    for name, variation in chosen.items():
        device = Alone(stream.variant, variation)
        device.learn(stream.features(before[0]), before[1])
        right = 0
        features = stream.features(after[0])
        for row in range(LABELS_AFTER):
            one, label = features.rows(row, row + 1), after[1][row : row + 1]
            right += int(device.predict(one)[0] == label[0])
            device.learn(one, label)
        yield name, right / LABELS_AFTER


def table(kept: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Rows are variations, columns tasks. kept: task -> variation -> one accuracy per seed."""
    names = list(dict.fromkeys(name for runs in kept.values() for name in runs))
    lines = [f"| accuracy, points | {' | '.join(kept)} |", f"|---{'|---:' * len(kept)}|"]
    for name in names:
        cells = []
        for runs in kept.values():
            accuracy, full = 100 * np.array(runs.get(name, [])), 100 * np.array(runs[FULL])
            values = accuracy if name == FULL else accuracy - full[: len(accuracy)]
            sign = "" if name == FULL else "+"
            cells.append(f"{values.mean():{sign}.2f} ± {values.std():.2f}" if len(values) else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _with(recipes: Iterable[Recipe]) -> Variation:
    return Variation(replace(FULL_SETTINGS, recipes=tuple(recipes)))
