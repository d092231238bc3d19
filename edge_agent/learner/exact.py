"""The exact learner: integer tables in, closed-form heads out. Nothing is approximated; what is forgotten is chosen.

All candidates come from the same tables: posterior LDA (headway/posterior.py) with the source worth little or much,
with uniform class priors or the device's own, over all labels or over recent ones. The gate picks among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge_agent.learner.buckets import Buckets
from edge_agent.learner.trainer import TrainerState
from headway.arrays import AnyArray, Float64, Int8, Int64
from headway.calibration import fit_temperature, scoring_loss
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.head import Head, softmax
from headway.messages import PublishedHead
from headway.posterior import Posterior, SourcePrior
from headway.statistics import Statistics

EVIDENCE_ROWS = 128
# below it no window is shorter than the whole past, and leave-one-out covers every label
FEW_LABELS = 128
FRESH_LABELS = 64
CLASS_LABELS_MIN = 3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one candidate is solved.

    worth: what a source class mean counts for, in samples; window: labels it looks back on, 0 for all.
    local_priors: class priors from the device's own labels instead of uniform ones, once it has met every class.
    """

    worth: float
    window: int = 0
    local_priors: bool = False


RECIPES = {
    "exact/quick": Recipe(2.0),
    "exact/quick-prior": Recipe(2.0, local_priors=True),
    "exact/steady": Recipe(10.0),
    "exact/recent": Recipe(2.0, window=256),
    "exact/recent-prior": Recipe(2.0, window=256, local_priors=True),
    "exact/newest": Recipe(2.0, window=64),
}


@dataclass(frozen=True, slots=True)
class Solved:
    """Candidates of one refresh. losses: per candidate, leave-one-out over the evidence rows, float64 (n,)."""

    heads: Mapping[str, Head]
    losses: Mapping[str, Float64]


class ExactTrainer:
    """Tables in time buckets, and the candidates solved from them.

    Heads are a pure function of the tables at fixed label counts, so a restart, another order of commits or a
    replay gives the same bits. Labels since the last refresh wait in `pending`, and are part of `local`.
    """

    def __init__(self, source: Statistics, bucket_labels: int = 64, buckets_max: int = 32) -> None:
        self._prior = SourcePrior.of(source)
        empty = Statistics.zeros(source.size, source.classes, source.space)
        self._buckets = Buckets(empty, bucket_labels, buckets_max)
        self._pending_codes = np.zeros((0, source.size), np.int8)
        self._pending_labels = np.zeros(0, np.int64)
        self._evidence_codes = self._pending_codes
        self._evidence_labels = self._pending_labels
        self._temperatures: dict[str, float] = {}
        self._calibration_due = False
        self._solved: Solved | None = None

    @property
    def local(self) -> Statistics:
        """Everything this device was taught, exactly."""
        total = self._buckets.total
        if not len(self._pending_labels):
            return total
        return total + Statistics.of(self._pending_codes, self._pending_labels, total.classes, total.space)

    @property
    def pending(self) -> int:
        """Labels learned since the candidates were last solved."""
        return len(self._pending_labels)

    @property
    def labels(self) -> int:
        """Labels learned so far; the number the next one gets."""
        return self._buckets.labels + len(self._pending_labels)

    def learn(self, codes: Int8, labels: Int64) -> None:
        for row in range(len(labels)):
            self._pending_codes = np.concatenate([self._pending_codes, codes[row : row + 1]])
            self._pending_labels = np.append(self._pending_labels, labels[row])
            if self.labels % self._refresh_interval() == 0:
                self._flush()

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Correct label `number` from class `before` to `after`, or take it out, to the bit. code: int8 (1, d)."""
        self._flush()
        self._buckets.change(number, code, before, after)
        at = len(self._evidence_labels) - (self.labels - number)
        if at >= 0 and np.array_equal(self._evidence_codes[at], code[0]):
            # evidence may only hold what the tables hold
            keep = np.arange(len(self._evidence_labels)) > at
            self._evidence_codes, self._evidence_labels = self._evidence_codes[keep], self._evidence_labels[keep]

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self._buckets.with_classes(classes)
        self._solved = None

    def candidates(self) -> Mapping[str, Head]:
        return self._refreshed().heads

    def leave_one_out(self) -> Mapping[str, Float64]:
        """Losses (headway.calibration.scoring_loss) of each candidate on labels it was solved without.

        Only while labels are few; later, predicting first and learning then tells more about what comes next.
        """
        return self._refreshed().losses if self.labels < FEW_LABELS else {}

    def adopt(self, published: PublishedHead) -> None:
        """Nothing to do: the fleet's head is a candidate of its own."""

    def state(self) -> TrainerState:
        tensors, ranges = self._buckets.state()
        tensors |= {
            "pending.codes": self._pending_codes,
            "pending.labels": self._pending_labels,
            "evidence.codes": self._evidence_codes,
            "evidence.labels": self._evidence_labels,
        }
        pairs: list[JsonValue] = [{"range": list(pair)} for pair in ranges]
        return tensors, {"ranges": pairs, "temperatures": dict(self._temperatures)}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        ranges = [list(item.integers("range", count_max=2)) for item in values.tables("ranges")]
        temperatures = values.table("temperatures")
        self._temperatures = {name: temperatures.number(name, low=0.0) for name in RECIPES if temperatures.has(name)}
        temperatures.finish()
        values.finish()
        self._buckets.restore(tensors, ranges)
        size = self._buckets.total.size
        for name in ("pending", "evidence"):
            codes, labels = tensors[f"{name}.codes"], tensors[f"{name}.labels"]
            if codes.dtype != np.int8 or codes.shape != (len(labels), size) or labels.dtype != np.int64:
                raise StoreError(f"saved {name} rows do not fit this bundle")
        self._pending_codes, self._pending_labels = tensors["pending.codes"], tensors["pending.labels"]
        self._evidence_codes, self._evidence_labels = tensors["evidence.codes"], tensors["evidence.labels"]
        self._solved = None

    def _refresh_interval(self) -> int:
        """Labels between two refreshes: each one while they are few, then as many as make a solve cheap per label."""
        return 1 if self.labels <= FRESH_LABELS else max(1, min(16, self._buckets.total.size // 20))

    def _flush(self) -> None:
        if not len(self._pending_labels):
            return
        before = self._buckets.labels
        self._buckets.add(self._pending_codes, self._pending_labels)
        if before // EVIDENCE_ROWS != self._buckets.labels // EVIDENCE_ROWS:
            self._calibration_due = True
        self._evidence_codes = np.concatenate([self._evidence_codes, self._pending_codes])[-EVIDENCE_ROWS:]
        self._evidence_labels = np.concatenate([self._evidence_labels, self._pending_labels])[-EVIDENCE_ROWS:]
        self._pending_codes, self._pending_labels = self._pending_codes[:0], self._pending_labels[:0]
        self._solved = self._solve() if self._calibration_due else None

    def _refreshed(self) -> Solved:
        if self._solved is None:
            self._solved = self._solve()
        return self._solved

    def _solve(self) -> Solved:
        """All candidates: one factorisation per window, one set of right-hand sides per recipe."""
        heads: dict[str, Head] = {}
        losses: dict[str, Float64] = {}
        few = self._buckets.labels < FEW_LABELS
        calibrate = few or self._calibration_due
        self._calibration_due = False
        for window in sorted({recipe.window for recipe in RECIPES.values()}):
            if window and self._buckets.labels < 2 * window:
                continue  # nothing to forget yet
            tables = self._buckets.recent(window) if window else self._buckets.total
            posterior = Posterior(self._prior, tables)
            for name, recipe in RECIPES.items():
                if recipe.window != window:
                    continue
                local_priors = recipe.local_priors and _all_met(tables)
                head = posterior.head(recipe.worth, local_priors)
                if calibrate and len(self._evidence_labels):
                    # only what is in the tables can be left out of them
                    rows = slice(-window if window else None, None)
                    codes, labels = self._evidence_codes[rows], self._evidence_labels[rows]
                    logits = posterior.leave_one_out(codes, labels, recipe.worth, local_priors)
                    temperature = fit_temperature(logits, labels)
                    self._temperatures[name] = temperature
                    probabilities = softmax((logits / temperature).astype(np.float32))
                    losses[name] = scoring_loss(probabilities.astype(np.float64), labels)
                heads[name] = _cooled(head, self._temperatures.get(name, 1.0))
        return Solved(heads, losses)


def _all_met(tables: Statistics) -> bool:
    """Whether local labels say how often each class occurs; one that was never met may still come."""
    return bool((tables.counts >= CLASS_LABELS_MIN).all())


def _cooled(head: Head, temperature: float) -> Head:
    """The same decisions with logits divided by `temperature`."""
    factor = np.float32(1.0 / temperature)
    return replace(head, kernel=head.kernel * factor, bias=head.bias * factor)
