"""Windows without a label as means of the prior: where the classes lie on this device, as the labelled head sees it.

Once every class has a label, the remembered windows are given classes by the head that the labels make, and again by
the head that these guesses make, three times (hard self-training; k-means that starts from labels). What remains of
them are integers, class sums and counts. They never join the labels: they are where the prior of one expert begins, so
that labels override them as they override the training data. Two rules say whether they may:

- the shares of the guesses are even enough. Shift and imbalance look alike without labels: where classes are missing,
  or one makes up most windows, their windows are shared out among the classes that are there, and means go astray;
- labels, each left out of the head's own samples, are predicted better than without the guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_agent.learner.exact.rows import LabelledRows
from edge_agent.learner.exact.settings import ExactSettings
from headway.arrays import AnyArray, Float64, Int8, Int64
from headway.errors import StoreError
from headway.maths import FewRows, Posterior, Sums, TrainingPrior, log_softmax, scoring_loss

# what they are called in a saved state
SAVED = "windows.class_sums"


class WindowMeans:
    """class_sums: of the guessed windows, int64 (d + 1, C), counts in the last row; zeros where none may count."""

    def __init__(self, size: int, classes: int) -> None:
        self.class_sums: Int64 = np.zeros((size + 1, classes), np.int64)

    def __len__(self) -> int:
        return int(self.class_sums[-1].sum())

    def adopt(self, class_sums: Int64) -> None:
        """Count these windows instead of any before."""
        self.class_sums = class_sums.copy()

    def with_classes(self, count: int) -> None:
        self.class_sums = np.pad(self.class_sums, ((0, 0), (0, count - self.class_sums.shape[1])))

    def centre(self, prior: TrainingPrior, classes: tuple[str, ...], worth: float) -> TrainingPrior:
        """The prior with means that these windows have moved, those of training being worth so many of them."""
        return centred(prior.with_classes(classes), self.class_sums, worth)

    def state(self) -> dict[str, AnyArray]:
        """Nothing where there is none."""
        return {SAVED: self.class_sums} if len(self) else {}

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`. Raises StoreError."""
        saved = tensors.get(SAVED)
        if saved is None:
            return
        if saved.dtype != np.int64 or saved.shape != self.class_sums.shape or (saved[-1] < 0).any():
            raise StoreError("saved sums of windows without a label do not fit this bundle")
        self.adopt(saved)


def centred(prior: TrainingPrior, class_sums: Int64, worth: float) -> TrainingPrior:
    """The prior with other means: what training says counts as `worth` samples beside these."""
    sums = class_sums.astype(np.float64)
    weight = worth * prior.seen
    total = weight + sums[-1]
    means: Float64 = (weight * prior.means + sums[:-1]) / np.maximum(total, 1e-12)
    return replace(prior, means=means, seen=(total > 0).astype(np.float64))


def guessed(
    prior: TrainingPrior,
    labels: Sums,
    rows: LabelledRows,
    codes: Int8,
    settings: ExactSettings,
    few: FewRows | None = None,
) -> Int64:
    """Class sums of windows by the classes that they seem to have, int64 (d + 1, C); zeros where a rule forbids it.

    labels: of every class; rows: labels contained in them, which judge; codes: int8 (n, d), the windows. few: the
    labels as rows, where heads are solved from these. A pure function of integers.
    """
    prior, worth = prior.with_classes(labels.classes), settings.recipes[0].worth
    inputs = codes.astype(np.float32)
    before = after = Posterior(prior, labels, worth, few=few)
    none = sums = np.zeros_like(labels.class_sums)
    for _ in range(settings.window_sweeps if len(codes) else 0):
        sums = _class_sums(codes, after.head().logits(inputs).argmax(axis=1), sums.shape[1])
        moved = centred(prior, sums, settings.window_worth)
        after = Posterior(moved, labels, worth, few=None if few is None else few.with_means(moved.means))
    least, most = settings.window_shares
    shares = sums[-1] * sums.shape[1] / max(len(codes), 1)
    if shares.min() < least or shares.max() > most or not len(rows):
        return none
    return sums if _loss(after, rows, settings) < _loss(before, rows, settings) else none


def _class_sums(codes: Int8, labels: Int64, classes: int) -> Int64:
    sums = np.zeros((codes.shape[1] + 1, classes), np.int64)
    for label in range(classes):
        own = codes[labels == label]
        sums[:-1, label], sums[-1, label] = own.sum(axis=0, dtype=np.int64), len(own)
    return sums


def _loss(posterior: Posterior, rows: LabelledRows, settings: ExactSettings) -> float:
    """Of labels, each predicted by a head without it, at the usual temperature; the mean over them."""
    logits = posterior.leave_one_out(rows.codes, rows.labels)[0] / 2.0**settings.temperature_log2
    return float(scoring_loss(np.exp(log_softmax(logits)), rows.labels).mean())
