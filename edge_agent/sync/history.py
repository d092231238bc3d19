"""Tracks where a device stands with the aggregator, and notices when another history uses its name.

A device that was restored from an older backup, or copied, goes on under numbers that another branch of its history
uses as well. Three things give it away: an ack beyond what this device ever counted; an ack of the state of a run of
the program that this history does not know; and, before any connection, the record of the last ack beside the store
(edge_agent/store/recovery.py). The branch that was not stored first begins a new epoch where the two part: it counts
what was learned from there on (edge_agent/sync/past.py knows the statistics of then), and leaves what both hold to the
old one. Its learner keeps what it knows. Copies that share the beginning of a branch come to the same new epoch, and
part there once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge_agent.store import Extent, Saved
from headway.arrays import Int8
from headway.errors import RemoteError, StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.maths import WINDOWS, Statistics, from_arrays, to_arrays
from headway.samples import Label, no_label
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import RUNS_MAX, Ack, History, RunPoint, branch_epoch

# name in the store
BASELINE = "baseline"
BASELINE_BYTES_MAX = 256 << 20
# names under which the first version saved what is called otherwise now
SAVED_NAMES = {"run_id": "life", "earlier_runs": "earlier", "run_ends": "ends"}
# of a run whose last outbox row is not known
UNKNOWN_SEQUENCE = 2**53
NOTICE_CHARACTERS_MAX = 4096


class Place(NamedTuple):
    """Where an update lies in the device's history: after position `since`, up to `position`; `history` is of then,
    its ends as positions."""

    sequence: int
    since: int
    position: int
    history: History


@dataclass(slots=True)
class SyncState:
    """Saved with the learner, in the same transaction.

    epoch: identity of this device's history, drawn at random when it began.
    counter: grows whenever the statistics change; acked: the highest the aggregator has durably stored; confirmed: the
    highest that was acknowledged again when it was told again later, since an ack can be forged.
    sequence: last outbox row written. consumed: last spool file learned from. boot: starts of the program.
    begun, begun_rows: the spool file, after `consumed`, of which only the first rows are learned; 0 for none.
    run_id, earlier_runs, run_ends: see `headway.wire.messages.History`; sequence_ends: the last outbox row of each
    earlier run. before: labels that older epochs may have counted; base: changes counted under older epochs, so that
    `position` goes on over them; queued: the position up to which a gradient learner's updates are made, -1 where an
    agent before positions made them.
    notice: why this epoch began, until the aggregator has answered under it.
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
    begun: int = 0
    begun_rows: int = 0
    sequence_ends: tuple[int, ...] = ()
    base: int = 0
    queued: int = 0
    notice: str = ""
    confirmed: int = 0

    @property
    def position(self) -> int:
        """Changes of the statistics since the device's learner began."""
        return self.base + self.counter

    @property
    def history(self) -> History:
        return History(self.run_id, self.earlier_runs, self.run_ends)

    def count(self) -> None:
        """The statistics, or the names in them, have changed."""
        self.counter += 1

    def skip_counter(self) -> None:
        """Leave a counter out: what is told under it is nothing that this device learned."""
        self.counter += 1

    def consume(self, sequence: int) -> None:
        """The spool's file of this number is learned."""
        self.consumed = sequence
        self.begun = self.begun_rows = 0

    def consume_rows(self, sequence: int, rows: int) -> None:
        """The first rows of the spool's file of this number are learned."""
        self.begun, self.begun_rows = sequence, rows

    def rows_of(self, sequence: int) -> int:
        """How many rows of a spool file that is not consumed are learned."""
        return self.begun_rows if sequence == self.begun else 0

    def next_sequence(self) -> int:
        """The number of one more outbox row."""
        self.sequence += 1
        return self.sequence

    def queue_update(self) -> Place:
        """One more outbox row: where in this history its update lies, in positions."""
        ends = tuple(end + self.base for end in self.run_ends)
        place = Place(
            self.next_sequence(), max(0, self.queued), self.position, History(self.run_id, self.earlier_runs, ends)
        )
        self.queued = self.position
        return place

    def drop_update(self) -> None:
        """What was learned so far is in no update that is still to come."""
        self.queued = self.position

    def note(self, notice: str) -> str:
        """Why this epoch began, in words for people: told again after a start, until it surely has arrived."""
        self.notice = notice[:NOTICE_CHARACTERS_MAX]
        return self.notice

    def acknowledge(self, counter: int, again: int = 0) -> bool:
        """The aggregator has durably stored everything up to `counter`; True when that is new. again: the counter that
        it was told again after an ack, 0 for none; what was learned since then it was told once at most."""
        newer = counter > self.acked or (bool(counter) and bool(self.notice))
        if self.confirmed < again <= counter:
            self.confirmed, newer = again, True
        self.acked = max(self.acked, counter)
        if counter:
            # what was said on this connection before has arrived, too
            self.notice = ""
        return newer

    def begin_boot(self, boot: int, consumed: int) -> None:
        """The program starts; another store of this device may have reached these numbers already."""
        self.boot, self.consumed = max(self.boot, boot) + 1, max(self.consumed, consumed)
        if self.begun <= self.consumed:
            self.begun = self.begun_rows = 0

    def begin_run(self, run_id: int) -> None:
        """Run `run_id` of the program is about to change the statistics; the one that did before has ended."""
        if self.run_id:
            self.earlier_runs = (*self.earlier_runs, self.run_id)[-RUNS_MAX:]
            self.run_ends = (*self.run_ends, self.counter)[-RUNS_MAX:]
            known = self.sequence_ends or (UNKNOWN_SEQUENCE,) * (len(self.run_ends) - 1)
            self.sequence_ends = (*known, self.sequence)[-RUNS_MAX:]
        self.run_id = run_id

    def begin_epoch(self, epoch: int, counter: int, labels: int, sequence: int = 0) -> None:
        """What came up to `counter`, `labels` labels, is left to the old epoch; this one counts from there on.

        sequence: of the last outbox row, where rows go over to this epoch.
        """
        runs = [
            (run, end - counter) for run, end in zip(self.earlier_runs, self.run_ends, strict=True) if end > counter
        ]
        self.earlier_runs, self.run_ends = tuple(run for run, _ in runs), tuple(end for _, end in runs)
        self.sequence_ends = (0,) * len(runs)
        if self.counter == counter:
            self.run_id = 0
        self.epoch, self.before = epoch, labels
        self.base += counter
        self.counter -= counter
        self.acked, self.confirmed, self.sequence = 0, 0, sequence

    def epoch_from(self, counter: int, run_id: int) -> int:
        """The epoch of the branch that leaves this one at `counter`: the same for all copies that have it in common.

        run_id: of the run that would go on here.
        """
        runs = [run for run, end in zip(self.earlier_runs, self.run_ends, strict=True) if end > counter]
        first = runs[0] if runs else self.run_id if self.counter > counter else run_id
        return branch_epoch(self.epoch, counter, first, self.base + counter)

    def history_at(self, counter: int) -> History:
        """The history as it was at `counter`."""
        ended = [(run, end) for run, end in zip(self.earlier_runs, self.run_ends, strict=True) if end < counter]
        later = self.earlier_runs[len(ended) :]
        return History(later[0] if later else self.run_id, tuple(r for r, _ in ended), tuple(end for _, end in ended))

    def contradiction(self, ack: Ack) -> str | None:
        """Why an ack of this epoch cannot be of this history; None when it can."""
        if ack.counter > self.counter or (not ack.counter and ack.sequence > self.sequence):
            return (
                f"the aggregator holds counter {ack.counter}, sequence {ack.sequence}; this device is only at "
                f"{self.counter}, {self.sequence}"
            )
        if ack.run_id and not self.history.includes(ack.run_id, ack.counter):
            return f"the aggregator holds counter {ack.counter} from a run of this device that it does not know"
        ends = dict(zip(self.earlier_runs, self.sequence_ends, strict=False))
        if not ack.counter and ack.sequence > ends.get(ack.run_id, ack.sequence):
            return f"the aggregator holds sequence {ack.sequence} of a run that ended here at {ends[ack.run_id]}"
        return None

    def shared_with(self, ack: Ack, sent_counter: int) -> int | None:
        """The counter at which this history and the one that an ack is about part; None when the ack does not tell.

        sent_counter: of the report that was sent last.
        """
        if self.is_told_to_part(ack, sent_counter) and ack.parting is not None:
            return self.end_of(ack.parting.shared)
        ends = self._ends
        known = ack.run_id and ack.run_id in ends and ack.counter
        return min(ack.counter, ends[ack.run_id]) if known else None

    def includes(self, point: RunPoint) -> bool:
        """Whether a point is part of this history."""
        return point.counter <= self.counter and self.history.includes(*point)

    def end_of(self, shared: RunPoint) -> int:
        """The counter at which this history leaves one that shares it up to there."""
        return min(shared.counter, self._ends.get(shared.run_id, self.counter))

    @property
    def _ends(self) -> dict[int, int]:
        """The counter at which each run ended."""
        return {**dict(zip(self.earlier_runs, self.run_ends, strict=True)), self.run_id: self.counter}

    def is_told_to_part(self, ack: Ack, sent_counter: int) -> bool:
        """Whether an ack says that the report sent last is of another branch; what copies of this device are told comes
        here as well."""
        return ack.parting is not None and ack.parting.answered == (self.run_id, sent_counter)

    def encode(self) -> bytes:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if not self.begun:
            # as agents before saved it, so that they can go on from it
            del values["begun"], values["begun_rows"]
        if self.queued < 0:
            del values["queued"]
        for name in ("notice", "confirmed"):
            if not values[name]:
                del values[name]
        return canonical_json({SAVED_NAMES.get(name, name): value for name, value in values.items()})

    @classmethod
    def decode(cls, payload: bytes) -> SyncState:
        fields = Fields(parse_json(payload, "saved sync state", StoreError), "saved sync state", StoreError)
        state = cls(
            epoch=fields.integer("epoch"),
            counter=fields.integer("counter"),
            acked=fields.integer("acked"),
            sequence=fields.integer("sequence"),
            boot=fields.integer("boot"),
            consumed=fields.integer("consumed"),
            # agents before histories saved none of these
            run_id=fields.integer("life", 0),
            before=fields.integer("before", 0),
            earlier_runs=fields.integers("earlier", count_max=RUNS_MAX, default=()),
            run_ends=fields.integers("ends", count_max=RUNS_MAX, default=()),
            begun=fields.integer("begun", 0),
            begun_rows=fields.integer("begun_rows", 0),
            sequence_ends=fields.integers("sequence_ends", count_max=RUNS_MAX, default=()),
            base=fields.integer("base", 0),
            queued=fields.integer("queued") if fields.has("queued") else -1,
            notice=fields.text("notice", default="", length_max=NOTICE_CHARACTERS_MAX),
            confirmed=fields.integer("confirmed", 0),
        )
        fields.finish()
        # agents before branches saved no ends of sequences
        if len(state.earlier_runs) != len(state.run_ends) or len(state.sequence_ends) not in (0, len(state.run_ends)):
            raise StoreError("saved sync state names earlier runs without their ends")
        return state


class Baseline:
    """What older epochs may have counted: it is taken off the statistics that this epoch reports, to the bit.

    row_of: what the statistics hold of a labelled window, `HeadLearner.row_of`.
    """

    def __init__(self, row_of: Callable[[Int8, Label], tuple[Int8, int]]) -> None:
        self._row_of = row_of
        self._statistics: Statistics | None = None
        self._changed = False

    @property
    def statistics(self) -> Statistics | None:
        """None for the device's first epoch."""
        return self._statistics

    def begin(self, statistics: Statistics) -> None:
        """A new epoch begins with these."""
        self._statistics, self._changed = statistics, True

    def rest_of(self, statistics: Statistics) -> Statistics:
        """The part of the device's statistics that this epoch counts."""
        return statistics if self._statistics is None else statistics - self._statistics

    def correct(self, code: Int8, before: Label, after: Label, classes: Sequence[str]) -> None:
        """A label from before this epoch changed: in both alike, so that this epoch reports nothing of it.

        code: int8 (1, d); after: -1 for none; classes: of the device now, to which both are indices.
        """
        if self._statistics is None:
            return
        known = self._statistics if self._statistics.classes == WINDOWS else self._statistics.with_classes(classes)
        changed = known - self._one(code, before, known)
        self.begin(changed if no_label(after) else changed + self._one(code, after, known))

    def _one(self, code: Int8, label: Label, like: Statistics) -> Statistics:
        """Statistics of one labelled window."""
        row, index = self._row_of(code, label)
        return Statistics.of(row, np.array([index], np.int64), like.classes, like.space)

    def rename(self, renames: Sequence[tuple[str, str]]) -> None:
        """Classes got other names (old, new): in both alike."""
        if self._statistics is not None:
            self.begin(self._statistics.renamed(renames))

    def take_changes(self, extent: Extent) -> Saved:
        changed, self._changed = self._changed or extent is Extent.EVERYTHING, False
        statistics = self._statistics
        if not changed or statistics is None:
            return Saved({})
        meta = {"size": statistics.size, "classes": list(statistics.classes), "space": statistics.space}
        return Saved({BASELINE: encode_tensors(to_arrays(statistics), meta)})

    def restore(self, saved: Mapping[str, bytes]) -> None:
        if BASELINE not in saved:
            return
        arrays, meta = decode_tensors(saved[BASELINE], "saved baseline", StoreError, BASELINE_BYTES_MAX)
        fields = Fields(meta, "saved baseline", StoreError)
        size, classes, space = fields.integer("size", low=1), fields.strings("classes"), fields.text("space")
        fields.finish()
        try:
            self._statistics = from_arrays(arrays, size, classes, space)
        except RemoteError as error:
            raise StoreError(f"saved baseline is damaged: {error}") from error
