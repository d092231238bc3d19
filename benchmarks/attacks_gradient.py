"""What malicious devices cost a fleet that averages, under each robust rule: the gradient half of `benchmarks.attacks`.

    python -m benchmarks.attacks_gradient [--data FOLDER] [--fleets digits,watch,gas] [--devices 10,100] [--seeds 5]

Each round every device sends one update: `STEPS` steps of softmax descent from the fleet's head, half of each batch its
own labels, half the bundle's rows, as the gradient learner rehearses. Malicious ones send what `ATTACKS` makes of it,
at every strength of that attack; the worst strength counts, chosen for each rule by the mean over seeds: the attacker
knows the rule and searches. Cost: points of accuracy less than the same fleet when all are honest, by FedAvg.
The rules are those of the aggregator (`aggregator.heads`), with its shipped settings but for what a rule names;
"shipped" is the aggregator itself: each update a message, its default settings, devices set aside round after round.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from aggregator.heads import Contribution
from aggregator.heads.agreement import robust_mean
from aggregator.heads.averaging import mean_of, moved, weights_of
from aggregator.policy import AveragingPolicy, Robust
from benchmarks import datasets
from benchmarks.attacked_fleets import Labelled
from benchmarks.attacked_rounds import Rounds
from benchmarks.averaging_fleets import NAMES, AveragingFleet, fleet, one_class_each
from headway.arrays import Float32, Float64, Int8, Int64

ROUNDS, STEPS, BATCH, RATE = 15, 8, 32, 0.5
SOURCE_STEPS = 400

# a rule of one round, or None: rounds of the aggregator as it ships, which sets devices aside, too
Rule = AveragingPolicy | None

RULES: dict[str, Rule] = {
    "shipped": None,
    "no bound": AveragingPolicy(clip_norm=1e6, norm_factor=1000.0, robust=Robust.NONE),
    "norm bound 2": AveragingPolicy(norm_factor=2.0, robust=Robust.NONE),
    "norm bound 1": AveragingPolicy(norm_factor=1.0, robust=Robust.NONE),
    "aligned 2": AveragingPolicy(norm_factor=2.0, robust=Robust.ALIGNED),
    "aligned 1": AveragingPolicy(norm_factor=1.0, robust=Robust.ALIGNED),
    "trimmed mean": AveragingPolicy(robust=Robust.TRIMMED_MEAN),
    "median": AveragingPolicy(robust=Robust.MEDIAN),
    "multi-krum": AveragingPolicy(robust=Robust.MULTI_KRUM),
    "krum": AveragingPolicy(robust=Robust.KRUM),
}


def _same(labels: Int64) -> Int64:
    return labels


def _rotated(labels: Int64) -> Int64:
    return np.asarray((labels + 1) % (labels.max() + 1), np.int64)


def _targeted(labels: Int64) -> Int64:
    """The second class is called the first."""
    return np.where(labels == 1, 0, labels)


@dataclass(frozen=True, slots=True)
class Told:
    """What malicious devices know: the head, float32 (C, D), the updates of the others, (n, C, D), and a head that is
    all wrong, (C, D). trained: their own updates, (m, C, D), on what a function makes of their labels."""

    weights: Float32
    others: Float32
    bad: Float32
    count: int
    trained: Callable[[Change], Float32]


Change = Callable[[Int64], Int64]
Attack = Callable[[Told, float], Float32]


def _colluding(told: Told, strength: float) -> Float32:
    """A little is enough (Baruch et al., NeurIPS 2019): all the same, so far from the mean as the others spread."""
    return _alike(told, told.others.mean(axis=0) - strength * told.others.std(axis=0))


def _inner_product(told: Told, strength: float) -> Float32:
    """Fall of empires (Xie et al., UAI 2019)."""
    return _alike(told, -strength * told.others.mean(axis=0))


def _slow(told: Told, strength: float) -> Float32:
    """Towards a bad head, each time as far as an honest update is long."""
    way = told.bad - told.weights
    usual = float(np.median(np.linalg.norm(told.others.reshape(len(told.others), -1), axis=1)))
    return _alike(told, strength * usual * way / max(float(np.linalg.norm(way)), 1e-12))


def _alike(told: Told, update: Float32) -> Float32:
    return np.repeat(update[None], told.count, axis=0).astype(np.float32)


def _unnoticed(told: Told, strength: float) -> Float32:
    """Towards a bad head, but for what points against the others' mean: no rule that looks at angles sees it."""
    way, mean = told.bad - told.weights, told.others.mean(axis=0)
    way = way - mean * float(np.vdot(way, mean)) / max(float(np.vdot(mean, mean)), 1e-12)
    usual = float(np.median(np.linalg.norm(told.others.reshape(len(told.others), -1), axis=1)))
    length = strength * usual / max(float(np.linalg.norm(way)), 1e-12)
    return _alike(told, length * way + 0.1 * mean)


def _hidden(told: Told, strength: float) -> Float32:
    """Against the others' mean, each hidden in what looks like honest noise: those who vouch for each other differ.
    strength: cosine of each with the attack."""
    others = told.others.reshape(len(told.others), -1)
    mean, usual = others.mean(axis=0), float(np.median(np.linalg.norm(others, axis=1)))
    way = -mean / max(float(np.linalg.norm(mean)), 1e-12)
    noise = np.array([others[at % len(others)] - others[(at + 1) % len(others)] for at in range(told.count)])
    noise -= (noise @ way)[:, None] * way
    noise /= np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-12)
    sent = 2 * usual * (strength * way + (1 - strength**2) ** 0.5 * noise)
    return np.asarray(sent.reshape(told.count, *told.weights.shape), np.float32)


ATTACKS: dict[str, tuple[Attack, tuple[float, ...]]] = {
    "sign flip": (lambda told, k: -k * told.trained(_same), (1.0, 4.0, 30.0)),
    "label flip": (lambda told, k: k * told.trained(_rotated), (1.0, 3.0, 30.0)),
    "targeted class": (lambda told, k: k * told.trained(_targeted), (1.0, 5.0)),
    "scaled": (lambda told, k: k * told.trained(_same), (10.0,)),
    "replacement": (lambda told, k: _alike(told, k * (told.bad - told.weights)), (0.3, 10.0)),
    "colluding, little": (_colluding, (0.5, 1.0, 2.0)),
    "colluding, inner product": (_inner_product, (1.0, 5.0)),
    "slow drift": (_slow, (0.3, 1.0)),
    "unnoticed": (_unnoticed, (0.5, 2.0)),
    "hidden in noise": (_hidden, (0.5, 0.8)),
}


class Devices:
    """Honest descent of many devices at once. rows: of each device; source: of the bundle."""

    def __init__(self, parts: Sequence[Labelled], source: Labelled, classes: int, random: np.random.Generator) -> None:
        self._x, self._y = [_unit(part.codes) for part in parts], [part.labels for part in parts]
        self._source, self._source_y = _unit(source.codes), source.labels
        self._classes, self._random = classes, random

    def updates(self, weights: Float32, change: Change = _same) -> Float32:
        """weights (C, D) -> what each device sends, float32 (n, C, D). change: what devices make of their labels."""
        count, half = len(self._x), BATCH // 2
        moving = np.repeat(weights[None], count, axis=0)
        for _ in range(STEPS):
            x, y = [], []
            for own, labels in zip(self._x, self._y, strict=True):
                mine = self._random.integers(0, len(labels), half)
                theirs = self._random.integers(0, len(self._source), half)
                x.append(np.concatenate([own[mine], self._source[theirs]]))
                y.append(np.concatenate([change(labels[mine]), self._source_y[theirs]]))
            moving -= RATE * gradient(moving, np.stack(x), np.stack(y))
        return moving - weights


def gradient(weights: Float32, x: Float32, y: Int64) -> Float32:
    """Of the mean cross-entropy. weights (n, C, D), x (n, B, D), y (n, B) -> (n, C, D)."""
    scores = x @ weights.transpose(0, 2, 1)
    scores -= scores.max(axis=2, keepdims=True)
    shares = np.exp(scores)
    shares /= shares.sum(axis=2, keepdims=True)
    np.put_along_axis(shares, y[..., None], np.take_along_axis(shares, y[..., None], 2) - 1, 2)
    return np.asarray(shares.transpose(0, 2, 1) @ x / x.shape[1], np.float32)


# weights (C, D), updates (n, C, D), samples of each -> the next weights
OneRound = Callable[[Float32, Float32, list[int]], Float32]


@dataclass(frozen=True, slots=True)
class Outcome:
    """accuracy: per cent; accused: honest devices set aside; caught: malicious ones."""

    accuracy: float
    accused: int
    caught: int


def _aside(rounds: OneRound) -> set[int]:
    """Devices that are set aside at the end, by their places."""
    return rounds.aside() if isinstance(rounds, Rounds) else set()


@dataclass
class Run:
    """One fleet, one seed. malicious: the last so many devices."""

    made: AveragingFleet
    seed: int

    def __post_init__(self) -> None:
        self._classes = len(self.made.classes)
        self.start = self._trained(self.made.source.labels)
        rows = [self.made.source, *self.made.devices]
        everything = Labelled(
            np.concatenate([part.codes for part in rows]), np.concatenate([part.labels for part in rows])
        )
        self.bad = self._trained((everything.labels + 1) % self._classes, everything)
        self.test, self.labels = _unit(self.made.test.codes), self.made.test.labels

    def accuracy(self, weights: Float32) -> float:
        """Per cent."""
        return 100.0 * float(((self.test @ weights.T).argmax(axis=1) == self.labels).mean())

    def honest(self, rule: Rule, left_out: int = 0) -> Outcome:
        """Of the fleet without its last devices."""
        random = np.random.default_rng(self.seed)
        parts = self.made.devices[: len(self.made.devices) - left_out]
        devices, weights = Devices(parts, self.made.source, self._classes, random), self.start
        rounds = self._rounds(rule)
        for _ in range(ROUNDS):
            weights = rounds(weights, devices.updates(weights), [len(part) for part in parts])
        return Outcome(self.accuracy(weights), len(_aside(rounds)), 0)

    def attacked(self, rule: Rule, attack: Attack, strength: float, malicious: int) -> Outcome:
        """Of the fleet whose last devices send what the attack makes of it."""
        random = np.random.default_rng(self.seed)
        good = len(self.made.devices) - malicious
        parts, source = self.made.devices, self.made.source
        devices, liars = (Devices(some, source, self._classes, random) for some in (parts[:good], parts[good:]))
        weights, rounds = self.start, self._rounds(rule)
        for _ in range(ROUNDS):
            others = devices.updates(weights)
            sent = attack(Told(weights, others, self.bad, malicious, partial(liars.updates, weights)), strength)
            weights = rounds(weights, np.concatenate([others, sent]), [len(part) for part in parts])
        aside = _aside(rounds)
        return Outcome(self.accuracy(weights), sum(at < good for at in aside), sum(at >= good for at in aside))

    def _rounds(self, rule: Rule) -> OneRound:
        return Rounds(self.made, self.start) if rule is None else partial(one_round, rule)

    def _trained(self, labels: Int64, rows: Labelled | None = None) -> Float32:
        rows = rows or self.made.source
        random, x = np.random.default_rng(0), _unit(rows.codes)
        weights = np.zeros((1, self._classes, x.shape[1]), np.float32)
        for _ in range(SOURCE_STEPS):
            some = random.integers(0, len(x), 64)
            weights -= RATE * gradient(weights, x[None, some], labels[None, some])
        return np.asarray(weights[0])


def one_round(rule: AveragingPolicy, weights: Float32, updates: Float32, samples: list[int]) -> Float32:
    """The aggregator's round over these updates, one of each device."""
    contributions = [Contribution(update, count) for update, count in zip(updates, samples, strict=True)]
    worth = weights_of(contributions, rule)
    mean: Float64
    if rule.robust is Robust.NONE or len(contributions) < rule.robust_devices_min:
        mean = mean_of(contributions, worth)
    else:
        mean = robust_mean(contributions, worth, rule)
    return moved(weights, rule.learning_rate * mean)


def _unit(codes: Int8) -> Float32:
    return np.hstack([codes / np.float32(127), np.ones((len(codes), 1), np.float32)]).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get(datasets.VARIABLE))
    parser.add_argument("--fleets", default=",".join(NAMES))
    parser.add_argument("--devices", default="10,100")
    parser.add_argument("--rules", default=",".join(RULES))
    parser.add_argument("--shares", default="0,0.2", help="of devices that are malicious; 0 is one device")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, help="seeds on which all strengths are tried, then the worst one")
    options = parser.parse_args()
    rules, first = options.rules.split(","), options.first or options.seeds
    shares = [float(share) for share in options.shares.split(",")]
    for name in options.fleets.split(","):
        for count in map(int, options.devices.split(",")):
            made = [fleet(name, count, seed, datasets.folder(options.data)) for seed in range(options.seeds)]
            measure([Run(one, seed) for seed, one in enumerate(made)], count, rules, first, shares)
            alone = [Run(one_class_each(one), seed) for seed, one in enumerate(made)]
            base = np.mean([run.honest(RULES["no bound"]).accuracy for run in alone])
            print(f"  one class each: no bound {base:.1f}", flush=True)
            for rule in rules:
                outcomes = [run.honest(RULES[rule]) for run in alone]
                print(f"    {rule:<16} {_accuracy(outcomes) - base:+6.2f}, {_accused(outcomes)} set aside", flush=True)
    return 0


def measure(runs: list[Run], count: int, rules: list[str], first: int, shares: Sequence[float]) -> None:
    """Print what each rule loses in a clean fleet and under each attack, at its worst strength."""
    plain = RULES["no bound"]
    clean = _accuracy([run.honest(plain) for run in runs])
    numbers = [max(1, int(share * count)) for share in shares]
    without = {malicious: _accuracy([run.honest(plain, malicious) for run in runs]) for malicious in numbers}
    start = np.mean([run.accuracy(run.start) for run in runs])
    what = f"{runs[0].made.name}, {count} devices, {len(runs)} seeds: frozen {start:.1f}, all honest {clean:.1f}"
    absence = ", ".join(f"of {malicious} {clean - left:.2f}" for malicious, left in without.items())
    print(f"{what}; absence costs: {absence}", flush=True)
    for rule in rules:
        honest = [run.honest(RULES[rule]) for run in runs]
        print(f"  {rule:<16} clean {clean - _accuracy(honest):.2f} lost, {_accused(honest)} set aside", flush=True)
        for malicious in numbers:
            cells, accused, worst_cost = [], 0, -100.0
            for label in ATTACKS:
                strength, found, some = searched(runs, RULES[rule], label, malicious, first)
                lost, accused = clean - _accuracy(found), accused + some
                caught = 100 * sum(one.caught for one in found) / malicious / len(runs)
                beyond = without[malicious] - _accuracy(found)
                worst_cost = max(worst_cost, lost)
                cells.append(f"{label} {lost:.2f} ({beyond:+.2f} beyond absence, x{strength:g}, {caught:.0f} % caught)")
            told = f"{malicious:>3} malicious: at most {worst_cost:.2f}, {accused} honest set aside"
            print(f"    {told}; {'; '.join(cells)}", flush=True)


def searched(runs: list[Run], rule: Rule, label: str, malicious: int, first: int) -> tuple[float, list[Outcome], int]:
    """The strength that leaves least, what comes of it in each run, and honest devices set aside at any strength.

    All are tried on the first runs, the worst one on the others.
    """
    attack, strengths = ATTACKS[label]
    found = {k: [run.attacked(rule, attack, k, malicious) for run in runs[:first]] for k in strengths}
    worst = min(found, key=lambda k: _accuracy(found[k]))
    found[worst] += [run.attacked(rule, attack, worst, malicious) for run in runs[first:]]
    return worst, found[worst], sum(_accused(some) for some in found.values())


def _accuracy(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([one.accuracy for one in outcomes]))


def _accused(outcomes: Sequence[Outcome]) -> int:
    return sum(one.accused for one in outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
