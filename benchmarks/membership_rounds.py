"""Whether a window, or a device, took part in rounds of averages: python -m benchmarks.membership_rounds.

The attack of `benchmarks.membership` (LiRA; Carlini et al. 2022) on heads of `ROUNDS` rounds, on digits
(`benchmarks.averaging_fleets`), `DEVICES` devices with `LABELS` labels each. The attacker sees every head that was
published, knows the training data, all windows that anybody may have labelled, and the rules; not who labelled which.
It makes `SHADOWS` fleets with the target and as many without, fits a Gaussian to what each head says of the target, and
asks of other fleets which of the two fits better. AUC 0.5 is a coin; TPR is at 1 % of false alarms.

    window   one of the labels of one device, or another in its place
    device   one device with all its labels, or none in its place
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.attacks_gradient import Run
from benchmarks.averaging_fleets import fleet
from benchmarks.membership import area, found_at, likelihood_ratio
from benchmarks.privacy_rounds import LABELS, LocalDescent, Mean, peer, pooled, private, unit, without_noise
from headway.arrays import Float32, Float64, Int64

DEVICES, ROUNDS = 10, 5
TARGETS, SHADOWS, TRIALS = 20, 64, 64
# what updates are shortened to, about as long as they are: a bound that had to be found would hide more
CLIP_NORM = 0.5
MEANS: dict[str, Callable[[], Mean]] = {
    "no noise": lambda: without_noise,
    "epsilon 10": lambda: private(10.0, ROUNDS, CLIP_NORM),
    "epsilon 1": lambda: private(1.0, ROUNDS, CLIP_NORM),
    # heads of so few devices hardly move, and say nothing; these move by all that noise lets through
    "epsilon 10, whole steps": lambda: peer(10.0, np.random.default_rng(), ROUNDS, CLIP_NORM),
    "epsilon 1, whole steps": lambda: peer(1.0, np.random.default_rng(), ROUNDS, CLIP_NORM),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.membership_rounds", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", type=int, default=TARGETS)
    options = parser.parse_args()
    print(
        f"load {os.getloadavg()[0]:.1f}; {options.targets} targets, {2 * SHADOWS} shadows and {2 * TRIALS} trials each"
    )
    attacker = Attacker(options.seed)
    for what, count in (("window", 1), ("device", LABELS)):
        for name, mean in MEANS.items():
            auc, tpr = attacker.attacked(count, mean, options.targets)
            print(json.dumps({"what": f"{what}, {name}", "auc": round(auc, 3), "tpr": round(tpr, 3)}), flush=True)
    return 0


class Attacker:
    """Knows all windows; makes fleets of them."""

    def __init__(self, seed: int) -> None:
        made = fleet("digits", DEVICES, seed, None)
        rows = pooled(made)
        self._seed, self._start = seed, Run(made, seed).start
        self._x, self._y = unit(rows.codes), rows.labels
        self._source = unit(made.source.codes), made.source.labels

    def attacked(self, count: int, mean: Callable[[], Mean], targets: int) -> tuple[float, float]:
        """AUC, and the share of members found at 1 % of false alarms, over all targets together. count: windows of a
        target; all labels of a device are one that is there or is not."""
        random = np.random.default_rng((self._seed, count))
        members: list[float] = []
        others: list[float] = []
        for _ in range(targets):
            target = random.choice(len(self._y), count, replace=False)
            inside, outside = (self._looks(target, there, mean, random) for there in (True, False))
            score = likelihood_ratio(inside[:SHADOWS], outside[:SHADOWS])
            members += [score(seen) for seen in inside[SHADOWS:]]
            others += [score(seen) for seen in outside[SHADOWS:]]
        return area(members, others), found_at(members, others)

    def _looks(self, target: Int64, there: bool, mean: Callable[[], Mean], random: np.random.Generator) -> Float64:
        """What the heads of `SHADOWS` + `TRIALS` fleets say of the target, float64 (fleets, rounds)."""
        fleets, rest = SHADOWS + TRIALS, np.delete(np.arange(len(self._y)), target)
        absent = len(target) == LABELS and not there
        devices = DEVICES - absent
        rows = np.stack([random.choice(rest, devices * LABELS, replace=False) for _ in range(fleets)])
        if there:
            rows[:, : len(target)] = target
        rows = rows.reshape(fleets * devices, LABELS)
        descent = LocalDescent(self._x[rows], self._y[rows], *self._source)
        weights, rounds = np.repeat(self._start[None], fleets, axis=0), [mean() for _ in range(fleets)]
        seen = []
        for _ in range(ROUNDS):
            updates = descent.updates(weights, random)
            moved = [made(sent) for made, sent in zip(rounds, updates, strict=True)]
            weights = np.asarray(weights + np.stack(moved), np.float32)
            seen.append(margins(weights, self._x[target], self._y[target]))
        return np.stack(seen, axis=1)


def margins(weights: Float32, x: Float32, y: Int64) -> Float64:
    """Of the right class over the mean of all, the mean over windows. weights: float32 (f, C, D) -> float64 (f,)."""
    logits = np.einsum("fcd,wd->fwc", weights.astype(np.float64), x.astype(np.float64))
    own = np.take_along_axis(logits, np.broadcast_to(y[None, :, None], (*logits.shape[:2], 1)), axis=2)[..., 0]
    found: Float64 = (own - logits.mean(axis=2)).mean(axis=1)
    return found


if __name__ == "__main__":
    sys.exit(main())
