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
from edge_agent.learner.exact.recipes import Solved, solve
from edge_agent.learner.exact.rows import Evidence, PendingRows
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.trainer import TrainerState
from headway.arrays import AnyArray, Float64, Int8, Int64
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.maths import Head, RunningPosterior, Statistics, log_softmax, scoring_loss
from headway.wire import PublishedHead

CANDIDATE = "exact"


class ExactTrainer:
    """Tables in time buckets, and the head pooled from what is solved from them.

    Experts are a pure function of the tables at fixed label counts, so a restart, another order of commits or a
    replay gives the same bits. Labels since the last solve wait in `pending`, and are part of `local`.
    """

    def __init__(self, source: Statistics, settings: ExactSettings | None = None) -> None:
        self.settings = settings = settings or ExactSettings()
        self._origin = Origin(source)
        empty = Statistics.zeros(source.size, source.classes, source.space)
        self._buckets = Buckets(empty, settings.bucket_labels, settings.buckets_max)
        self._pending = PendingRows(source.size)
        self._evidence = self._pending.rows()
        self._temperatures: dict[str, float] = {}
        self._pool = ExpertPool(settings)
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

    @property
    def few(self) -> bool:
        """Labels are few: leave-one-out sets the weights, and what other devices learned may still help."""
        return self.labels < self.settings.few_labels

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

    def guess(self, code: Int8, label: int) -> None:
        """Learn a window by what was predicted for it; it counts as no label. code: int8 (1, d)."""
        if self._guesses.add(code, label):
            self._forget_solved()

    def withdraw(self, code: Int8, label: int) -> None:
        """Undo a guess, to the bit."""
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
        if self.labels >= self.settings.few_labels or not left_out:
            return {}
        weights = self._pool.weights(list(left_out))
        rows = _shared_rows(left_out)
        pooled = sum(weight * logs[-rows:] for weight, logs in zip(weights, left_out.values(), strict=True))
        return {CANDIDATE: scoring_loss(np.exp(log_softmax(np.asarray(pooled))), self._evidence.newest(rows).labels)}

    def adopt(self, published: PublishedHead) -> None:
        """Nothing to do: the fleet's head is a candidate of its own."""

    @property
    def fleet(self) -> Statistics | None:
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
        names = [recipe.name for recipe in self.settings.recipes]
        self._temperatures = {name: temperatures.number(name, low=0.0) for name in names if temperatures.has(name)}
        self._pool.restore({name: weights.number(name) for name in names if weights.has(name)})
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
        size, labels, small = self._buckets.total.size, self._buckets.labels, self.settings.small_features
        if labels < self.settings.few_labels:
            return 1 if size <= small else 1 + labels // 8
        few, some, many = self.settings.solve_labels
        return few if size <= small else some if size <= 2 * small else many

    def _last_calibration(self, labels: int) -> int:
        """The label count at which temperatures were last due: every `evidence_rows` labels, later less often."""
        step = self.settings.evidence_rows
        while labels > 8 * step:
            step *= 2
        return labels // step * step

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
        if self._buckets.labels < self.settings.few_labels:
            return  # leave-one-out sets the weights
        stack = self._experts()
        logits = stack.logits(code.astype(np.float32))
        self._pool.score(stack.names, -log_softmax(logits)[:, label])

    def _flush(self) -> None:
        if not len(self._pending):
            return
        before, waiting = self._buckets.labels, self._pending.rows()
        self._buckets.add(waiting.codes, waiting.labels)
        if self._last_calibration(before) != self._last_calibration(self._buckets.labels):
            self._calibration_due = True
        self._evidence = Evidence(
            np.concatenate([self._evidence.codes, waiting.codes]),
            np.concatenate([self._evidence.labels, waiting.labels]),
        ).newest(self.settings.evidence_rows)
        self._pending.clear()
        self._forget_solved()
        if self._calibration_due:
            self._refreshed()
        self._widen()

    def _refreshed(self) -> Solved:
        if self._solved is not None:
            return self._solved
        few = self._buckets.labels < self.settings.few_labels
        evidence = self._evidence if few or self._calibration_due else None
        self._calibration_due = False
        guessed = self._guesses.tables if self._guesses.tables.samples else None
        drift = None if self._narrow else self._drift
        self._solved = solve(self._origin, self._buckets, evidence, self._temperatures, self.settings, drift, guessed)
        self._temperatures = dict(self._solved.temperatures)
        if few and self._solved.left_out:
            self._judge(self._solved)
        return self._solved

    def _widen(self) -> None:
        """Admit the windows since the last drift when they have met enough; weigh all experts by the labels since."""
        if (
            not self._narrow
            or self._drift is None
            or self._buckets.labels - self._drift < self.settings.drift_labels_min
        ):
            return
        met = self._buckets.recent(self._buckets.labels - self._drift).counts > 0
        counts = self._buckets.total.counts
        if counts[met].sum() >= self.settings.drift_coverage * counts.sum():
            self._narrow, self._calibration_due = False, True
            self._forget_solved()
            self._judge(self._refreshed())

    def _judge(self, solved: Solved) -> None:
        """Set the weights by how each expert predicts, solved without it, what all of them can be asked about."""
        rows = _shared_rows(solved.left_out)
        if rows >= (1 if self._drift is None or self._narrow else self.settings.drift_labels_min):
            at, newest = np.arange(rows), self._evidence.newest(rows).labels
            self._pool.judge({name: -logs[-rows:][at, newest] for name, logs in solved.left_out.items()})

    def _forget_solved(self) -> None:
        self._solved = self._running = self._stack = self._head = None


def _shared_rows(left_out: Mapping[str, Float64]) -> int:
    """How many of the newest evidence rows every expert can be asked about."""
    return min(map(len, left_out.values()), default=0)
