"""Linear discriminant analysis under a prior from the training data: few labels change little, many override it.

Class means and the shared covariance get a normal-inverse-Wishart prior centred on the source model's training
data (Gelman et al., Bayesian Data Analysis, 3rd ed., 3.6; Friedman 1989 for the pooled covariance):

    m_c = (k * source mean_c + sum_c) / (k + n_c)
    A   = v * S_source + W_local + sum_c k n_c / (k + n_c) * (source mean_c - mean_c) (...)^T
    S   = A / (v + n)                     W_local: scatter of local samples within their classes
    logit_c(q) = m_c^T S^-1 q - 1/2 m_c^T S^-1 m_c + log prior_c

so k and v say, in samples, what the source is worth. The last term of A is how far the classes have moved: the
directions of drift count as noise, and what the source knew stays true while the device follows its own sensor.
Everything is float64 and a pure function of integer tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import Float64, Int8, Int64
from headway.errors import LocalError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.solve import blend, definite_inverse, shrunk_covariance
from headway.maths.statistics import Statistics

SHRINKAGE = 0.02
ABSENT = -1e4
# samples that a running posterior has room for at first
ROOM = 128


@dataclass(frozen=True, slots=True)
class TrainingPrior:
    """What the training data says. means: float64 (d, C); seen: bool (C,); covariance: float64 (d, d), shrunk."""

    means: Float64
    seen: Float64
    covariance: Float64
    classes: tuple[str, ...]

    @classmethod
    def of(cls, source: Statistics) -> TrainingPrior:
        """Raises LocalError for tables without a sample: there is nothing to centre a prior on."""
        if not source.samples:
            raise LocalError("source statistics hold no sample; convert the model with its training data")
        moments = blend([(1.0, source)])
        seen = moments.counts > 0
        freedom = float(moments.counts.sum() - seen.sum())
        covariance = shrunk_covariance(moments.within_scatter(), freedom, SHRINKAGE)
        return cls(moments.means(), seen.astype(np.float64), covariance, source.classes)

    def with_classes(self, classes: tuple[str, ...]) -> TrainingPrior:
        """The same prior with columns for `classes`; a class the source never saw has no mean of its own."""
        column = {name: index for index, name in enumerate(self.classes)}
        means, seen = np.zeros((len(self.means), len(classes))), np.zeros(len(classes))
        for index, name in enumerate(classes):
            if name in column:
                means[:, index], seen[index] = self.means[:, column[name]], self.seen[column[name]]
        return TrainingPrior(means, seen, self.covariance, classes)


class Posterior:
    """The posterior for one set of local tables. k: worth of a source mean; worth: v, in multiples of d."""

    def __init__(self, prior: TrainingPrior, local: Statistics, k: float, worth: float = 1.0) -> None:
        prior = prior.with_classes(local.classes) if prior.classes != local.classes else prior
        self._classes = local.classes
        counts, sums = local.counts.astype(np.float64), local.class_sums[:-1].astype(np.float64)
        self._counts = counts
        weight = k * prior.seen
        # what a class mean rests on, in samples, float64 (C,)
        self._total: Float64 = weight + counts
        some = np.maximum(self._total, 1e-12)
        self._means: Float64 = (weight * prior.means + sums) / some
        # a class of its own spends one sample on its mean
        own = (counts > 0) & (prior.seen == 0)
        self._scale = worth * local.size + max(float(counts.sum() - own.sum()), 0.0)
        means = sums / np.maximum(counts, 1e-12)
        moved = means - prior.means
        # W_local = Gram - sum n m m^T, and what the classes have moved: one product of 2 C columns
        parts = np.hstack([means * -counts, moved * (weight * counts / some)])
        self._scatter: Float64 = parts @ np.hstack([means, moved]).T
        self._scatter += local.gram[:-1, :-1]
        self._scatter += (worth * local.size) * prior.covariance
        self._inverse: Float64 | None = None
        self._projected: Float64 | None = None

    def head(self, local_priors: bool = False) -> Head:
        """The head. local_priors: class priors from the local counts instead of uniform ones."""
        return self.heads((local_priors,))[0]

    def heads(self, local_priors: Sequence[bool]) -> list[Head]:
        """Heads that differ in their class priors only: one solve for all."""
        kernel = (self._scale * self._projection()).astype(np.float32)
        # float64 log priors, then one rounding, so that a head does not depend on its neighbours
        bias = -0.5 * np.einsum("dc,dc->c", self._means, kernel.astype(np.float64))
        return [
            Head(
                kernel,
                (bias + self._log_priors(local)).astype(np.float32),
                HeadKind.SOFTMAX,
                self._classes,
                HeadInput.CODES,
            )
            for local in local_priors
        ]

    def leave_one_out(self, codes: Int8, labels: Int64, local_priors: Sequence[bool] = (False,)) -> list[Float64]:
        """Logits of each sample under the posterior without that sample; class priors stay those of all labels.

        codes: int8 (n, d) and labels: int64 (n,), all of them contained in the local tables. -> float64 (n, C) for
        each of `local_priors`. Taking q out of class c moves its posterior mean and takes N / (N - 1) (q - m_c)(q -
        m_c)^T from A, with N = k + n_c; the inverse follows by Sherman-Morrison (Golub & Van Loan 2.1.4), so n samples
        cost one inverse and O(n d (d + C)).
        """
        q = codes.astype(np.float64)
        rows = np.arange(len(q))
        weight = self._total[labels]
        # bilinear forms with the inverse P: q'Pq, q'Pm of all classes, m'Pm of all pairs
        q_q = np.einsum("nd,nd->n", q @ self._inverted(), q)
        q_means = q @ self._projection()
        pairs = self._means.T @ self._projection()
        own = q_means[rows, labels]
        # P (q - m_c) times q, times every mean, and times q - m_c
        along_q = q_q - own
        along_means = q_means - pairs[labels]
        distance = along_q - along_means[rows, labels]
        alone = weight <= 1.0  # the only sample of a class the source does not know: nothing is left of it
        left = np.maximum(weight - 1.0, 1e-9)
        factor = np.where(alone, 0.0, weight / left)
        gain = factor / np.maximum(1.0 - factor * distance, 1e-9)
        scale = self._scale - np.where(alone, 0.0, 1.0)
        # the same forms with the changed inverse P' = P + gain * (P (q - m_c)) (P (q - m_c))^T
        q_means += (gain * along_q)[:, None] * along_means
        means_means = np.diagonal(pairs) + gain[:, None] * along_means**2
        # the sample's own class has another mean: m' = a m - b q
        a, b = weight / left, 1.0 / left
        q_q += gain * along_q**2
        own_qm, own_mm = q_means[rows, labels], means_means[rows, labels]
        q_means[rows, labels] = a * own_qm - b * q_q
        means_means[rows, labels] = a * a * own_mm - 2 * a * b * own_qm + b * b * q_q
        logits: Float64 = scale[:, None] * (q_means - 0.5 * means_means)
        results = [logits + self._log_priors(local) for local in local_priors]
        for result in results:
            result[rows[alone], labels[alone]] = ABSENT
        return results

    def running(self) -> RunningPosterior:
        """The same posterior, ready to take in single samples."""
        return RunningPosterior(
            self._inverted(),
            self._projection(),
            self._means,
            self._total,
            self._counts,
            self._scale,
            self._classes,
        )

    def _log_priors(self, local: bool) -> Float64:
        return log_priors(self._total, self._counts, local)

    def _projection(self) -> Float64:
        """The inverse times the means, float64 (d, C)."""
        if self._projected is None:
            self._projected = self._inverted() @ self._means
        return self._projected

    def _inverted(self) -> Float64:
        if self._inverse is None:
            self._inverse = definite_inverse(self._scatter)
        return self._inverse


class RunningPosterior:
    """A posterior that takes in one sample after another in O(d (d + C)), without a new factorisation.

    Adding q to class c, whose mean m rests on N samples, adds N / (N + 1) (q - m)(q - m)^T to A, so its inverse
    follows by Sherman-Morrison (Golub & Van Loan 2.1.4; recursive least squares, OS-ELM). The corrections to the
    inverse are kept as vectors: applying them to one vector is cheaper than rewriting d x d numbers.
    Rounding adds up slowly; whoever holds the tables makes a new Posterior after some hundred samples.

    inverse: float64 (d, d); projected: the inverse times the means, float64 (d, C); means: float64 (d, C); total,
    counts: float64 (C,) with and without the source's worth. None of them is written to.
    """

    def __init__(
        self,
        inverse: Float64,
        projected: Float64,
        means: Float64,
        total: Float64,
        counts: Float64,
        scale: float,
        classes: tuple[str, ...],
    ) -> None:
        self._inverse, self._total, self._counts = inverse, total.copy(), counts.copy()
        self._scale, self._classes = scale, classes
        # a row per class: a sample rewrites one of them
        self._means: Float64 = np.array(means.T, order="C")
        self._projected: Float64 = np.array(projected.T, order="C")
        self._vectors: Float64 = np.empty((ROOM, len(inverse)))
        self._gains: Float64 = np.empty(ROOM)
        self._kept = 0
        self._uniform = log_priors(self._total, self._counts, False)

    @property
    def counts(self) -> Float64:
        """Local samples per class, float64 (C,)."""
        return self._counts

    def add(self, code: Int8, label: int) -> None:
        """Take in a sample. code: int8 (d,); label: its class."""
        q = code.astype(np.float64)
        weight = float(self._total[label])
        self._counts[label] += 1.0
        self._total[label] = weight + 1.0
        if weight == 0.0:  # the first sample of a class nobody knew is its mean, and says nothing of the spread
            self._means[label] = q
            self._projected[label] = self._applied(q)
            self._uniform = log_priors(self._total, self._counts, False)
            return
        share = weight / (weight + 1.0)
        q -= self._means[label]
        vector = self._applied(q)
        along = float(q @ vector)
        gain = share / (1.0 + share * along)
        # what the changed inverse takes from every mean, and what the moved mean adds
        change = (self._means @ vector) * -gain
        change[label] += (1.0 - gain * along) / (weight + 1.0)
        self._projected += change[:, None] * vector
        q /= weight + 1.0
        self._means[label] += q
        self._scale += 1.0
        self._keep(vector, gain)

    def scores(self, local_priors: Sequence[bool]) -> tuple[Float64, list[Float64]]:
        """The kernel they share, float64 (C, d), a row per class, and the bias of each, float64 (C,)."""
        kernel = self._scale * self._projected
        bias = -0.5 * np.einsum("cd,cd->c", self._means, kernel)
        return kernel, [
            bias + (log_priors(self._total, self._counts, True) if local else self._uniform) for local in local_priors
        ]

    def heads(self, local_priors: Sequence[bool]) -> list[Head]:
        """As `Posterior.heads`, for the samples taken in so far."""
        kernel, biases = self.scores(local_priors)
        narrow = np.ascontiguousarray(kernel.T.astype(np.float32))
        return [
            Head(narrow, bias.astype(np.float32), HeadKind.SOFTMAX, self._classes, HeadInput.CODES) for bias in biases
        ]

    def _keep(self, vector: Float64, gain: float) -> None:
        if self._kept == len(self._gains):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
            self._gains = np.concatenate([self._gains, np.empty_like(self._gains)])
        self._vectors[self._kept] = vector
        self._gains[self._kept] = gain
        self._kept += 1

    def _applied(self, vector: Float64) -> Float64:
        """The inverse, corrections included, times a vector float64 (d,)."""
        result: Float64 = self._inverse @ vector
        vectors = self._vectors[: self._kept]
        result -= (self._gains[: self._kept] * (vectors @ vector)) @ vectors
        return result


def log_priors(total: Float64, counts: Float64, local: bool) -> Float64:
    """Uniform over the classes that anybody has met (total > 0), or as the local counts have it. float64 (C,)."""
    present = total > 0
    # one sample of every class, so that a class not met yet stays possible
    shares = np.where(present, counts + 1.0 if local else 1.0, 0.0)
    logs: Float64 = np.log(np.maximum(shares, 1.0)) - np.log(max(float(shares.sum()), 1.0))
    if not present.all():
        logs[~present] = ABSENT
    return logs
