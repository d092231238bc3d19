"""The exact learner: integer tables in, one closed-form head out. Nothing is approximated; what is forgotten is chosen.

    label -> score the experts on it -> tables -> bring the experts up to date -> pool them into one head

The expert over all labels follows every label at once; solving all of them anew waits for some labels.

The experts (recipes.py) are all solved from the same integer tables; the pool (experts.py) weighs them by how well
they predicted. The gate sees one candidate, the pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.experts import ExpertPool, HeadStack
from edge_agent.learner.exact.prior import Origin
from edge_agent.learner.exact.pseudo_labels import Guesses
from edge_agent.learner.exact.recipes import DRIFT_LABELS_MIN, RECIPES, Solved, solve
from edge_agent.learner.exact.rows import Evidence, PendingRows
from edge_agent.learner.trainer import PendingUpdate, TrainerState
from headway.arrays import AnyArray, Float64, Int8, Int64
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.maths import Head, RunningPosterior, Statistics, log_softmax, scoring_loss
from headway.samples import Label, class_index
from headway.wire import PublishedHead

CANDIDATE = "exact"
EVIDENCE_ROWS = 128
# below it no window is shorter than the whole past, and leave-one-out covers every label
FEW_LABELS = 128
# features up to which every label is worth a solve while labels are few
SMALL = 128
# share of all labels that must be of classes met since a drift
DRIFT_COVERAGE = 0.9


class ExactTrainer:
    """Tables in time buckets, and the head pooled from what is solved from them.

    Experts are a pure function of the tables at fixed label counts, so a restart, another order of commits or a
    replay gives the same bits. Labels since the last solve wait in `pending`, and are part of `local`.
    """

    def __init__(self, source: Statistics, bucket_labels: int = 64, buckets_max: int = 32) -> None:
        self._origin = Origin(source)
        empty = Statistics.zeros(source.size, source.classes, source.space)
        self._buckets = Buckets(empty, bucket_labels, buckets_max)
        self._pending = PendingRows(source.size)
        self._evidence = self._pending.rows()
        self._temperatures: dict[str, float] = {}
        self._pool = ExpertPool()
        self._calibration_due = False
        self._solved: Solved | None = None
        self._running: RunningPosterior | None = None
        self._stack: HeadStack | None = None
        # the stack knows the labels that wait
        self._current = False
        self._head: Head | None = None
        self._guesses = Guesses(empty)
        # number of the first label since the last drift
        self._drift: int | None = None
        # it has not yet met the classes that came before
        self._narrow = False

    @property
    def local(self) -> Statistics:
        """Everything this device was taught, exactly."""
        total = self._buckets.total
        if not len(self._pending):
            return total
        waiting = self._pending.rows()
        return total + Statistics.of(waiting.codes, waiting.labels, total.classes, total.space)

    @property
    def pending(self) -> int:
        """Labels learned since the experts were last solved."""
        return len(self._pending)

    @property
    def labels(self) -> int:
        """Labels learned so far; the number the next one gets."""
        return self._buckets.labels + len(self._pending)

    def learn(self, codes: Int8, labels: Int64) -> None:
        for code, label in zip(codes, labels.tolist(), strict=True):
            self._score(code, label)
            self._pending.add(code, label)
            if self._running is not None:
                self._running.add(code, label)
            self._current, self._head = False, None
            if self.pending >= self._refresh_interval():
                self._flush()

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Correct label `number` from class `before` to `after`, or take it out, to the bit. code: int8 (1, d)."""
        self._flush()
        self._buckets.change(number, code, before, after)
        self._forget_solved()
        at = len(self._evidence) - (self.labels - number)
        if at >= 0 and np.array_equal(self._evidence.codes[at], code[0]):
            # evidence may only hold what the tables hold
            keep = np.arange(len(self._evidence)) > at
            self._evidence = Evidence(self._evidence.codes[keep], self._evidence.labels[keep])
        # at once: what serves must not know the wrong label, and solving later, or twice, would move the weights
        self._refreshed()

    def add_pseudo_label(self, code: Int8, label: int) -> None:
        """Learn a window by what was predicted for it; it counts as no label. code: int8 (1, d)."""
        if self._guesses.add(code, label):
            self._forget_solved()

    def withdraw_pseudo_label(self, code: Int8, label: int) -> None:
        """Undo `add_pseudo_label`, to the bit."""
        if self._guesses.withdraw(code, label):
            self._forget_solved()

    @property
    def guesses(self) -> int:
        """Guesses learned and not withdrawn."""
        return len(self._guesses)

    def drifted(self, since: int) -> None:
        """From label `since` on things are different: windows that begin there or later become experts.

        They do so once those labels are of the classes that came before, but for rare ones: where labels come class
        after class, a head that knows the newest class alone is right until the next one begins.
        """
        self._flush()
        self._drift = self._buckets.begin_at(since, self._evidence.codes, self._evidence.labels)
        self._narrow = True
        self._widen()

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self._buckets.with_classes(classes)
        self._guesses.with_classes(classes)
        self._forget_solved()

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        self._buckets.renamed(renames)
        self._guesses.renamed(renames)
        self._forget_solved()

    def candidates(self) -> Mapping[str, Head]:
        if self._head is None:
            self._head = self._pool.head(self._experts())
        return {CANDIDATE: self._head}

    def leave_one_out(self) -> Mapping[str, Float64]:
        """Losses (headway.maths.calibration.scoring_loss) of the pool on labels its experts were solved without.

        Only while labels are few; later, predicting first and learning then tells more about what comes next.
        """
        left_out = self._refreshed().left_out
        if self.labels >= FEW_LABELS or not left_out:
            return {}
        weights = self._pool.weights(list(left_out))
        rows = _shared_rows(left_out)
        pooled = sum(weight * logs[-rows:] for weight, logs in zip(weights, left_out.values(), strict=True))
        return {CANDIDATE: scoring_loss(np.exp(log_softmax(np.asarray(pooled))), self._evidence.newest(rows).labels)}

    def adopt(self, published: PublishedHead) -> None:
        """Nothing to do: the fleet's head is a candidate of its own."""

    @property
    def prior_statistics(self) -> Statistics | None:
        """Tables of other devices that the prior counts besides the source's, if there are any."""
        return self._origin.fleet

    def adopt_prior(self, fleet: Statistics) -> None:
        """Centre the prior on the source and what other devices learned, instead of any such tables before.

        fleet: tables of at least one sample, none of which this device was taught.
        """
        self._flush()
        self._origin.take(fleet)
        self._forget_solved()
        # at once: solving with the next window, which a restart does not see again, would move the weights
        self._refreshed()

    def state(self) -> TrainerState:
        tensors, ranges = self._buckets.state()
        pending = self._pending.rows()
        tensors |= {
            "pending.codes": pending.codes,
            "pending.labels": pending.labels,
            "evidence.codes": self._evidence.codes,
            "evidence.labels": self._evidence.labels,
        }
        tensors |= self._guesses.state()
        origin_tensors, origin = self._origin.state()
        tensors |= origin_tensors
        pairs: list[JsonValue] = [{"range": list(pair)} for pair in ranges]
        weights: dict[str, JsonValue] = dict(self._pool.state())
        drift: dict[str, JsonValue] = {} if self._drift is None else {"drift": self._drift, "narrow": self._narrow}
        values: dict[str, JsonValue] = {
            "ranges": pairs,
            "temperatures": dict(self._temperatures),
            "weights": weights,
            **drift,
            **origin,
        }
        return tensors, values

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        ranges = [list(item.integers("range", count_max=2)) for item in values.tables("ranges")]
        temperatures, weights = values.table("temperatures"), values.table("weights")
        self._temperatures = {name: temperatures.number(name, low=0.0) for name in RECIPES if temperatures.has(name)}
        self._pool.restore({name: weights.number(name) for name in RECIPES if weights.has(name)})
        self._drift = values.integer("drift") if values.has("drift") else None
        self._narrow = values.boolean("narrow", False)
        self._origin.restore(tensors, values)
        for table in (temperatures, weights, values):
            table.finish()
        self._buckets.restore(tensors, ranges, self._drift or 0)
        self._guesses.restore(tensors)
        self._pending.fill(self._rows(tensors, "pending"))
        self._evidence = self._rows(tensors, "evidence")
        self._forget_solved()

    def _rows(self, tensors: Mapping[str, AnyArray], name: str) -> Evidence:
        codes, labels = tensors[f"{name}.codes"], tensors[f"{name}.labels"]
        fits = codes.dtype == np.int8 and codes.shape == (len(labels), self._buckets.total.size)
        if not fits or labels.dtype != np.int64:
            raise StoreError(f"saved {name} rows do not fit this bundle")
        return Evidence(codes, labels)

    def _refresh_interval(self) -> int:
        """Labels between two solves, so many that a solve costs little per label."""
        size, labels = self._buckets.total.size, self._buckets.labels
        if labels < FEW_LABELS:
            return 1 if size <= SMALL else 1 + labels // 8
        return 16 if size <= SMALL else 64 if size <= 2 * SMALL else 128

    def _experts(self) -> HeadStack:
        """The experts, the one over all labels with those that wait."""
        solved = self._refreshed()
        if self._stack is None:
            self._stack, self._current = HeadStack(solved.heads), False
        if self._current or not len(self._pending):
            return self._stack
        if self._running is None:
            self._running = solved.everything.running()
            for code, label in self._pending:
                self._running.add(code, label)
        solved.freshen(self._stack, self._running)
        self._current = True
        return self._stack

    def _score(self, code: Int8, label: int) -> None:
        """Move the weights by how the experts predicted a label that none of them has learned. code: int8 (d,)."""
        if self._buckets.labels < FEW_LABELS:
            return  # leave-one-out sets the weights
        stack = self._experts()
        logits = stack.logits(code.astype(np.float32))
        self._pool.score(stack.names, -log_softmax(logits)[:, label])

    def _flush(self) -> None:
        if not len(self._pending):
            return
        before, waiting = self._buckets.labels, self._pending.rows()
        self._buckets.add(waiting.codes, waiting.labels)
        if last_calibration(before) != last_calibration(self._buckets.labels):
            self._calibration_due = True
        self._evidence = Evidence(
            np.concatenate([self._evidence.codes, waiting.codes]),
            np.concatenate([self._evidence.labels, waiting.labels]),
        ).newest(EVIDENCE_ROWS)
        self._pending.clear()
        self._forget_solved()
        if self._calibration_due:
            self._refreshed()
        self._widen()

    def _refreshed(self) -> Solved:
        if self._solved is not None:
            return self._solved
        few = self._buckets.labels < FEW_LABELS
        evidence = self._evidence if few or self._calibration_due else None
        self._calibration_due = False
        guessed = self._guesses.tables if self._guesses.tables.samples else None
        drift = None if self._narrow else self._drift
        self._solved = solve(self._origin, self._buckets, evidence, self._temperatures, drift, guessed)
        self._temperatures = dict(self._solved.temperatures)
        if few and self._solved.left_out:
            self._judge(self._solved)
        return self._solved

    def _widen(self) -> None:
        """Admit the windows since the last drift when they have met enough; weigh all experts by the labels since."""
        if not self._narrow or self._drift is None or self._buckets.labels - self._drift < DRIFT_LABELS_MIN:
            return
        met = self._buckets.recent(self._buckets.labels - self._drift).counts > 0
        counts = self._buckets.total.counts
        if counts[met].sum() >= DRIFT_COVERAGE * counts.sum():
            self._narrow, self._calibration_due = False, True
            self._forget_solved()
            self._judge(self._refreshed())

    def _judge(self, solved: Solved) -> None:
        """Set the weights by how each expert predicts, solved without it, what all of them can be asked about."""
        rows = _shared_rows(solved.left_out)
        if rows >= (1 if self._drift is None or self._narrow else DRIFT_LABELS_MIN):
            at, newest = np.arange(rows), self._evidence.newest(rows).labels
            self._pool.judge({name: -logs[-rows:][at, newest] for name, logs in solved.left_out.items()})

    def _forget_solved(self) -> None:
        self._solved = self._running = self._stack = self._head = None

    # what the trainer protocol asks for besides
    @property
    def statistics(self) -> Statistics:
        return self.local

    @property
    def wants_prior(self) -> bool:
        return self.labels < FEW_LABELS

    @property
    def finishes_update(self) -> bool:
        return False

    @property
    def refused_steps(self) -> int:
        return 0

    def correct(self, number: int, code: Int8, before: Label, after: Label | None) -> None:
        self.change(number, code, class_index(before), None if after is None else class_index(after))

    def take_update(self) -> PendingUpdate | None:
        """Statistics are reported instead."""
        return None


def _shared_rows(left_out: Mapping[str, Float64]) -> int:
    """How many of the newest evidence rows every expert can be asked about."""
    return min(map(len, left_out.values()), default=0)


def last_calibration(labels: int) -> int:
    """The label count at which temperatures were last due: every EVIDENCE_ROWS labels, later less often."""
    step = EVIDENCE_ROWS
    while labels > 8 * step:
        step *= 2
    return labels // step * step
