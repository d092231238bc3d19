"""What malicious devices cost what honest ones serve: python -m benchmarks.attacks_served [--data FOLDER].

The fleets and attacks of `benchmarks.attacks`, with an agent for each honest one (`benchmarks.served_fleets`). Labels
come in five rounds, after each of which everybody reports, heads are published, taken, tried and judged, here by the
gate of each device and there by the server's. A malicious device also tries heads, and tells what keeps its own work
in service. Cost: points of accuracy below the same devices in the same fleet when all are honest and nothing is held
against anybody.

    head     the newest published head, mean over the tests: what `benchmarks.attacks` shows
    served   what honest devices serve at the end, each on the test of its own person or batch, mean over devices
    worst    the honest device that loses most
    new      what a device serves that joins now, with its first ten labels, mean over the tests
    none     the same without any label
    beyond   served, compared with the fleet in which the malicious devices never were

All knobs of an attack are tried on the first seeds as `benchmarks.attacks` tries them, without agents; the one that
costs the published head most there, and the one that costs the sum told to a new device most, go on with agents on all
seeds. Shown are the one that costs what is served most, and the one that costs a new device most.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from functools import cache, partial
from pathlib import Path

import numpy as np

from aggregator.policy import HeadGatePolicy, Policy
from benchmarks.attacked_fleets import AttackedFleet
from benchmarks.attacks import (
    ATTACKS,
    CLEAN,
    FROM_FILES,
    PLAIN,
    SHIPPED,
    SLOW,
    Attack,
    attacked,
    chosen,
    honest_rounds,
    load,
    published,
    rotated,
)
from benchmarks.served_fleets import Lie, LiesOnTrials, bundle_of, features, lived, named, newcomers
from edge_agent.learner import FLEET
from edge_agent.learner.gate import FROZEN
from headway.maths import Statistics

NOTHING_HELD = replace(PLAIN, head_gate=HeadGatePolicy(enabled=False))
# gate: the server's gate alone, without weights and without anybody set aside
DEFENCES = {"shipped": SHIPPED, "gate": PLAIN}
ROUNDS, NEW_LABELS = 5, 10
FALSE_TRIALS = "false trials"
KNOBS: dict[str, Sequence[Attack | None]] = {
    CLEAN: [None],
    **ATTACKS,
    SLOW: [partial(rotated, 1, 1.0, 1)] * 2,
    FALSE_TRIALS: [None],
}


@dataclass(frozen=True, slots=True)
class Found:
    """Of one fleet, accuracies in per cent. served: by the honest device's place; tests: new devices', by test.

    below: honest devices that serve more than a point less than their frozen head; fleet, frozen: those that serve by
    that head; gate: what the server's gate did, after how many rounds.
    """

    head: float
    served: Mapping[int, float]
    new: float
    none: float
    below: int
    fleet: int
    frozen: int
    aside: frozenset[str]
    gate: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Points, as the module's docstring has them. accused: honest devices set aside; caught: share of the malicious.

    acted: rounds after which the server's gate refused or withdrew a head first; not finite where it never did.
    """

    head: float
    served: float
    worst: float
    new: float
    none: float
    caught: float
    accused: float
    below: float
    fleet: float
    frozen: float
    refused: float
    withdrawn: float
    acted: float
    beyond: float = field(default=float("nan"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks_served", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data of gas and speech; without it they are left out")
    parser.add_argument("--tasks", default="gas,watch,digits", help="speech, too")
    parser.add_argument("--sizes", default="10")
    parser.add_argument("--shares", default="0,0.2")
    parser.add_argument("--seeds", default="0:5", metavar="FROM:TO")
    parser.add_argument("--first", type=int, default=1, help="seeds on which all knobs are tried without agents")
    parser.add_argument("--attacks", default=",".join(KNOBS))
    parser.add_argument("--defence", choices=DEFENCES, default="shipped", help="gate: the server's gate alone")
    parser.add_argument("--beyond", action="store_true", help="the fleet without the malicious devices, too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = []
    for task in options.tasks.split(","):
        if task in FROM_FILES and options.data is None:
            print(f"{task}: left out; its data are asked for with --data FOLDER")
            continue
        for size in map(int, options.sizes.split(",")):
            seeds = range(*map(int, options.seeds.split(":")))
            fleets = {seed: load(task, size, seed, options.data) for seed in seeds}
            whole = np.mean([np.mean([*honest(fleet).served.values()]) for fleet in fleets.values()])
            print(
                f"{task}, {size} devices, seeds {options.seeds}: {whole:.1f} % served when all are honest", flush=True
            )
            for name in options.attacks.split(","):
                for share in (0.0,) if name == CLEAN else map(float, options.shares.split(",")):
                    search = Search(name, share, DEFENCES[options.defence], options.first, options.beyond)
                    for by, worst in search.worst(fleets):
                        rows.append({"task": task, "devices": size, "attack": name, "share": share, "by": by, **worst})
                        print(f"  {name:14} {share:3.1f} {by:6} {told(worst)}", flush=True)
                        if options.json:
                            options.json.write_text(json.dumps(rows, indent=1))
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def told(cost: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in cost.items())


@dataclass(frozen=True, slots=True)
class Search:
    """For the knob of one attack that costs most. first: seeds on which all are tried without agents."""

    name: str
    share: float
    policy: Policy
    first: int
    beyond: bool

    def worst(self, fleets: Mapping[int, AttackedFleet]) -> Iterator[tuple[str, dict[str, float]]]:
        """By what is served, and by what a new device serves: which of the two, and all figures, mean over the fleets;
        the worst of one device is the most of any."""
        costs: dict[int, dict[int, Cost]] = {
            knob: {seed: self._cost(fleet, seed, knob) for seed, fleet in fleets.items()}
            for knob in sorted(self._knobs(dict([*fleets.items()][: self.first])))
        }
        for by in ("served",) if self.name == CLEAN else ("served", "new"):
            knob = sorted((-mean(some)[by], knob) for knob, some in costs.items())[0][1]
            if self.beyond and self.name != CLEAN:
                costs[knob] = {
                    seed: replace(one, beyond=one.served - absence(fleets[seed], seed, self.share, knob))
                    for seed, one in costs[knob].items()
                }
            yield by, mean(costs[knob])

    def _knobs(self, fleets: Mapping[int, AttackedFleet]) -> set[int]:
        """Those that cost the published head most, and the sum that a new device is told."""
        knobs = KNOBS[self.name]
        if len(knobs) == 1:
            return {0}
        found = np.zeros((len(knobs), 2))
        for seed, fleet in fleets.items():
            best = fleet.accuracy(published(fleet, honest_rounds(fleet), PLAIN).head)
            for knob, attack in enumerate(knobs):
                outcome = attacked(fleet, attack, self.share, self.name == SLOW, knob, (seed, knob), best)
                found[knob] += outcome.cost, outcome.prior
        return {*found.argmax(axis=0).tolist()}

    def _cost(self, fleet: AttackedFleet, seed: int, knob: int) -> Cost:
        attack = KNOBS[self.name][knob]
        bad = [] if self.name == CLEAN else chosen(fleet, self.share, knob, np.random.default_rng((seed, knob)))
        lies: dict[int, Lie] = {
            place: lie(fleet, place, attack, self.name == SLOW, np.random.default_rng((seed, knob, place)))
            for place in bad
        }
        if self.name == FALSE_TRIALS:
            lies = {place: LiesOnTrials(some) for place, some in lies.items()}
        best, now = honest(fleet), measured(fleet, lies, self.policy)
        lost = {place: best.served[place] - served for place, served in now.served.items()}
        names = {named(place) for place in bad}
        acted = [after for after, what in now.gate if what != "passed"]
        return Cost(
            head=best.head - now.head,
            served=float(np.mean([*lost.values()])),
            worst=max(lost.values()),
            new=best.new - now.new,
            none=best.none - now.none,
            caught=len(now.aside & names) / max(len(names), 1),
            accused=len(now.aside - names),
            below=now.below,
            fleet=now.fleet,
            frozen=now.frozen,
            refused=sum(what == "refused" for _, what in now.gate),
            withdrawn=sum(what == "withdrawn" for _, what in now.gate),
            acted=float(min(acted)) if acted else float("nan"),
        )


def mean(costs: Mapping[int, Cost]) -> dict[str, float]:
    each = {some.name: [getattr(one, some.name) for one in costs.values()] for some in fields_of(Cost)}
    known = {name: np.array(some)[np.isfinite(some)] for name, some in each.items()}
    found = {name: some.max() if name == "worst" else some.mean() for name, some in known.items() if len(some)}
    found["error"] = np.std(each["served"], ddof=1) / np.sqrt(len(costs)) if len(costs) > 1 else 0.0
    return {name: float(value) for name, value in found.items()}


def absence(fleet: AttackedFleet, seed: int, share: float, knob: int) -> float:
    """What honest devices lose where the malicious ones never were."""
    bad = frozenset(chosen(fleet, share, knob, np.random.default_rng((seed, knob))))
    alone = without(fleet, bad)
    return float(np.mean([honest(fleet).served[place] - served for place, served in alone.served.items()]))


def lie(fleet: AttackedFleet, place: int, attack: Attack | None, slow: bool, random: np.random.Generator) -> Lie:
    """What a malicious device reports after so many of its labels. slow: the first half of them are true."""
    rows, seed = fleet.devices[place], int(random.integers(1 << 32))

    def tables(until: int) -> Statistics:
        true = min(until, len(rows) // 2) if slow else until if attack is None else 0
        said = fleet.tables(rows[:true])
        if attack is None or until <= true:
            return said
        # the same draws every time: what was claimed once is claimed again
        wrong = attack(fleet, rows[true:until], np.random.default_rng(seed))
        return said + wrong if true else wrong

    return tables


@cache
def honest(fleet: AttackedFleet) -> Found:
    """All are, and nothing is held against anybody."""
    return measured(fleet, {}, NOTHING_HELD)


@cache
def without(fleet: AttackedFleet, places: frozenset[int]) -> Found:
    """These devices are not there."""
    return measured(fleet, dict.fromkeys(places), NOTHING_HELD)


def measured(fleet: AttackedFleet, lies: Mapping[int, Lie | None], policy: Policy) -> Found:
    server, devices = lived(fleet, lies, ROUNDS, policy)
    variant, below = bundle_of(fleet), 0
    served = {}
    for place, device in devices.items():
        test = fleet.tests[fleet.places[place]]
        served[place] = device.accuracy(test)
        known = variant.frozen_head.logits(features(test).embedding).argmax(axis=1)
        below += served[place] < 100 * float(np.mean(known == test.labels)) - 1.0
    serving = [device.agent.learner.serving for device in devices.values()]
    new, none = (float(np.mean(newcomers(fleet, server, devices, labels))) for labels in (NEW_LABELS, 0))
    return Found(
        fleet.accuracy(server.heads[-1].head),
        served,
        new,
        none,
        below,
        serving.count(FLEET),
        serving.count(FROZEN),
        frozenset(server.aside()),
        tuple((told.after, told.what) for told in server.gate),
    )


if __name__ == "__main__":
    sys.exit(main())
