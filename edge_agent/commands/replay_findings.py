"""What a replayed recording shows beside the learner's own figures: rules that need no model, and columns that leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float64
from headway.maths import Task, TimeAxis
from headway.samples import is_labelled

COLUMNS_MAX = 32
LEAK_ROWS_MAX = 1024
# of the gain over the rule, what may be left without a column that carries it all
LEFT_SHARE_MAX = 0.2
# standard errors that a difference needs to be one: for a sentence, and for each of up to 32 columns that are tried
ERRORS_MIN, ERRORS_MIN_EACH = 2.0, 3.0


@dataclass(frozen=True, slots=True)
class Column:
    """One channel of the input. left: share of the gain over the naive rule that is left without it; suspicious:
    whether nearly all the gain went with it, and that is more than chance.
    """

    number: int
    left: float
    suspicious: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Those that were tried, the one without which least is left first; where none were, why, in a sentence."""

    tried: tuple[Column, ...] = ()
    why_not: str = ""


def losses(prediction: AnyArray, y: AnyArray, task: Task) -> Float64:
    """Of each row, float64 (n,), NaN without a label: 1 for a wrong class; else the mean over known outputs.

    prediction, y: (n,), or (n, C) of labels, 0 or 1, or values, whose loss is the absolute error.
    """
    if task is Task.CLASSIFICATION:
        return np.where(is_labelled(y), prediction != y, np.nan).astype(np.float64)
    each = np.abs(prediction.astype(np.float64) - y)
    known = ~np.isnan(each)
    counts = known.sum(axis=1)
    total = np.where(known, each, 0.0).sum(axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def naive_rules(y: AnyArray, task: Task) -> dict[str, AnyArray]:
    """What rules without a model answer to each row, from the labels before it: the last, and the usual one so far.

    Values (n, C) are the mean so far. Before the first label they answer class 0, or zeros.
    """
    last, usual = np.zeros_like(y), np.zeros_like(y)
    labelled = is_labelled(y)
    if task is Task.CLASSIFICATION:
        counts = np.zeros(max(int(y.max()) + 1, 1))
        newest = 0
        for row in range(len(y)):
            last[row], usual[row] = newest, int(counts.argmax())
            if labelled[row]:
                newest = int(y[row])
                counts[newest] += 1
        return {"the last label again": last, "the most frequent label so far": usual}
    sums, known = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    value = np.zeros(y.shape[1])
    for row in range(len(y)):
        last[row] = value
        mean = sums / np.maximum(known, 1)
        usual[row] = np.round(mean) if task is Task.MULTI_LABEL else mean
        there = ~np.isnan(y[row])
        value = np.where(there, y[row], value)
        sums[there] += y[row][there]
        known += there
    return {"the last value again": last, "the mean so far": usual}


def mean_loss(each: Float64) -> float:
    """Over the labelled rows; NaN where there is none."""
    return float(np.nanmean(each)) if not np.isnan(each).all() else float("nan")


def clearly_above(differences: Float64, errors_min: float = ERRORS_MIN) -> bool:
    """Whether their mean is above 0 by more than so many standard errors. float64 (n,), NaN where there is none."""
    known = differences[~np.isnan(differences)]
    if len(known) < 2:
        return False
    return bool(known.mean() > errors_min * known.std(ddof=1) / np.sqrt(len(known)))


def leaking_columns(
    x: AnyArray, y: AnyArray, task: Task, axis: TimeAxis, replayed: Callable[[AnyArray, AnyArray], AnyArray]
) -> Columns:
    """Channels by how much of the gain over the best rule goes with them.

    Each is put to its mean in turn, and the newest rows are replayed anew: a channel that takes nearly all with it is
    either the one that matters, or one that knows the answer. replayed: rows and labels -> predictions.
    """
    x, y = x[-LEAK_ROWS_MAX:], y[-LEAK_ROWS_MAX:]
    first = axis is TimeAxis.LAST
    count = x.shape[1] if first else x.shape[-1]
    if not 2 <= count <= COLUMNS_MAX:
        return Columns(why_not=f"not tried: there are {count} columns, and 2 to {COLUMNS_MAX} are tried.")
    rule = min((losses(each, y, task) for each in naive_rules(y, task).values()), key=mean_loss)

    def gains(rows: AnyArray) -> Float64:
        gained = rule - losses(replayed(rows, y), y, task)
        return gained[~np.isnan(gained)]

    whole = gains(x)
    if not clearly_above(whole, ERRORS_MIN_EACH):
        return Columns(why_not=f"not tried: over the newest {len(x)} rows there is no clear gain over the naive rules.")
    found = []
    for number in range(count):
        without = np.array(x, np.float32)
        column = without[:, number] if first else without[..., number]
        column[...] = np.mean(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0
        less = gains(without)
        left = float(less.mean() / whole.mean())
        found.append(Column(number, left, left <= LEFT_SHARE_MAX and clearly_above(whole - less, ERRORS_MIN_EACH)))
    return Columns(tuple(sorted(found, key=lambda column: column.left)))
