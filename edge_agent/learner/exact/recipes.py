"""The heads that the exact learner solves from its tables, and how each is solved.

Posterior LDA (headway/maths/posterior.py) with source means worth little or more, with uniform class priors or the
device's own, over all labels or over recent ones; while labels are few also ridge regression
(headway/maths/ridge.py), which errs elsewhere. One factorisation serves all recipes of the same kind, worth and
window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.experts import HeadStack
from edge_agent.learner.exact.prior import Origin
from edge_agent.learner.exact.rows import Evidence
from edge_agent.learner.exact.settings import SINCE_DRIFT, ExactSettings, Recipe
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
    settings: ExactSettings

    def freshen(self, stack: HeadStack, running: RunningPosterior) -> None:
        """Replace the heads over all labels in a stack of `heads` by what `running` has made of them since."""
        recipes = _shared(self.settings.recipes).get(_EVERYTHING, [])
        kernel, biases = running.scores([recipe.local_priors and self.met for recipe in recipes])
        start = head_start(running.counts, self.settings)
        for name, bias in zip((recipe.name for recipe in recipes), biases, strict=True):
            temperature = self.temperatures.get(name, 1.0)
            stack.put(name, kernel, bias + temperature * start, temperature)


def solve(
    origin: Origin,
    buckets: Buckets,
    evidence: Evidence | None,
    temperatures: Mapping[str, float],
    settings: ExactSettings,
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
    everything = Posterior(origin.prior, whole, _EVERYTHING[1])
    start = head_start(whole.counts, settings)
    for (ridge, worth, lookback), recipes in _shared(settings.recipes).items():
        labels_max = recipes[0].labels_max
        newest = _newest(lookback, buckets.labels, drift, settings)
        if newest is None or 0 < labels_max < buckets.labels:
            continue
        tables = buckets.recent(newest) if newest else whole
        solution: Posterior | Ridge
        if ridge:
            solution = Ridge(origin.tables, tables, worth)
        else:
            solution = everything if (ridge, worth, lookback) == _EVERYTHING else Posterior(origin.prior, tables, worth)
        met = _all_met(tables if newest else buckets.total, settings)
        names = [recipe.name for recipe in recipes]
        priors = [recipe.local_priors and met for recipe in recipes]
        if evidence is not None and len(evidence):
            # only what is in the tables can be left out of them
            rows = evidence.newest(newest) if newest else evidence
            for name, logits in zip(names, solution.leave_one_out(rows.codes, rows.labels, priors), strict=True):
                fitted[name] = fit_temperature(logits, rows.labels, DISCRIMINANT_LOG2, np.array(settings.temperatures))
                left_out[name] = log_softmax(logits / fitted[name] + start)
        for name, head in zip(names, solution.heads(priors), strict=True):
            heads[name] = _served(head, fitted.get(name, 1.0), start)
    order = {recipe.name: heads[recipe.name] for recipe in settings.recipes if recipe.name in heads}
    return Solved(order, left_out, fitted, everything, _all_met(buckets.total, settings), settings)


def _newest(lookback: int, labels: int, drift: int | None, settings: ExactSettings) -> int | None:
    """How many of the newest labels a window covers, 0 for all; None while there is no reason to forget the others.

    Reasons are many labels, or a drift that the window does not reach beyond.
    """
    if not lookback:
        return 0
    since = 0 if drift is None else labels - drift
    if lookback == SINCE_DRIFT:
        return since if drift and settings.drift_labels_min <= since <= settings.drift_labels_max else None
    long = labels >= max(2 * lookback, settings.remember_labels)
    return lookback if long or (drift and since >= lookback) else None


# what the running posterior goes on from: a discriminant over all labels
_EVERYTHING = (False, 2.0, 0)


@cache
def _shared(recipes: tuple[Recipe, ...]) -> dict[tuple[bool, float, int], list[Recipe]]:
    """Recipes that one factorisation serves."""
    shared: dict[tuple[bool, float, int], list[Recipe]] = {}
    for recipe in recipes:
        shared.setdefault((recipe.ridge, recipe.worth, recipe.lookback_labels), []).append(recipe)
    return shared


def _all_met(tables: Statistics, settings: ExactSettings) -> bool:
    """Whether local labels say how often each class occurs; one that was never met may still come."""
    return bool((tables.counts >= settings.class_labels_min).all())


def head_start(counts: Float64 | Int64, settings: ExactSettings) -> Float64:
    """Added to the logits, in nats, float64 (C,): means that labels have moved draw windows of the other classes.

    The seen-class bias of generalised zero-shot learning (Chao et al. 2016), here with a constant instead of a search:
    nothing on the device tells how much it should be.
    """
    nats = settings.unlabelled_nats / (1.0 + counts.sum() / settings.unlabelled_labels)
    start: Float64 = np.where(counts > 0, 0.0, nats)
    return start


def _served(head: Head, temperature: float, start: Float64) -> Head:
    """Logits divided by `temperature`, which decides nothing, and the head start."""
    factor = np.float32(1.0 / temperature)
    return replace(head, kernel=head.kernel * factor, bias=head.bias * factor + start.astype(np.float32))
