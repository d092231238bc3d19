"""Answers devices: what the store holds of an epoch, whatever the last message was, and why one was refused."""

from __future__ import annotations

from dataclasses import replace

from aggregator.assembly import Assemblies
from aggregator.refusal_answers import NOT_REFUSED, RefusalAnswer
from aggregator.store import Store
from aggregator.taken_updates import TakenUpdate
from headway.ports import Outgoing
from headway.wire import Ack, Kind, Parting, RunPoint, StatisticsReport, topic


class Acknowledgements:
    """Of one fleet. Every method must run inside a transaction of the store. pace_s: asked of devices."""

    def __init__(self, fleet: str, store: Store, assemblies: Assemblies, pace_s: float) -> None:
        self._fleet, self._store, self._assemblies, self._pace_s = fleet, store, assemblies, pace_s
        # counter and run of what was stored last of an epoch, of those of this batch
        self._stored: dict[tuple[str, int], RunPoint] = {}
        # the newest update of an epoch, likewise
        self._taken: dict[tuple[str, int], TakenUpdate] = {}

    def stored(self, device: str, epoch: int, point: RunPoint) -> None:
        """A report has become what the store holds of an epoch."""
        self._stored[device, epoch] = point

    def taken(self, device: str, epoch: int, update: TakenUpdate) -> None:
        """An update has become the newest one of an epoch."""
        self._taken[device, epoch] = update

    def end_batch(self) -> None:
        """Every answer of a batch was made."""
        self._stored.clear()
        self._taken.clear()

    def of(
        self, device: str, epoch: int, parting: Parting | None = None, told: RefusalAnswer = NOT_REFUSED
    ) -> Outgoing:
        """What the store holds of (device, epoch)."""
        sequence = self._store.sequence(device, epoch)
        point = self._stored.get((device, epoch)) or self._point(device, epoch)
        # what is kept of an epoch that was set back is stored, and none of it is taken any more
        removed = self._store.is_removed(device, epoch)
        progress = self._assemblies.progress(device, epoch)
        ack = Ack(epoch, point.counter, sequence, self._pace_s, point.run_id, *progress, removed, parting)
        return self._sent(device, replace(ack, refused=told.reason, problem=told.problem) if told.reason else ack)

    def counted(self, device: str, epoch: int, counter: int, sequence: int, run_id: int) -> Outgoing:
        """What a branch of a device's history has counted."""
        return self._sent(device, Ack(epoch, counter, sequence, self._pace_s, run_id))

    def _point(self, device: str, epoch: int) -> RunPoint:
        """Counter and run of the statistics that are stored, or without any of the updates."""
        known = self._store.statistics(device, epoch)
        if known is not None:
            return RunPoint(StatisticsReport.read_history(known.payload).run_id, known.counter)
        taken = self._taken.get((device, epoch)) or TakenUpdate.stored(self._store, device, epoch)
        return RunPoint(taken.run_id, taken.counter)

    def _sent(self, device: str, ack: Ack) -> Outgoing:
        return Outgoing(topic(self._fleet, device, Kind.ACK), ack.encode())
