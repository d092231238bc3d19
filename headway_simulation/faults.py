"""Draws the faults of a seed and their times. Each kind is left out of some seeds, so that none hides another."""

from __future__ import annotations

import random
from dataclasses import dataclass

from headway_simulation.broker import AUTOSAVE_S, Broker, Restart
from headway_simulation.clock import Scheduler
from headway_simulation.device import SimulatedDevice
from headway_simulation.machine import Machine
from headway_simulation.network import Link
from headway_simulation.server import ServerCopy, SimulatedServer

YEAR_S = 365 * 86_400.0
# of fleets with the exact method: how many have a server that forgets, and about how much of the past
FORGETS_SHARE, FORGOTTEN_S = 0.3, 240.0


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that can fail. duration_s: faults begin before it."""

    scheduler: Scheduler
    broker: Broker
    link: Link
    devices: list[SimulatedDevice]
    server: SimulatedServer
    duration_s: float


def plan_faults(stage: Stage, set_back: bool = False) -> None:
    """Draw and plan the faults of a run. set_back: the aggregator's disk will be replaced by an older copy."""
    chance = stage.scheduler.chance("faults")
    _network(stage, chance)
    lost_store = stage.server.policy.method == "exact" and chance.random() < 0.1
    forgets = stage.server.policy.method == "exact" and stage.scheduler.chance("forgets").random() < FORGETS_SHARE
    _broker(stage, chance, keeps_all=lost_store or set_back or forgets)
    _machines(stage, chance)
    _disks(stage, chance)
    if lost_store:
        stage.scheduler.at(_time(stage, chance), stage.server.wipe)
    if forgets:
        _forget(stage, stage.scheduler.chance("forgotten"))
    if chance.random() < 0.15:
        stage.scheduler.at(_time(stage, chance), chance.choice(stage.devices).wipe)


def _forget(stage: Stage, chance: random.Random) -> None:
    """The aggregator's disk forgets the last minutes, in which it acknowledged and sent: what devices were told to do,
    have done and have said is not known to it, as after a disk that lies about its syncs. Or all of it is gone."""
    for _ in range(chance.randint(1, 3)):
        made_s, copies = _time(stage, chance), list[ServerCopy]()
        stage.scheduler.at(made_s, lambda copies=copies: copies.append(stage.server.copy_disk()))  # type: ignore[misc]
        restored_s = made_s + chance.expovariate(1 / FORGOTTEN_S)
        stage.scheduler.at(restored_s, lambda copies=copies: stage.server.restore(copies[0]))  # type: ignore[misc]
    if chance.random() < 0.25:
        stage.scheduler.at(_time(stage, chance), stage.server.wipe)


def heal(stage: Stage) -> None:
    """Everything works again, and goes on working."""
    stage.link.heal()
    stage.broker.recover()
    for machine in _all(stage):
        stage.broker.heal(machine.name)
        machine.power.restore()
        machine.boot()
    for device in stage.devices:
        device.fill_disk(False)
    stage.server.fill_disk(False)


def _network(stage: Stage, chance: random.Random) -> None:
    delay_s = chance.choice((0.05, 0.5, 5.0))
    loss = chance.choice((0.005, 0.02, 0.08)) if chance.random() < 0.6 else 0.0
    duplicate = chance.choice((0.05, 0.3)) if chance.random() < 0.6 else 0.0
    reorder = chance.choice((0.05, 0.3)) if chance.random() < 0.6 else 0.0
    stage.link.become(delay_s, loss, duplicate, reorder)
    for _ in range(chance.randint(0, 3)):
        victim, start_s = chance.choice(_all(stage)).name, _time(stage, chance)
        stage.scheduler.at(start_s, lambda victim=victim: stage.broker.partition(victim))  # type: ignore[misc]
        end_s = start_s + chance.expovariate(1 / 1200)
        stage.scheduler.at(end_s, lambda victim=victim: stage.broker.heal(victim))  # type: ignore[misc]


def _broker(stage: Stage, chance: random.Random, keeps_all: bool) -> None:
    def save() -> None:
        stage.broker.save()
        stage.scheduler.after(AUTOSAVE_S, save)

    stage.scheduler.after(AUTOSAVE_S, save)
    for _ in range(chance.randint(0, 2)):
        restart = Restart.KEEPS_ALL if keeps_all else chance.choice(tuple(Restart))
        start_s = _time(stage, chance)
        stage.scheduler.at(start_s, lambda restart=restart: stage.broker.crash(restart))  # type: ignore[misc]
        stage.scheduler.at(start_s + chance.uniform(1, 900), stage.broker.recover)


def _machines(stage: Stage, chance: random.Random) -> None:
    for machine in _all(stage):
        for _ in range(chance.randint(0, 3)):
            only = chance.random() < 0.5
            points, arm = chance.randint(0, 12 if only else 40), machine.power.arm
            stage.scheduler.at(_time(stage, chance), lambda arm=arm, n=points, only=only: arm(n, only))  # type: ignore[misc]
        if chance.random() < 0.4:
            stage.scheduler.at(_time(stage, chance), machine.kill)
        if chance.random() < 0.3:
            stage.scheduler.at(_time(stage, chance), machine.stop)
        if chance.random() < 0.3:
            years = chance.uniform(-50, 50)
            jump = machine.clock.jump
            stage.scheduler.at(_time(stage, chance), lambda j=jump, y=years: j(y * YEAR_S))  # type: ignore[misc]


def _disks(stage: Stage, chance: random.Random) -> None:
    for fill in (*(device.fill_disk for device in stage.devices), stage.server.fill_disk):
        if chance.random() < 0.2:
            start_s = _time(stage, chance)
            stage.scheduler.at(start_s, lambda fill=fill: fill(True))  # type: ignore[misc]
            stage.scheduler.at(start_s + chance.uniform(60, 1800), lambda fill=fill: fill(False))  # type: ignore[misc]


def _time(stage: Stage, chance: random.Random) -> float:
    return chance.uniform(0, stage.duration_s)


def _all(stage: Stage) -> list[Machine]:
    return [*stage.devices, stage.server]
