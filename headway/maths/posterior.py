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

import numpy as np

from headway.arrays import Float64, Int8, Int64
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.inverse import FewRows, Inverse, LowRankInverse, WholeInverse
from headway.maths.running_posterior import ABSENT, RunningPosterior, log_priors
from headway.maths.solve import add_product, inverse_of_built
from headway.maths.sums import Sums, matrix_of
from headway.maths.training_prior import TrainingPrior


class Posterior:
    """The posterior for one set of local statistics. k: worth of a source mean; worth: v, in multiples of d.

    few: the same labels as rows, where they are so few that solving from rows is cheaper; the result is the same.
    """

    def __init__(
        self, prior: TrainingPrior, local: Sums, k: float, worth: float = 1.0, few: FewRows | None = None
    ) -> None:
        prior = prior.with_classes(local.classes)
        self._classes, self._few = local.classes, few
        class_sums = local.class_sums.astype(np.float64)
        counts, sums = class_sums[-1], class_sums[:-1]
        self._counts = counts
        weight = k * prior.seen
        # what a class mean rests on, in samples, float64 (C,)
        self._total: Float64 = weight + counts
        some = np.maximum(self._total, 1e-12)
        # a row for each class, float64 (C, d)
        self._means: Float64 = ((weight * prior.means + sums) / some).T
        # a class of its own spends one sample on its mean
        own = (counts > 0) & (prior.seen == 0)
        prior_worth = worth * local.size
        self._scale = prior_worth + max(float(counts.sum() - own.sum()), 0.0)
        moved_worth = weight * counts / some
        # the inverse, and the means in its axes
        self._inverse: Inverse
        if few is None:
            means = sums / np.maximum(counts, 1e-12)
            moved = means - prior.means

            def scatter() -> Float64:
                # W_local = Gram - sum n m m^T, and what the classes have moved: one product of 2 C columns
                total = matrix_of(local)
                parts = np.hstack([means * -counts, moved * moved_worth])
                add_product(total, parts, np.hstack([means, moved]).T)
                prior.spread.add_covariance(prior_worth, total)
                return total

            self._inverse = WholeInverse(inverse_of_built(scatter))
            self._turned_means = self._means
        else:
            diagonal = prior_worth * prior.spread.covariance_values()
            within, turned = few.within_classes()
            moved = (turned - few.means) * np.sqrt(moved_worth)[:, None]
            self._inverse = LowRankInverse(
                few.spectrum.axes, diagonal, np.concatenate([within, moved[moved_worth > 0]])
            )
            self._turned_means = (weight[:, None] * few.means + counts[:, None] * turned) / some[:, None]
        # the inverse times the means, in its axes, float64 (C, d)
        self._projected = self._inverse.times(self._turned_means)

    def head(self, local_priors: bool = False) -> Head:
        """The head. local_priors: class priors from the local counts instead of uniform ones."""
        return self.heads((local_priors,))[0]

    def heads(self, local_priors: Sequence[bool]) -> list[Head]:
        """Heads that differ in their class priors only: one solve for all."""
        kernel = np.ascontiguousarray((self._scale * self._inverse.out(self._projected)).T.astype(np.float32))
        # float64 log priors, then one rounding, so that a head does not depend on its neighbours
        bias = -0.5 * np.einsum("cd,dc->c", self._means, kernel.astype(np.float64))
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

        codes: int8 (n, d) and labels: int64 (n,), all of them contained in the local statistics. -> float64 (n, C)
        for each of `local_priors`. Taking q out of class c moves its posterior mean and takes N / (N - 1) (q - m_c)(q -
        m_c)^T from A, with N = k + n_c; the inverse follows by Sherman-Morrison (Golub & Van Loan 2.1.4), so n samples
        cost one inverse and O(n d (d + C)).
        """
        q = self._few.into(codes) if self._few is not None else codes.astype(np.float64)
        rows = np.arange(len(q))
        weight = self._total[labels]
        # bilinear forms with the inverse P: q'Pq, q'Pm of all classes, m'Pm of all pairs
        q_q = np.einsum("nd,nd->n", self._inverse.times(q), q)
        q_means = q @ self._projected.T
        pairs = self._turned_means @ self._projected.T
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

    def times(self, vectors: Float64) -> Float64:
        """S^-1 times vectors, float64 (m, d): the metric in which distances to a class are counted."""
        axes = self._inverse
        return self._scale * axes.out(axes.times(axes.into(vectors)))

    def running(self) -> RunningPosterior:
        """The same posterior, ready to take in single samples."""
        return RunningPosterior(
            self._inverse,
            self._inverse.out(self._projected),
            self._means,
            self._total,
            self._counts,
            self._scale,
            self._classes,
        )

    def _log_priors(self, local: bool) -> Float64:
        return log_priors(self._total, self._counts, local)
