"""Where a device stands with the aggregator, and how it notices that its history is not the only one under its name.

A device that was restored from an older backup, or cloned, goes on under numbers that another past has used already.
Three things give it away: an ack beyond what this device ever counted; an ack of what was sent by a run of the program
that this history does not know; and, before any connection, the record of the last ack beside the store
(edge_agent/store/recovery.py). The device then begins a new epoch. Its learner keeps what it knows; the new epoch
counts only what was learned since this run began, because everything before may already be counted under the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headway.arrays import Int8
from headway.errors import RemoteError, StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.maths import Statistics, from_arrays, to_arrays
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import RUNS_MAX, Ack, History

BASELINE_BYTES_MAX = 256 << 20
# names under which the first version saved what is called otherwise now
SAVED_NAMES = {"run_id": "life", "earlier_runs": "earlier", "run_ends": "ends"}


@dataclass(slots=True)
class SyncState:
    """Saved with the learner, in the same transaction.

    epoch: identity of this device's history, drawn at random when it began.
    counter: grows whenever the tables change; acked: the highest the aggregator has durably stored.
    sequence: last outbox row written. consumed: last spool file learned from. boot: starts of the program.
    run_id, earlier_runs, run_ends: see `headway.wire.messages.History`. before: labels that older epochs may have
    counted.
    """

    epoch: int
    counter: int = 0
    acked: int = 0
    sequence: int = 0
    boot: int = 0
    consumed: int = 0
    run_id: int = 0
    before: int = 0
    earlier_runs: tuple[int, ...] = ()
    run_ends: tuple[int, ...] = ()

    @property
    def history(self) -> History:
        return History(self.run_id, self.earlier_runs, self.run_ends)

    def begin_run(self, run_id: int, counter: int) -> None:
        """This run is about to speak for the first time; the run before it had reached `counter` when this began."""
        if self.run_id:
            self.earlier_runs = (*self.earlier_runs, self.run_id)[-RUNS_MAX:]
            self.run_ends = (*self.run_ends, counter)[-RUNS_MAX:]
        self.run_id = run_id

    def contradiction(self, ack: Ack) -> str | None:
        """Why an ack of this epoch cannot be of this history; None when it can."""
        if ack.counter > self.counter or ack.sequence > self.sequence:
            return (
                f"the aggregator holds counter {ack.counter}, sequence {ack.sequence}; this device is only at "
                f"{self.counter}, {self.sequence}"
            )
        if ack.run_id and not self.history.includes(ack.run_id, ack.counter):
            return f"the aggregator holds counter {ack.counter} from a run of this device that it does not know"
        return None

    def encode(self) -> bytes:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return canonical_json({SAVED_NAMES.get(name, name): value for name, value in values.items()})

    @classmethod
    def decode(cls, payload: bytes) -> SyncState:
        fields = Fields(parse_json(payload, "saved sync state", StoreError), "saved sync state", StoreError)
        state = cls(fields.integer("epoch"))
        for name in ("counter", "acked", "sequence", "boot", "consumed"):
            setattr(state, name, fields.integer(name))
        # agents before histories saved none of these
        state.run_id, state.before = fields.integer("life", 0), fields.integer("before", 0)
        state.earlier_runs = fields.integers("earlier", count_max=RUNS_MAX, default=())
        state.run_ends = fields.integers("ends", count_max=RUNS_MAX, default=())
        fields.finish()
        if len(state.earlier_runs) != len(state.run_ends):
            raise StoreError("saved sync state names earlier runs without their ends")
        return state


@dataclass(frozen=True, slots=True)
class Baseline:
    """What older epochs may have counted: it is taken off the tables that this epoch reports, to the bit."""

    tables: Statistics

    def rest_of(self, local: Statistics) -> Statistics:
        """The part of `local` that this epoch counts."""
        return local - self.tables

    def corrected(self, code: Int8, before: int, after: int | None) -> Baseline:
        """A label from before this epoch changed: in both alike, so that this epoch reports nothing of it."""
        tables = self.tables

        def one(label: int) -> Statistics:
            return Statistics.of(code, np.array([label], np.int64), tables.classes, tables.space)

        changed = tables - one(before)
        return replace(self, tables=changed if after is None else changed + one(after))

    def renamed(self, renames: Sequence[tuple[str, str]]) -> Baseline:
        """Classes got other names (old, new): in both alike."""
        return replace(self, tables=self.tables.renamed(renames))

    def encode(self) -> bytes:
        tables = self.tables
        meta = {"size": tables.size, "classes": list(tables.classes), "space": tables.space}
        return encode_tensors(to_arrays(tables), meta)

    @classmethod
    def decode(cls, payload: bytes) -> Baseline:
        """Inverse of `encode`. Raises StoreError."""
        arrays, meta = decode_tensors(payload, "saved baseline", StoreError, BASELINE_BYTES_MAX)
        fields = Fields(meta, "saved baseline", StoreError)
        size, classes, space = fields.integer("size", low=1), fields.strings("classes"), fields.text("space")
        fields.finish()
        try:
            return cls(from_arrays(arrays, size, classes, space))
        except RemoteError as error:
            raise StoreError(f"saved baseline is damaged: {error}") from error


@dataclass(frozen=True, slots=True)
class RunStart:
    """Where this run of the program began: the counter, the labels and the tables of then (None: none yet)."""

    counter: int = 0
    labels: int = 0
    tables: Statistics | None = None
