"""Where in its device's history the gradient update lies that was taken last, for the next one to go on from there."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store import Store
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.wire import History, Update

WHERE = "where the last update lies"


@dataclass(frozen=True, slots=True)
class TakenUpdate:
    """What a device learned up to `counter` of an epoch, in the runs of `history`, is taken; 0 for nothing, or where
    the update does not tell its place. sequence: the highest number that was taken, 0 for none; run_id: of the run
    that sent it."""

    counter: int
    history: History
    sequence: int = 0
    run_id: int = 0

    @classmethod
    def of(cls, update: Update) -> TakenUpdate:
        return cls(update.counter, update.history, update.sequence, update.run_id)

    @classmethod
    def stored(cls, store: Store, device: str, epoch: int) -> TakenUpdate:
        """The newest one of an epoch."""
        text = store.sequence_history(device, epoch)
        taken = store.sequence(device, epoch), store.sequence_run_id(device, epoch)
        if not text:
            return cls(0, History(), *taken)
        fields = Fields(parse_json(text.encode(), WHERE, StoreError), WHERE, StoreError)
        return cls(fields.integer("counter"), History.read(fields), *taken)

    def counts(self, update: Update) -> bool:
        """Whether what an update covers is part of what was taken, in this update or in others."""
        return 0 < update.counter <= self.counter and self.history.includes(update.run_id, update.counter)

    def encode(self) -> str:
        """As the store keeps it."""
        return canonical_json({"counter": self.counter, **self.history.to_json()}).decode()
