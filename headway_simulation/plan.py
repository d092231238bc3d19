"""Implements ``edge-fleet simulate``: the load that a fleet of a given size puts on network, broker and aggregator.

The devices and the aggregator are the real ones, so their messages are the real ones; only the windows are made up.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from aggregator.policy import Method, Policy
from edge_agent.config import AgentConfig, SensorSettings, SyncSettings
from edge_agent.learner_settings import LearnerSettings
from headway.bundle import read_variant
from headway.errors import ConfigError
from headway_simulation.broker import Broker
from headway_simulation.build import Build
from headway_simulation.clock import Scheduler
from headway_simulation.device import SimulatedDevice
from headway_simulation.lives import Lives
from headway_simulation.machine import Place
from headway_simulation.meter import Load, Meter
from headway_simulation.model import Model
from headway_simulation.network import Link
from headway_simulation.sensor import Sensor
from headway_simulation.server import SimulatedServer
from headway_simulation.sizing import SIZES, Costs, sized, table
from headway_simulation.trace import Trace

BOOT_SPREAD_S = 600.0
AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Demand:
    """A fleet in numbers. size: codes per window, d; partition_hours: how long nobody reaches the broker, from the
    middle of the run; loss: share of packets that break their connection."""

    devices: int = 20
    hours: float = 24.0
    labels_per_hour: float = 4.0
    size: int = 65
    classes: int = 10
    method: Method = Method.EXACT
    interval_s: float = 60.0
    publish_interval_s: float = 60.0
    loss: float = 0.0
    delay_s: float = 0.1
    partition_hours: float = 0.0
    seed: int = 0


def plan(demand: Demand) -> Load:
    """Run the fleet and measure it."""
    scheduler = Scheduler(demand.seed)
    trace = Trace()
    meter = Meter(scheduler)
    broker = Broker(scheduler, trace, meter.message)
    model = Model(demand.size, tuple(f"class-{number}" for number in range(demand.classes)))
    place = Place(scheduler, trace, broker, model, Build(), Link(demand.delay_s, demand.loss), audited=False)
    policy = Policy(method=demand.method, publish_interval_s=demand.publish_interval_s)
    server = SimulatedServer(place, policy, meter.server)
    devices = [
        SimulatedDevice(_config(demand, number), place, Lives(), meter.device) for number in range(demand.devices)
    ]
    for machine in (*devices, server):
        scheduler.at(machine.chance.uniform(0, min(BOOT_SPREAD_S, demand.hours * 900)), machine.boot)
    for device in devices:
        _plan_labels(demand, device, Sensor(model, scheduler.chance(f"sensor/{device.name}")))
    if demand.partition_hours:
        _plan_partition(demand, scheduler, broker, devices, meter)
    _until(scheduler, demand.hours * 3600)
    return meter.load(demand.hours, [device.name for device in devices], server)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code. Raises ConfigError, BundleError."""
    options = _parser().parse_args(arguments)
    logging.disable(logging.WARNING)
    values = {name: getattr(options, name) for name in Demand.__dataclass_fields__}
    if options.bundle is not None:
        variant = read_variant(options.bundle)
        values |= {"size": variant.features.size, "classes": len(variant.classes)}
    demand = Demand(**values | {"method": Method(options.method)})
    _check(demand)
    load = plan(demand)
    if options.sizes:
        costs = Costs()
        sizes = [asdict(sized(load, demand.devices, demand.hours, wanted, costs)) for wanted in SIZES]
        made = {"demand": asdict(demand), "costs": asdict(costs), "sizes": sizes}
        print(json.dumps(made, indent=2) if options.json else table(load, demand.devices, demand.hours, costs))
        return 0
    print(json.dumps({"demand": asdict(demand), "load": asdict(load)}, indent=2) if options.json else load.text())
    return 0


def _check(demand: Demand) -> None:
    bounds = {
        "devices": (1, 100_000),
        "hours": (0.1, 24 * 366),
        "labels_per_hour": (0, 3600),
        "size": (1, 16_384),
        "classes": (2, 4096),
        "interval_s": (1, 604_800),
        "publish_interval_s": (0, 86_400),
        "loss": (0, 0.5),
        "delay_s": (0.001, 3600),
        "partition_hours": (0, demand.hours / 2 - 0.01),
    }
    for name, (low, high) in bounds.items():
        value = getattr(demand, name)
        if not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g} is outside {low:g} to {high:g}")


def _config(demand: Demand, number: int) -> AgentConfig:
    return AgentConfig(
        f"d{number:05d}",
        "simulated",
        Path("bundle.hwb"),
        Path("state"),
        SensorSettings(poll_interval_s=min(60.0, demand.interval_s)),
        LearnerSettings(kind="exact" if demand.method is Method.EXACT else "gradient"),
        SyncSettings(interval_s=demand.interval_s),
    )


def _plan_labels(demand: Demand, device: SimulatedDevice, sensor: Sensor) -> None:
    """One labelled window at a time, at random moments; the next is planned when one has come."""
    if not demand.labels_per_hour:
        return

    scheduler = device.place.scheduler
    chance, per_s = scheduler.chance(f"labels/{device.name}"), demand.labels_per_hour / 3600

    def come() -> None:
        device.drop(sensor.labelled(1))
        scheduler.after(chance.expovariate(per_s), come)

    scheduler.after(chance.expovariate(per_s), come)


def _plan_partition(
    demand: Demand, scheduler: Scheduler, broker: Broker, devices: list[SimulatedDevice], meter: Meter
) -> None:
    start_s = demand.hours * 1800

    def cut() -> None:
        for device in devices:
            broker.partition(device.name)

    def heal() -> None:
        for device in devices:
            broker.heal(device.name)
        meter.healed(devices)

    scheduler.at(start_s, cut)
    scheduler.at(start_s + demand.partition_hours * 3600, heal)


def _until(scheduler: Scheduler, time_s: float) -> None:
    scheduler.at(time_s, lambda: None)
    while scheduler.now_s < time_s and scheduler.step():
        pass


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, as of every command of the server."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    default = Demand()
    parser = _Parser(prog="edge-fleet simulate", description="What a fleet asks of its network, broker and aggregator.")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="take the size and the classes from a bundle")
    parser.add_argument("--size", type=int, default=default.size, help=f"codes per window (default {default.size})")
    parser.add_argument("--classes", type=int, default=default.classes, help=f"(default {default.classes})")
    parser.add_argument("--devices", type=int, default=default.devices, help=f"(default {default.devices})")
    parser.add_argument("--hours", type=float, default=default.hours, help=f"simulated (default {default.hours:g})")
    parser.add_argument("--labels-per-hour", type=float, default=default.labels_per_hour, help="of each device")
    parser.add_argument(
        "--method", choices=tuple(map(str, Method)), default=str(default.method), help="how heads are made"
    )
    parser.add_argument("--interval-s", type=float, default=default.interval_s, help="the devices' [sync] interval_s")
    parser.add_argument("--publish-interval-s", type=float, default=default.publish_interval_s, help="between heads")
    parser.add_argument("--loss", type=float, default=default.loss, help="share of packets lost with their connection")
    parser.add_argument("--delay-s", type=float, default=default.delay_s, help="mean, one way")
    parser.add_argument("--partition-hours", type=float, default=0.0, help="nobody reaches the broker for so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", action="store_true", help="what 10,000 to 10 million such devices need")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser
