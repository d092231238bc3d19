"""Simulates a device: the real agent and its real loop on a simulated machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.config import AgentConfig
from edge_agent.learner import AdoptHead, AdoptPrior
from edge_agent.loop import DeviceLoop
from edge_agent.startup import Opened, build_device
from edge_agent.store import Changes, Entry
from edge_agent.sync import SyncState
from headway.maths import Statistics
from headway.ports import Outgoing, Received
from headway.wire import ALL, FleetPrior, Kind, PublishedHead, Update, device_subscriptions, topic
from headway_simulation.history import History, SensorFile, Violation
from headway_simulation.machine import Machine, Place
from headway_simulation.network import SimulatedTransport


@dataclass(slots=True)
class Lives:
    """Every life that any device of the fleet began, by (device, epoch)."""

    histories: dict[tuple[str, int], History] = field(default_factory=dict)

    def enter(self, device: str, epoch: int, history: History) -> None:
        """A device says which life it lives. Raises Violation when another life had that name."""
        known = self.histories.setdefault((device, epoch), history)
        if known is not history:
            raise Violation(f"epoch {epoch} of {device} was used by an earlier life")


class SimulatedDevice(Machine):
    """One device with its disk, its sensor's files, and the history it ought to have."""

    loop: DeviceLoop | None = None

    def __init__(
        self, config: AgentConfig, place: Place, lives: Lives, check: Callable[[SimulatedDevice], None]
    ) -> None:
        super().__init__(config.device, place, lambda: check(self))
        self.config, self._lives = config, lives
        self.boots = 0
        self._new_disk()

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

    def fill_disk(self, full: bool) -> None:
        """The disk has no space left, or has again."""
        self.trace("disk is full" if full else "disk has space")
        self.store.fill(full)
        self.spool.fill(full)

    def begin(self) -> None:
        place, build = self.place, self.place.build
        variant = place.model.variant
        agent = build.open_agent(self.config, variant, self.store, self.chance.getrandbits)
        opened = Opened(variant, place.model.pipeline, self.store, None, agent)
        self.loop = build_device(self.config, self.clock, opened, self.spool, connect=self._connect, loop=build.loop)
        self.loop.start()
        self.wake_after(0.0)

    def turn(self) -> None:
        if self.loop is None:
            return
        while self.inbox:
            self.loop.handle(self.inbox.popleft())
        self.loop.turn()
        self.wake_after(self.loop.next_poll_s - self.clock.monotonic_s())

    def end(self) -> None:
        if self.loop is not None:
            self.loop.stop()

    def forget(self) -> None:
        self.loop = None

    def disk_power_cut(self) -> None:
        self.store.power_cut()
        self.spool.power_cut()

    def _connect(self, last_will: Outgoing) -> SimulatedTransport:
        place = self.place
        self.transport = SimulatedTransport(
            place.broker,
            self.name,
            device_subscriptions(place.fleet, self.name),
            last_will,
            self.deliver,
            place.link,
            place.scheduler,
            self.power,
        )
        return self.transport

    def _new_disk(self) -> None:
        variant = self.place.model.variant
        self.store = self.place.build.store(self.power, self._committed)
        self.spool = self.place.build.spool(self.power, self.chance, len(variant.classes))
        self.history = History(
            Statistics.zeros(variant.training_statistics.size, self.place.model.all_classes, variant.space),
            self.config.learner.horizon_rows,
            claims=self.spool.claims,
        )

    def _committed(self, changes: Changes) -> None:
        if not self.place.audited:
            self.spool.claims.clear()
            self.spool.answers.clear()
            return
        for payload in changes.journal:
            entry = Entry.decode(payload)
            self._saved(entry.sync)
            for operation in entry.operations:
                if isinstance(operation, AdoptHead):
                    self._took_up(operation.payload)
                elif isinstance(operation, AdoptPrior):
                    self._started_from(operation.payload)
        if "sync" in changes.state:
            self._saved(changes.state["sync"])
        # a checkpoint does not list what it covers; a head that came before it is the newest one
        fleet = self.loop.agent.learner.fleet_head if self.loop is not None else None
        if fleet is not None and fleet.version != self.history.fleet_version:
            self._took_up(fleet.encode())
        prior = None if self.loop is None else self.loop.agent.learner.trainer.prior_statistics
        if prior is not None and prior.samples > self.history.prior_samples:
            self._started_from(FleetPrior(1, prior).encode())
        for row in changes.outbox:
            self.history.queued(row.sequence, Update.decode(row.payload).samples)

    def _saved(self, sync: bytes) -> None:
        state = SyncState.decode(sync)
        self._lives.enter(self.name, state.epoch, self.history)
        self.history.committed(state)
        self.trace(f"commits counter {state.counter} file {state.consumed} acked {state.acked}")

    def _took_up(self, payload: bytes) -> None:
        # as the broker's newest: versions go down where a broker lost its memory
        message = Received(topic(self.place.fleet, ALL, Kind.HEAD), payload, True)
        self.history.adopted_head(PublishedHead.decode(payload).version, message)

    def _started_from(self, payload: bytes) -> None:
        message = Received(topic(self.place.fleet, self.name, Kind.PRIOR), payload)
        self.history.adopted_prior(FleetPrior.decode(payload).samples, message)
