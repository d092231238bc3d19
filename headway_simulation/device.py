"""Simulates a device: the real agent and its real loop on a simulated machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.delivery import Installer
from edge_agent.learner import AdoptHead, AdoptPrior, CorrectLabel, LearnLabel, Operation
from edge_agent.loop import DeviceLoop
from edge_agent.startup import Opened, build_device
from edge_agent.store import COMMANDS, Changes, Entry
from edge_agent.sync import SyncState
from edge_agent.trial import Shadow, Trials
from headway.bundle import Variant
from headway.errors import BundleError, StoreError
from headway.maths import Statistics
from headway.ports import Outgoing, Received
from headway.wire import (
    Event,
    FleetPrior,
    Kind,
    PublishedHead,
    Update,
    device_subscriptions,
    parse_topic,
    space_name,
    topic,
)
from headway_simulation.history import History
from headway_simulation.lives import Lives
from headway_simulation.machine import Machine, Place
from headway_simulation.network import SimulatedTransport
from headway_simulation.remote_settings import RemoteFile, SimulatedRemote
from headway_simulation.sensor_file import SensorFile
from headway_simulation.slots import Passed, SimulatedSlots, SlotFiles

# what a new epoch leaves out: changes of the tables or, of a gradient learner, labels
LEFT_OUT = re.compile(r"; (\d+) (?:changes|labels) ")


@dataclass(frozen=True, slots=True)
class DiskCopy:
    """What a copy of a device's disk holds: tables of its database, the history that they come from, and the file of
    which some rows are learned, if there is one; bundles that came over the network, settings from afar."""

    tables: dict[str, object]
    history: History
    begun: Mapping[int, SensorFile]
    slots: SlotFiles
    remote: RemoteFile


class SimulatedDevice(Machine):
    """One device with its disk, its sensor's files, and the history it ought to have.

    copy: the disk that it begins with, None for an empty one. host: the machine's name; by default the device's, and
    another one where two machines have copies of one disk.
    """

    loop: DeviceLoop | None = None
    _installer: Installer | None = None
    _remote: SimulatedRemote | None = None
    _full = False

    def __init__(
        self,
        config: AgentConfig,
        place: Place,
        lives: Lives,
        check: Callable[[SimulatedDevice], None],
        *,
        copy: DiskCopy | None = None,
        host: str = "",
    ) -> None:
        super().__init__(host or config.device, place, lambda: check(self))
        self.config = self.runs = config
        self._lives = lives
        self.boots = 0
        self._new_disk(copy)

    def drop(self, file: SensorFile) -> None:
        """The sensor writes a file."""
        if self.place.audited:
            self.history.dropped[file.name] = file
        self.spool.drop(file)

    def wipe(self) -> None:
        """The disk is replaced by an empty one."""
        self.trace("is wiped")
        if self.running:
            self._down(self.chance.uniform(1, 60))
        self._new_disk()

    def copy_disk(self) -> DiskCopy:
        """Copy what is durable, running or not; the files that wait in the spool stay where they are."""
        self.trace("is copied")
        history = self.history.copy({}, {})
        begun = {
            number: file for number, file in self.spool.claimed.items() if history.rows and number > history.consumed
        }
        return DiskCopy(self.store.copy(), history, begun, self._slots.copy(), self.remote_file.copy())

    def restore(self, copy: DiskCopy) -> None:
        """The disk is replaced by an older copy of it; files that nobody has begun to take in are still there."""
        self.trace("is restored from a copy")
        waiting = self.spool.waiting
        if self.running:
            self._down(self.chance.uniform(1, 60))
        self._new_disk(copy)
        for file in waiting.values():
            self.drop(file)

    def fill_disk(self, full: bool) -> None:
        """The disk has no space left, or has again."""
        self.trace("disk is full" if full else "disk has space")
        self.store.fill(full)
        self.spool.fill(full)
        self._full = full

    def begin(self) -> None:
        place, build = self.place, self.place.build
        variant = place.model.variant
        remote = build.remote(self.config, self.remote_file, self.power, lambda: self._full)
        self.runs = remote.begin()
        agent = build.open_agent(self.runs, variant, self.store, self.chance.getrandbits)
        opened = Opened(variant, place.model.pipeline, self.store, None, agent)
        trials = self._trials(agent)
        self._installer = self._deliveries(agent, trials)
        self.loop = build_device(
            self.runs, self.clock, opened, self.spool, connect=self._connect, loop=build.loop,
            installer=self._installer, trials=trials, remote=remote,
        )  # fmt: skip
        self._remote = remote
        self.loop.start()
        remote.began(self.clock.monotonic_s())
        self.wake_after(0.0)

    def turn(self) -> None:
        if self.loop is None:
            return
        while self.inbox:
            self.loop.handle(self.inbox.popleft())
        self.loop.turn()
        if self.loop.restart:
            self.stop()
            return
        self.wake_after(self.loop.next_poll_s - self.clock.monotonic_s())

    def end(self) -> None:
        if self._installer is not None:
            self._installer.stop(self.clock.monotonic_s())
        if self.loop is not None:
            self.loop.stop()
        if self._remote is not None:
            self._remote.stopped(self.clock.monotonic_s())

    def forget(self) -> None:
        self.loop = self._installer = self._remote = None

    def disk_power_cut(self) -> None:
        self.store.power_cut()
        self.spool.power_cut()

    def _trials(self, agent: Agent) -> Trials:
        """What tries bundles; also where a rollout has none, a device says that it can."""
        tried = self.place.tried

        def read(_: Path) -> Variant:
            if tried is None:
                raise BundleError("nothing is rolled out here")
            return tried.variant

        def open_shadow(_: Path) -> Shadow:
            if tried is None:
                raise StoreError("nothing is rolled out here")
            return tried.shadow()

        return Trials(agent.trial, self.place.model.variant, read, open_shadow, self.config.trial.report_interval_s)

    def _deliveries(self, agent: Agent, trials: Trials) -> Installer | None:
        """What takes bundles, where a rollout has one."""
        tried, variant = self.place.tried, self.place.model.variant
        if tried is None:
            return None
        slots = SimulatedSlots(self._slots, self.power, lambda: self._full)
        return Installer(
            slots,
            self.config.delivery,
            (variant.release, variant.space),
            "0" * 64,
            lambda: (agent.sync_state.boot, agent.sync_state.consumed),
            lambda bundle, release_min: Passed(tried.variant.space),
            self.clock.monotonic_s(),
            trials=trials,
        )

    def _connect(self, last_will: Outgoing) -> SimulatedTransport:
        place = self.place
        self.transport = SimulatedTransport(
            place.broker,
            self.config.device,
            self.name,
            device_subscriptions(place.fleet, self.config.device, place.model.variant.space),
            last_will,
            self.deliver,
            place.link,
            place.scheduler,
            self.power,
            self._told if place.audited else None,
        )
        return self.transport

    def _new_disk(self, copy: DiskCopy | None = None) -> None:
        variant, build = self.place.model.variant, self.place.build
        self.store = build.store(self.power, self._committed)
        self._slots = SlotFiles() if copy is None else copy.slots.copy()
        self.remote_file = RemoteFile() if copy is None else copy.remote.copy()
        self.spool = build.spool(self.power, self.chance, len(variant.classes))
        claims, rejected = self.spool.claims, self.spool.rejected
        if copy is None:
            zeros = Statistics.zeros(variant.training_statistics.size, self.place.model.all_classes, variant.space)
            learner = self.config.learner
            self.history = History(
                self.config.device,
                zeros,
                learner.horizon_rows,
                learner.update_labels,
                zeros,
                claims=claims,
                rejected=rejected,
            )
        else:
            self.store.take_over(copy.tables)
            self.history = copy.history.copy(claims, rejected)
            self.spool.take_over(copy.begun)
            self.history.dropped.update({file.name: file for file in copy.begun.values()})
        self._lives.ledger.live[self.name] = self.history

    def _told(self, message: Outgoing) -> None:
        """What the device says of its history, for the ledger."""
        kind = parse_topic(message.topic).kind
        if kind is Kind.CONFIGURATION_STATE:
            kept = None if self._full else self.remote_file.read()
            self._lives.settings.told(self.config.device, message.payload, kept)
        if kind is Kind.HEAD_TRIAL:
            self._lives.head_trials.told(self.config.device, message.payload)
        if kind is not Kind.EVENT:
            return
        event = Event.decode(message.payload)
        if event.name == "history-forked":
            problem = str(event.detail["problem"])
            left_out = LEFT_OUT.search(problem)
            self.history.leave_out(int(left_out[1]) if left_out is not None else 0, problem)
            self.trace(f"forked: {problem}")
        elif event.name == "contribution-removed":
            self.trace("hears that it was removed")

    def _committed(self, changes: Changes) -> None:
        if not self.place.audited:
            self.spool.claims.clear()
            self.spool.answers.clear()
            return
        epoch = self.history.epoch
        entries = [Entry.decode(payload) for payload in changes.journal]
        if COMMANDS in changes.state:
            # what came before the command is saved with it, and no file
            for sync in (*(entry.sync for entry in entries), *filter(None, [changes.state.get("sync")])):
                self.history.runs(SyncState.decode(sync).run_id)
            operations = [operation for entry in entries for operation in entry.operations]
            labels = [place for place, each in enumerate(operations) if isinstance(each, LearnLabel | CorrectLabel)]
            # a head that came after the command's label is behind it in the journal; a checkpoint lists neither
            after = labels[-1] + 1 if labels else 0 if operations else None
            if after is None:
                self._taken_up(())
            else:
                self._adopted(operations[:after])
            self._lives.operator.committed(changes.state, self.history, self.place.model.all_classes)
            if after is not None:
                self._taken_up(operations[after:])
        for entry in entries:
            self._saved(entry.sync)
        if "sync" in changes.state:
            self._saved(changes.state["sync"])
        if COMMANDS not in changes.state:
            self._taken_up([operation for entry in entries for operation in entry.operations])
        for row in changes.outbox:
            update = Update.decode(row.payload)
            self.history.queued(update.epoch, row.sequence, update.samples, update.delta.tobytes())
        if self.loop is not None and self.history.epoch != epoch and not self.loop.agent.epochs.exact:
            self.history.dropped_unfinished(self.loop.agent.learner.trainer.unfinished)

    def _adopted(self, operations: Sequence[Operation]) -> None:
        for operation in operations:
            if isinstance(operation, AdoptHead):
                self._took_up(operation.payload)
            elif isinstance(operation, AdoptPrior):
                self._started_from(operation.payload)

    def _taken_up(self, operations: Sequence[Operation]) -> None:
        self._adopted(operations)
        # a checkpoint does not list what it covers; a head that came before it is the newest one
        fleet = self.loop.agent.learner.fleet_head if self.loop is not None else None
        if fleet is not None and fleet.version != self.history.fleet_version:
            self._took_up(fleet.encode())
        prior = None if self.loop is None else self.loop.agent.learner.trainer.prior_statistics
        if prior is not None and prior.samples > self.history.prior_samples:
            self._started_from(FleetPrior(1, prior).encode())

    def _saved(self, sync: bytes) -> None:
        state = SyncState.decode(sync)
        self._lives.enter(self.config.device, state.epoch, self.history)
        self.history.committed(state, self._lives.ledger.was_removed(self.history))
        self._lives.ledger.committed(self.history, state.epoch, state.counter, state.base)
        self.trace(f"commits counter {state.counter} file {state.consumed} acked {state.acked}")

    def _took_up(self, payload: bytes) -> None:
        # as the broker's newest: versions go down where a broker lost its memory
        readers = space_name(self.place.model.variant.space)
        message = Received(topic(self.place.fleet, readers, Kind.HEAD), payload, True)
        self.history.adopted_head(PublishedHead.decode(payload).version, message)

    def _started_from(self, payload: bytes) -> None:
        message = Received(topic(self.place.fleet, self.config.device, Kind.PRIOR), payload)
        self.history.adopted_prior(FleetPrior.decode(payload).samples, message)
