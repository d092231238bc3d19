"""Errors last: where a value was predicted too low, the next ones probably are, and how much of it is learned here.

What a model does not know (a busy week, a sensor that has shifted) is in all its errors for a while. For each output

    s   <- s + g (e - s)            the level of the errors e, of windows with a label; g: 1 follows, 0.3 is smoother
    f    = rho s                    the error to come, added to what the head says; rho: regression of e on s

which is simple exponential smoothing of the errors, damped (Gardner & McKenzie 1985), and for g = 1 an autoregression
of order 1. rho is fitted to the error of each window against the level that was known when the window was answered, so
that labels which come late count for what they can tell. It is used only while labels show that it pays: each label is
compared with what the head alone and what each g said of its window before the label came.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edge_agent.learner import Prediction
from edge_agent.pipeline import Features
from headway.arrays import Float64, Int64
from headway.samples import Label

# newest windows that a label may still be compared with
WINDOWS_MAX = 256
GAINS = np.array([1.0, 0.3])[:, None]
# errors count less the older they are; and as many of no correlation as this come before the first
DISCOUNT = 0.995
UNCORRELATED = 8.0
# in typical errors won, and in standard errors: what it must be ahead to begin
LEAD_MIN, ERRORS_MIN = 2.0, 2.0
LEAST = 1e-30
# correlation of neighbours that is taken for real
ALIKE_MAX = 0.95


@dataclass(slots=True)
class _Window:
    """codes: hash of its codes; alone: what the head says, float64 (C,); levels: known by then, and forecasts: of the
    error, both float64 (gains, C)."""

    codes: int
    alone: Float64
    levels: Float64
    forecasts: Float64
    labelled: bool = False

    def error(self, values: Float64) -> Float64:
        """Of what the head said, now that the values have come, float64 (C,), NaN where one has not."""
        self.labelled = True
        return values - self.alone


@dataclass(slots=True)
class _Sums:
    """Discounted sums over labelled windows, float64 (C,) or (gains, C).

    won: by how much a forecast made the error smaller, in typical errors. Its standard error takes squared weights
    (`squared`) and how alike neighbours are (`pairs`).
    """

    outputs: int
    weight: Float64 = field(init=False)
    errors: Float64 = field(init=False)
    levels: Float64 = field(init=False)
    products: Float64 = field(init=False)
    won: Float64 = field(init=False)
    squared: Float64 = field(init=False)
    pairs: Float64 = field(init=False)
    last: Float64 = field(init=False)

    def __post_init__(self) -> None:
        self.weight, self.errors = np.zeros(self.outputs), np.zeros(self.outputs)
        shape = (len(GAINS), self.outputs)
        self.levels, self.products, self.won, self.last = (np.zeros(shape) for _ in range(4))
        self.pairs = np.zeros((2, *shape))
        self.squared = np.zeros((3, len(GAINS), self.outputs))

    def rho(self) -> Float64:
        """How much of a level comes again, 0 to 1, float64 (gains, C)."""
        typical = self.errors / np.maximum(self.weight, 1.0)
        return np.asarray(np.clip(self.products / (self.levels + UNCORRELATED * typical + LEAST), 0.0, 1.0))

    def add(self, known: Float64, error: Float64, levels: Float64, won: Float64) -> None:
        """One window more. known: 1 for outputs whose value has come, else 0, float64 (C,); others stay."""
        kept = np.where(known > 0, DISCOUNT, 1.0)
        self.weight = kept * self.weight + known
        self.errors = kept * self.errors + known * error**2
        self.levels = kept * self.levels + known * levels**2
        self.products = kept * self.products + known * levels * error
        self.won = kept * self.won + known * won
        self.squared = kept**2 * self.squared + known * np.stack([np.ones_like(won), won, won**2])
        self.pairs = kept * self.pairs + known * np.stack([won * self.last, won**2])
        self.last = np.where(known > 0, won, self.last)

    def lead_errors(self) -> Float64:
        """Standard errors of `won`, float64 (gains, C); more where what is won comes in runs."""
        mean = self.won / np.maximum(self.weight, 1.0)
        counts, sums, squares = self.squared
        variance = np.maximum(squares - 2 * mean * sums + mean**2 * counts, 0.0)
        alike = np.clip(self.pairs[0] / (self.pairs[1] + LEAST), 0.0, ALIKE_MAX)
        return np.asarray(np.sqrt(variance * (1 + alike) / (1 - alike)))


class LastingErrors:
    """Implements `edge_agent.persistence.Persistence` for regressions."""

    name = "with the errors that last"

    def __init__(self) -> None:
        self._windows: deque[_Window] = deque(maxlen=WINDOWS_MAX)
        self._levels: Float64 = np.zeros((len(GAINS), 0))
        self._sums = _Sums(0)
        # the gain that answers for each output; -1 for the head alone
        self._chosen: Int64 = np.zeros(0, np.int64)

    @property
    def serving(self) -> bool:
        """Whether any output is answered with a forecast of its error."""
        return bool((self._chosen >= 0).any())

    def serve(self, features: Features, served: Prediction) -> Prediction:
        outputs = served.probability.shape[1]
        if outputs != len(self._chosen):
            self._begin(outputs)
        forecasts = self._sums.rho() * self._levels
        for codes, alone in zip(features.codes, served.probability, strict=True):
            window = _Window(hash(codes.tobytes()), alone.astype(np.float64), self._levels, forecasts)
            self._windows.append(window)
        added = np.where(self._chosen >= 0, forecasts[self._chosen, np.arange(outputs)], 0.0)
        if not added.any():
            return served
        return Prediction((served.probability + added).astype(np.float32), served.served_by)

    def labelled(self, features: Features, label: Label) -> None:
        codes = hash(features.codes[0].tobytes())
        place = next((at for at in range(len(self._windows) - 1, -1, -1) if self._windows[at].codes == codes), None)
        if place is None or self._windows[place].labelled:
            return
        window, values = self._windows[place], np.asarray(label, np.float64)
        if values.shape != window.alone.shape:
            return
        error = window.error(values)
        known = np.isfinite(error)
        self._take(window, np.where(known, error, 0.0), known.astype(np.float64))
        # of windows before it the level tells already
        if not any(later.labelled for later in list(self._windows)[place + 1 :]):
            moved = self._levels + GAINS * (np.nan_to_num(error) - self._levels)
            self._levels = np.where(known, moved, self._levels)

    def _begin(self, outputs: int) -> None:
        self._windows.clear()
        self._levels = np.zeros((len(GAINS), outputs))
        self._sums = _Sums(outputs)
        self._chosen = np.full(outputs, -1)

    def _take(self, window: _Window, error: Float64, known: Float64) -> None:
        """Who would have been nearer, before the label came? And how much of the level did come again?"""
        before = self._sums.errors / np.maximum(self._sums.weight, 1.0)
        typical = np.sqrt(np.where(before > 0, before, error**2)) + LEAST
        won = (np.abs(error) - np.abs(error - window.forecasts)) / typical
        self._sums.add(known, error, window.levels, won)
        lead = self._sums.won
        best = lead.argmax(axis=0)
        at = best, np.arange(len(best))
        begins = lead[at] > np.maximum(LEAD_MIN, ERRORS_MIN * self._sums.lead_errors()[at])
        goes_on = (self._chosen >= 0) & (lead[at] > 0)
        self._chosen = np.where(begins | goes_on, best, -1)
