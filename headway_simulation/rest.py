"""Checks what must hold once nothing fails any more and every message has arrived."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aggregator.heads import GOOD
from aggregator.policy import Method
from aggregator.store import StoredHead
from aggregator.store.rows import HEAD_CANDIDATES
from edge_agent.config import AgentConfig
from edge_agent.loop import DeviceLoop
from edge_agent.startup import Opened, build_device, open_agent
from edge_agent.store import MemoryStore
from headway.maths import fleet_head
from headway.ports import Received
from headway.wire import PublishedHead
from headway_simulation.clock import Scheduler, SimulatedClock
from headway_simulation.device import SimulatedDevice
from headway_simulation.disk import SimulatedSpool
from headway_simulation.history import Turn, Violation
from headway_simulation.invariants import Invariants, same
from headway_simulation.operator import open_commands
from headway_simulation.power import Power
from headway_simulation.server import SimulatedServer


def unsettled(devices: Sequence[SimulatedDevice], server: SimulatedServer, invariants: Invariants) -> str:
    """What is still on its way; empty at rest."""
    for device in devices:
        newest = newest_head(server, device.place.model.variant.space)
        if device.loop is None or device.loop.store.degraded:
            return f"{device.name} is off, or its disk refuses"
        if device.spool.waiting or device.spool.claimed:
            return f"{device.name} has files to take in"
        if not device.loop.settled():
            return f"{device.name} waits for acknowledgements"
        stored = server.kept.statistics.get((device.config.device, device.loop.agent.sync_state.epoch))
        if server.policy.method is Method.EXACT and device.history.counter != (stored.counter if stored else 0):
            return f"{device.name} has told of counter {stored and stored.counter}, not of {device.history.counter}"
        if waits := invariants.lives.settings.waits(server.store, device.config.device, device.remote_file.read()):
            return waits
        if newest is not None and device.loop.agent.learner.fleet_version < newest.version:
            return f"{device.name} has not got head {newest.version}"
    if waiting := open_commands(server.store):
        return f"command {waiting[0].name} waits for {waiting[0].device}"
    if server.core is None or server.store.update_count():
        return "the aggregator is off, or has updates to average"
    if any(row.name != GOOD for row in server.store.rows(HEAD_CANDIDATES).all()):
        return "a head is being tried"
    if not server.kept.heads and server.policy.head_trial.share == 0:
        return "no head was published"
    aside = frozenset(invariants.lives.trust.aside)
    for variant in {device.place.model.variant.space: device.place.model.variant for device in devices}.values():
        last = newest_head(server, variant.space)
        if last is None or server.policy.method is not Method.EXACT or server.tries_heads_of(variant.space):
            continue
        if invariants.lives.gates.closed(variant.space):
            continue  # the head that is made of everything waits for labels that speak for it
        head = PublishedHead.decode(last.payload)
        # samples alone do not tell: a device that weighs all it may does not weigh more when it learns more
        expected = fleet_head(variant.training_statistics, invariants.weighed(server, variant.space, aside))
        if not np.array_equal(head.head.kernel, expected.kernel):
            return f"head {head.version} does not hold everything"
    trust = invariants.lives.trust
    liars = {*server.judged(trust.aside.keys()).named} - trust.aside.keys() - trust.vouched
    return f"{min(liars)} contradicts the others, and is not set aside" if liars else ""


def newest_head(server: SimulatedServer, space: str) -> StoredHead | None:
    """Of one feature space."""
    return next((head for head in reversed(server.kept.heads) if head.space == space), None)


def check_rest(
    devices: Sequence[SimulatedDevice], server: SimulatedServer, invariants: Invariants
) -> PublishedHead | None:
    """Everything that was handed in is counted, once, in the head that every device of its feature space has.

    Returns the newest head; None where heads are tried first and none has passed. Raises Violation.
    """
    invariants.lives.operator.check_rest(server.store, server.clock.wall_s())
    _check_settings(devices, server, invariants)
    for device in devices:
        missing = device.history.dropped.keys() - device.history.applied.keys() - device.spool.rejected.keys()
        if missing:
            raise Violation(f"{device.name} never learned {sorted(missing)}")
        _counted(device, server, invariants)
    for space in {device.place.model.variant.space: None for device in devices}:
        _check_head(space, server, invariants)
    # updates that merged in a full outbox depend on when acks came, which a repetition does not know
    if server.policy.method is Method.EXACT or devices[0].config.sync.outbox_rows_max > devices[0].history.steps:
        for device in {device.place.model.variant.space: device for device in reversed(devices)}.values():
            _repeat(device)
    return PublishedHead.decode(server.kept.heads[-1].payload) if server.kept.heads else None


def _check_settings(devices: Sequence[SimulatedDevice], server: SimulatedServer, invariants: Invariants) -> None:
    settings = invariants.lives.settings
    running: defaultdict[str, list[AgentConfig]] = defaultdict(list)
    for device in devices:
        if device.loop is not None:
            settings.check_machine(device.config, device.runs, device.remote_file.read())
            running[device.config.device].append(device.runs)
    for name, configs in running.items():
        settings.check_told(server.store, name, configs)


def _check_head(space: str, server: SimulatedServer, invariants: Invariants) -> None:
    newest = newest_head(server, space)
    retained = server.place.broker.retained.get(server.place.head_topic(space))
    if newest is None and (server.policy.method is Method.AVERAGE or server.tries_heads_of(space)):
        return  # its devices have not learned as much as an update takes, or no head has passed its trial
    if retained is None or newest is None or retained.payload != newest.payload:
        raise Violation(f"the broker does not retain the newest head of space {space[:8]}")
    # a head that is tried first passes with labels that come later, or never
    lives = invariants.lives
    if server.policy.method is Method.EXACT and not server.tries_heads_of(space) and not lives.gates.closed(space):
        head = PublishedHead.decode(retained.payload).head
        expected = invariants.head_in_one_place(server, space, lives.trust.aside.keys())
        same(head, expected, "the head solved in one place")


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
        elif step is Turn.RENEWED:
            loop.agent.prior_received(b"")
        elif isinstance(step, tuple):
            for file in step:
                spool.drop(file)
            loop.turn()
        elif isinstance(step, Received):
            loop.handle(step)
    if loop.agent.learner.encode() != device.loop.agent.learner.encode():
        raise Violation(f"{device.name} learned something else than its own history, repeated, teaches")
