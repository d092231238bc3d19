"""Whether a window was among a fleet's labels, told from what the fleet publishes: python -m benchmarks.membership.

A likelihood-ratio attack (LiRA; Carlini et al. 2022). The attacker knows the training data's statistics, all windows
that anybody may have labelled, how many labels there are and of how many devices, and the rules; not who labelled
which. For each of `TARGETS` windows it makes `SHADOWS` fleets with it and as many without, looks at what they publish,
fits a Gaussian to each, and asks of other fleets which of the two fits better. AUC 0.5 is a coin; TPR is at 1 % of
false alarms.

What is published, on digits (benchmarks.attacked_fleets), `DEVICES` devices with `LABELS` labels each:

    head            one head
    two heads       one head and the next: all labels of the first are known to the attacker, the target may be new
    two priors      the same of the sum that new devices are told

The next one differs by one label (no minimum), or by 64 of 3 devices (`publish.devices_min`, `labels_min`; priors).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aggregator.heads.noise import believed, noisy
from benchmarks.attacked_fleets import AttackedFleet, Labelled, digits
from benchmarks.privacy import multiplier
from headway.arrays import Float64
from headway.maths import Head, Statistics, fleet_head

DEVICES, LABELS = 10, 20
TARGETS, SHADOWS, TRIALS = 60, 64, 64
NEWS = {"no minimum, 1 new label": 1, "minimum, 64 new labels": 64}
EPSILONS = (1.0, 10.0)
FALSE_ALARMS = 0.01

# what an attacker sees of labels that are in a fleet, as a few numbers about the target
Look = Callable[[Labelled, Labelled], Float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """known: labels that the attacker knows of beforehand; count: of others, which the target may be among; look: what
    it sees."""

    name: str
    known: int
    count: int
    look: Look


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.membership", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}; {TARGETS} targets, {2 * SHADOWS} shadows and {2 * TRIALS} trials each")
    fleet = digits(DEVICES, options.seed)
    for setting in settings(fleet):
        auc, tpr = attacked(fleet, setting, options.seed)
        print(json.dumps({"what": setting.name, "auc": round(auc, 3), "tpr": round(tpr, 3)}), flush=True)
    return 0


def settings(fleet: AttackedFleet) -> list[Setting]:
    """What is compared."""
    source, every = fleet.source, DEVICES * LABELS

    def sums(rows: Labelled) -> Statistics:
        return fleet.tables(rows)

    def exact(rows: Labelled) -> Head:
        return fleet_head(source, sums(rows))

    def private(epsilon: float) -> Callable[[Labelled], Head]:
        z = multiplier(epsilon, 1)

        def made(rows: Labelled) -> Head:
            told = noisy(sums(rows).class_sums.astype(np.float64), z, 1, NOISE.standard_normal)
            return fleet_head(source, believed(told, source, z, 1))

        return made

    found = [Setting(f"head, {name}", 0, every, on_head(head)) for name, head in (("no noise", exact),)]
    for epsilon in EPSILONS:
        found.append(Setting(f"head, epsilon {epsilon:g} a head", 0, every, on_head(private(epsilon))))
    for name, count in NEWS.items():
        found.append(Setting(f"two heads, {name}", every, count, on_two_heads(exact)))
        found.append(Setting(f"two priors, {name}", every, count, on_priors(source, sums)))
    for epsilon in EPSILONS:
        for name, count in NEWS.items():
            found.append(
                Setting(f"two heads, {name}, epsilon {epsilon:g} a head", every, count, on_two_heads(private(epsilon)))
            )
    return found


NOISE = np.random.default_rng(77)


def on_head(made: Callable[[Labelled], Head]) -> Look:
    """Margin of the target's class, and of the second best."""

    def look(rows: Labelled, target: Labelled) -> Float64:
        return margins(made(rows), target)

    return look


def on_two_heads(made: Callable[[Labelled], Head]) -> Look:
    """The same of both heads' difference. rows: those that are known are not given, see `attacked`."""

    def look(rows: Labelled, target: Labelled) -> Float64:
        before = rows[np.arange(DEVICES * LABELS)]
        return margins(made(rows), target) - margins(made(before), target)

    return look


def on_priors(source: Statistics, sums: Callable[[Labelled], Statistics]) -> Look:
    """Of the difference of two sums: how far it points at the target, in its class and in the Gram matrix."""
    within = source.gram[:-1, :-1] - (source.class_sums[:-1] / np.maximum(source.counts, 1)) @ source.class_sums[:-1].T
    size = len(within)
    inverse = np.linalg.inv(within / source.samples + np.eye(size) * np.trace(within) / source.samples / size)

    def look(rows: Labelled, target: Labelled) -> Float64:
        new = sums(rows[np.arange(DEVICES * LABELS, len(rows))])
        pointed = inverse @ target.codes[0].astype(np.float64)
        label = int(target.labels[0])
        mean = source.class_sums[:-1, label] / max(int(source.counts[label]), 1)
        sides = new.class_sums[:-1, label] - new.counts[label] * mean
        return np.array([pointed @ sides, pointed @ new.gram[:-1, :-1] @ pointed, float(new.counts[label])])

    return look


def margins(head: Head, target: Labelled) -> Float64:
    """Of the target's class over the best other one, and its logit beside the mean of all."""
    logits = head.logits(target.codes.astype(np.float32))[0].astype(np.float64)
    own = logits[int(target.labels[0])]
    others = np.delete(logits, int(target.labels[0]))
    return np.array([own - others.max(), own - logits.mean()])


def attacked(fleet: AttackedFleet, setting: Setting, seed: int) -> tuple[float, float]:
    """AUC, and the share of members found at FALSE_ALARMS, over all targets together."""
    random = np.random.default_rng((seed, setting.count, setting.known))
    pool = Labelled(
        np.concatenate([part.codes for part in fleet.devices]), np.concatenate([part.labels for part in fleet.devices])
    )
    members: list[float] = []
    others: list[float] = []
    for number in random.permutation(len(pool))[:TARGETS]:
        rest = np.delete(np.arange(len(pool)), number)
        target = pool[np.array([number])]
        known = random.permutation(rest)[: setting.known]
        free = np.setdiff1d(rest, known)

        def seen(with_it: bool, known: Float64 = known, free: Float64 = free, target: Labelled = target,
                 number: int = int(number)) -> Float64:  # fmt: skip
            chosen = random.choice(free, setting.count - with_it, replace=False)
            rows = np.concatenate([known, chosen, [number] if with_it else []]).astype(np.int64)
            return setting.look(pool[rows], target)

        inside = np.array([seen(True) for _ in range(SHADOWS)])
        outside = np.array([seen(False) for _ in range(SHADOWS)])
        score = likelihood_ratio(inside, outside)
        members += [score(seen(True)) for _ in range(TRIALS)]
        others += [score(seen(False)) for _ in range(TRIALS)]
    return area(members, others), found_at(members, others)


def likelihood_ratio(inside: Float64, outside: Float64) -> Callable[[Float64], float]:
    """log p(seen | in) - log p(seen | out), with a Gaussian for each; float64 (n, k) samples of both."""
    least = 1e-6 * np.eye(inside.shape[1]) * max(float(np.var(np.vstack([inside, outside]))), 1e-12)
    fits = []
    for some in (inside, outside):
        covariance = np.cov(some.T) + least
        fits.append((some.mean(axis=0), np.linalg.inv(covariance), float(np.linalg.slogdet(covariance)[1])))

    def score(seen: Float64) -> float:
        fitting = [-0.5 * ((seen - mean) @ inverse @ (seen - mean) + size) for mean, inverse, size in fits]
        return float(fitting[0] - fitting[1])

    return score


def area(members: list[float], others: list[float]) -> float:
    """Chance that a member scores above another, ties counted half."""
    low = np.sort(others)
    below, up_to = np.searchsorted(low, members, "left"), np.searchsorted(low, members, "right")
    return float((below + up_to).mean() / 2 / len(low))


def found_at(members: list[float], others: list[float]) -> float:
    """Share of members above the score that FALSE_ALARMS of the others exceed."""
    return float((np.array(members) > np.quantile(others, 1 - FALSE_ALARMS)).mean())


if __name__ == "__main__":
    sys.exit(main())
