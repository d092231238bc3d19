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
from headway.maths.posterior import ABSENT
from headway.maths.solve import Moments, blend, definite_inverse
from headway.maths.statistics import Statistics

PENALTY = 0.01
# regression scores lie between 0 and 1; times this, temperatures are of the size they have for discriminants
LOGITS_PER_SCORE = 128.0


class Ridge:
    """The solution for one set of local tables. worth: w, samples per source class."""

    def __init__(self, source: Statistics, local: Statistics, worth: float) -> None:
        """Raises LocalError where neither table holds a sample."""
        if not source.samples + local.samples:
            raise LocalError("ridge regression needs a sample; convert the model with its training data")
        share = worth * len(source.classes) / max(source.samples, 1)
        moments: Moments = blend([(0.0, local), (share, source), (1.0, local)])
        self._classes = moments.classes
        self._sums, self._counts = moments.class_sums, moments.counts.copy()
        self._gram = moments.gram
        size = len(self._gram) - 1
        penalty = PENALTY * max(float(np.trace(self._gram[:size, :size])) / size, 1e-9)
        self._gram[np.arange(size), np.arange(size)] += penalty
        self._gram[size, size] += 1e-9
        self._inverse: Float64 | None = None

    def heads(self, local_priors: Sequence[bool]) -> list[Head]:
        """As `Posterior.heads`; classes stay balanced, whatever the device's own priors are."""
        head = self.head()
        return [head for _ in local_priors]

    def head(self) -> Head:
        """The head over codes, uniform in its classes; one that nobody has met is never predicted."""
        weights = LOGITS_PER_SCORE * (self._inverted() @ self._balanced())
        bias = np.where(self._counts > 0, weights[-1], ABSENT)
        return Head(
            weights[:-1].astype(np.float32), bias.astype(np.float32), HeadKind.SOFTMAX, self._classes, HeadInput.CODES
        )

    def leave_one_out(self, codes: Int8, labels: Int64, local_priors: Sequence[bool] = (False,)) -> list[Float64]:
        """Logits of each sample under the solution without that sample.

        codes: int8 (n, d) and labels: int64 (n,), all of them contained in the local tables. -> float64 (n, C) for
        each of `local_priors`, all the same.
        Taking q out of G is a change of rank one: q^T (G - q q^T)^-1 = q^T G^-1 / (1 - q^T G^-1 q) (Sherman-Morrison).
        """
        rows = np.arange(len(labels))
        q = np.concatenate([codes.astype(np.float64), np.ones((len(codes), 1))], axis=1)
        projected = q @ self._inverted()
        leverage = np.einsum("nd,nd->n", projected, q)
        scores: Float64 = projected @ self._sums
        scores[rows, labels] -= leverage
        left = np.repeat(self._counts[None], len(rows), axis=0)
        left[rows, labels] -= 1.0
        met = left > 1e-9
        scores /= np.maximum(1.0 - leverage, 1e-9)[:, None] * np.where(met, left, 1.0)
        logits: Float64 = np.where(met, LOGITS_PER_SCORE * scores, ABSENT)
        return [logits for _ in local_priors]

    def _inverted(self) -> Float64:
        if self._inverse is None:
            self._inverse = definite_inverse(self._gram)
        return self._inverse

    def _balanced(self) -> Float64:
        balanced: Float64 = self._sums / np.where(self._counts > 0, self._counts, 1.0)
        return balanced
