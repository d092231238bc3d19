"""Decides which head serves: the gate between learning and serving.

Every candidate predicts each labelled sample before anyone learns from it (prequential scoring, Dawid 1984), or is
judged by leave-one-out while labels are few; only such scores count. The head in service is replaced by one whose
advantage exceeds both a margin and its own standard error, paired sample by sample; ties keep it. The frozen head
is always a candidate, and comes back as soon as the other is no better, so a device does not end worse than if it
had never learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float64, Int64
from headway.errors import StoreError
from headway.fields import Fields, JsonValue

FROZEN = "frozen"
ROWS = 512
# the tensor of label numbers in a saved state, beside those of candidates
NUMBERS = "label numbers"
# labels on which a head must have been scored beside the one in service
SCORED_MIN = 4
# of what few labels tell for a learned head, so much is believed: they are the earliest ones, and later windows differ
BELIEVED = 0.3
# the frozen head is not asked for less: it would change no answer, and cost time
SHARE_MIN = 0.001
# what settings ask for by default, in losses and in standard errors
USUAL_MARGIN, USUAL_ERRORS = 1.0, 1.0


@dataclass(frozen=True, slots=True)
class Score:
    """Evidence on one candidate: the (discounted) number of samples, and the sum of its losses on them."""

    weight: float
    loss: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of the serving head, with the evidence it rests on.

    kind: ``leave-one-out``, ``prequential``, or ``correction`` of labels that had made another choice.
    """

    before: str
    after: str
    kind: str
    scores: Mapping[str, Score]


class Gate:
    """Scores candidates and chooses who serves.

    discount: weight of each older sample against the next newer one, once labels are many.
    margin: how much smaller the sum of losses must be at least; a loss is 0 to 2
    (headway.maths.calibration.scoring_loss).
    errors: how many standard errors of the paired difference the advantage must exceed.
    left_out_min: labels that a head must have been left out of; each judges one that has learned all the others.
    """

    def __init__(self, discount: float, margin: float, errors: float = 1.0, left_out_min: int = SCORED_MIN) -> None:
        self._discount, self._margin, self._errors = discount, margin, errors
        self._left_out_min = left_out_min
        self._losses: dict[str, Float64] = {FROZEN: np.zeros(0)}
        self._numbers: Int64 = np.zeros(0, np.int64)
        # what each candidate ever saved against the frozen head: a run of one easy class does not wipe that out
        self._earned: dict[str, float] = {}
        self.serving = FROZEN

    def record(self, losses: Mapping[str, float], number: int = 0) -> None:
        """Score labelled sample `number`: each candidate's loss on it, from before anyone learned it."""
        self._numbers = np.append(self._numbers, number)[-ROWS:]
        length = len(self._losses[FROZEN])
        for name, loss in losses.items():
            self._losses.setdefault(name, np.full(length, np.nan))
            self._earned[name] = self._earned.get(name, 0.0) + losses[FROZEN] - loss
        for name, kept in self._losses.items():
            self._losses[name] = np.append(kept, losses.get(name, np.nan))[-ROWS:]

    def rescore(self, name: str, losses: Float64) -> None:
        """Replace a candidate's newest losses, e.g. after its probabilities were calibrated anew. float64 (n,)."""
        kept = self._losses[name].copy()
        kept[len(kept) - len(losses) :] = losses
        self._losses[name] = kept

    def forget(self, number: int) -> int | None:
        """Label `number` was wrong: nobody's loss on it counts. How many came after it; None when it is not kept."""
        at = np.flatnonzero(self._numbers == number)
        if not len(at):
            return None
        kept = self._numbers != number
        for name, losses in self._losses.items():
            saved = float(self._losses[FROZEN][at[0]] - losses[at[0]])
            if name in self._earned and np.isfinite(saved):
                self._earned[name] -= saved
        self._numbers = self._numbers[kept]
        self._losses = {name: losses[kept] for name, losses in self._losses.items()}
        return len(self._numbers) - int(at[0])

    def changed(self, before: str, evidence: Mapping[str, Float64], pending: int = 0) -> Decision | None:
        """What labels that were put right have made of the choice: `before` served. None when that still does.

        evidence, pending: as in `decide`.
        """
        rows = self._rows(evidence, pending)
        return None if before == self.serving else self._decision(before, "correction", rows, bool(evidence))

    def decide(self, evidence: Mapping[str, Float64], pending: int = 0) -> Decision | None:
        """Replace the serving head if another one has earned it. None when nothing changes.

        evidence: losses per candidate on the newest samples, without the last `pending` ones, each from a head
        solved without that sample, float64 (n,). They stand in for its prequential scores while labels are few.
        """
        rows = self._rows(evidence, pending)
        weights = self._weights(len(rows[FROZEN]), bool(evidence))
        best, best_lead = self._unless_frozen_is_as_good(rows, weights, bool(evidence)), 0.0
        incumbent = best
        # by name, not in the order of arrival: a restart restores the losses in another one, and a tie must fall alike
        for name in sorted(rows):
            lead, error, shared = _advantage(rows[name], rows.get(incumbent, rows[FROZEN]), weights)
            least = self._left_out_min if name in evidence else SCORED_MIN
            earned = shared >= least and lead > max(self._margin, self._errors * error)
            if name != incumbent and earned and lead > best_lead:
                best, best_lead = name, lead
        if best == self.serving:
            return None
        before, self.serving = self.serving, best
        return self._decision(before, "leave-one-out" if evidence else "prequential", rows, bool(evidence))

    def frozen_share(self, evidence: Mapping[str, Float64], pending: int = 0) -> float:
        """How probable it still is that the frozen head is at least as good as the one in service, 0 to 1/2.

        What few labels leave open, by the normal tail of the advantage in standard errors, of which `BELIEVED` is
        believed. 0 once labels are many. evidence, pending: as in `decide`.
        """
        if self.serving not in evidence:
            return 0.0
        losses, end = evidence[self.serving], len(self._losses[FROZEN]) - pending
        frozen = self._losses[FROZEN][max(0, end - len(losses)) : end]
        lead, error, _ = _advantage(losses[len(losses) - len(frozen) :], frozen, np.ones(len(frozen)))
        share = 0.5 * math.erfc(max(lead, 0.0) / error * math.sqrt(BELIEVED / 2.0)) if error else 0.0
        return share if share >= SHARE_MIN else 0.0

    def learned_share(self, name: str, evidence: Mapping[str, Float64], pending: int = 0) -> float | None:
        """What part of a value the head `name` says while labels are few, 0 to 1, whoever serves; None once many.

        The probability that it is better than the frozen head, as in `frozen_share`: a half while nothing speaks for
        either, as what lies between two values is off by no more than they are in the mean. A `margin` or `errors`
        above the usual shifts it, so that who wants more before a choice hears less until then. Where all labels say
        the same, the gate has chosen. evidence, pending: as in `decide`.
        """
        if name not in evidence or self.serving not in (FROZEN, name):
            return None
        losses, end = evidence[name], len(self._losses[FROZEN]) - pending
        frozen = self._losses[FROZEN][max(0, end - len(losses)) : end]
        lead, error, _ = _advantage(losses[len(losses) - len(frozen) :], frozen, np.ones(len(frozen)))
        if not error:
            return float(self.serving == name)
        asked = self._margin - USUAL_MARGIN + (self._errors - USUAL_ERRORS) * error
        return 0.5 * math.erfc((asked - lead) / error * math.sqrt(BELIEVED / 2.0))

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        """Losses by candidate, and who serves."""
        earned: dict[str, JsonValue] = dict(self._earned)
        return {**self._losses, NUMBERS: self._numbers}, {"serving": self.serving, "earned": earned}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields, labels: int = 0) -> None:
        """Inverse of `state`. labels: learned so far, for states that know no numbers. Raises StoreError."""
        tensors = dict(tensors)
        numbers = tensors.pop(NUMBERS, None)
        self.serving = values.text("serving")
        earned = values.table("earned")
        self._earned = {name: earned.number(name) for name in tensors if earned.has(name)}
        earned.finish()
        values.finish()
        length = len(tensors.get(FROZEN, np.zeros(0)))
        for name, losses in tensors.items():
            if losses.dtype != np.float64 or losses.shape != (length,) or length > ROWS:
                raise StoreError(f"saved scores of {name!r} are damaged")
        if FROZEN not in tensors:
            raise StoreError("saved scores lack the frozen head")
        # agents before corrections were learned anew numbered none
        self._numbers = np.arange(labels - length, labels, dtype=np.int64) if numbers is None else numbers
        if self._numbers.dtype != np.int64 or self._numbers.shape != (length,):
            raise StoreError("saved numbers of scored labels are damaged")
        self._losses = tensors

    def _decision(self, before: str, kind: str, rows: Mapping[str, Float64], few: bool) -> Decision:
        weights = self._weights(len(rows[FROZEN]), few)
        return Decision(before, self.serving, kind, {name: _score(losses, weights) for name, losses in rows.items()})

    def _weights(self, length: int, few: bool) -> Float64:
        """Of each row, the newest last, float64 (n,)."""
        discount = 1.0 if few else self._discount
        weights: Float64 = np.power(discount, np.arange(length - 1, -1, -1, dtype=np.float64))
        return weights

    def _unless_frozen_is_as_good(self, rows: Mapping[str, Float64], weights: Float64, few: bool) -> str:
        """The incumbent, or the frozen head once the incumbent's lead over it has melted away.

        Of two heads that labels cannot tell apart, the one that was tested before it shipped is the safer.
        """
        if self.serving not in rows:
            return FROZEN
        lead, _, _ = _advantage(rows[self.serving], rows[FROZEN], weights)
        earned = 0.0 if few else self._earned.get(self.serving, 0.0)
        return self.serving if max(lead, earned) > 0 else FROZEN

    def _rows(self, evidence: Mapping[str, Float64], pending: int) -> dict[str, Float64]:
        """Losses of every candidate on the same rows, NaN where it did not exist yet."""
        if not evidence:
            return self._losses
        length = min(map(len, evidence.values()))
        end = len(self._losses[FROZEN]) - pending
        rows = {name: losses[max(0, end - length) : end] for name, losses in self._losses.items()}
        return rows | {name: losses[-len(rows[FROZEN]) :] for name, losses in evidence.items()}


def _advantage(losses: Float64, incumbent: Float64, weights: Float64) -> tuple[float, float, float]:
    """Weighted sum of (incumbent - candidate) losses, its standard error, and the weight of the shared samples."""
    difference = incumbent - losses
    known = np.isfinite(difference)
    weight, difference = weights[known], difference[known]
    shared = float(weight.sum())
    if not shared:
        return 0.0, 0.0, 0.0
    lead = float(weight @ difference)
    spread = difference - lead / shared
    return lead, float(np.sqrt((weight**2) @ (spread**2))), shared


def _score(losses: Float64, weights: Float64) -> Score:
    known = np.isfinite(losses)
    return Score(float(weights[known].sum()), float(weights[known] @ losses[known]))
