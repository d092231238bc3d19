"""Makes every decision of the aggregator, without I/O: messages and the time go in, effects come out.

The order that everything rests on: validate -> store -> (the service commits) -> ack. What these methods return may
leave only after the transaction they ran in has ended; a device keeps its data until it has the ack.

    batch of messages -> `receive` -> one ack per device and epoch
    any moment        -> `tick`    -> removals an operator asked for; a new head, when one is due
    broker is there   -> `connected` -> the newest head again

State in memory is only what the store can give back: after a StoreError build a new Aggregator from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from aggregator.alerts import Alerts
from aggregator.bundle_sender import BundleSender
from aggregator.clearings import Clearings
from aggregator.effects import Effect, Instant, Note, Refused
from aggregator.engine import Engine
from aggregator.heads import Bundles, FleetModel, Spaces, say_what_to_hand_over
from aggregator.inbox import LabelWishes
from aggregator.policy import Policy
from aggregator.readers import Readers
from aggregator.regions import Region, RegionsBelow
from aggregator.registry.registry import Registry
from aggregator.remote_commands import RemoteCommands
from aggregator.removals import Marks, Removals
from aggregator.report_intake import ReportIntake
from aggregator.rollouts import Rollouts
from aggregator.sealing import Sealing
from aggregator.store import UNKNOWN_DEVICE, Store
from aggregator.store.rows import FORGET_REQUESTS, ForgetRequestRow
from aggregator.twins import Twins
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.ports import Received
from headway.private_keys import Signer
from headway.wire import (
    AGGREGATOR,
    Address,
    Kind,
    PriorRequest,
    Status,
    parse_topic,
)

HOUSEKEEPING_INTERVAL_S = 1.0
# messages of a batch that are worth a statement for each table of the store
LOOKED_UP_TOGETHER_MIN = 8
# the number under which the store counts the starts of the service
BOOT = "boot"

# what a broker retains of a device beside its statistics
TWINS = (Kind.CONFIGURATION, Kind.CONFIGURATION_STATE, Kind.COMMANDS, Kind.COMMAND_RESULTS)
RETAINED = (Kind.STATUS, Kind.REPORTED, Kind.TRIAL, Kind.DESIRED, Kind.LABELS_WANTED, *TWINS)

Handler = Callable[[str, bytes, Instant], None]


class Aggregator:
    """One fleet. Construct it, and call every method, inside a transaction of the store.

    model: of the bundle that is served to everybody; bundles: all that are here, None for that one alone. signer: seals
    heads and priors; None does not. workers: others take in the reports, see `aggregator.workers`.
    engine: where heavy work is done, by default here. readers: of wide reports, beside this process.
    """

    def __init__(
        self,
        fleet: str,
        model: FleetModel,
        policy: Policy,
        store: Store,
        deliveries: BundleSender | None = None,
        bundles: Bundles | None = None,
        signer: Signer | None = None,
        workers: bool = False,
        engine: Engine | None = None,
        readers: Readers | None = None,
    ) -> None:
        policy = policy.in_effect
        self._fleet, self._policy, self._store, self._workers = fleet, policy, store, workers
        self._own_status = Address(fleet, AGGREGATOR, Kind.STATUS)
        self._region = Region(policy.region, store) if policy.region.name else None
        self._spaces = Spaces(fleet, model, policy, store, bundles, engine)
        say_what_to_hand_over(store, policy, workers)
        self._heads, self._sealing = self._spaces.default.heads, Sealing(store, signer)
        self._registry = Registry(store, policy.limits, self._spaces.shape_of)
        # when the comparison of devices that is at hand goes on
        self._tidied_at_s, self._goes_on_at_s = float("-inf"), float("inf")
        self._clearings, self._deliveries = Clearings(fleet, store), deliveries
        self._marks = Marks(store, policy.limits.marks_per_epoch)
        self._removals = Removals(fleet, store, self._spaces, policy, signer)
        self._intake = ReportIntake(
            fleet,
            store,
            self._spaces,
            self._registry,
            self._clearings,
            self._marks,
            policy.limits,
            policy.pace_s,
            readers,
            policy.updates_per_device,
            RegionsBelow(store) if self._region is not None else None,
        )
        self._alerts = Alerts(fleet, store, policy.alerts, self._clearings)
        self._rollouts = Rollouts(store, self._registry.admit, policy.limits.events_max)
        self._twins = Twins(fleet, store, self._registry.admit)
        self._commands = RemoteCommands(fleet, store, self._registry.admit)
        self._wishes = LabelWishes(store, self._commands, self._registry.admit)
        self._handlers: Mapping[Kind, Handler] = {
            **self._intake.handlers,
            **self._registry.handlers,
            Kind.TRIAL: self._rollouts.on_trial,
            Kind.HEAD_TRIAL: partial(self._heads.staging.on_report, admit=self._registry.admit),
            Kind.CONFIGURATION_STATE: self._twins.on_state,
            **self._wishes.handlers,
        }

    @property
    def statistics(self) -> Statistics:
        """The exact sum of what the fleet learned, the source not counted."""
        return self._heads.sum.total

    def statistics_in(self, space: str) -> Statistics:
        """The same of one feature space; of the default one for a space that no bundle here has."""
        return self._spaces.of(space).heads.sum.total

    @property
    def weighed(self) -> Statistics:
        """What counts in the head: less of devices that claim far more samples than the others."""
        return self._heads.sum.weighed

    @property
    def superseded(self) -> bool:
        """True when this fleet has moved to another bundle: build a new Aggregator with that."""
        return self._deliveries is not None and self._deliveries.superseded

    def receive(self, batch: Sequence[Received], now: Instant) -> list[Effect]:
        """Take in a batch of messages."""
        self._take_over()
        effects: list[Effect] = []
        addresses = [_address(message) for message in batch]
        if len(batch) >= LOOKED_UP_TOGETHER_MIN:
            self._store.look_up(sorted({found.device for found in addresses if isinstance(found, Address)}))
        pairs = [*zip(batch, addresses, strict=True)]
        told = ((found, message) for message, found in pairs if isinstance(found, Address))
        reports = [(at.device, message.payload) for at, message in told if at.kind is Kind.STATISTICS]
        self._intake.begin_batch(reports, now)
        for message, address in pairs:
            effects += self._receive_one(message, address, now)
        self._registry.flush(now)
        for device in self._registry.take_forgotten():
            self._let_go(device)
        effects += [*self._clearings.take(), *self._commands.take(), *self._intake.answers()]
        self._spaces.keep()
        return self._sealed(effects, now)

    @property
    def at_work(self) -> bool:
        """Whether `tick` has something to do at once, if no messages wait."""
        return self._goes_on_at_s < float("inf")

    def due(self, now: Instant, idle: bool = False) -> bool:
        """True when `tick` has something to do. idle: no messages wait."""
        tidies = now.monotonic_s - self._tidied_at_s >= HOUSEKEEPING_INTERVAL_S
        return tidies or self._goes_on(now, idle) or self._spaces.due(now)

    def tick(self, now: Instant, idle: bool = False) -> list[Effect]:
        """Whatever time alone brings. idle: no messages wait."""
        self._take_over()
        effects: list[Effect] = []
        if now.monotonic_s - self._tidied_at_s >= HOUSEKEEPING_INTERVAL_S:
            self._tidied_at_s = now.monotonic_s
            for device in self._store.removal_requests():
                effects += self._remove(device, now)
            for row in self._store.rows(FORGET_REQUESTS).all():
                effects += self._forget(row, now)
            self._goes_on_at_s = self._spaces.follow_operators(now, idle)
            effects += self._spaces.look(now)
            effects += [*self._rollouts.tick(now), *self._heads.decide(now), *self._twins.tick(now)]
            effects += [*self._commands.tick(now), *self._wishes.tick(now), *self._alerts.tick(now)]
            if self._deliveries is not None:
                effects += self._deliveries.tick(now)
        elif self._goes_on(now, idle):
            self._goes_on_at_s = self._spaces.follow_operators(now, idle)
        effects += self._spaces.publish(now)
        if self._region is not None:
            effects += self._region.tick(lambda: self._heads.sum.weighed, now)
        self._spaces.keep()
        return self._sealed(effects, now)

    def of_parent(self, connected: bool, messages: Sequence[Received]) -> list[Effect]:
        """What came of the parent server. connected: a connection to its broker has begun."""
        region = self._region
        if region is None:
            return []
        if connected:
            region.connected()
        notes: list[Effect] = [note for message in messages for note in region.receive(message)]
        head = region.take_head()
        if head is not None:
            self._heads.given(head)
        return notes

    def await_retained_head(self) -> None:
        """An aggregator without any head publishes none before it knows which one the broker retains."""
        self._heads.ask()

    def connected(self, now: Instant) -> list[Effect]:
        """The broker accepted us, and may have lost what it retained."""
        self._heads.connected(now)
        self._alerts.connected(now)
        return self.again(now)

    def again(self, now: Instant) -> list[Effect]:
        """The broker does not retain everything that it should."""
        self._alerts.again()
        if self._deliveries is not None:
            self._deliveries.again()
        self._twins.again()
        self._commands.again()
        return self._sealed([*self._clearings.again(), *self._spaces.again()], now)

    def disconnected(self) -> None:
        """The broker is gone, and no device can be heard."""
        self._alerts.disconnected()

    def cleared(self, names: Iterable[str]) -> None:
        """The broker has confirmed that it retains nothing there any more."""
        self._clearings.forget(names)

    def _take_over(self) -> None:
        """First of all in a transaction: what workers stored counts."""
        if self._workers:
            self._spaces.take_over()

    def _goes_on(self, now: Instant, idle: bool) -> bool:
        return self.at_work if idle else now.monotonic_s >= self._goes_on_at_s

    def _sealed(self, effects: list[Effect], now: Instant) -> list[Effect]:
        return self._sealing.sealed(effects, self._heads.version, now)

    def _receive_one(self, message: Received, address: Address | RemoteError, now: Instant) -> list[Effect]:
        device = UNKNOWN_DEVICE
        self._intake.begin()
        try:
            if isinstance(address, RemoteError):
                raise address
            # an empty payload is how MQTT clears a retained message: it carries nothing
            if not message.payload:
                return []
            if address.fleet == self._fleet and address.kind is Kind.HEAD and address.device.startswith("_"):
                payload, notes = self._sealing.opened(message.topic, message.payload)
                return [*notes, *self._spaces.retained(address.device, payload)]
            if address == self._own_status:
                # our own status comes back through the devices' wildcard, after all that was retained
                if not message.retain and message.payload == Status(True, self._store.number(BOOT)).encode():
                    self._heads.answered()
                return []
            if message.retain and message.topic in self._clearings and address.kind is not Kind.STATISTICS:
                # of a device that was removed; it is about to go
                return []
            if address.fleet != self._fleet or address.device.startswith("_"):
                raise Refused("address", f"topic {message.topic!r} is not one that a device of this fleet writes to")
            device = address.device
            self._registry.received(device, len(message.topic) + len(message.payload))
            if address.kind is Kind.REQUEST and self._deliveries is not None:
                return self._deliveries.on_request(device, message.payload, now)
            if address.kind is Kind.PRIOR_REQUEST:
                self._registry.admit(device, now)
                told = self._spaces.on_prior_request(device, message.payload, now)
                if told:
                    self._removals.told(device, PriorRequest.decode(message.payload).space, now)
                return told
            if address.kind not in self._handlers:
                raise Refused("unsupported", f"messages of kind {address.kind} are not served")
            unknown = address.kind is Kind.COMMAND_RESULTS and not self._sealing.reads_seals(device)
            self._handlers[address.kind](device, message.payload, now)
            if unknown and self._deliveries is not None:
                self._deliveries.announce(device)  # from now on with a seal
            if not message.retain and message.topic in self._clearings:
                # the device goes on, and what the broker retains is new
                self._clearings.forget([message.topic])
            if self._deliveries is not None:
                self._deliveries.seen(device)
            return []
        except RemoteError as error:
            note = self._registry.refuse(device, error, now)
            if device != UNKNOWN_DEVICE and isinstance(address, Address) and address.kind in self._intake.handlers:
                self._intake.refused(device, error)
            return [] if note is None else [note]

    def _remove(self, device: str, now: Instant) -> list[Effect]:
        """Subtract all a device contributed, exactly, and clear what the broker retains of it."""
        epoch = self._registry.newest_epoch(device)
        notes = self._removals.remove(device, now)
        self._let_go(device)
        return [*self._taken_out(device, epoch), *notes, Note(f"removed {device}")]

    def _forget(self, row: ForgetRequestRow, now: Instant) -> list[Effect]:
        """Subtract what a device reported since a moment, exactly."""
        epoch = self._registry.newest_epoch(row.device)
        notes = self._removals.set_back(row.device, row.since_s, row.who, now)
        return [*self._taken_out(row.device, epoch), *notes]

    def _taken_out(self, device: str, epoch: int) -> list[Effect]:
        self._marks.left(device)
        self._clearings.add(device, Kind.STATISTICS)
        # a device that believes itself settled would not ask
        return [*self._clearings.take(), *([self._intake.answer(device, epoch)] if epoch else [])]

    def _let_go(self, device: str) -> None:
        """Nothing is ordered for the device any more, and the broker is to forget what it retains of it."""
        if self._deliveries is not None:
            self._deliveries.forget(device)
        self._twins.forget(device)
        self._commands.forget(device)
        self._clearings.add(device, *RETAINED)


def _address(message: Received) -> Address | RemoteError:
    """Where a message was published, or what is wrong with its topic."""
    try:
        return parse_topic(message.topic)
    except RemoteError as error:
        return error
