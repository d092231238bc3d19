"""Linear regression under a prior from the training data: few labels change little, many override it.

Conjugate Bayesian linear regression (Gelman et al., Bayesian Data Analysis, 3rd ed., 14.8; the prior is the likelihood
of the training data to a power, Ibrahim & Chen 2000). With u = [q, 1], the mean m and covariance S of the training
data's codes, and a head W_0 that is right before any label:

    P = v [S 0; 0 0] + k [m, 1] [m, 1]^T         what it is worth, in samples: k its level, v its slopes
    W = (P + G)^-1 (P W_0 + sum u t)             G = sum u u^T over the labelled samples of which t is known

A label of 0 or 1 is regressed as well, and its log-odds follow: the discriminant between two classes of one covariance
is the least-squares solution up to scale and bias (Hastie, Tibshirani & Friedman, 4.3 and exercise 4.2). With p the
share of ones and R^2 what the regression explains of their variance p (1 - p):

    log-odds(u) = (W u - p + (p - 1/2) R^2) / (p (1 - p) (1 - R^2)) + log(p / (1 - p))

Everything is float64 and a pure function of integer tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float64, Int8
from headway.errors import LocalError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.solve import definite_inverse, shrunk_covariance
from headway.maths.statistics import Statistics
from headway.maths.target_codes import TargetCodes, TargetMoments

SHRINKAGE = 0.02
SHARE_MIN, EXPLAINED_MAX = 0.01, 0.98


@dataclass(frozen=True, slots=True, eq=False)
class TargetPrior:
    """What the training data says, in steps of the targets.

    mean: float64 (D,), the last value 1; covariance: float64 (d, d), shrunk; weights: float64 (D, C), its solution.
    """

    mean: Float64
    covariance: Float64
    weights: Float64

    @classmethod
    def of(cls, moments: TargetMoments, shrinkage: float = SHRINKAGE) -> TargetPrior:
        """Raises LocalError without a sample."""
        samples = moments.samples
        if not samples:
            raise LocalError("source statistics hold no sample; convert the model with its training data")
        mean = moments.gram[-1] / samples
        scatter = moments.gram[:-1, :-1] - samples * np.outer(mean[:-1], mean[:-1])
        covariance = shrunk_covariance(scatter, samples, shrinkage)
        counts = np.maximum(moments.counts, 1.0)
        own, level = moments.known[:-1] / counts, moments.cross[-1] / counts
        slopes = definite_inverse(covariance) @ (moments.cross[:-1] / counts - own * level)
        bias = level - np.einsum("dc,dc->c", own, slopes)
        return cls(mean, covariance, np.vstack([slopes, bias]))

    def precision(self, level: float, slopes: float) -> Float64:
        """P for k = level and v = slopes, float64 (D, D)."""
        size = len(self.covariance)
        result: Float64 = level * np.outer(self.mean, self.mean)
        result[:size, :size] += slopes * self.covariance
        return result


class TargetPosterior:
    """The posterior for one set of local tables, around several heads that may be right before any label.

    centres: each float64 (D, C), in steps; level: k; slopes: v. One factorisation serves all centres, and all outputs
    that are known equally often.
    """

    def __init__(
        self,
        prior: TargetPrior,
        local: TargetMoments,
        centres: Mapping[str, Float64],
        level: float,
        slopes: float,
    ) -> None:
        self.names = tuple(centres)
        precision = prior.precision(level, slopes)
        shape = (len(self.names), len(prior.mean), local.cross.shape[1])
        sums: Float64 = np.empty(shape)
        for at, centre in enumerate(centres.values()):
            sums[at] = precision @ centre + local.cross
        self._weights: Float64 = np.empty(shape)
        # outputs that are known in the same samples: their columns, P + G, and its inverse
        self._groups: list[tuple[AnyArray, Float64, Float64]] = []
        for group in _known_alike(local):
            matrix = precision + local.gram_where_known(int(group[0]))
            inverse = definite_inverse(matrix)
            self._groups.append((group, matrix, inverse))
            self._weights[:, :, group] = inverse @ sums[:, :, group]
        levels = np.stack([prior.mean @ centre for centre in centres.values()])
        self._levels: Float64 = (level * levels + local.cross[-1]) / (level + local.counts)
        self._slopes = slopes

    def weights(self) -> Float64:
        """float64 (m, D, C), in the order of `names`; nobody else's array."""
        return self._weights.copy()

    def leave_one_out(self, rows: Float64, steps: Float64) -> Float64:
        """Predictions of samples that the local tables hold, each by the solution without it, in steps.

        rows: u, float64 (n, D); steps: float64 (n, C), NaN where unknown -> float64 (m, n, C), by Sherman-Morrison:
        what is left out moves its own prediction by h / (1 - h) of the error, with h = u^T (P + G)^-1 u.
        """
        predicted: Float64 = rows @ self._weights
        known = np.isfinite(steps)
        for group, _, inverse in self._groups:
            leverage = np.einsum("nd,nd->n", rows @ inverse, rows)
            factor = (leverage / np.maximum(1.0 - leverage, 1e-6))[:, None]
            moved = np.where(known[:, group], factor * (np.nan_to_num(steps[:, group]) - predicted[:, :, group]), 0.0)
            predicted[:, :, group] -= moved
        return predicted

    def add(self, row: Float64, steps: Float64) -> None:
        """Take in a sample of which every target is known, by recursive least squares (Sherman-Morrison).

        row: u, float64 (D,); steps: float64 (C,). Rounding adds up slowly; whoever holds the tables makes a new
        posterior after some hundred samples.
        """
        errors = steps - row @ self._weights
        for group, _, inverse in self._groups:
            along = inverse @ row
            gain = along / (1.0 + row @ along)
            self._weights[:, :, group] += gain[:, None] * errors[:, None, group]
            inverse -= np.multiply.outer(along, gain)

    def log_odds(self, codes: TargetCodes) -> tuple[Float64, Float64]:
        """How a prediction becomes log-odds, see `log_odds`: gain and shift, each float64 (m, C)."""
        gains, shifts = np.empty_like(self._levels), np.empty_like(self._levels)
        weights = self._weights
        for group, matrix, _ in self._groups:
            samples, sums = matrix[-1, -1], matrix[-1, :-1]
            covariance = (matrix[:-1, :-1] - np.outer(sums, sums) / samples) / (samples + self._slopes)
            part = codes.part(group)
            for at in range(len(self.names)):
                found = log_odds(weights[at][:, group], self._levels[at, group], covariance, part)
                gains[at, group], shifts[at, group] = found
        return gains, shifts


def log_odds(weights: Float64, levels: Float64, covariance: Float64, codes: TargetCodes) -> tuple[Float64, Float64]:
    """How a regression's predictions y (values, not steps) become log-odds, gain * y + shift: two float64 (C,).

    weights: float64 (D, C), and levels: float64 (C,), the mean target, in steps; covariance: of the codes (d, d).
    """
    share = np.clip(codes.offset + codes.scale * levels, SHARE_MIN, 1.0 - SHARE_MIN)
    slopes, variance = weights[:-1] * codes.scale, share * (1.0 - share)
    explained = np.clip(np.einsum("dc,dc->c", slopes, covariance @ slopes) / variance, 0.0, EXPLAINED_MAX)
    gain = 1.0 / (variance * (1.0 - explained))
    return gain, gain * ((share - 0.5) * explained - share) + np.log(share / (1.0 - share))


def inputs_of(rows: Int8, size: int) -> Float64:
    """u of rows of statistics: the first `size` codes, and 1. int8 (n, d + width) -> float64 (n, d + 1)."""
    inputs = np.ones((len(rows), size + 1))
    inputs[:, :-1] = rows[:, :size]
    return inputs


def head_of(
    weights: Float64, codes: TargetCodes, classes: tuple[str, ...], log_odds: tuple[Float64, Float64] | None = None
) -> Head:
    """A head over codes. weights: float64 (D, C), in steps; log_odds: gain and shift, float64 (C,), of labels."""
    scale, offset = codes.scale.astype(np.float64), codes.offset.astype(np.float64)
    kernel, bias = weights[:-1] * scale, weights[-1] * scale + offset
    kind = HeadKind.LINEAR
    if log_odds is not None:
        gain, shift = log_odds
        kernel, bias, kind = kernel * gain, bias * gain + shift, HeadKind.SIGMOID
    return Head(kernel.astype(np.float32), bias.astype(np.float32), kind, classes, HeadInput.CODES)


def fleet_target_head(
    source: Statistics, devices: Statistics, codes: TargetCodes, classes: tuple[str, ...], shrinkage: float = SHRINKAGE
) -> Head:
    """The head the aggregator publishes: the regression on the source and everything the fleet learned.

    Raises numpy.linalg.LinAlgError where there is none.
    """
    moments = codes.moments(source + devices)
    solved = TargetPrior.of(moments, shrinkage)
    odds = None
    if codes.digits == 1:
        odds = log_odds(solved.weights, moments.cross[-1] / np.maximum(moments.counts, 1.0), solved.covariance, codes)
    return head_of(solved.weights, codes, classes, odds)


def _known_alike(local: TargetMoments) -> list[AnyArray]:
    """Columns of the outputs that are known in as many samples, and in the same ones as far as their codes tell."""
    groups: dict[bytes, list[int]] = {}
    for output in range(local.known.shape[1]):
        groups.setdefault(local.known[:, output].tobytes(), []).append(output)
    return [np.array(group) for group in groups.values()]
