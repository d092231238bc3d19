"""What the exact learner knows: integers, and nothing else. All of it is saved; heads are solved from it.

Integers add without rounding. So the order of labels does not matter, a label is corrected or taken out again to the
bit, and a restart, a replay or another device that was taught the same comes to the same heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.conditions import Conditions
from edge_agent.learner.exact.prior import Prior
from edge_agent.learner.exact.pseudo_labels import PseudoLabels
from edge_agent.learner.exact.rows import LabelledRows
from edge_agent.learner.exact.settings import ExactSettings
from edge_agent.learner.exact.window_means import WindowMeans, guessed
from headway.arrays import AnyArray, Int8, Int64
from headway.fields import Fields, JsonValue
from headway.maths import FewRows, RowSums, Statistics, SumOf, Sums, joined
from headway.samples import UNLABELLED


class Knowledge:
    """prior: what was known before any label; buckets: statistics of the device's labels by time.

    waiting: labels that came since the last `fold`, in no bucket yet; evidence: the newest labels in the buckets;
    pseudo_labels: windows that the learner labelled itself; window_means: where windows without a label seem to lie. A
    label that was taken back keeps its number.
    """

    def __init__(self, training: Statistics, settings: ExactSettings) -> None:
        self._settings = settings
        self.prior = Prior(training)
        self._size = training.size
        empty = Statistics.zeros(training.size, training.classes, training.space)
        self.buckets = Buckets(
            empty,
            settings.bucket_labels,
            settings.buckets_max,
            settings.fine_buckets,
            settings.longest_lookback_labels,
        )
        self.conditions = Conditions(training.size, settings)
        # a list: taking in one row copies no other
        self.waiting: list[tuple[Int8, int]] = []
        self.evidence = self._waiting_rows()
        self.pseudo_labels = PseudoLabels(empty, settings.pseudo_label_batch)
        self.window_means = WindowMeans(training.size, len(training.classes))
        # number of the first label since the last drift, and whether those since have yet to meet the classes of before
        self._drift: int | None = None
        self._awaiting_classes = False
        # number of the newest label that was taken back, which the evidence lacks; -1 for none
        self._gap = -1

    @property
    def local(self) -> Statistics:
        """Everything this device was taught, exactly."""
        total, waiting = self.buckets.total, self._waiting_rows().known
        return total + Statistics.of(waiting.codes, waiting.labels, total.classes, total.space)

    @property
    def label_counts(self) -> Int64:
        """Labels of each class, int64 (C,); pseudo-labels are none."""
        counts = self.buckets.counts.copy()
        np.add.at(counts, [label for _, label in self.waiting if label != UNLABELLED], 1)
        return counts

    @property
    def learned(self) -> Sums:
        """What heads over all labels are solved from: those in the buckets, and pseudo-labels."""
        everything, pseudo = self.buckets.everything, self.pseudo_labels.statistics
        return SumOf((everything, pseudo)) if pseudo.samples else everything

    @property
    def few_rows(self) -> FewRows | None:
        """What is learned as rows, where heads are solved from these; see `ExactSettings.from_rows`."""
        if not self._settings.from_rows(self._size, self.buckets.labels) or self.pseudo_labels.statistics.samples:
            return None
        return self._in_axes(self.buckets.rows)

    @property
    def labels(self) -> int:
        """Labels learned so far; the number the next one gets."""
        return self.buckets.labels + len(self.waiting)

    @property
    def unbroken(self) -> int:
        """How many labels in the buckets came since the newest one that was taken back."""
        return self.buckets.labels - 1 - self._gap

    @property
    def few(self) -> bool:
        """See `ExactSettings.few`."""
        return self._settings.few(self.buckets.labels)

    @property
    def drift(self) -> int | None:
        """Number of the first label since the last drift, once the labels since may have experts of their own."""
        return None if self._awaiting_classes else self._drift

    def add(self, code: Int8, label: int) -> None:
        """One more label, which waits; -1 for one that was taken back. code: int8 (d,)."""
        self.waiting.append((code.copy(), label))

    def fold(self) -> None:
        """Labels that wait go into the buckets."""
        waiting, first = self._waiting_rows(), self.buckets.labels
        self.buckets.add(waiting.codes, np.maximum(waiting.labels, 0))
        for at in np.flatnonzero(waiting.labels == UNLABELLED).tolist():
            self._gap = first + at
            self.buckets.change(self._gap, waiting.codes[at : at + 1], 0, None)
        self.evidence = self.evidence.plus(waiting.known).newest(self._settings.evidence_rows)
        self.waiting = []
        self.conditions.fold(waiting)
        self.conditions.open_if_strange(self.buckets.everything)

    def change(self, number: int, code: Int8, before: int, after: int | None) -> None:
        """Label `number` is class `after` instead of `before`, or none, and evidence no more. code: int8 (1, d)."""
        at = number - self.buckets.labels
        if at >= 0:
            self.conditions.forget(code, before)
            self.waiting[at] = (self.waiting[at][0], UNLABELLED if after is None else after)
            return
        self.buckets.change(number, code, before, after)
        self.conditions.change(number, code, before, after)
        same = np.flatnonzero((self.evidence.labels == before) & (self.evidence.codes == code).all(axis=1))
        if len(same):
            # evidence may only hold what the buckets hold; a row like it says the same
            self.evidence = self.evidence.kept(np.arange(len(self.evidence)) != same[-1])
            self._gap = max(self._gap, number)

    def begin_evidence_after(self, number: int, code: Int8) -> None:
        """Label `number` and those before it are evidence no more. code: int8 (1, d)."""
        at = len(self.evidence) - (self.labels - number)
        if at >= 0 and np.array_equal(self.evidence.codes[at], code[0]):
            self.evidence = self.evidence.kept(np.arange(len(self.evidence)) > at)

    def drifted(self, since: int) -> None:
        """From label `since` on things are different."""
        unbroken = self.evidence.newest(self.unbroken)
        self._drift = self.buckets.begin_at(since, unbroken.codes, unbroken.labels)
        self._awaiting_classes = True

    def admit_drift_experts_if_covered(self) -> bool:
        """True when labels since the drift have just met the classes that came before, but for rare ones.

        Where labels come class after class, a head that knows the newest class alone is right until the next begins.
        """
        if not self._awaiting_classes or self._drift is None:
            return False
        since = self.buckets.labels - self._drift
        if since < self._settings.drift_labels_min:
            return False
        counts = self.buckets.counts
        covered = counts[self.buckets.recent(since).counts > 0].sum() >= self._settings.drift_coverage * counts.sum()
        self._awaiting_classes = not covered
        return bool(covered)

    def copy(self) -> Knowledge:
        """Another object that knows the same. What was guessed stays common: it is as it is, whoever goes back."""
        return copy(self)._parted()

    @property
    def guesses(self) -> bool:
        """Whether anything was guessed, of classes that may have come later than a moment to go back to."""
        return len(self.pseudo_labels) > 0 or len(self.window_means) > 0

    def guess_windows(self, codes: Int8) -> Int64:
        """Class sums of windows without a label, int64 (d + 1, C): see window_means.py. codes: int8 (n, d).

        None of them, where labels of every class are as many as `class_labels_min` or some class has none.
        """
        fewest = self.label_counts.min()
        if not 0 < fewest < self._settings.class_labels_min:
            return np.zeros_like(self.window_means.class_sums)
        rows = self.evidence.plus(self._waiting_rows().known)
        few = self._in_axes(self._all_rows()) if self._settings.from_rows(self._size, self.labels) else None
        taught = self.local if few is None else few.sums
        return guessed(self.prior.centre, taught, rows, codes, self._settings, few)

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self.buckets.with_classes(classes)
        self.conditions.with_classes(classes)
        self.pseudo_labels.with_classes(classes)
        if len(classes) > self.window_means.class_sums.shape[1]:  # where it was gone back, they may know more already
            self.window_means.with_classes(len(classes))

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        self.pseudo_labels.renamed(renames)
        self.tables_renamed(renames)

    def tables_renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        """`renamed`, but for pseudo-labels."""
        self.buckets.renamed(renames)
        self.conditions.renamed(renames)
        self.prior.renamed(renames)

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        tensors, values = self._state_of(self.buckets, None)
        prior_tensors, prior_values = self.prior.state()
        guessed_tensors = self.pseudo_labels.state() | self.window_means.state()
        return tensors | guessed_tensors | prior_tensors, values | prior_values

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        self.prior.restore(tensors, values)
        self._restore(tensors, values)
        self.conditions.restart(len(self.waiting))
        self.conditions.restore(tensors, values, self._like)
        self.pseudo_labels.restore(tensors)
        self.window_means.restore(tensors)
        self.buckets.take_rows(self.evidence.codes, self.evidence.labels)

    def state_beside(self, present: Knowledge) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        """The state of an earlier moment, saved beside that of now: only what is not the very same there."""
        own, shared = self.buckets.apart_from(present.buckets)
        tensors, values = self._state_of(own, present.conditions)
        places: list[JsonValue] = [*shared]
        values |= {"shared": places, "classes": len(self.buckets.classes)}
        if self.prior.is_of(present.prior):
            return tensors, values | {"prior": "same"}
        prior_tensors, prior_values = self.prior.state()
        return tensors | prior_tensors, values | prior_values | {"prior": "other"}

    def restored_beside(self, tensors: Mapping[str, AnyArray], values: Fields) -> Knowledge:
        """Inverse of `state_beside`, from what is known now. Raises StoreError."""
        earlier = self.copy()
        classes = self.buckets.classes[: values.integer("classes")]
        earlier.buckets.restore({}, [])
        earlier.buckets.with_classes(classes)
        shared = values.integers("shared", count_max=1 << 12, low=-1)
        if values.choice("prior", ("same", "other")) == "other":
            earlier.prior.restart()
            earlier.prior.restore(tensors, values)
        earlier._restore(tensors, values)
        earlier.buckets.joined_with(self.buckets, shared)
        earlier.conditions.restart(len(earlier.waiting))
        earlier.conditions.restore(tensors, values, earlier._like, self.conditions)
        return earlier

    def _parted(self) -> Knowledge:
        self.buckets, self.prior, self.waiting = self.buckets.copy(), copy(self.prior), list(self.waiting)
        self.conditions = self.conditions.copy()
        return self

    @property
    def _like(self) -> Statistics:
        return Statistics.zeros(self._size, self.buckets.classes, self.buckets.space)

    def _state_of(
        self, buckets: Buckets, beside: Conditions | None
    ) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        tensors, ranges = buckets.state()
        tensors |= self._waiting_rows().state("pending") | self.evidence.state("evidence")
        pairs: list[JsonValue] = [{"range": list(pair)} for pair in ranges]
        drift: dict[str, JsonValue] = {"drift": self._drift, "narrow": self._awaiting_classes}
        gap: dict[str, JsonValue] = {"gap": self._gap} if self._gap >= 0 else {}
        condition_tensors, conditions = self.conditions.state(beside)
        drifted = drift if self._drift is not None else {}
        return tensors | condition_tensors, {"ranges": pairs, **drifted, **gap, **conditions}

    def _restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        ranges = [list(item.integers("range", count_max=2)) for item in values.tables("ranges")]
        self._drift = values.integer("drift") if values.has("drift") else None
        self._awaiting_classes = values.boolean("narrow", False)
        self._gap = values.integer("gap") if values.has("gap") else -1
        self.buckets.restore(tensors, ranges, self._drift or 0)
        waiting = LabelledRows.restored(tensors, "pending", self._size)
        self.waiting = list(zip(waiting.codes, waiting.labels.tolist(), strict=True))
        self.evidence = LabelledRows.restored(tensors, "evidence", self._size)

    def _all_rows(self) -> RowSums | None:
        """Those in the buckets and those that wait; None when some are no longer known."""
        learned, waiting = self.buckets.rows, self._waiting_rows().known
        if learned is None:
            return None
        return joined([learned, RowSums(waiting.codes, waiting.labels, learned.classes)])

    def _in_axes(self, rows: RowSums | None) -> FewRows | None:
        centre = self.prior.centre
        if rows is None or not set(self.prior.statistics.classes) <= set(rows.classes):
            return None
        return FewRows.of(centre.spread.spectrum(), rows, centre.with_classes(rows.classes).means)

    def _waiting_rows(self) -> LabelledRows:
        return LabelledRows.of(self.waiting, self._size)
