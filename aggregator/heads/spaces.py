"""Serves several feature spaces side by side: a report counts in the space of its bundle, whichever the others have.

The default space is that of the bundle that is served to everybody, and its head is published to everybody. The heads
of the others have a topic of their own, `headway.wire.space_name`. A space is opened at the start if something is
stored of it, else when the first report comes; it follows from the store alone, so when that is changes nothing. One
that no device runs and no order names for long is archived: its rows stay, its sum goes.

Versions are counted over all spaces: so a device that moves sees them only grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from aggregator.bundle_sender import BEFORE
from aggregator.effects import Effect, Instant, Note, Refused
from aggregator.engine import Engine
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.head_news import heads_wait, mark_unseen, take_out_at_once
from aggregator.heads.space import Space, check_same_space
from aggregator.heads.stored_reports import stored_report
from aggregator.heads.told_cautions import SET_BACK, Cautions, set_back_unopened
from aggregator.places import HOUR_S
from aggregator.policy import Policy
from aggregator.rates import Rates
from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import QUARANTINED, SPACES, SUMS, WORKER_CHANGES, SpaceRow
from headway.errors import BundleError
from headway.maths import Task
from headway.ports import Outgoing
from headway.wire import ALL, Kind, PriorRequest, StatisticsReport, space_name, topic

LOOK_INTERVAL_S = 60.0
DAY_S = 86_400.0


class Bundles(Protocol):
    """The bundles that the aggregator has, delivered or served."""

    def sizes(self) -> Mapping[str, int]:
        """Codes per sample of each feature space, by its fingerprint."""
        ...

    def model(self, space: str) -> FleetModel:
        """Of the newest bundle of one of these spaces. Raises BundleError."""
        ...


class Spaces:
    """The spaces of one fleet. Every method must run inside a transaction of the store."""

    def __init__(
        self, fleet: str, default: FleetModel, policy: Policy, store: Store, bundles: Bundles | None,
        engine: Engine | None = None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._fleet, self._policy, self._store, self._bundles = fleet, policy, store, bundles
        self._rates = Rates(policy.limits.prior_requests_per_device_hour, HOUR_S)
        self.default = Space(fleet, default, policy, store, engine=engine)
        self._open = {default.space: self.default}
        self._note_opened(default)
        # why a space cannot be opened, found once
        self._unusable: dict[str, str] = {}
        self._notes: list[Effect] = []
        self._reported = {default.space}
        self._looked_at_s = float("-inf")
        rows = {row.space: row for row in store.rows(SPACES).all()}
        stored = [SpaceRow(space, "") if space not in rows else rows[space] for space in store.spaces()]
        for row in sorted(stored, key=lambda row: -row.used_s):
            if row.space not in self._open and not row.archived_s and len(self._open) < policy.limits.spaces_max:
                self._opened(row.space)
        self._notes.clear()
        if store.number(SET_BACK):
            self._went_back(self._open.values())
            store.put_number(SET_BACK, 0)

    @property
    def size_max(self) -> int:
        """Codes per sample of the largest space that reports may be of."""
        known = () if self._bundles is None else self._bundles.sizes().values()
        return max(*known, *(space.model.training_statistics.size for space in self._open.values()), 0)

    def of(self, space: str) -> Space:
        """The space of this fingerprint; the default one, which refuses what is not its own, when no bundle here has
        it. Raises Refused for one more than can be served."""
        found = self._open.get(space) or self._opened(space)
        if found is None:
            return self.default
        self._reported.add(space)
        return found

    def shape_of(self, space: str) -> tuple[int, Task]:
        """Classes and task of a space's bundle; of the default one where it cannot be served."""
        try:
            model = self.of(space).model
        except Refused:
            model = self.default.model
        return len(model.classes), model.task

    def take(
        self,
        report: StatisticsReport,
        payload: bytes,
        known: StoredStatistics | None,
        stored: StatisticsReport | None,
    ) -> None:
        """Store and count a report in its space, see `Space.take`. Raises RemoteError."""
        check_same_space(report, known)
        self.of(report.statistics.space).take(report, payload, known, stored)

    def on_prior_request(self, device: str, payload: bytes, now: Instant) -> list[Effect]:
        """What the others learned in the space that a device names, see `Priors.on_request`. Raises RemoteError."""
        if not self._rates.take(device, now.monotonic_s):
            limit = self._policy.limits.prior_requests_per_device_hour
            raise Refused("rate", f"{device} asks for the others' sum more than {limit} times an hour")
        request = PriorRequest.decode(payload)
        return [] if self.default.heads.asking else self.of(request.space).priors.on_request(device, request)

    def take_over(self) -> None:
        """Count what ingest workers stored: first of all in each transaction, so that sums and store agree in it."""
        for name in self._store.rows(WORKER_CHANGES).tally("space"):
            opened = self._open.get(str(name))
            if opened is not None:
                opened.heads.take_over()
            elif str(name) not in self._unusable and len(self._open) < self._policy.limits.spaces_max:
                self._opened(str(name))  # which takes them over by itself

    def remove(self, device: str) -> int:
        """Take a device out of every space and the store; returns the samples that were counted of it."""
        counted = [(space, space.heads.leaving(device)) for space in self._open.values()]
        for name in self._unopened():
            if self._store.contributions(name, device):
                self._store.rows(SUMS).remove(name)
                Cautions(self._store, name).withhold()
                take_out_at_once(self._store, name)
        self._store.remove_told(device)
        self._store.remove_device(device)
        for space, tables in counted:
            space.heads.left(device, tables)
        return sum(tables.samples for _, tables in counted)

    def set_back(self, device: str, kept: Sequence[StoredStatistics]) -> None:
        """Take out all that a device contributed, but for these reports; nothing more of its epochs is taken."""
        counted = [(space, space.heads.leaving(device)) for space in self._open.values()]
        epochs = self._store.epochs(device)
        for name in self._unopened():
            if self._store.contributions(name, device):
                self._store.rows(SUMS).remove(name)
                Cautions(self._store, name).withhold()
                take_out_at_once(self._store, name)
        self._store.remove_told(device)
        for epoch in epochs:
            self._store.remove_epoch(device, epoch)
            self._store.rows(QUARANTINED).remove(device, epoch)
        for space, tables in counted:
            space.heads.left(device, tables)
        for row in kept:
            report = stored_report(row)
            if row.space not in self._open:
                self._store.put_statistics(row)
            elif report is not None:
                self._open[row.space].heads.put(None, row, None, report.statistics)

    def follow_operators(self, now: Instant, idle: bool = False) -> float:
        """Take out what an operator set aside, and count again what one readmitted; compare devices. Returns when that
        goes on while messages wait, infinite for nothing to go on with. idle: none wait."""
        return min([space.heads.follow_operators(now, idle) for space in self._open.values()])

    def keep(self) -> None:
        """Write what changed of the sums, before the transaction that changed it ends."""
        for space in self._open.values():
            space.heads.kept.keep()

    def look(self, now: Instant) -> list[Effect]:
        """See now and then which spaces somebody needs; what people should know of it."""
        notes, self._notes = self._notes, []
        if now.monotonic_s - self._looked_at_s < LOOK_INTERVAL_S:
            return notes
        self._looked_at_s = now.monotonic_s
        needed, self._reported = self._reported | self._needed(), set()
        rows = self._store.rows(SPACES)
        for name in [*self._open]:
            row = rows.get(name) or SpaceRow(name, "")
            if not row.used_s or (name in needed and now.wall_s - row.used_s >= HOUR_S):
                rows.put(replace(row, used_s=now.wall_s))
            elif name not in needed and now.wall_s - row.used_s > self._policy.limits.space_unused_days * DAY_S:
                notes.append(self._archive(row, now))
        return notes

    def due(self, now: Instant) -> bool:
        """True when a head is due."""
        return any(space.heads.due(now) for space in self._publishing)

    def publish(self, now: Instant) -> list[Effect]:
        """The heads that are due."""
        due = [space for space in self._publishing if space.heads.due(now)]
        return [effect for space in due for effect in space.heads.publish(now)]

    def again(self) -> list[Effect]:
        """The newest heads once more, for a broker that may have lost what it retained.

        The default space may have been another before: each head is retained on one topic alone.
        """
        effects = [effect for space in self._open.values() for effect in space.heads.again()]
        if self._store.rows(SPACES).count() > 1:
            if self._store.head(self.default.model.space, self._policy.method) is None:
                effects.append(self._clear(ALL))
            effects.append(self._clear(space_name(self.default.model.space)))
        return effects

    def retained(self, readers: str, payload: bytes) -> list[Effect]:
        """A head on the topic of everybody or of one space, see `HeadPublisher.retained`."""
        names = {space_name(name): space for name, space in self._open.items() if space is not self.default}
        space = (names | {ALL: self.default}).get(readers)
        before = self.default.heads.version
        effects = (space or self.default).heads.retained(payload, own=space is not None)
        if self.default.heads.version > before:
            self._went_back(other for other in self._open.values() if other is not space)
            known = [other.heads.spend_unknown(before, self.default.heads.version) for other in self._open.values()]
            effects = [*effects, *(effect for some in known for effect in some)]
        return effects

    @property
    def _publishing(self) -> list[Space]:
        """Those that may publish: versions are counted over all spaces, so none may before it is known how far."""
        return [self.default] if self.default.heads.asking else [*self._open.values()]

    def _went_back(self, served: Iterable[Space]) -> None:
        """The store is of an older day, or new: these spaces and all that have no sum know less than was told."""
        for space in served:
            space.heads.store_went_back()
        set_back_unopened(self._store, self._unopened())
        for name in self._unopened() if heads_wait(self._policy) else ():
            mark_unseen(self._store, name)

    def _unopened(self) -> list[str]:
        return [name for name in self._store.spaces() if name not in self._open]

    def _opened(self, name: str) -> Space | None:
        """Open a space; None when no bundle here has it. Raises Refused when there is no place for it."""
        if self._bundles is None or name not in self._bundles.sizes():
            return None
        if name in self._unusable:
            raise Refused("space", self._unusable[name])
        if len(self._open) >= self._policy.limits.spaces_max:
            served = f"{len(self._open)} feature spaces are served already, and {name[:12]} is one more"
            raise Refused("space", f"{served}; raise limits.spaces_max, or move devices off the others")
        try:
            model = self._bundles.model(name)
            space = Space(self._fleet, model, self._policy, self._store, space_name(name), self._engine)
        except BundleError as error:
            self._unusable[name] = f"feature space {name[:12]} cannot be served: {error}"
            self._notes.append(Note(self._unusable[name], warning=True))
            return None
        self._open[name] = space
        self._note_opened(model)
        self._notes.append(Note(f"feature space {name[:12]} ({model.bundle}) is served beside the others"))
        return space

    def _note_opened(self, model: FleetModel) -> None:
        rows = self._store.rows(SPACES)
        known = rows.get(model.space)
        row = SpaceRow(model.space, model.bundle, 0.0 if known is None or known.archived_s else known.used_s)
        if row != known:
            rows.put(row)

    def _needed(self) -> set[str]:
        """Spaces that a device runs or an order names, and the default one; not what a roll-back would order again."""
        ordered = {row.space for row in self._store.deliveries() if row.device != BEFORE}
        run = {name for name in self._open if self._store.registry.runs_space(name)}
        return {self.default.model.space} | ordered | run

    def _archive(self, row: SpaceRow, now: Instant) -> Note:
        del self._open[row.space]
        self._store.rows(SUMS).remove(row.space)
        self._store.rows(SPACES).put(replace(row, archived_s=now.wall_s))
        days = self._policy.limits.space_unused_days
        return Note(
            f"feature space {row.space[:12]} ({row.bundle}) is archived: no device has run it and no order has named "
            f"it for {days:g} days. Its reports stay, and count again when a device comes back to it"
        )

    def _clear(self, readers: str) -> Outgoing:
        return Outgoing(topic(self._fleet, readers, Kind.HEAD), b"", retain=True)
