"""Which labels are doubted: heads that did not learn one, and the frozen head, together find another class probable.

    log p(class) ~ log p of the learned pool without this label + log p of the calibrated frozen head

A product of both, as two witnesses who saw the window apart: a wrong label convinces neither, and where one of them
knows little, its calibrated probabilities are flat and the other decides. (Confident learning, Northcutt et al. 2021,
finds label errors by held-out probabilities, too.) A doubted label is told to people and stays learned: they decide.

How improbable a label must be depends on how many are wrong: calibrated to labels of which 40 % are, no head finds one
impossible, and where none is, every doubt is a mistake. So the threshold follows the share of the newest labels that
both heads together would have given to another class before they learned them: what later labels make of a label does
not count, so that it comes out the same when labels are learned again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float64
from headway.errors import StoreError
from headway.maths import log_softmax

# a label is doubted below so much of the share of labels that the heads disagree with: half, chosen on the watch
OF_DISAGREEMENT = 0.5
# the newest labels that this share is of; and before any, so many count as if one in twenty were disagreed with
NEWEST, USUAL_LABELS, USUAL_DISAGREEMENT = 128, 10, 0.05
# a label can be gone back to for so many: their shares must come out as they did
REMEMBERED = 3 * NEWEST
# before so many labels for each class heads know too little of the device to doubt anybody, or to be counted
LABELS_PER_CLASS = 2
# the newest that are kept
DOUBTS_MAX = 64


@dataclass(frozen=True, slots=True)
class Doubt:
    """Label `number` says class `given`; `instead` is the most probable one."""

    number: int
    given: int
    instead: int


class Doubts:
    """The newest labels that are doubted now; judged again whenever there is newer evidence on them."""

    def __init__(self) -> None:
        self._doubts: dict[int, Doubt] = {}
        # by label number, whether the heads would have given another class
        self._disagreed: dict[int, bool] = {}

    @property
    def all(self) -> list[Doubt]:
        """By label number."""
        return [self._doubts[number] for number in sorted(self._doubts)]

    def judge(self, numbers: Sequence[int], labels: Sequence[int], learned: Float64, frozen: Float64) -> None:
        """Labels `numbers`, which are of classes `labels`; both log-probabilities without them.

        learned: float64 (n, C); frozen: float64 (n, C0), of the bundle's classes, which come first.
        """
        if not len(labels):
            return
        together = log_softmax(learned + _spread(frozen, learned.shape[1]))
        instead = together.argmax(axis=1).tolist()
        given = together[np.arange(len(labels)), labels]
        newest = max(numbers)
        below = self._threshold(newest) if newest + 1 >= LABELS_PER_CLASS * learned.shape[1] else 0.0
        for row, (number, label) in enumerate(zip(numbers, labels, strict=True)):
            self._doubts.pop(number, None)
            if instead[row] != label and np.exp(given[row]) < below:
                self._doubts[number] = Doubt(number, label, instead[row])
        for number in sorted(self._doubts)[:-DOUBTS_MAX]:
            del self._doubts[number]

    def count(self, numbers: Sequence[int], labels: Sequence[int], learned: Float64, frozen: Float64) -> None:
        """New labels, before they are learned, as in `judge`: would the heads have given them?"""
        instead = (learned + _spread(frozen, learned.shape[1])).argmax(axis=1).tolist()
        for number, label, other in zip(numbers, labels, instead, strict=True):
            if number >= LABELS_PER_CLASS * learned.shape[1]:
                self._disagreed[number] = other != label
            self._disagreed.pop(number - REMEMBERED, None)

    def _threshold(self, newest: int) -> float:
        """Of the labels up to `newest`, 0 to 1/2."""
        known = [self._disagreed[n] for n in range(newest - NEWEST + 1, newest + 1) if n in self._disagreed]
        rate = (sum(known) + USUAL_DISAGREEMENT * USUAL_LABELS) / (len(known) + USUAL_LABELS)
        return OF_DISAGREEMENT * rate

    def withdraw(self, number: int) -> None:
        """The label is another one now."""
        self._doubts.pop(number, None)
        self._disagreed.pop(number, None)

    def state(self) -> dict[str, AnyArray]:
        rows = [[doubt.number, doubt.given, doubt.instead] for doubt in self.all]
        judged = sorted(self._disagreed.items())
        return {
            "doubts": np.array(rows, np.int64).reshape(-1, 3),
            "judged": np.array(judged, np.int64).reshape(-1, 2),
        }

    def restore(self, tensors: Mapping[str, AnyArray], classes: int) -> None:
        """Inverse of `state`; agents before doubts saved none. Raises StoreError."""
        rows = tensors.get("doubts", np.zeros((0, 3), np.int64))
        if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype != np.int64 or len(rows) > DOUBTS_MAX:
            raise StoreError("saved doubts are damaged")
        if (rows < 0).any() or (rows[:, 1:] >= classes).any():
            raise StoreError(f"saved doubts are of classes that are not among the {classes} known")
        # agents before thresholds followed the labels saved none
        judged = tensors.get("judged", np.zeros((0, 2), np.int64))
        if (
            judged.ndim != 2
            or judged.shape[1] != 2
            or judged.dtype != np.int64
            or not np.isin(judged[:, 1], (0, 1)).all()
        ):
            raise StoreError("saved judgements on labels are damaged")
        self._doubts = {number: Doubt(number, given, instead) for number, given, instead in rows.tolist()}
        self._disagreed = {number: bool(disagreed) for number, disagreed in judged.tolist()}


def _spread(frozen: Float64, classes: int) -> Float64:
    """A class that the frozen head does not know is as probable as any. float64 (n, C0) -> (n, C)."""
    if frozen.shape[1] == classes:
        return frozen
    # np.pad takes longer than all else that is done for a label here
    spread = np.full((len(frozen), classes), -np.log(classes))
    spread[:, : frozen.shape[1]] = frozen + np.log(frozen.shape[1] / classes)
    return spread
