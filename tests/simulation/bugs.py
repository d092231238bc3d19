"""Faulty variants of the product, each with one mistake that real systems have made. Only for tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aggregator.core import Aggregator
from aggregator.effects import Effect, Instant
from aggregator.heads.staging import HeadStaging
from aggregator.remote_commands import SENT
from aggregator.report_intake import ReportIntake
from aggregator.service import Service
from aggregator.store.rows import DEVICE_COMMANDS, WantedSettingsRow
from aggregator.twins import Twins
from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.learner import Applied, LearnLabel, Operation, Prediction
from edge_agent.loop import DeviceLoop
from edge_agent.remote import Kept
from edge_agent.sensors.ports import Claimed
from edge_agent.startup.restored_agent import open_agent
from edge_agent.store import COMMANDS
from edge_agent.store.store import Changes, Store
from edge_agent.trial import Trial
from headway.bundle.variant import Variant
from headway.ports import Connected, Delivered, Received, TransportEvent
from headway.wire import DONE
from headway.wire.messages import PublishedHead, StatisticsChange, StatisticsReport, Update, is_change
from headway_simulation.build import Build
from headway_simulation.disk import SimulatedStore
from headway_simulation.remote_settings import SimulatedRemote
from headway_simulation.server_disk import ServerStore
from tests.simulation.trust_bugs import TRUST_BUGS


class AcksBeforeTheCommit(Service):
    """Effects leave while the transaction is still open."""

    def turn(self, wait_s: float) -> None:
        events = self._queue.take(self._limits.messages_per_transaction_max, wait_s)
        now = Instant(self._clock.monotonic_s(), self._clock.wall_s())
        with self._store.transaction():
            effects: list[Effect] = []
            if any(isinstance(event, Connected) for event in events):
                effects += self._core.connected(now)
            effects += self._core.receive([event for event in events if isinstance(event, Received)], now)
            effects += self._core.tick(now)
            for effect in effects:
                self._apply(effect)


class DeletesOnPuback(DeviceLoop):
    """Takes the broker's confirmation for the aggregator's."""

    def handle(self, event: TransportEvent) -> None:
        super().handle(event)
        state = self._agent.sync_state
        if isinstance(event, Delivered) and state.sequence:
            self._store.current.commit(Changes({}, acknowledged=state.sequence))


class BelievesThePuback(DeviceLoop):
    """The same mistake with tables: what the broker confirmed is not sent again."""

    def handle(self, event: TransportEvent) -> None:
        super().handle(event)
        if isinstance(event, Delivered):
            self._agent.sync_state.acked = self._agent.sync_state.counter


class DeviceWithoutFsync(SimulatedStore):
    """Commits return before they are on the disk."""

    synchronous = False


class ServerWithoutFsync(ServerStore):
    """Transactions end before they are on the disk."""

    synchronous = False


class _Before(DeviceLoop):
    """Does `early` before each commit of a file."""

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        store, self._spool = parts[4].current, parts[6]
        # a later start finds the store as this one left it
        self._commit = getattr(store.commit, "original", store.commit)

        def early_commit(changes: Changes) -> None:
            if self._spool.claimed:
                self.early()
            self._commit(changes)

        early_commit.original = self._commit  # type: ignore[attr-defined]
        store.commit = early_commit

    def early(self) -> None:
        raise NotImplementedError


class PublishesBeforeTheCommit(_Before):
    """Tells the aggregator of labels that a power cut can still take away."""

    def early(self) -> None:
        self._sync()


class ReleasesBeforeTheCommit(_Before):
    """Removes the file while nothing of it is durable."""

    def early(self) -> None:
        for sequence, file in list(self._spool.claimed.items()):
            self._spool.release(Claimed(sequence, file.name, Path(file.name)))


class LearnsAndCountsApart(SimulatedStore):
    """Two transactions where one is needed: the power can fail between them."""

    def commit(self, changes: Changes) -> None:
        super().commit(replace(changes, outbox=()))
        if changes.outbox:
            super().commit(Changes({}, changes.outbox))


def forgets_the_counter(config: AgentConfig, variant: Variant, store: Store, draw: Callable[[int], int]) -> Agent:
    """The counter starts again with the process."""
    agent = open_agent(config, variant, store, draw)
    agent.sync_state.counter = agent.sync_state.acked
    return agent


def reuses_the_epoch(config: AgentConfig, variant: Variant, store: Store, draw: Callable[[int], int]) -> Agent:
    """The epoch follows from the device's name, as if a wiped device were the same as before."""
    return open_agent(config, variant, store, lambda bits: zlib.crc32(config.device.encode()))


class SavesTrialsLater(SimulatedStore):
    """What a trial compared is saved with the next commit, not with the label's own."""

    _late: dict[str, bytes] = {}  # noqa: RUF012 - replaced, never changed

    def commit(self, changes: Changes) -> None:
        rows = {name: value for name, value in changes.state.items() if name.startswith("trial/row/")}
        kept = {name: value for name, value in changes.state.items() if name not in rows}
        late = {name: value for name, value in self._late.items() if name not in changes.dropped}
        super().commit(replace(changes, state=kept | late))
        self._late = rows


class SavesResultsLater(SimulatedStore):
    """What came of a command is saved with the next commit, not with the command's effect."""

    _late: dict[str, bytes] = {}  # noqa: RUF012 - replaced, never changed

    def commit(self, changes: Changes) -> None:
        kept = {name: value for name, value in changes.state.items() if name != COMMANDS}
        super().commit(replace(changes, state=kept | self._late))
        self._late = {name: value for name, value in changes.state.items() if name == COMMANDS}


class EndsWhatItSent(Aggregator):
    """Takes a command for done once it was sent."""

    def tick(self, now: Instant, idle: bool = False) -> list[Effect]:
        effects = super().tick(now, idle)
        rows = self._store.rows(DEVICE_COMMANDS)
        for row in rows.where(state=SENT):
            rows.put(replace(row, state=DONE))
        return effects


class SavesSettingsLater(SimulatedRemote):
    """What was decided about settings is written with the next decision, not when it is told."""

    _late: Kept | None = None

    def _save(self, kept: Kept) -> None:
        if self._late is not None:
            super()._save(self._late)
        self._late = kept


class RefusesWithoutAWord(SimulatedRemote):
    """Settings that do not fit are dropped, and nobody is told why."""

    def _save(self, kept: Kept) -> None:
        super()._save(replace(kept, refused={}))


class ForgetsTheGroup(Twins):
    """What is wanted of a group reaches nobody."""

    def _groups(self, *_: Any) -> dict[str, list[WantedSettingsRow]]:
        return {}


class LeavesGroupsAlone(Aggregator):
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self._twins.__class__ = ForgetsTheGroup


class PublishesUndecided(HeadStaging):
    """A head that nobody has found bad in time counts as good."""

    def decide(self, version: int, space: str, now: Instant) -> tuple[PublishedHead | None, list[Effect]]:
        row = self._canaries.row() if self.open else None
        passed, effects = super().decide(version, space, now)
        if row is not None and not self.open and now.wall_s - row.since_s >= self._policy.patience_s:
            return PublishedHead.decode(row.payload), effects
        return passed, effects


class PublishesHeadsUndecided(Aggregator):
    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self._heads.staging.__class__ = PublishesUndecided


class SavesHeadTrialsLater(SimulatedStore):
    """What a head's trial compared is saved with the next commit, not with the label's own."""

    _late: dict[str, bytes] = {}  # noqa: RUF012 - replaced, never changed

    def commit(self, changes: Changes) -> None:
        rows = {name: value for name, value in changes.state.items() if name.startswith("head-trial/row/")}
        kept = {name: value for name, value in changes.state.items() if name not in rows}
        late = {name: value for name, value in self._late.items() if name not in changes.dropped}
        super().commit(replace(changes, state=kept | late))
        self._late = rows


class TeachesTheDevice(Trial):
    """A trial that has the device's learner answer once more, and lets it learn from that."""

    def beside(self, operation: Operation) -> Applied:
        if self.compares and isinstance(operation, LearnLabel):
            operation = replace(operation, served=Prediction(operation.served.probability[:, ::-1].copy(), "frozen"))
        return super().beside(operation)


def teaches_the_device(config: AgentConfig, variant: Variant, store: Store, draw: Callable[[int], int]) -> Agent:
    agent = open_agent(config, variant, store, draw)
    agent.trial.__class__ = TeachesTheDevice
    return agent


class TakesUpdatesTwice(ReportIntake):
    """Does not look whether it has an update already."""

    def _on_update(self, device: str, payload: bytes, now: Instant) -> None:
        update = Update.decode(payload)
        self._store.put_sequence(device, update.epoch, update.sequence - 1)
        super()._on_update(device, payload, now)


class AddsWithoutSubtracting(ReportIntake):
    """Takes cumulative tables for new ones."""

    def _on_statistics(self, device: str, payload: bytes, now: Instant) -> None:
        if is_change(payload):
            super()._on_statistics(device, payload, now)
            return
        report = StatisticsReport.decode(payload)
        known = self._store.statistics(device, report.epoch)
        super()._on_statistics(device, payload, now)
        if known is not None and known.counter < report.counter:
            self._spaces.default.heads.sum.replace(device, None, StatisticsReport.decode(known.payload).statistics)


class TakesChangesForTables(ReportIntake):
    """Keeps what was learned since a report in the place of that report."""

    def _on_statistics(self, device: str, payload: bytes, now: Instant) -> None:
        if is_change(payload):
            change = StatisticsChange.decode(payload)
            if self._base(change) is None:
                return
            payload = StatisticsReport(
                change.device, change.epoch, change.counter, change.change, change.history
            ).encode()
        super()._on_statistics(device, payload, now)


class SkipsGaps(ReportIntake):
    """Takes an update though one before it is missing."""

    def _on_update(self, device: str, payload: bytes, now: Instant) -> None:
        update = Update.decode(payload)
        if self._store.sequence(device, update.epoch) < update.sequence - 1:
            self._store.put_sequence(device, update.epoch, update.sequence - 1)
        super()._on_update(device, payload, now)


def with_intake(kind: type[ReportIntake]) -> type[Aggregator]:
    """An aggregator that takes in reports like this."""

    class Faulty(Aggregator):
        def __init__(self, *parts: Any, **options: Any) -> None:
            super().__init__(*parts, **options)
            self._intake.__class__ = kind
            self._handlers = {**self._handlers, **self._intake.handlers}

    return Faulty


BUGS = {
    "ack before commit": Build(service=AcksBeforeTheCommit),
    "outbox emptied on PUBACK": Build(loop=DeletesOnPuback),
    "tables acknowledged by PUBACK": Build(loop=BelievesThePuback),
    "no fsync on the device": Build(store=DeviceWithoutFsync),
    "no fsync at the aggregator": Build(server_store=ServerWithoutFsync),
    "publish before commit": Build(loop=PublishesBeforeTheCommit),
    "spool file released before commit": Build(loop=ReleasesBeforeTheCommit),
    "learned and queued in two transactions": Build(store=LearnsAndCountsApart),
    "counter not persisted": Build(open_agent=forgets_the_counter),
    "epoch reused after a wipe": Build(open_agent=reuses_the_epoch),
    "update taken twice": Build(core=with_intake(TakesUpdatesTwice)),
    "gap in updates accepted": Build(core=with_intake(SkipsGaps)),
    "tables added without subtracting the old": Build(core=with_intake(AddsWithoutSubtracting)),
    "a trial saved apart from its label": Build(store=SavesTrialsLater),
    "a trial that changes what is learned": Build(open_agent=teaches_the_device),
    "a command saved apart from its result": Build(store=SavesResultsLater),
    "a command that was sent taken for done": Build(core=EndsWhatItSent),
    "settings told before they are saved": Build(remote=SavesSettingsLater),
    "settings refused without a reason": Build(remote=RefusesWithoutAWord),
    "settings of a group reach nobody": Build(core=LeavesGroupsAlone),
    "a head published without a verdict": Build(core=PublishesHeadsUndecided),
    "a head's trial saved apart from its label": Build(store=SavesHeadTrialsLater),
    "changes taken for whole tables": Build(core=with_intake(TakesChangesForTables)),
    **TRUST_BUGS,
}
