"""Class-balanced ridge regression to one-hot targets, in which the training data counts as a few samples.

With G, b the Gram matrix and class sums of codes with a constant appended, N their counts (statistics.py):

    G = w C / n_source * G_source + G_local + lambda * mean diagonal * I     (the constant is not penalised)
    b = w C / n_source * b_source + b_local
    W = G^-1 (b_c / N_c)                                                     (Fed3R, Fani et al. 2024, eq. 4)

so w says what a source class counts for, in samples. It errs elsewhere than a discriminant does (posterior.py): the
spread between classes is part of G, and a class that nobody labelled here is drawn less towards those that were.
Everything is float64 and a pure function of integer tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.arrays import Float64, Int8, Int64
from headway.errors import LocalError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.inverse import FewRows, Inverse, LowRankInverse, WholeInverse
from headway.maths.running_posterior import ABSENT
from headway.maths.solve import add_product, inverse_of_built
from headway.maths.statistics import union_of_classes, with_columns
from headway.maths.sums import Sums, add_panels, matrix_of, squares_of

PENALTY = 0.01
# regression scores lie between 0 and 1; times this, temperatures are of the size they have for discriminants
LOGITS_PER_SCORE = 128.0


class Ridge:
    """The solution for one set of local statistics. worth: w, samples per source class.

    The constant is eliminated: with N samples and their mean u, what is inverted is the scatter G - N u u^T about that
    mean, and a bias follows. few: the same labels as rows, where they are so few that solving from rows is cheaper.
    """

    def __init__(self, source: Sums, local: Sums, worth: float, few: FewRows | None = None) -> None:
        """Raises LocalError where neither holds a sample."""
        if not source.samples + local.samples:
            raise LocalError("ridge regression needs a sample; convert the model with its training data")
        share = worth * len(source.classes) / max(source.samples, 1)
        self._classes = classes = union_of_classes(local.classes, source.classes)
        weighed = share * with_columns(source.class_sums, source.classes, classes)
        class_sums = np.asarray(weighed + with_columns(local.class_sums, local.classes, classes), np.float64)
        self._counts: Float64 = class_sums[-1]
        self._few = few
        # N; nothing would be left of the constant without a little more than the samples
        self._samples = float(self._counts.sum()) + 1e-9
        self._inverse: Inverse
        # class sums, a row for each, in the axes of the inverse: float64 (C, d)
        if few is None:
            sums = class_sums[:-1].T
            self._mean: Float64 = sums.sum(axis=0) / self._samples

            def scatter() -> Float64:
                total = matrix_of(local)
                add_panels(source, total, share)
                total[np.diag_indices(len(total))] += _penalty(float(np.trace(total)), len(total))
                add_product(total, self._mean[:, None] * -self._samples, self._mean[None])
                return total

            self._inverse = WholeInverse(inverse_of_built(scatter))
        else:
            _, means = few.within_classes()
            sums = weighed[-1][:, None] * few.means + local.counts[:, None] * means
            self._mean = sums.sum(axis=0) / self._samples
            squares = share * squares_of(source) + float(np.einsum("nd,nd->", few.turned, few.turned))
            parts = [few.turned - self._mean, np.sqrt(weighed[-1])[:, None] * (few.means - self._mean)]
            rows = np.concatenate([*parts, np.sqrt(1e-9) * self._mean[None]])
            diagonal = share * few.spectrum.values + _penalty(squares, local.size)
            self._inverse = LowRankInverse(few.spectrum.axes, diagonal, rows)
        self._projected = self._inverse.times(sums - self._counts[:, None] * self._mean)

    def heads(self, local_priors: Sequence[bool]) -> list[Head]:
        """As `Posterior.heads`; classes stay balanced, whatever the device's own priors are."""
        head = self.head()
        return [head for _ in local_priors]

    def head(self) -> Head:
        """The head over codes, uniform in its classes; one that nobody has met is never predicted."""
        met = self._counts > 0
        weights = LOGITS_PER_SCORE * self._projected / np.where(met, self._counts, 1.0)[:, None]
        bias = np.where(met, LOGITS_PER_SCORE / self._samples - weights @ self._mean, ABSENT)
        kernel = np.ascontiguousarray(self._inverse.out(weights).T.astype(np.float32))
        return Head(kernel, bias.astype(np.float32), HeadKind.SOFTMAX, self._classes, HeadInput.CODES)

    def leave_one_out(self, codes: Int8, labels: Int64, local_priors: Sequence[bool] = (False,)) -> list[Float64]:
        """Logits of each sample under the solution without that sample.

        codes: int8 (n, d) and labels: int64 (n,), all of them contained in the local statistics. -> float64 (n, C) for
        each of `local_priors`, all the same.
        Taking q out of G is a change of rank one: q^T (G - q q^T)^-1 = q^T G^-1 / (1 - q^T G^-1 q) (Sherman-Morrison).
        """
        rows = np.arange(len(labels))
        q = (self._few.into(codes) if self._few is not None else codes.astype(np.float64)) - self._mean
        leverage = np.einsum("nd,nd->n", self._inverse.times(q), q) + 1.0 / self._samples
        scores: Float64 = q @ self._projected.T + self._counts / self._samples
        scores[rows, labels] -= leverage
        left = np.repeat(self._counts[None], len(rows), axis=0)
        left[rows, labels] -= 1.0
        met = left > 1e-9
        scores /= np.maximum(1.0 - leverage, 1e-9)[:, None] * np.where(met, left, 1.0)
        logits: Float64 = np.where(met, LOGITS_PER_SCORE * scores, ABSENT)
        return [logits for _ in local_priors]


def _penalty(squares: float, size: int) -> float:
    return PENALTY * max(squares / size, 1e-9)
