"""Linear discriminant analysis under a prior that the source data sets: few labels move it, many take it over.

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
from dataclasses import dataclass, replace

import numpy as np

from headway.arrays import Float64, Int8, Int64
from headway.errors import LocalError
from headway.head import Head, HeadInput, HeadKind
from headway.solve import Moments, blend, lda_head, shrunk_covariance
from headway.statistics import Statistics

SHRINKAGE = 0.02
ABSENT = -1e4


@dataclass(frozen=True, slots=True)
class SourcePrior:
    """What the training data says. means: float64 (d, C); seen: bool (C,); covariance: float64 (d, d), shrunk."""

    means: Float64
    seen: Float64
    covariance: Float64
    classes: tuple[str, ...]

    @classmethod
    def of(cls, source: Statistics) -> SourcePrior:
        """Raises LocalError for tables without a sample: there is nothing to centre a prior on."""
        if not source.samples:
            raise LocalError("source statistics hold no sample; convert the model with its training data")
        moments = blend([(1.0, source)])
        seen = moments.counts > 0
        freedom = float(moments.counts.sum() - seen.sum())
        covariance = shrunk_covariance(moments.within_scatter(), freedom, SHRINKAGE)
        return cls(moments.means(), seen.astype(np.float64), covariance, source.classes)

    def with_classes(self, classes: tuple[str, ...]) -> SourcePrior:
        """The same prior with columns for `classes`; a class the source never saw has no mean of its own."""
        column = {name: index for index, name in enumerate(self.classes)}
        means, seen = np.zeros((len(self.means), len(classes))), np.zeros(len(classes))
        for index, name in enumerate(classes):
            if name in column:
                means[:, index], seen[index] = self.means[:, column[name]], self.seen[column[name]]
        return SourcePrior(means, seen, self.covariance, classes)


class Posterior:
    """The posterior for one set of local tables. k: worth of a source mean; worth: v, in multiples of d."""

    def __init__(self, prior: SourcePrior, local: Statistics, k: float, worth: float = 1.0) -> None:
        self._prior = prior.with_classes(local.classes) if prior.classes != local.classes else prior
        self._local: Moments = blend([(1.0, local)])
        counts = self._local.counts
        weight = k * self._prior.seen
        # what a class mean rests on, in samples, float64 (C,)
        self._total: Float64 = weight + counts
        self._means: Float64 = (weight * self._prior.means + self._local.class_sums[:-1]) / np.maximum(
            self._total, 1e-12
        )
        # a class of its own spends one sample on its mean
        own = (counts > 0) & (self._prior.seen == 0)
        self._scale = worth * local.size + max(float(counts.sum() - own.sum()), 0.0)
        moved = self._local.means() - self._prior.means
        drift = weight * counts / np.maximum(self._total, 1e-12)
        self._scatter: Float64 = worth * local.size * self._prior.covariance
        self._scatter += self._local.within_scatter()
        self._scatter += (moved * drift) @ moved.T
        self._inverse: Float64 | None = None

    def head(self, local_priors: bool = False) -> Head:
        """The head. local_priors: class priors from the local counts instead of uniform ones."""
        return self.heads((local_priors,))[0]

    def heads(self, local_priors: Sequence[bool]) -> list[Head]:
        """Heads that differ in their class priors only: one solve for all."""
        counts = self._local.counts
        first = lda_head(
            self._scatter / self._scale,
            self._means,
            class_priors(self._total, counts, local_priors[0]),
            self._local.classes,
        )
        # the same kernel; float64 log priors, then one rounding, so that a head does not depend on its neighbours
        bias = -0.5 * np.einsum("dc,dc->c", self._means, first.kernel.astype(np.float64))
        return [
            replace(first, bias=(bias + _log_priors(class_priors(self._total, counts, local))).astype(np.float32))
            for local in local_priors
        ]

    def leave_one_out(self, codes: Int8, labels: Int64, local_priors: bool = False) -> Float64:
        """Logits of each sample under the posterior without that sample; class priors stay those of all labels.

        codes: int8 (n, d) and labels: int64 (n,), all of them contained in the local tables. -> float64 (n, C).
        Taking q out of class c moves its posterior mean and takes N / (N - 1) (q - m_c)(q - m_c)^T from A, with
        N = k + n_c; the inverse follows by Sherman-Morrison (Golub & Van Loan 2.1.4), so n samples cost one inverse
        and O(n d (d + C)).
        """
        q = codes.astype(np.float64)
        rows = np.arange(len(q))
        means, weight = self._means, self._total[labels]
        inverse = self._inverted()
        q_inverse = q @ inverse
        direction = q_inverse - (inverse @ means).T[labels]
        deviation = q - means.T[labels]
        alone = weight <= 1.0  # the only sample of a class the source does not know: nothing is left of it
        left = np.maximum(weight - 1.0, 1e-9)
        factor = np.where(alone, 0.0, weight / left)
        gain = factor / np.maximum(1.0 - factor * np.einsum("nd,nd->n", direction, deviation), 1e-9)
        scale = self._scale - np.where(alone, 0.0, 1.0)
        # bilinear forms with the changed inverse P' = P + gain * direction direction^T
        along_q = np.einsum("nd,nd->n", direction, q)
        along_means = direction @ means
        q_means = q_inverse @ means + gain[:, None] * along_q[:, None] * along_means
        means_means = np.einsum("dc,dc->c", means, inverse @ means) + gain[:, None] * along_means**2
        # the sample's own class has another mean: m' = a m - b q
        a, b = weight / left, 1.0 / left
        q_q = np.einsum("nd,nd->n", q_inverse, q) + gain * along_q**2
        own_qm, own_mm = q_means[rows, labels], means_means[rows, labels]
        q_means[rows, labels] = a * own_qm - b * q_q
        means_means[rows, labels] = a * a * own_mm - 2 * a * b * own_qm + b * b * q_q
        logits: Float64 = scale[:, None] * (q_means - 0.5 * means_means)
        logits += _log_priors(class_priors(self._total, self._local.counts, local_priors))
        logits[rows[alone], labels[alone]] = ABSENT
        return logits

    def running(self) -> RunningPosterior:
        """The same posterior, ready to take in single samples."""
        return RunningPosterior(
            self._inverted(),
            self._means.copy(),
            self._total.copy(),
            self._local.counts.copy(),
            self._scale,
            self._local.classes,
        )

    def _inverted(self) -> Float64:
        if self._inverse is None:
            self._inverse = np.asarray(np.linalg.inv(self._scatter), np.float64)
        return self._inverse


class RunningPosterior:
    """A posterior that takes in one sample after another in O(d (d + C)), without a new factorisation.

    Adding q to class c, whose mean m rests on N samples, adds N / (N + 1) (q - m)(q - m)^T to A, so its inverse
    follows by Sherman-Morrison (Golub & Van Loan 2.1.4; recursive least squares, OS-ELM). The corrections to the
    inverse are kept as vectors: applying them to one vector is cheaper than rewriting d x d numbers.
    Rounding adds up slowly; whoever holds the tables makes a new Posterior after some hundred samples.

    inverse: float64 (d, d); means: float64 (d, C); total, counts: float64 (C,) with and without the source's worth.
    """

    def __init__(
        self, inverse: Float64, means: Float64, total: Float64, counts: Float64, scale: float, classes: tuple[str, ...]
    ) -> None:
        self._inverse, self._means, self._total, self._counts = inverse, means, total, counts
        self._scale, self._classes = scale, classes
        self._projected: Float64 = inverse @ means
        self._vectors: Float64 = np.zeros((0, len(inverse)))
        self._gains: Float64 = np.zeros(0)

    def add(self, code: Int8, label: int) -> None:
        """Take in a sample. code: int8 (d,); label: its class."""
        q = code.astype(np.float64)
        weight = float(self._total[label])
        self._counts[label] += 1.0
        self._total[label] = weight + 1.0
        if weight == 0.0:  # the first sample of a class nobody knew is its mean, and says nothing of the spread
            self._means[:, label] = q
            self._projected[:, label] = self._applied(q)
            return
        share = weight / (weight + 1.0)
        deviation = q - self._means[:, label]
        vector = self._applied(deviation)
        along = float(deviation @ vector)
        gain = share / (1.0 + share * along)
        self._vectors = np.concatenate([self._vectors, vector[None]])
        self._gains = np.append(self._gains, gain)
        self._projected -= vector[:, None] * (gain * (vector @ self._means))
        self._projected[:, label] += vector * ((1.0 - gain * along) / (weight + 1.0))
        self._means[:, label] += deviation / (weight + 1.0)
        self._scale += 1.0

    def heads(self, local_priors: Sequence[bool], temperatures: Sequence[float] | None = None) -> list[Head]:
        """As `Posterior.heads`, for the samples taken in so far; logits divided by `temperatures`, if given."""
        kernel = self._scale * self._projected
        bias = -0.5 * np.einsum("dc,dc->c", self._means, kernel)
        made = []
        for local, temperature in zip(local_priors, temperatures or [1.0] * len(local_priors), strict=True):
            own = bias + _log_priors(class_priors(self._total, self._counts, local))
            cooled = (own / temperature).astype(np.float32)
            narrow = (kernel * (1.0 / temperature)).astype(np.float32)
            made.append(Head(narrow, cooled, HeadKind.SOFTMAX, self._classes, HeadInput.CODES))
        return made

    def _applied(self, vector: Float64) -> Float64:
        """The inverse, corrections included, times a vector float64 (d,)."""
        result: Float64 = self._inverse @ vector
        result -= (self._gains * (self._vectors @ vector)) @ self._vectors
        return result


def class_priors(total: Float64, counts: Float64, local: bool) -> Float64:
    """Uniform over the classes that anybody has met (total > 0), or as the local counts have it. float64 (C,)."""
    present = total > 0
    if not local:
        return np.where(present, 1.0 / max(int(present.sum()), 1), 0.0)
    # one sample of every class, so that a class not met yet stays possible
    shares = np.where(present, counts + 1.0, 0.0)
    result: Float64 = shares / shares.sum()
    return result


def _log_priors(priors: Float64) -> Float64:
    return np.where(priors > 0, np.log(np.maximum(priors, 1e-300)), ABSENT)
