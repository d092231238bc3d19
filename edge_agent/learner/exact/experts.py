"""Why there are several experts, and how they become one head.

Nobody knows beforehand how much the training data should count on this device, whether its class frequencies hold, and
how far back the past is still true. Each answer is a head of its own, solved from the same integers (recipes.py), and
each can be right for a while. So none is chosen: the ensemble weighs them by how well each predicted labels that it had
not seen, and pools them. That is cheap because the pool is log-linear (Genest & Zidek 1986): its logits are the
weighted mean of the experts' logits, so the pool of linear heads is one linear head again.

Weights follow the experts' losses, with a small share dealt out evenly (fixed share, Herbster & Warmuth 1998) and a
discount, so that an expert that was bad yesterday can be good today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from edge_agent.learner.exact.knowledge import Knowledge
from edge_agent.learner.exact.left_in import left_in_share, mixed
from edge_agent.learner.exact.recipes import Solved, by_solution, head_start, solve
from edge_agent.learner.exact.settings import ExactSettings
from headway.arrays import Float32, Float64, Int8, Int64
from headway.maths import Head, RunningPosterior, log_softmax, scoring_loss


@dataclass(frozen=True, slots=True)
class Weights:
    """Log weights by expert. Frozen: another label, other weights."""

    settings: ExactSettings
    logs: Mapping[str, float]
    _known: dict[tuple[str, ...], Float64] = field(default_factory=dict, repr=False, compare=False)

    def of(self, names: tuple[str, ...]) -> Float64:
        """Weights of `names`, float64 (m,), adding up to one. One that was never judged starts from its share."""
        if names in self._known:
            return self._known[names]
        least = min(self.logs.values(), default=0.0) + float(np.log(self.settings.share))
        logs = np.array([self.logs.get(name, least) for name in names])
        if not self.logs:
            logs[:] = 0.0
        weights: Float64 = np.exp(logs - logs.max())
        weights /= weights.sum()
        self._known[names] = weights
        return weights

    def judged(self, losses: Mapping[str, Float64]) -> Weights:
        """What losses on the same rows say, and nothing before: bounded log-losses in nats, float64 (n,) per expert."""
        totals = [-self.settings.few_rate * float(loss.sum()) for loss in losses.values()]
        return self._settled(tuple(losses), np.array(totals))

    def scored(self, names: tuple[str, ...], losses: Float64) -> Weights:
        """After one more label. losses: float64 (m,), log-losses in nats of the experts `names`."""
        surprises = self.settings.rate * np.minimum(losses, self.settings.loss_max)
        return self._settled(names, self.settings.discount * np.log(self.of(names)) - surprises)

    def _settled(self, names: tuple[str, ...], logs: Float64) -> Weights:
        share = self.settings.share
        weights = np.exp(logs - logs.max())
        weights = (1 - share) * weights / weights.sum() + share / len(weights)
        return Weights(self.settings, dict(zip(names, np.log(weights).tolist(), strict=True)))


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The experts at one point: heads solved from what was known, and their weights. Only `refit` makes another.

    left_out_losses: what the gate compares (headway.maths.scoring_loss), of the pool, for the newest labels, each
    predicted by experts solved without it and, where labels of its class are few, in part by those that learned it
    (`left_in`), float64 (n,); None where leave-one-out does not judge.
    """

    solved: Solved
    weights: Weights
    left_out_losses: Float64 | None


def refit(
    knowledge: Knowledge,
    settings: ExactSettings,
    temperatures: Mapping[str, float],
    weights: Weights,
    *,
    calibrate: bool = False,
    judge: bool = False,
) -> Ensemble:
    """Solve the experts from all that is known, waiting labels excepted.

    calibrate: fit temperatures anew; judge: set the weights anew from labels that each expert was solved without.
    While labels are few, both are done with every refit.
    """
    few = knowledge.few
    solved = solve(knowledge, settings, temperatures, leave_out=few or calibrate or judge)
    rows = solved.shared_rows
    newest = knowledge.evidence.newest(rows)
    left_out = {name: logs[len(logs) - rows :] for name, logs in solved.left_out.items()}
    left_in, share = solved.left_in(newest.codes), _left_in_share(knowledge, newest.labels, settings)
    if (few or judge) and rows >= (settings.drift_labels_min if knowledge.drift is not None else 1):
        loss = partial(_log_loss, labels=newest.labels, most=settings.loss_max)
        weights = weights.judged({name: mixed(loss(left_out[name]), loss(left_in[name]), share) for name in left_out})
    if not few or not rows:
        return Ensemble(solved, weights, None)
    of = weights.of(tuple(left_out))
    left, kept = (scoring_loss(np.exp(_pooled(of, logs)), newest.labels) for logs in (left_out, left_in))
    return Ensemble(solved, weights, mixed(left, kept, share))


def _left_in_share(knowledge: Knowledge, labels: Int64, settings: ExactSettings) -> Float64:
    taught = knowledge.buckets
    trained = knowledge.prior.centre.with_classes(taught.classes).seen > 0
    return left_in_share(labels, taught.counts, trained, settings)


def _log_loss(logs: Float64, labels: Int64, most: float) -> Float64:
    """Log-losses in nats, at most `most`, float64 (n,). logs: log-probabilities, float64 (n, C)."""
    losses: Float64 = np.minimum(-logs[np.arange(len(labels)), labels], most)
    return losses


def _pooled(weights: Float64, logs: Mapping[str, Float64]) -> Float64:
    """Log-probabilities of the pool, float64 (n, C), from those of the experts."""
    return log_softmax(np.asarray(sum(weight * each for weight, each in zip(weights, logs.values(), strict=True))))


class ServedHeads:
    """An ensemble as it serves until the next refit: weights follow every label, and so do the heads over all labels.

    One product scores all heads, another pools them: a row per head, float32 (m, C * d + C), kernels by class, then
    biases.
    """

    def __init__(self, ensemble: Ensemble, settings: ExactSettings) -> None:
        self.ensemble = ensemble
        self.weights = ensemble.weights
        self._solved, self._settings = ensemble.solved, settings
        self._names = tuple(self._solved.heads)
        self._like = next(iter(self._solved.heads.values()))
        size, classes = self._like.kernel.shape
        self._rows: Float32 = np.empty((len(self._names), classes * (size + 1)), np.float32)
        self._kernels: Float32 = self._rows[:, : classes * size].reshape(len(self._names), classes, size)
        self._biases: Float32 = self._rows[:, classes * size :]
        for row, head in enumerate(self._solved.heads.values()):
            self._kernels[row] = head.kernel.T
            self._biases[row] = head.bias
        self._following = by_solution(settings.recipes)[0]
        self._running: RunningPosterior | None = None
        self._followed = True
        self._pooled: Head | None = None

    @property
    def head(self) -> Head:
        """The pool: the head whose logits are the weighted sum of all."""
        if self._pooled is None:
            self._follow_up()
            flat = self.weights.of(self._names).astype(np.float32) @ self._rows
            size, classes = self._like.kernel.shape
            kernel = np.ascontiguousarray(flat[: classes * size].reshape(classes, size).T)
            like = self._like
            self._pooled = Head(kernel, flat[classes * size :], like.kind, like.classes, like.input)
        return self._pooled

    def score(self, code: Int8, label: int) -> None:
        """Move the weights by how the heads predict a label that none of them has learned. code: int8 (d,)."""
        self._follow_up()
        logits = (self._kernels @ code.astype(np.float32) + self._biases).astype(np.float64)
        self.weights = self.weights.scored(self._names, -log_softmax(logits)[:, label])
        self._pooled = None

    def follow(self, code: Int8, label: int) -> None:
        """Let the heads over all labels learn one more, until all are solved anew. code: int8 (d,)."""
        if self._running is None:
            self._running = self._solved.everything.running()
        self._running.add(code, label)
        self._followed, self._pooled = False, None

    def _follow_up(self) -> None:
        """Rewrite the rows of the heads over all labels, once for however many labels came since."""
        if self._followed or self._running is None:
            return
        self._followed = True
        kernel, biases = self._running.scores([recipe.local_priors and self._solved.met for recipe in self._following])
        start = head_start(self._running.counts, self._settings)
        for row, (recipe, bias) in enumerate(zip(self._following, biases, strict=True)):
            temperature = self._solved.temperatures.get(recipe.name, 1.0)
            np.multiply(kernel, 1.0 / temperature, out=self._kernels[row], casting="same_kind")
            self._biases[row] = (bias + temperature * start) / temperature
