"""What one malicious device, or a fifth of them, costs a fleet: python -m benchmarks.attacks [--data FOLDER].

Every report goes through the aggregator as it ships (`Aggregator.receive`, default settings, a store in memory), and
the head that it publishes is scored on windows that nobody learned (`benchmarks.attacked_fleets`). Cost: points of
accuracy below the head of the same fleet when all are honest and nothing is held against anybody. Each attack has knobs
that are all tried; the table shows the knob that costs most in the mean over the seeds. Absent: what the fleet costs in
which the attackers of that knob send nothing; their persons and batches are tested. Attackers have valid
credentials, their own labelled windows, and know the training data's class means.

A share of 0 is one device alone: the one with most labels for every other knob, else one that is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from aggregator.core import Aggregator
from aggregator.effects import Effect, Instant
from aggregator.policy import OutlierPolicy, Policy, Weighing
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import QUARANTINED
from benchmarks.attacked_fleets import AttackedFleet, Labelled, digits, gas_sensors, speakers, wrists
from headway.arrays import Float64, Int8
from headway.maths import Head, Statistics, merge
from headway.ports import Outgoing, Received
from headway.wire import ALL, FleetPrior, Kind, PriorRequest, PublishedHead, StatisticsReport, topic

FLEET = "attacked"
SIZES, SHARES = (10, 100), (0.0, 0.2)
NO_CAP, NOBODY_ASIDE = Weighing(samples_max=10_000_000, devices_min=0), OutlierPolicy(devices_min=0)
PLAIN = replace(Policy(), weighing=NO_CAP, outliers=NOBODY_ASIDE)
SHIPPED = Policy()
# seconds between two rounds of reports: everything that happens at intervals happens
ROUND_S = 3600.0
# knobs that go on after the first seeds, where not all are tried on all
KNOBS_KEPT = 3
# reports of an attacker that begins honestly
STEPS = 8

Attack = Callable[[AttackedFleet, Labelled, np.random.Generator], Statistics]


@dataclass(frozen=True, slots=True)
class Outcome:
    """cost: points; absent: those of the fleet without the attackers; caught: share of attackers set aside; accused:
    honest devices set aside; prior: points that the head of the sum told to a new device is below the honest one."""

    cost: float
    caught: float
    accused: int
    prior: float
    absent: float


class Service:
    """The aggregator in this process, with a clock of its own."""

    def __init__(self, fleet: AttackedFleet, policy: Policy) -> None:
        self._fleet, self._space, self._store, self._now_s = fleet, fleet.source.space, MemoryStore(), 1000.0
        model = fleet.model
        self.head: Head = model.start
        with self._store.transaction():
            self._core = Aggregator(FLEET, model, policy, self._store)

    def take(self, counter: int, reports: Mapping[str, Statistics]) -> None:
        """Each device's report, then the time until all that is due happened."""
        messages = [
            Received(topic(FLEET, name, Kind.STATISTICS), self._payload(name, counter, tables))
            for name, tables in reports.items()
        ]
        self._said(lambda now: self._core.receive(messages, now))
        for _ in range(3):
            self._now_s += ROUND_S
            self._said(lambda now: self._core.tick(now, idle=True))
            while self._core.at_work:  # devices are compared in steps
                self._said(lambda now: self._core.tick(now, idle=True))

    def _payload(self, name: str, counter: int, tables: Statistics) -> bytes:
        honest = _honest(self._fleet)
        if counter == 1 and honest[name][0] is tables:
            return honest[name][1]
        return StatisticsReport(name, 1, counter, tables).encode()

    def prior(self) -> Statistics | None:
        """The sum that a new device is told."""
        request = Received(topic(FLEET, "newcomer", Kind.PRIOR_REQUEST), PriorRequest(self._space, 0).encode())
        told = self._said(lambda now: self._core.receive([request], now))
        wanted = topic(FLEET, "newcomer", Kind.PRIOR)
        found = [effect.payload for effect in told if isinstance(effect, Outgoing) and effect.topic == wanted]
        return FleetPrior.decode(found[-1]).statistics if found else None

    def aside(self) -> set[str]:
        """Devices of which something does not count."""
        with self._store.transaction():
            return {row.device for row in self._store.rows(QUARANTINED).all()}

    def _said(self, act: Callable[[Instant], list[Effect]]) -> list[Effect]:
        with self._store.transaction():
            effects = act(Instant(self._now_s, 1_800_000_000.0 + self._now_s))
        for effect in effects:
            if isinstance(effect, Outgoing) and effect.topic == topic(FLEET, ALL, Kind.HEAD):
                self.head = PublishedHead.decode(effect.payload).head
        return effects


def rotated(
    by: int, part: float, times: int, fleet: AttackedFleet, own: Labelled, random: np.random.Generator
) -> Statistics:
    """Labels of a part of its windows moved to another class; all claimed so many times."""
    labels = own.labels.copy()
    wrong = random.random(len(labels)) < part
    labels[wrong] = (labels[wrong] + by) % len(fleet.source.classes)
    return scaled(fleet.tables(Labelled(own.codes, labels)), times)


def mirrored(part: float, fleet: AttackedFleet, own: Labelled, random: np.random.Generator) -> Statistics:
    """The sign of a part of its windows flipped about their mean."""
    codes = own.codes.astype(np.float64)
    wrong = random.random(len(codes)) < part
    codes[wrong] = 2 * codes.mean(axis=0) - codes[wrong]
    return fleet.tables(Labelled(_int8(codes), own.labels))


def targeted(
    one: int, other: int, alone: bool, fleet: AttackedFleet, own: Labelled, random: np.random.Generator
) -> Statistics:
    """Windows of one class called another; alone: it reports no others, and as many as it has."""
    classes = len(fleet.source.classes)
    chosen = np.flatnonzero(own.labels == one % classes)
    if not len(chosen):
        return fleet.tables(own)
    if alone:
        again = random.choice(chosen, len(own.labels))
        return fleet.tables(Labelled(own.codes[again], np.full(len(again), other % classes)))
    labels = own.labels.copy()
    labels[chosen] = other % classes
    return fleet.tables(Labelled(own.codes, labels))


def flooded(label: int, times: int, fleet: AttackedFleet, own: Labelled, random: np.random.Generator) -> Statistics:
    """Everything called one class."""
    every = Labelled(own.codes, np.full(len(own.labels), label % len(fleet.source.classes)))
    return scaled(fleet.tables(every), times)


def pushed(far: float, fleet: AttackedFleet, own: Labelled, random: np.random.Generator) -> Statistics:
    """Each window moved towards where the next class is, so many times the distance."""
    means = _means(fleet)
    step = means[(own.labels + 1) % len(means)] - means[own.labels]
    return fleet.tables(Labelled(_int8(own.codes + far * step), own.labels))


def spread_out(size: float, fleet: AttackedFleet, own: Labelled, random: np.random.Generator) -> Statistics:
    """Noise along the directions that tell classes apart."""
    means = _means(fleet)
    axes = np.linalg.svd((means - means.mean(axis=0)).T, full_matrices=False)[0][:, : len(means) - 1]
    noise = random.normal(size=(len(own.codes), axes.shape[1])) @ axes.T
    return fleet.tables(Labelled(_int8(own.codes + size * noise), own.labels))


def replaced(times: int, size: float, fleet: AttackedFleet, own: Labelled, random: np.random.Generator) -> Statistics:
    """Tables of windows that never were: the means of the next class, with the least scatter that passes, or much."""
    means, classes = _means(fleet), len(fleet.source.classes)
    labels = np.arange(len(own.labels)) % classes
    codes = means[(labels + 1) % classes] + size * random.normal(size=(len(labels), means.shape[1]))
    return scaled(fleet.tables(Labelled(_int8(codes), labels)), times)


def scaled(tables: Statistics, times: int) -> Statistics:
    """Each sample claimed so many times."""
    return replace(tables, gram=tables.gram * times, class_sums=tables.class_sums * times)


PARTS = (0.25, 0.4, 0.5, 0.6, 0.75, 1.0)
ATTACKS: dict[str, Sequence[Attack]] = {
    "label flip": [partial(rotated, by, part, 1) for by in (1, 2, 3) for part in PARTS],
    "sign flip": [partial(mirrored, part) for part in (0.25, 0.5, 0.75, 1.0)],
    "targeted class": [
        *(
            partial(targeted, one, other, alone)
            for one, other in ((0, 1), (1, 0), (2, 3), (4, 6))
            for alone in (False, True)
        ),
        *(partial(flooded, label, 1) for label in (0, 3)),
    ],
    "scaled": [partial(rotated, 1, part, times) for part in (0.5, 1.0) for times in (2, 10, 1000, 10**8)],
    "replacement": [partial(replaced, times, size) for times in (1, 10) for size in (0.0, 10.0, 40.0)],
    "crafted": [
        *(partial(pushed, far) for far in (0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0)),
        *(partial(spread_out, size) for size in (20.0, 50.0, 100.0, 200.0)),
    ],
}
FROM_FILES = {"gas": gas_sensors, "speech": speakers}
SLOW = "slow drift"
CLEAN = "nobody"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data of gas and speech; without it they are left out")
    parser.add_argument("--tasks", default="digits,watch,gas", help="speech, too")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, help=f"seeds on which all knobs are tried, then the worst {KNOBS_KEPT}")
    parser.add_argument("--attacks", default=",".join([CLEAN, *ATTACKS, SLOW]))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    for task in options.tasks.split(","):
        if task in FROM_FILES and options.data is None:
            print(f"{task}: left out; its data are asked for with --data FOLDER")
            continue
        for size in map(int, options.sizes.split(",")):
            fleets = [load(task, size, seed, options.data) for seed in range(options.seeds)]
            honest = [fleet.accuracy(published(fleet, honest_rounds(fleet), PLAIN).head) for fleet in fleets]
            print(f"{task}, {size} devices: {np.mean(honest):.1f} % when all are honest", flush=True)
            for name in options.attacks.split(","):
                for share in (0.0,) if name == CLEAN else map(float, options.shares.split(",")):
                    worst, count = searched(name, share, fleets, honest, options.first or options.seeds)
                    row = {"task": task, "devices": size, "attack": name, "share": share, **asdict(worst)}
                    found.append(row)
                    beyond = f"absent {worst.absent:5.2f}, beyond it {worst.cost - worst.absent:5.2f}"
                    told = f"{worst.cost:6.2f} points ({beyond}), prior {worst.prior:6.2f}"
                    print(
                        f"  {name:15} {'one' if not share else '20 %':5} {told}, "
                        f"{100 * worst.caught:3.0f} % set aside, {count} honest ones in all",
                        flush=True,
                    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def load(task: str, size: int, seed: int, data: Path | None) -> AttackedFleet:
    if task in FROM_FILES and data is not None:
        return FROM_FILES[task](data, size, seed)
    return {"digits": digits, "watch": wrists}[task](size, seed)


def searched(
    name: str, share: float, fleets: Sequence[AttackedFleet], honest: Sequence[float], first: int
) -> tuple[Outcome, int]:
    """The knob that costs most, mean over the fleets, and how many honest devices were set aside, whatever the knob.

    Every knob is tried on the first fleets; on the rest those that cost most so far.
    """
    knobs: Sequence[Attack | None] = [None] if name == CLEAN else ATTACKS.get(name, [partial(rotated, 1, 1.0, 1)] * 2)
    outcomes: dict[int, list[Outcome]] = {knob: [] for knob in range(len(knobs))}
    tried = [*outcomes]
    for seed, (fleet, best) in enumerate(zip(fleets, honest, strict=True)):
        if seed == first:
            tried = sorted(tried, key=lambda knob: -_mean(outcomes[knob]).cost)[:KNOBS_KEPT]
        for knob in tried:
            outcomes[knob].append(attacked(fleet, knobs[knob], share, name == SLOW, knob, (seed, knob), best))
    worst = max((_mean(outcomes[knob]) for knob in tried), key=lambda some: some.cost)
    return worst, sum(outcome.accused for some in outcomes.values() for outcome in some)


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    """Over fleets; of honest devices set aside the sum."""
    each = [(some.cost, some.caught, some.prior, some.absent) for some in outcomes]
    cost, caught, prior, absent = np.mean(each, axis=0).tolist()
    return Outcome(cost, caught, sum(some.accused for some in outcomes), prior, absent)


def attacked(
    fleet: AttackedFleet,
    attack: Attack | None,
    share: float,
    slow: bool,
    knob: int,
    seed: tuple[int, int],
    honest: float,
) -> Outcome:
    random, rounds = np.random.default_rng(seed), honest_rounds(fleet)
    bad = [] if attack is None else chosen(fleet, share, knob, random)
    for index in bad:
        name, own = f"d{index:03}", fleet.devices[index]
        if slow:
            # the first half of what it says is true
            order = random.permutation(len(own.labels))
            begun, later = own[order[: len(order) // 2]], own[order[len(order) // 2 :]]
            ends = np.linspace(0, len(later.labels), STEPS).astype(int)
            rounds = [*rounds, *({} for _ in range(len(ends) - len(rounds)))]
            for turn, end in enumerate(ends):
                wrong = attack(fleet, later[:end], random)  # type: ignore[misc]
                rounds[turn] = {**rounds[turn], name: fleet.tables(begun) + wrong}
        else:
            rounds[0] = {**rounds[0], name: attack(fleet, own, random)}  # type: ignore[misc]
    service = published(fleet, rounds, SHIPPED)
    aside, names = service.aside(), {f"d{index:03}" for index in bad}
    cost = honest - fleet.accuracy(service.head)
    prior = service.prior()
    told = honest if prior is None else fleet.accuracy(fleet.model.solve(fleet.source, prior, SHIPPED.shrinkage))
    (everybody,) = honest_rounds(fleet)
    rest = merge([tables for name, tables in everybody.items() if name not in names])
    absent = honest - fleet.accuracy(fleet.model.solve(fleet.source, rest, SHIPPED.shrinkage))
    return Outcome(cost, len(aside & names) / max(len(names), 1), len(aside - names), honest - told, absent)


def chosen(fleet: AttackedFleet, share: float, knob: int, random: np.random.Generator) -> list[int]:
    """The attackers."""
    count = len(fleet.devices)
    if not share and knob % 2:
        return [int(np.argmax([len(rows.labels) for rows in fleet.devices]))]
    return sorted(random.permutation(count)[: max(1, round(share * count))].tolist())


def honest_rounds(fleet: AttackedFleet) -> list[dict[str, Statistics]]:
    """One round, in which everybody tells all it has."""
    return [{name: tables for name, (tables, _) in _honest(fleet).items()}]


@cache
def _honest(fleet: AttackedFleet) -> dict[str, tuple[Statistics, bytes]]:
    """By device, its tables and the report of them."""
    tables = {f"d{index:03}": fleet.tables(rows) for index, rows in enumerate(fleet.devices)}
    return {name: (some, StatisticsReport(name, 1, 1, some).encode()) for name, some in tables.items()}


def published(fleet: AttackedFleet, rounds: Sequence[Mapping[str, Statistics]], policy: Policy) -> Service:
    service = Service(fleet, policy)
    for counter, reports in enumerate(rounds, 1):
        service.take(counter, reports)
    return service


def _means(fleet: AttackedFleet) -> Float64:
    """Of the training data's classes, float64 (C, d)."""
    means: Float64 = (fleet.source.class_sums[:-1] / np.maximum(fleet.source.counts, 1)).T
    return means


def _int8(codes: Float64) -> Int8:
    rounded: Int8 = np.clip(np.rint(codes), -127, 127).astype(np.int8)
    return rounded


if __name__ == "__main__":
    sys.exit(main())
