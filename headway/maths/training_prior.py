"""What a posterior (posterior.py) makes of the training data: class means, and the covariance within classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.arrays import Float64, is_large, large_zeros
from headway.errors import LocalError
from headway.maths.inverse import Spectrum
from headway.maths.solve import add_product
from headway.maths.sums import Sums, add_panels, squares_of

SHRINKAGE = 0.02


class TrainingSpread:
    """The covariance within classes of the training data, which is made when asked for: it is as large as a gram.

    It is that of Friedman (1989) with a fixed a: (1 - a) W / freedom + a * mean variance * I, W the scatter.
    """

    def __init__(self, source: Sums) -> None:
        counts = source.counts.astype(np.float64)
        self._source, self.counts = source, counts
        self.means: Float64 = source.class_sums[:-1] / np.maximum(counts, 1e-12)
        self.freedom = max(float(counts.sum() - (counts > 0).sum()), 1.0)
        self.squares = squares_of(source)
        self.trace = self.squares - float(np.einsum("dc,dc,c->", self.means, self.means, counts))
        self._spectrum: Spectrum | None = None
        # a small one is kept
        self._covariance: Float64 | None = None
        if not is_large(len(self.means)):
            covariance = np.zeros((len(self.means), len(self.means)))
            self.add_covariance(1.0, covariance)
            self._covariance = covariance

    def add_covariance(self, times: float, total: Float64) -> None:
        """Add so many times the covariance. total: float64 (d, d)."""
        if self._covariance is not None:
            total += times * self._covariance
            return
        self._add_scatter(times * (1.0 - SHRINKAGE) / self.freedom, total)
        total[np.diag_indices(len(total))] += times * self._shrunk_to

    def spectrum(self) -> Spectrum:
        """Of the scatter W; it is kept until `forget_spectrum`."""
        if self._spectrum is None:
            scatter = large_zeros(len(self.means), len(self.means))
            self._add_scatter(1.0, scatter)
            self._spectrum = Spectrum.of(scatter)
        return self._spectrum

    def forget_spectrum(self) -> None:
        """It would be made again when asked for, with the same bits."""
        self._spectrum = None

    def covariance_values(self) -> Float64:
        """What the covariance has in the place of the spectrum's values, float64 (d,)."""
        values: Float64 = (1.0 - SHRINKAGE) / self.freedom * self.spectrum().values + self._shrunk_to
        return values

    @property
    def _shrunk_to(self) -> float:
        return SHRINKAGE * max(self.trace / self.freedom / len(self.means), 1e-9)

    def _add_scatter(self, times: float, total: Float64) -> None:
        add_panels(self._source, total, times)
        add_product(total, self.means * (-times * self.counts), self.means.T)


@dataclass(frozen=True, slots=True)
class TrainingPrior:
    """What the training data says. means: float64 (d, C); seen: float64 (C,), 1 where it has samples of the class."""

    means: Float64
    seen: Float64
    classes: tuple[str, ...]
    spread: TrainingSpread

    @classmethod
    def of(cls, source: Sums) -> TrainingPrior:
        """Raises LocalError for statistics without a sample: there is nothing to centre a prior on."""
        if not source.samples:
            raise LocalError("source statistics hold no sample; convert the model with its training data")
        spread = TrainingSpread(source)
        return cls(spread.means, (spread.counts > 0).astype(np.float64), source.classes, spread)

    @property
    def covariance(self) -> Float64:
        """float64 (d, d), shrunk."""
        total = np.zeros((len(self.means), len(self.means)))
        self.spread.add_covariance(1.0, total)
        return total

    def with_classes(self, classes: tuple[str, ...]) -> TrainingPrior:
        """The same prior with columns for `classes`; a class the source never saw has no mean of its own."""
        if classes == self.classes:
            return self
        column = {name: index for index, name in enumerate(self.classes)}
        means, seen = np.zeros((len(self.means), len(classes))), np.zeros(len(classes))
        for index, name in enumerate(classes):
            if name in column:
                means[:, index], seen[index] = self.means[:, column[name]], self.seen[column[name]]
        return TrainingPrior(means, seen, classes, self.spread)
