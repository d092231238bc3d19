"""From integers to heads: how each expert of a regression, or of several labels per window, is solved.

Regressions under a prior (headway/maths/target_posterior.py) in which the training data counts for little or much, over
all labels or the newest; around the training data's own solution, and, for values, around the head as shipped. One
factorisation serves both. Labels of 0 or 1 are served as log-odds, beside the head as shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.learner.targets.knowledge import TargetKnowledge
from edge_agent.learner.targets.rows import NumberedRows
from headway.arrays import Float64, Int8
from headway.maths import Head, TargetCodes, TargetMoments, TargetPosterior, TargetPrior, inputs_of

SINCE_DRIFT = -1
SHIPPED = "shipped"
# samples that the level of the training data is worth
LEVEL_WORTH = 2.0


@dataclass(frozen=True, slots=True)
class TargetRecipe:
    """worth: what the slopes of the training data count for, in samples per feature. lookback_labels: the newest labels
    that it is solved from, 0 for all, `SINCE_DRIFT` for those since the last drift."""

    name: str
    worth: float
    lookback_labels: int = 0


RECIPES = (
    TargetRecipe("quick", 0.25),
    TargetRecipe("even", 1.0),
    TargetRecipe("steady", 4.0),
    TargetRecipe("rigid", 32.0),
    TargetRecipe("long", 1.0, 1024),
    TargetRecipe("newest", 1.0, 64),
    TargetRecipe("since-drift", 1.0, SINCE_DRIFT),
)


@dataclass(frozen=True, slots=True)
class Model:
    """What is fixed by the bundle. classes: the outputs; size: features d; shipped: the frozen head over codes."""

    codes: TargetCodes
    classes: tuple[str, ...]
    size: int
    shipped: Head

    @property
    def of_labels(self) -> bool:
        """Labels of 0 or 1, not values."""
        return self.codes.digits == 1

    def weights(self) -> Float64:
        """The frozen head, float64 (D, C): values or log-odds."""
        return np.vstack([self.shipped.kernel, self.shipped.bias]).astype(np.float64)

    def steps(self, weights: Float64) -> Float64:
        """From values to steps of the targets, float64 (..., D, C)."""
        result = weights / self.codes.scale.astype(np.float64)
        result[..., -1, :] -= self.codes.offset.astype(np.float64) / self.codes.scale
        return result

    def values(self, weights: Float64) -> Float64:
        """From steps of the targets to values, float64 (..., D, C)."""
        result = weights * self.codes.scale.astype(np.float64)
        result[..., -1, :] += self.codes.offset
        return result

    def split(self, rows: Int8) -> tuple[Float64, Float64]:
        """Rows of statistics as u, float64 (n, D), and targets, float64 (n, C), NaN where unknown."""
        return inputs_of(rows, self.size), self.codes.targets(rows)


class Solution:
    """The experts of one factorisation. names: of them; temperatures: what their log-odds are divided by, (m,)."""

    def __init__(self, model: Model, names: tuple[str, ...], posterior: TargetPosterior, follows: bool) -> None:
        self.names, self.follows = names, follows
        self._model, self._posterior = model, posterior
        self._odds = posterior.log_odds(model.codes) if model.of_labels else None
        self.temperatures: Float64 = np.ones(len(names))

    def outputs(self) -> Float64:
        """Their weights as they are served, float64 (m, D, C): of values, or of log-odds."""
        weights = self._model.values(self._posterior.weights())
        if self._odds is not None:
            gain, shift = self._odds
            weights *= gain[:, None]
            weights[:, -1] += shift
        return np.asarray(weights / self.temperatures[:, None, None])

    def left_out(self, inputs: Float64, targets: Float64) -> Float64:
        """What each says of samples that it was solved from, but without the sample; float64 (m, n, C)."""
        scale, offset = self._model.codes.scale.astype(np.float64), self._model.codes.offset.astype(np.float64)
        steps = self._posterior.leave_one_out(inputs, (targets - offset) / scale)
        outputs: Float64 = steps * scale + offset
        if self._odds is not None:
            outputs = outputs * self._odds[0][:, None] + self._odds[1][:, None]
        return outputs

    def add(self, inputs: Float64, targets: Float64) -> None:
        """One more sample, of which all targets are known. inputs: float64 (D,); targets: float64 (C,)."""
        self._posterior.add(inputs, (targets - self._model.codes.offset) / self._model.codes.scale.astype(np.float64))


def solutions(
    knowledge: TargetKnowledge, model: Model, prior: TargetPrior, recipes: tuple[TargetRecipe, ...]
) -> list[tuple[Solution, NumberedRows]]:
    """Every recipe that has reason to look at what it looks at, and the rows that can be left out of it."""
    centres = centres_of(model, prior)
    # those that look back as far differ in their priors alone
    views = {lookback: _view(lookback, knowledge, model) for lookback in {recipe.lookback_labels for recipe in recipes}}
    found = []
    for recipe in recipes:
        view = views[recipe.lookback_labels]
        if view is None:
            continue
        moments, rows = view
        slopes = recipe.worth * model.size
        posterior = TargetPosterior(prior, moments, centres, LEVEL_WORTH, slopes)
        names = tuple(f"{recipe.name}-{centre}" for centre in centres)
        found.append((Solution(model, names, posterior, not recipe.lookback_labels), rows))
    return found


def centres_of(model: Model, prior: TargetPrior) -> Mapping[str, Float64]:
    """Heads that may be right before any label, in steps."""
    own = {"trained": prior.weights}
    return own if model.of_labels else {**own, SHIPPED: model.steps(model.weights())}


def _view(lookback: int, knowledge: TargetKnowledge, model: Model) -> tuple[TargetMoments, NumberedRows] | None:
    """What a recipe looks at; None while there is no reason to forget: many labels, or a drift."""
    buckets = knowledge.buckets
    if not lookback:
        return model.codes.moments(buckets.total), knowledge.evidence
    if lookback == SINCE_DRIFT:
        since = knowledge.since_drift()
        if since is None:
            return None
        lookback = since
    elif not knowledge.may_forget(lookback):
        return None
    recent = buckets.recent(lookback).statistics(buckets.space)
    return model.codes.moments(recent), knowledge.evidence.since(buckets.labels - lookback)
