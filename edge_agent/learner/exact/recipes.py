"""The heads that the exact learner solves from its tables, and how each is solved.

Posterior LDA (headway/maths/posterior.py) with source means worth little or more, with uniform class priors or the
device's own, over all labels or over recent ones; while labels are few also ridge regression
(headway/maths/ridge.py), which errs elsewhere. One factorisation serves all recipes of the same kind, worth and
window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.experts import HeadStack
from edge_agent.learner.exact.prior import Origin
from edge_agent.learner.exact.rows import Evidence
from headway.arrays import Float64, Int64
from headway.maths import (
    DISCRIMINANT_LOG2,
    Head,
    Posterior,
    Ridge,
    RunningPosterior,
    Statistics,
    fit_temperature,
    log_softmax,
)

QUICK_WORTH = 2.0
# experts that help while labels are few are given up beyond so many
EARLY_LABELS = 256
# head start of a class without a label here, which may only not have been labelled yet; half of it after so many labels
UNLABELLED_NATS, UNLABELLED_LABELS = 1.0, 256
CLASS_LABELS_MIN = 3
# below it nothing is forgotten: a window would know some classes or conditions from a handful of labels
REMEMBER_LABELS = 512
# a window that begins where drift began; after so many labels the drift is history, and other windows have taken over
SINCE_DRIFT = -1
DRIFT_LABELS_MAX = 4096
DRIFT_LABELS_MIN = 8


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one head is solved.

    worth: what a source class counts for, in samples; window: labels it looks back on, 0 for all,
    `SINCE_DRIFT` for those since the last drift. ridge: ridge regression instead of a discriminant.
    local_priors: class priors from the device's own labels instead of uniform ones, once it has met every class.
    labels_max: given up beyond so many labels, 0 for never.
    """

    worth: float
    window: int = 0
    local_priors: bool = False
    labels_max: int = 0
    ridge: bool = False


RECIPES = {
    "quick": Recipe(QUICK_WORTH),
    "quick-prior": Recipe(QUICK_WORTH, local_priors=True),
    "steady": Recipe(10.0, labels_max=EARLY_LABELS),
    "ridge": Recipe(1.0, labels_max=EARLY_LABELS, ridge=True),
    "long": Recipe(QUICK_WORTH, window=1024),
    "long-prior": Recipe(QUICK_WORTH, window=1024, local_priors=True),
    "recent": Recipe(QUICK_WORTH, window=256),
    "recent-prior": Recipe(QUICK_WORTH, window=256, local_priors=True),
    "newest": Recipe(QUICK_WORTH, window=64),
    "since-drift": Recipe(QUICK_WORTH, window=SINCE_DRIFT),
}


@dataclass(frozen=True, slots=True)
class Solved:
    """Heads by recipe. left_out: log-probabilities of the evidence rows, each from a head solved without that row,
    float64 (n, C), where that was asked for. temperatures: what logits were divided by.

    everything: the posterior of all labels, which `freshen` goes on from; met: every class has local labels.
    """

    heads: Mapping[str, Head]
    left_out: Mapping[str, Float64]
    temperatures: Mapping[str, float]
    everything: Posterior
    met: bool

    def freshen(self, stack: HeadStack, running: RunningPosterior) -> None:
        """Replace the heads over all labels in a stack of `heads` by what `running` has made of them since."""
        names = _SHARED[False, QUICK_WORTH, 0]
        kernel, biases = running.scores([RECIPES[name].local_priors and self.met for name in names])
        start = head_start(running.counts)
        for name, bias in zip(names, biases, strict=True):
            temperature = self.temperatures.get(name, 1.0)
            stack.put(name, kernel, bias + temperature * start, temperature)


def solve(
    origin: Origin,
    buckets: Buckets,
    evidence: Evidence | None,
    temperatures: Mapping[str, float],
    drift: int | None = None,
    guessed: Statistics | None = None,
) -> Solved:
    """Every recipe whose window has something to forget. Without `evidence`, logits keep their `temperatures`.

    drift: number of the first label since the last drift, if there was one. guessed: windows that the learner labelled
    itself, for the recipes over all labels.
    """
    heads: dict[str, Head] = {}
    left_out: dict[str, Float64] = {}
    fitted = dict(temperatures)
    whole = buckets.total if guessed is None else buckets.total + guessed
    everything = Posterior(origin.prior, whole, QUICK_WORTH)
    start = head_start(whole.counts)
    for (ridge, worth, window), names in _SHARED.items():
        labels_max = RECIPES[names[0]].labels_max
        newest = _newest(window, buckets.labels, drift)
        if newest is None or 0 < labels_max < buckets.labels:
            continue
        tables = buckets.recent(newest) if newest else whole
        solution: Posterior | Ridge
        if ridge:
            solution = Ridge(origin.tables, tables, worth)
        else:
            solution = everything if (worth, window) == (QUICK_WORTH, 0) else Posterior(origin.prior, tables, worth)
        met = _all_met(tables if newest else buckets.total)
        priors = [RECIPES[name].local_priors and met for name in names]
        if evidence is not None and len(evidence):
            # only what is in the tables can be left out of them
            rows = evidence.newest(newest) if newest else evidence
            for name, logits in zip(names, solution.leave_one_out(rows.codes, rows.labels, priors), strict=True):
                fitted[name] = fit_temperature(logits, rows.labels, DISCRIMINANT_LOG2)
                left_out[name] = log_softmax(logits / fitted[name] + start)
        for name, head in zip(names, solution.heads(priors), strict=True):
            heads[name] = _served(head, fitted.get(name, 1.0), start)
    order = {name: heads[name] for name in RECIPES if name in heads}
    return Solved(order, left_out, fitted, everything, _all_met(buckets.total))


def _newest(window: int, labels: int, drift: int | None) -> int | None:
    """How many of the newest labels a window covers, 0 for all; None while there is no reason to forget the others.

    Reasons are many labels, or a drift that the window does not reach beyond.
    """
    if not window:
        return 0
    since = 0 if drift is None else labels - drift
    if window == SINCE_DRIFT:
        return since if drift and DRIFT_LABELS_MIN <= since <= DRIFT_LABELS_MAX else None
    return window if labels >= max(2 * window, REMEMBER_LABELS) or (drift and since >= window) else None


def _shared() -> dict[tuple[bool, float, int], list[str]]:
    shared: dict[tuple[bool, float, int], list[str]] = {}
    for name, recipe in RECIPES.items():
        shared.setdefault((recipe.ridge, recipe.worth, recipe.window), []).append(name)
    return shared


_SHARED = _shared()


def _all_met(tables: Statistics) -> bool:
    """Whether local labels say how often each class occurs; one that was never met may still come."""
    return bool((tables.counts >= CLASS_LABELS_MIN).all())


def head_start(counts: Float64 | Int64) -> Float64:
    """Added to the logits, in nats, float64 (C,): means that labels have moved draw windows of the other classes.

    The seen-class bias of generalised zero-shot learning (Chao et al. 2016), here with a constant instead of a search:
    nothing on the device tells how much it should be.
    """
    start: Float64 = np.where(counts > 0, 0.0, UNLABELLED_NATS / (1.0 + counts.sum() / UNLABELLED_LABELS))
    return start


def _served(head: Head, temperature: float, start: Float64) -> Head:
    """Logits divided by `temperature`, which decides nothing, and the head start."""
    factor = np.float32(1.0 / temperature)
    return replace(head, kernel=head.kernel * factor, bias=head.bias * factor + start.astype(np.float32))
