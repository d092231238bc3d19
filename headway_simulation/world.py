"""Runs one seed: a fleet, its faults, every invariant after every event, and the same check again at rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from aggregator.policy import (
    AveragingPolicy,
    HeadGatePolicy,
    HeadTrialPolicy,
    Limits,
    Method,
    OutlierPolicy,
    Policy,
    Robust,
    Weighing,
)
from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.learner_settings import LearnerSettings
from edge_agent.remote_settings import RemoteSettings
from headway_simulation.broker import Broker
from headway_simulation.build import Build
from headway_simulation.clock import Scheduler
from headway_simulation.copies import Copies
from headway_simulation.device import DiskCopy, SimulatedDevice
from headway_simulation.faults import Stage, heal, plan_faults
from headway_simulation.history import Violation
from headway_simulation.invariants import Invariants
from headway_simulation.lives import Lives
from headway_simulation.machine import Place
from headway_simulation.model import Model
from headway_simulation.network import Link
from headway_simulation.rest import check_rest, unsettled
from headway_simulation.sensor import Sensor
from headway_simulation.sensor_file import SensorFile
from headway_simulation.server import SimulatedServer
from headway_simulation.trace import Trace
from headway_simulation.tried_bundle import Quality, tried_bundle

REST_MAX_S = 6 * 3600.0
REST_STEP_S = 120.0
FILES_AN_HOUR = 4.0
COPIED_SHARE = 0.5
# fleets in which devices lie, and every how many of them
LYING_SHARE, LIARS_EVERY = 0.3, 4
# more that come with labels there, for each device
LABELLED_FILES = 5
TRIED_SHARE = 0.5
BESIDE_SHARE = 0.5
COMMANDED_SHARE = 0.5
COMMANDS_AN_HOUR = 3.0
CONFIGURED_SHARE = 0.5
SETTINGS_AN_HOUR = 2.0
TRIED_HEADS_SHARE = 0.35
ACTS_AN_HOUR, READMITTED_SHARE, REMOVED_SHARE = 1.5, 0.6, 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that kept every promise. digest: of its whole trace; liars: how often a device was found to contradict the
    others; withdrawn: heads that were."""

    seed: int
    events: int
    digest: str
    samples: int
    heads: int
    liars: int
    withdrawn: int


class World:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        devices: int,
        hours: float,
        build: Build | None = None,
        method: Method | None = None,
        copies: bool | None = None,
    ) -> None:
        self.seed, self.duration_s = seed, hours * 3600
        self.scheduler, self.trace = Scheduler(seed), Trace()
        chance = self.scheduler.chance("world")
        self.broker = Broker(self.scheduler, self.trace)
        self.link = Link()
        model, lot = Model(), self.scheduler.chance("trial")
        tried = tried_bundle(model, lot.choice(tuple(Quality))) if lot.random() < TRIED_SHARE else None
        beside = Model(step=1.5) if tried is None and lot.random() < BESIDE_SHARE else None
        self.place = Place(
            self.scheduler, self.trace, self.broker, model, build or Build(), self.link, tried=tried, beside=beside
        )
        self.lives = Lives()
        self.invariants = Invariants(self.place.models, self.lives)
        drawn = Method.AVERAGE if chance.random() < 0.4 else Method.EXACT
        self.method = method or drawn
        self._lying = self.scheduler.chance("liars").random() < LYING_SHARE
        self.server = SimulatedServer(self.place, self._policy(chance), self.invariants.aggregator, self.lives)
        config = self._config(chance)
        places = self._places()
        self.devices = [
            SimulatedDevice(config(f"d{number}"), places[number % len(places)], self.lives, self._check_device)
            for number in range(devices)
        ]
        self._sensors = {
            device.name: Sensor(
                device.place.model,
                self.scheduler.chance(f"sensor/{device.name}"),
                # whom the frozen head is mostly right about: so that it can be told who lies
                drift=0.0 if self._lying else 0.6,
                lies=self._lying and number % LIARS_EVERY == 0,
            )
            for number, device in enumerate(self.devices)
        }
        by_lot = self.scheduler.chance("copied").random() < COPIED_SHARE
        self._copied = by_lot if copies is None else copies
        self._stage = Stage(self.scheduler, self.broker, self.link, self.devices, self.server, self.duration_s)

    def run(self) -> Outcome:
        """Raises Violation, or whatever the product raised, with the trace up to there in `trace`."""
        self._plan_work()
        plan_faults(self._stage, set_back=self._copied)
        if self._copied:
            Copies(self._stage, self._clone).plan()
        self.until(self.duration_s)
        heal(self._stage)
        self.trace.add(self.scheduler.now_s, "world", "everything works from now on")
        self._come_to_rest()
        head = check_rest(self.devices, self.server, self.invariants)
        version, samples = (0, 0) if head is None else (head.version, head.samples)
        self.trace.add(self.scheduler.now_s, "world", f"at rest with head {version}, {samples} samples")
        found = self.lives.trust.came, self.lives.gates.withdrawn
        return Outcome(self.seed, self.scheduler.events, self.trace.digest, samples, version, *found)

    def _places(self) -> list[Place]:
        """Of devices, in turn: by the bundle that they run."""
        beside = self.place.beside
        if beside is None:
            return [self.place]
        return [self.place, replace(self.place, model=beside, beside=self.place.model)]

    def until(self, time_s: float) -> None:
        """Let time pass."""
        self.scheduler.at(time_s, lambda: None)
        while self.scheduler.now_s < time_s and self.scheduler.step():
            pass

    def _come_to_rest(self) -> None:
        """Wait until nothing is on its way. Machines with one device id throw each other off the broker, so they get
        it in turn, twice: the second time whoever spoke first has heard what came of the others."""
        by_id: dict[str, list[SimulatedDevice]] = {}
        for device in self.devices:
            by_id.setdefault(device.config.device, []).append(device)
        turns = max(map(len, by_id.values()))
        for turn in range(1 if turns == 1 else 2 * turns):
            speaking = [machines[turn % len(machines)] for machines in by_id.values()]
            for device in self.devices:
                cut = self.broker.heal if any(device is one for one in speaking) else self.broker.partition
                cut(device.name)
            waited_until_s = self.scheduler.now_s + REST_MAX_S
            while problem := unsettled(speaking, self.server, self.invariants):
                if self.scheduler.now_s > waited_until_s:
                    raise Violation(f"not at rest after {REST_MAX_S / 3600:.0f} h without faults: {problem}")
                self.until(self.scheduler.now_s + REST_STEP_S)
        self.lives.ledger.check_removed()

    def _clone(self, original: SimulatedDevice, copy: DiskCopy) -> SimulatedDevice:
        """Another machine with a copy of a disk, and a sensor of its own that knows the same windows."""
        host = f"{original.config.device}-{len(self.devices)}"
        clone = SimulatedDevice(original.config, original.place, self.lives, self._check_device, copy=copy, host=host)
        self._sensors[host] = self._sensors[original.name].copy(f"{host}-", self.scheduler.chance(f"sensor/{host}"))
        self.devices.append(clone)
        self._plan_files(clone, self.scheduler.now_s)
        return clone

    def _check_device(self, device: SimulatedDevice) -> None:
        self.invariants.device(device, self.server)

    def _plan_work(self) -> None:
        for machine in (*self.devices, self.server):
            self.scheduler.at(machine.chance.uniform(0, 60), machine.boot)
        self.scheduler.at(self.scheduler.chance("rollout").uniform(0, 0.5 * self.duration_s), self.server.begin_trial)
        if self.scheduler.chance("commanded").random() < COMMANDED_SHARE:
            self._plan_commands()
        if self.scheduler.chance("configured").random() < CONFIGURED_SHARE:
            self._plan_settings()
        if self._lying and self.method is Method.EXACT:
            self._plan_acts()
        new_class = self.method is Method.EXACT and self.scheduler.chance("classes").random() < 0.3
        for device in self.devices:
            self._plan_files(device, 0.0)
            if new_class:
                self._at_some_time(device, 0.0, self._sensors[device.name].new_class, 2)
                if self._copied:
                    self._at_some_time(device, 0.0, self._sensors[device.name].rename)

    def _plan_files(self, device: SimulatedDevice, start_s: float) -> None:
        sensor = self._sensors[device.name]
        for _ in range(round(FILES_AN_HOUR * (self.duration_s - start_s) / 3600)):
            self._at_some_time(device, start_s, sensor.next_file)
        if self._lying:
            for _ in range(LABELLED_FILES):
                self._at_some_time(device, start_s, sensor.labelled, 6)
        # something to count, whatever was drawn
        self.scheduler.at(self.duration_s, lambda: device.drop(sensor.labelled(2)))

    def _plan_commands(self) -> None:
        chance = self.scheduler.chance("commands")
        for device, sensor in ((device, self._sensors[device.name]) for device in self.devices):
            for _ in range(round(COMMANDS_AN_HOUR * self.duration_s / 3600)):
                self.scheduler.at(
                    chance.uniform(0, self.duration_s),
                    lambda name=device.config.device, sensor=sensor: self.server.command(  # type: ignore[misc]
                        self.lives.operator, name, sensor.known, chance
                    ),
                )

    def _plan_acts(self) -> None:
        """An operator sets devices aside and readmits them, whoever they are."""
        chance = self.scheduler.chance("acts")
        for _ in range(round(ACTS_AN_HOUR * self.duration_s / 3600)):
            self.scheduler.at(chance.uniform(0, self.duration_s), lambda: self._act(chance))

    def _act(self, chance: random.Random) -> None:
        aside = sorted(self.lives.trust.aside)
        if aside and chance.random() < READMITTED_SHARE:
            act = self.server.remove if chance.random() < REMOVED_SHARE else self.server.readmit
            act(chance.choice(aside))
        else:
            self.server.set_aside(chance.choice(self.devices).config.device)

    def _plan_settings(self) -> None:
        chance = self.scheduler.chance("settings")
        for device in [device.config.device for device in self.devices]:
            for _ in range(round(SETTINGS_AN_HOUR * self.duration_s / 3600)):
                self.scheduler.at(
                    chance.uniform(0, self.duration_s),
                    lambda name=device: self.server.want_settings(name, chance),  # type: ignore[misc]
                )

    def _at_some_time(
        self, device: SimulatedDevice, start_s: float, make: Callable[..., SensorFile], *arguments: int
    ) -> None:
        time_s = device.chance.uniform(start_s, self.duration_s)
        self.scheduler.at(time_s, lambda: device.drop(make(*arguments)))

    def _policy(self, chance: random.Random) -> Policy:
        weights = self.scheduler.chance("weights")
        return Policy(
            method=self.method,
            # so that small fleets see priors and classes, too
            prior_devices_min=1,
            prior_labels_min=1,
            prior_device_labels_min=1,
            limits=Limits(class_samples_min=1),
            publish_interval_s=chance.choice((0.0, 60.0, 600.0)),
            pace_s=chance.choice((0.0, 0.0, 300.0)),
            # as narrow as few labels need to be over the bound
            weighing=Weighing(
                samples_max=weights.choice((100_000, 9)),
                devices_min=weights.choice((0, 1, 2, 4)),
                samples_min=weights.choice((1, 64)),
                class_samples_min=weights.choice((0, 1, 16)),
            ),
            # where some lie, devices are compared, as soon as something is new: one table a step, some, or all at once
            outliers=OutlierPolicy(
                devices_min=3 if self._lying else 0,
                interval_s=0.0,
                step_s=self.scheduler.chance("steps").choice((1e-6, 5e-4, OutlierPolicy().step_s)),
            ),
            averaging=AveragingPolicy(updates_min=chance.choice((1, 4)), round_s=600.0, robust=Robust.NONE),
            head_trial=self._head_trial(),
            head_gate=self._head_gate(),
        )

    def _head_gate(self) -> HeadGatePolicy:
        """Where some lie, few labels are enough to tell of a head that it is worse."""
        chance = self.scheduler.chance("gate")
        if not self._lying:
            return HeadGatePolicy()
        return HeadGatePolicy(
            loss_margin=chance.choice((0.05, 0.2)),
            errors=chance.choice((0.0, 1.0)),
            labelled_devices_min=2,
            windows_min=chance.choice((4, 12)),
            watch_s=chance.choice((0.0, 600.0)),
            patience_s=chance.choice((900.0, 3600.0)),
        )

    def _head_trial(self) -> HeadTrialPolicy:
        """In some fleets heads are tried first, by few labels."""
        chance = self.scheduler.chance("head trials")
        if self.method is not Method.EXACT or chance.random() >= TRIED_HEADS_SHARE:
            return HeadTrialPolicy()
        margin, errors, patience_s = (
            chance.choice((0.05, 0.5)),
            chance.choice((0.0, 1.0)),
            chance.choice((900.0, 3600.0)),
        )
        return HeadTrialPolicy(1.0, margin, errors, windows_min=4, devices_min=2, patience_s=patience_s)

    def _config(self, chance: random.Random) -> Callable[[str], AgentConfig]:
        learner = LearnerSettings(
            kind="gradient" if self.method is Method.AVERAGE else "exact",
            batch_rows=4,
            replay_rows=12,
            update_labels=chance.choice((1, 3)),
            horizon_rows=chance.choice((4, 1000)),
        )
        sensor = SensorSettings(poll_interval_s=chance.choice((20.0, 60.0)))
        sync = SyncSettings(
            interval_s=chance.choice((10.0, 120.0)),
            ack_timeout_s=chance.choice((30.0, 300.0)),
            outbox_rows_max=chance.choice((2, 10_000)),
            whole_bytes_max=chance.choice((0, 16_384)),
        )
        remote = RemoteSettings(trial_s=self.scheduler.chance("configured on trial").choice((0.0, 30.0, 600.0)))
        return lambda name: AgentConfig(
            name, self.place.fleet, Path("bundle.hwb"), Path("state"), sensor, learner, sync, remote=remote
        )
