"""A posterior (posterior.py) that follows every label between two solutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.arrays import Float64, Int8
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.inverse import Inverse

# logit of a class that nobody has met
ABSENT = -1e4
# samples that there is room for at first
ROOM = 128


class RunningPosterior:
    """A posterior that takes in one sample after another in O(d (d + C)), without a new factorisation.

    Adding q to class c, whose mean m rests on N samples, adds N / (N + 1) (q - m)(q - m)^T to A, so its inverse
    follows by Sherman-Morrison (Golub & Van Loan 2.1.4; recursive least squares, OS-ELM). The corrections to the
    inverse are kept as vectors: applying them to one vector is cheaper than rewriting d x d numbers.
    Rounding adds up slowly; whoever holds the tables makes a new Posterior after some hundred samples.

    projected: the inverse times the means, float64 (C, d); means: float64 (C, d); total, counts: float64 (C,) with and
    without the source's worth. None of them is written to.
    """

    def __init__(
        self,
        inverse: Inverse,
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
        self._means: Float64 = np.array(means, order="C")
        self._projected: Float64 = np.array(projected, order="C")
        self._vectors: Float64 = np.empty((ROOM, means.shape[1]))
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
        inverse = self._inverse
        result: Float64 = inverse.out(inverse.times(inverse.into(vector[None])))[0]
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
