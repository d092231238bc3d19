"""Runs one seed: a fleet, its faults, every invariant after every event, and the same check again at rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aggregator.policy import AveragingPolicy, Limits, Method, Policy, Weighing
from edge_agent.config import AgentConfig, LearnerSettings, SensorSettings, SyncSettings
from headway_simulation.broker import Broker
from headway_simulation.build import Build
from headway_simulation.clock import Scheduler
from headway_simulation.device import Lives, SimulatedDevice
from headway_simulation.faults import Stage, heal, plan_faults
from headway_simulation.history import Violation
from headway_simulation.invariants import Invariants
from headway_simulation.machine import Place
from headway_simulation.model import Model
from headway_simulation.network import Link
from headway_simulation.rest import check_rest, unsettled
from headway_simulation.sensor import Sensor
from headway_simulation.server import SimulatedServer
from headway_simulation.trace import Trace

REST_MAX_S = 6 * 3600.0
REST_STEP_S = 120.0
FILES_AN_HOUR = 4.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that kept every promise. digest: of its whole trace."""

    seed: int
    events: int
    digest: str
    samples: int
    heads: int


class World:
    """Everything of one seed."""

    def __init__(
        self, seed: int, devices: int, hours: float, build: Build | None = None, method: Method | None = None
    ) -> None:
        self.seed, self.duration_s = seed, hours * 3600
        self.scheduler, self.trace = Scheduler(seed), Trace()
        chance = self.scheduler.chance("world")
        self.broker = Broker(self.scheduler, self.trace)
        self.link = Link()
        self.place = Place(self.scheduler, self.trace, self.broker, Model(), build or Build(), self.link)
        self.lives = Lives()
        self.invariants = Invariants(self.place.model, self.lives)
        drawn = Method.AVERAGE if chance.random() < 0.4 else Method.EXACT
        self.method = method or drawn
        self.server = SimulatedServer(self.place, self._policy(chance), self.invariants.aggregator)
        config = self._config(chance)
        self.devices = [
            SimulatedDevice(config(f"d{number}"), self.place, self.lives, self._check_device)
            for number in range(devices)
        ]
        self._stage = Stage(self.scheduler, self.broker, self.link, self.devices, self.server, self.duration_s)

    def run(self) -> Outcome:
        """Raises Violation, or whatever the product raised, with the trace up to there in `trace`."""
        self._plan_work()
        plan_faults(self._stage)
        self.until(self.duration_s)
        heal(self._stage)
        self.trace.add(self.scheduler.now_s, "world", "everything works from now on")
        waited_until_s = self.scheduler.now_s + REST_MAX_S
        while problem := unsettled(self.devices, self.server):
            if self.scheduler.now_s > waited_until_s:
                raise Violation(f"not at rest after {REST_MAX_S / 3600:.0f} h without faults: {problem}")
            self.until(self.scheduler.now_s + REST_STEP_S)
        head = check_rest(self.devices, self.server, self.invariants)
        self.trace.add(self.scheduler.now_s, "world", f"at rest with head {head.version}, {head.samples} samples")
        return Outcome(self.seed, self.scheduler.events, self.trace.digest, head.samples, head.version)

    def until(self, time_s: float) -> None:
        """Let time pass."""
        self.scheduler.at(time_s, lambda: None)
        while self.scheduler.now_s < time_s and self.scheduler.step():
            pass

    def _check_device(self, device: SimulatedDevice) -> None:
        self.invariants.device(device, self.server)

    def _plan_work(self) -> None:
        for machine in (*self.devices, self.server):
            self.scheduler.at(machine.chance.uniform(0, 60), machine.boot)
        new_class = self.method is Method.EXACT and self.scheduler.chance("classes").random() < 0.3
        for device in self.devices:
            sensor = Sensor(self.place.model, self.scheduler.chance(f"sensor/{device.name}"))
            count = round(FILES_AN_HOUR * self.duration_s / 3600)
            times = sorted(device.chance.uniform(0, self.duration_s) for _ in range(count))
            for time_s in times:
                self.scheduler.at(time_s, lambda d=device, s=sensor: d.drop(s.next_file()))  # type: ignore[misc]
            if new_class:
                time_s = device.chance.uniform(0, self.duration_s)
                self.scheduler.at(time_s, lambda d=device, s=sensor: d.drop(s.new_class(2)))  # type: ignore[misc]
            # something to count, whatever was drawn
            self.scheduler.at(self.duration_s, lambda d=device, s=sensor: d.drop(s.labelled(2)))  # type: ignore[misc]

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
            ),
            averaging=AveragingPolicy(updates_min=chance.choice((1, 4)), round_s=600.0),
        )

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
        return lambda name: AgentConfig(
            name, self.place.fleet, Path("bundle.hwb"), Path("state"), sensor, learner, sync
        )
