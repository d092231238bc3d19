"""Makes every decision of an ingest worker, without I/O: a batch of messages goes in, acks of reports come out.

What it decides by is in the store alone, so any worker may take any report, and one that is killed leaves nothing
behind: what it had not committed is rolled back, was not acknowledged, and comes again from its device.
"""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.clearings import Clearings
from aggregator.effects import Effect, Instant, Refused
from aggregator.heads import Bundles, FleetModel
from aggregator.policy import Policy
from aggregator.regions import RegionsBelow
from aggregator.registry.registry import Registry
from aggregator.removals import Marks
from aggregator.report_intake import ReportIntake
from aggregator.store import UNKNOWN_DEVICE
from aggregator.store.working import WorkerStore
from aggregator.workers.spaces import WorkerSpaces
from headway.errors import RemoteError
from headway.ports import Received
from headway.wire import TO_WORKERS, Address, Kind, is_part, parse_topic


class Worker:
    """One worker of a fleet. Construct it, and call `receive`, inside a transaction of the store.

    name: no other worker that runs has it; model: of the bundle that is served to everybody.
    """

    def __init__(
        self, fleet: str, name: str, model: FleetModel, policy: Policy, store: WorkerStore, bundles: Bundles
    ) -> None:
        self._fleet, self._name, self._store, limits = fleet, name, store, policy.limits
        self._spaces = WorkerSpaces(model, policy, store, bundles, name)
        self._registry = Registry(store, limits, self._spaces.shape_of)
        self._clearings = Clearings(fleet, store)
        marks = Marks(store, limits.marks_per_epoch)
        self._intake = ReportIntake(
            fleet, store, self._spaces, self._registry, self._clearings, marks, limits, policy.pace_s,
            below=RegionsBelow(store) if policy.region.name else None,
        )  # fmt: skip
        handlers = {**self._registry.handlers, **self._intake.handlers}
        self._handlers = {kind: handlers[kind] for kind in TO_WORKERS}

    def receive(self, batch: Sequence[Received], now: Instant) -> list[Effect]:
        """Take in a batch of messages, first of all in a transaction. Raises StoreError, see `WorkerStore.hold`."""
        devices = {address.device for message in batch if (address := self._address(message)) is not None}
        parts = any(is_part(message.payload) for message in batch)
        self._spaces.begin(self._store.hold(devices, self._name, fleet=parts))
        # no sooner: what is looked up must stay as it is
        self._store.look_up(sorted(devices))
        told = ((self._address(message), message.payload) for message in batch)
        self._intake.begin_batch([(at.device, said) for at, said in told if at and at.kind is Kind.STATISTICS], now)
        effects: list[Effect] = []
        for message in batch:
            effects += self._receive_one(message, now)
        self._registry.flush(now)
        self._spaces.keep()
        return [*effects, *self._clearings.take(), *self._intake.answers()]

    def _receive_one(self, message: Received, now: Instant) -> list[Effect]:
        device = UNKNOWN_DEVICE
        self._intake.begin()
        try:
            address = parse_topic(message.topic)
            if not message.payload:
                return []
            if not self._is_ours(address):
                raise Refused(
                    "address", f"topic {message.topic!r} is none that a device of this fleet tells workers on"
                )
            device = address.device
            self._registry.received(device, len(message.topic) + len(message.payload))
            self._handlers[address.kind](device, message.payload, now)
            return []
        except RemoteError as error:
            note = self._registry.refuse(device, error, now)
            if device != UNKNOWN_DEVICE and address.kind is Kind.STATISTICS:
                self._intake.refused(device, error)
            return [] if note is None else [note]

    def _is_ours(self, address: Address) -> bool:
        return address.fleet == self._fleet and not address.device.startswith("_") and address.kind in self._handlers

    def _address(self, message: Received) -> Address | None:
        """Of which device, and what; None for what is refused anyway."""
        try:
            address = parse_topic(message.topic)
        except RemoteError:
            return None
        return address if self._is_ours(address) else None
