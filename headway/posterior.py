"""Linear discriminant analysis under a prior that the source data sets: few labels move it, many take it over.

Class means and the shared covariance get a normal-inverse-Wishart prior centred on the source model's training
data (Gelman et al., Bayesian Data Analysis, 3rd ed., 3.6; Friedman 1989 for the pooled covariance):

    m_c = (k * source mean_c + sum_c) / (k + n_c)
    A   = v * S_source + W_local          W_local: scatter of local samples within their classes
    S   = A / (v + f)                     f = n - (classes seen), its degrees of freedom
    logit_c(q) = m_c^T S^-1 q - 1/2 m_c^T S^-1 m_c + log prior_c

so k and v say, in samples, what the source is worth. Everything is float64 and a pure function of integer tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.arrays import Float64, Int8, Int64
from headway.errors import LocalError
from headway.head import Head
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
    """The posterior for one set of local tables: one factorisation, as many values of k as asked for.

    worth: v, in multiples of d.
    """

    def __init__(self, prior: SourcePrior, local: Statistics, worth: float = 1.0) -> None:
        self._prior = prior.with_classes(local.classes) if prior.classes != local.classes else prior
        self._local: Moments = blend([(1.0, local)])
        self._freedom = max(float(self._local.counts.sum() - (self._local.counts > 0).sum()), 0.0)
        self._worth = worth * local.size
        self._scaled = self._worth * self._prior.covariance + self._local.within_scatter()
        self._inverse: Float64 | None = None

    def head(self, k: float, local_priors: bool = False) -> Head:
        """The head for source means worth `k` samples each. local_priors: class priors from the local counts."""
        means, total = self._means(k)
        covariance = self._scaled / (self._worth + self._freedom)
        return lda_head(covariance, means, self._priors(total, local_priors), self._local.classes)

    def leave_one_out(self, codes: Int8, labels: Int64, k: float, local_priors: bool = False) -> Float64:
        """Logits of each sample from a posterior that has not seen it, in closed form.

        codes: int8 (n, d); labels: int64 (n,); every sample must be part of the local tables -> float64 (n, C).
        Taking out sample q of class c changes m_c, and A by a multiple of (q - mean_c)(q - mean_c)^T; the inverse
        follows by Sherman-Morrison (Golub & Van Loan 2.1.4), so n samples cost one inverse and O(n d (d + C)).
        """
        q = codes.astype(np.float64)
        rows = np.arange(len(q))
        counts = self._local.counts[labels]
        inverse = self._inverted()
        means, total = self._means(k)
        local_means = self._local.means()
        # rank-one change of the inverse; nothing for a class's only sample, which has no scatter
        q_inverse = q @ inverse
        direction = q_inverse - (inverse @ local_means).T[labels]
        deviation = q - local_means.T[labels]
        alone = counts <= 1
        factor = np.where(alone, 0.0, counts / np.maximum(counts - 1, 1e-9))
        gain = factor / np.maximum(1.0 - factor * np.einsum("nd,nd->n", direction, deviation), 1e-9)
        scale = self._worth + self._freedom - np.where(alone, 0.0, 1.0)
        # bilinear forms with the changed inverse P' = P + gain * direction direction^T
        along_q = np.einsum("nd,nd->n", direction, q)
        along_means = direction @ means
        q_means = q_inverse @ means + gain[:, None] * along_q[:, None] * along_means
        means_means = np.einsum("dc,dc->c", means, inverse @ means) + gain[:, None] * along_means**2
        # the sample's own class has another mean: m' = a m - b q
        weight = k * self._prior.seen[labels] + counts
        left = np.maximum(weight - 1.0, 1e-9)
        a, b = weight / left, 1.0 / left
        q_q = np.einsum("nd,nd->n", q_inverse, q) + gain * along_q**2
        own_qm, own_mm = q_means[rows, labels], means_means[rows, labels]
        q_means[rows, labels] = a * own_qm - b * q_q
        means_means[rows, labels] = a * a * own_mm - 2 * a * b * own_qm + b * b * q_q
        logits: Float64 = scale[:, None] * (q_means - 0.5 * means_means)
        logits += _log_priors(self._priors(total, local_priors))
        logits[rows[weight <= 1.0], labels[weight <= 1.0]] = ABSENT
        return logits

    def _means(self, k: float) -> tuple[Float64, Float64]:
        """Posterior class means float64 (d, C), and what each rests on, in samples, float64 (C,)."""
        weight = k * self._prior.seen
        total = weight + self._local.counts
        means = (weight * self._prior.means + self._local.class_sums[:-1]) / np.maximum(total, 1e-12)
        return means, total

    def _priors(self, total: Float64, local_priors: bool) -> Float64:
        present = total > 0
        if not local_priors:
            return np.where(present, 1.0 / max(int(present.sum()), 1), 0.0)
        # one sample of every class, so that a class not met yet stays possible
        counts = np.where(present, self._local.counts + 1.0, 0.0)
        result: Float64 = counts / counts.sum()
        return result

    def _inverted(self) -> Float64:
        inverse = self._inverse
        if inverse is None:
            inverse = self._inverse = np.asarray(np.linalg.inv(self._scaled), np.float64)
        return inverse


def _log_priors(priors: Float64) -> Float64:
    return np.where(priors > 0, np.log(np.maximum(priors, 1e-300)), ABSENT)
