"""From integers to heads: how each expert is solved.

Posterior LDA (headway/maths/posterior.py) with training means worth little or more, with uniform class priors or the
device's own, over all labels or the newest; while labels are few also ridge regression (headway/maths/ridge.py), which
errs elsewhere, and a discriminant whose prior begins where windows without a label lie (window_means.py).

One factorisation serves all recipes of the same solution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from edge_agent.learner.exact.knowledge import Knowledge
from edge_agent.learner.exact.rows import LabelledRows
from edge_agent.learner.exact.settings import SINCE_DRIFT, ExactSettings, Recipe
from headway.arrays import Float64, Int8, Int64, is_large, return_freed_memory
from headway.maths import ABSENT, FewRows, Head, Posterior, Ridge, Sums, fit_temperature, log_softmax


@dataclass(frozen=True, slots=True)
class Solved:
    """Heads by recipe, in the order of `ExactSettings.recipes`; temperatures: what their logits were divided by.

    left_out: log-probabilities of the newest evidence rows, each from a head solved without that row, float64 (n, C),
    where that was asked for. everything: the posterior over all labels; condition: over those of the condition that
    holds, the same where there is one only; met: every class has local labels.
    """

    heads: Mapping[str, Head]
    left_out: Mapping[str, Float64]
    temperatures: Mapping[str, float]
    everything: Posterior
    condition: Posterior
    met: bool

    def left_in(self, codes: Int8) -> dict[str, Float64]:
        """Log-probabilities from the heads as they are, float64 (n, C), of those that `left_out` knows. int8 (n, d)."""
        values = codes.astype(np.float32)
        return {name: log_softmax(self.heads[name].logits(values).astype(np.float64)) for name in self.left_out}

    @property
    def shared_rows(self) -> int:
        """How many of the newest evidence rows every expert was asked about."""
        return min(map(len, self.left_out.values()), default=0)


def solve(
    knowledge: Knowledge, settings: ExactSettings, temperatures: Mapping[str, float], *, leave_out: bool
) -> Solved:
    """Every recipe that has reason to look at what it looks at.

    leave_out: leave out the evidence, row by row, and fit temperatures to it; else logits keep their `temperatures`.
    """
    few = knowledge.few_rows
    learned: Sums = knowledge.learned if few is None else few.sums
    if few is None:
        knowledge.prior.centre.spread.forget_spectrum()
    everything = Posterior(knowledge.prior.centre, learned, settings.recipes[0].worth, few=few)
    start = head_start(learned.counts, settings)
    heads: dict[str, Head] = {}
    left_out: dict[str, Float64] = {}
    usual = settings.usual_temperature
    fitted = {**{recipe.name: usual for recipe in settings.recipes}, **temperatures}
    condition = everything
    for recipes in by_solution(settings.recipes):
        view = _view(recipes[0], knowledge, learned, settings)
        if view is None:
            continue
        of_all = recipes[0].solution == settings.recipes[0].solution
        solution = everything if of_all else _solution(recipes[0], knowledge, settings, view.statistics, few)
        if recipes[0].condition and isinstance(solution, Posterior):
            condition = solution
        names = [recipe.name for recipe in recipes]
        local_priors = [recipe.local_priors and view.met for recipe in recipes]
        if leave_out and len(view.evidence):
            codes, labels = view.evidence.codes, view.evidence.labels
            for name, logits in zip(names, solution.leave_one_out(codes, labels, local_priors), strict=True):
                # without the only sample of a class that training never had nothing is left of it: no temperature mends
                # that, and the largest would hide it best
                there = logits[np.arange(len(labels)), labels] > ABSENT
                if there.any():
                    grid = np.array(settings.temperatures)
                    fitted[name] = fit_temperature(logits[there], labels[there], settings.temperature_log2, grid)
                # labels of one condition are too few to be those that all experts are judged by
                if not recipes[0].condition:
                    left_out[name] = log_softmax(logits / fitted[name] + start)
        for name, head in zip(names, solution.heads(local_priors), strict=True):
            heads[name] = _served(head, fitted[name], start)
        # a large one is not kept while the next is made
        del solution
    if is_large(learned.size):
        return_freed_memory()
    return Solved(heads, left_out, fitted, everything, condition, _all_met(knowledge.buckets.counts, settings))


def by_solution(recipes: tuple[Recipe, ...]) -> list[tuple[Recipe, ...]]:
    """Neighbours that come from one factorisation, together."""
    return [tuple(group) for _, group in groupby(recipes, lambda recipe: recipe.solution)]


def head_start(counts: Float64 | Int64, settings: ExactSettings) -> Float64:
    """Added to the logits, in nats, float64 (C,): means that labels have moved draw windows of the other classes.

    The seen-class bias of generalised zero-shot learning (Chao et al. 2016), here with a constant instead of a search:
    nothing on the device tells how much it should be.
    """
    if counts.all():  # as it soon is, and this is asked with every label
        return np.zeros(len(counts))
    nats = settings.unlabelled_nats / (1.0 + counts.sum() / settings.unlabelled_labels)
    start: Float64 = np.where(counts > 0, 0.0, nats)
    return start


@dataclass(frozen=True, slots=True)
class _View:
    """What an expert looks at. met: labels of every class; evidence: rows that the statistics hold, to be left out."""

    statistics: Sums
    met: bool
    evidence: LabelledRows


def _view(recipe: Recipe, knowledge: Knowledge, learned: Sums, settings: ExactSettings) -> _View | None:
    """None while there is no such expert: it was given up, its classes are not as it wants them, or there is no reason
    to forget.

    Reasons are many labels, or a drift that the look-back does not reach beyond.
    """
    buckets, drift, lookback = knowledge.buckets, knowledge.drift, recipe.lookback_labels
    if 0 < recipe.labels_max < buckets.labels:
        return None
    if recipe.condition:
        if knowledge.few:
            return None
        sums, since = knowledge.conditions.sums, min(knowledge.conditions.since(buckets.labels), knowledge.unbroken)
        return None if sums is None else _View(sums, _all_met(sums.counts, settings), knowledge.evidence.newest(since))
    if recipe.every_class not in (None, bool(buckets.counts.all())):
        return None
    if recipe.window_means:
        met = _all_met(buckets.counts, settings)
        # labels enough say better where the classes lie; and guesses are not learned beside what they begin from
        no_windows = met or not len(knowledge.window_means)
        taught = buckets.everything if knowledge.pseudo_labels.statistics.samples else learned
        return None if no_windows else _View(taught, met, knowledge.evidence)
    if not lookback:
        # how often a class occurs is for labels to say, not for pseudo-labels
        return _View(learned, _all_met(buckets.counts, settings), knowledge.evidence)
    since = buckets.labels - drift if drift else 0
    if lookback == SINCE_DRIFT:
        lookback, reason = since, settings.drift_labels_min <= since <= settings.drift_labels_max
    else:
        reason = since >= lookback or buckets.labels >= max(2 * lookback, settings.remember_labels)
    if not reason:
        return None
    recent = buckets.recent(lookback)
    return _View(recent, _all_met(recent.counts, settings), knowledge.evidence.newest(lookback))


def _solution(
    recipe: Recipe, knowledge: Knowledge, settings: ExactSettings, local: Sums, few: FewRows | None
) -> Posterior | Ridge:
    few = None if few is None else few.newest(local.samples)
    prior = knowledge.prior
    if recipe.ridge:
        return Ridge(prior.statistics, local, recipe.worth, few)
    centre = prior.centre
    if recipe.window_means:
        centre = knowledge.window_means.centre(centre, local.classes, settings.window_worth)
        few = None if few is None else few.with_means(centre.means)
    return Posterior(centre, local, recipe.worth, few=few)


def _all_met(counts: Int64, settings: ExactSettings) -> bool:
    """Whether local labels say how often each class occurs; one that was never met may still come."""
    return bool((counts >= settings.class_labels_min).all())


def _served(head: Head, temperature: float, start: Float64) -> Head:
    """Logits divided by `temperature`, which decides nothing, and the head start."""
    factor = np.float32(1.0 / temperature)
    return replace(head, kernel=head.kernel * factor, bias=head.bias * factor + start.astype(np.float32))
