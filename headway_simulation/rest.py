"""Checks what must hold once nothing fails any more and every message has arrived."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aggregator.policy import Method
from edge_agent.loop import DeviceLoop
from edge_agent.startup import Opened, build_device, open_agent
from edge_agent.store import MemoryStore
from headway.maths import fleet_head
from headway.ports import Received
from headway.wire import ALL, Kind, PublishedHead, topic
from headway_simulation.clock import Scheduler, SimulatedClock
from headway_simulation.device import SimulatedDevice
from headway_simulation.disk import SimulatedSpool
from headway_simulation.history import SensorFile, Turn, Violation
from headway_simulation.invariants import Invariants, same
from headway_simulation.operator import open_commands
from headway_simulation.power import Power
from headway_simulation.server import SimulatedServer


def unsettled(devices: Sequence[SimulatedDevice], server: SimulatedServer) -> str:
    """What is still on its way; empty at rest."""
    newest = server.kept.heads[-1].version if server.kept.heads else 0
    for device in devices:
        if device.loop is None or device.loop.store.degraded:
            return f"{device.name} is off, or its disk refuses"
        if device.spool.waiting or device.spool.claimed:
            return f"{device.name} has files to take in"
        if not device.loop.settled():
            return f"{device.name} waits for acknowledgements"
        stored = server.kept.statistics.get((device.config.device, device.loop.agent.sync_state.epoch))
        if server.policy.method is Method.EXACT and device.history.counter != (stored.counter if stored else 0):
            return f"{device.name} has told of counter {stored and stored.counter}, not of {device.history.counter}"
        if device.loop.agent.learner.fleet_version < newest:
            return f"{device.name} has not got head {newest}"
    if waiting := open_commands(server.store):
        return f"command {waiting[0].name} waits for {waiting[0].device}"
    if server.core is None or server.store.update_count():
        return "the aggregator is off, or has updates to average"
    if not server.kept.heads:
        return "no head was published"
    if server.policy.method is Method.EXACT:
        head = PublishedHead.decode(server.kept.heads[-1].payload)
        # samples alone do not tell: a device that weighs all it may does not weigh more when it learns more
        source = devices[0].place.model.variant.training_statistics
        if not np.array_equal(head.head.kernel, fleet_head(source, server.core.weighed).kernel):
            return f"head {head.version} does not hold everything"
    return ""


def check_rest(devices: Sequence[SimulatedDevice], server: SimulatedServer, invariants: Invariants) -> PublishedHead:
    """Everything that was handed in is counted, once, in the head that every device has. Raises Violation."""
    invariants.lives.operator.check_rest(server.store)
    for device in devices:
        missing = device.history.dropped.keys() - device.history.applied.keys() - device.spool.rejected.keys()
        if missing:
            raise Violation(f"{device.name} never learned {sorted(missing)}")
        _counted(device, server, invariants)
    name = topic(devices[0].place.fleet, ALL, Kind.HEAD)
    retained = devices[0].place.broker.retained.get(name)
    if retained is None or retained.payload != server.kept.heads[-1].payload:
        raise Violation("the broker does not retain the newest head")
    head = PublishedHead.decode(retained.payload)
    if server.policy.method is Method.EXACT:
        same(head.head, invariants.head_in_one_place(server), "the head solved in one place")
    # updates that merged in a full outbox depend on when acks came, which a repetition does not know
    if server.policy.method is Method.EXACT or devices[0].config.sync.outbox_rows_max > devices[0].history.steps:
        _repeat(devices[0])
    return head


def _counted(device: SimulatedDevice, server: SimulatedServer, invariants: Invariants) -> None:
    history, ledger = device.history, invariants.lives.ledger
    if server.policy.method is not Method.EXACT:
        ledger.check_averaged(history)
        return
    row = server.kept.statistics.get((history.device, history.epoch or 0))
    if history.counter and (row is None or row.counter < history.counter):
        raise Violation(f"the aggregator has {row and row.counter} of {device.name}, not {history.counter}")
    ledger.check_complete(history)


def _repeat(device: SimulatedDevice) -> None:
    """A new device that gets the same files and heads in the same order ends with the same learner, to the bit."""
    if device.loop is None:
        return
    place, scheduler, power = device.place, Scheduler(0), Power()
    spool, store = SimulatedSpool(power, scheduler.chance(""), len(place.model.classes)), MemoryStore()
    config = replace(device.config, sensor=replace(device.config.sensor, poll_interval_s=0.0))
    variant, numbers = place.model.variant, itertools.count(1)

    def start() -> DeviceLoop:
        agent = open_agent(config, variant, store, lambda bits: next(numbers))
        opened = Opened(variant, place.model.pipeline, store, None, agent)
        return build_device(config, SimulatedClock(scheduler), opened, spool)

    loop = start()
    for step in device.history.course:
        if step is Turn.NEW_RUN:
            loop.stop()
            loop = start()
        elif step is Turn.DROPPED:
            loop.agent.learner.trainer.take_update(early=True)
        elif isinstance(step, SensorFile):
            spool.drop(step)
            loop.turn()
        elif isinstance(step, Received):
            loop.handle(step)
    if loop.agent.learner.encode() != device.loop.agent.learner.encode():
        raise Violation(f"{device.name} learned something else than its own history, repeated, teaches")
