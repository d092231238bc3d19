"""What a replayed recording shows beside the learner's own figures: rules that need no model, and columns that leak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float64
from headway.maths import Task, TimeAxis
from headway.samples import is_labelled

COLUMNS_MAX, WIDE_MAX = 32, 8  # columns that are tried one by one: of at most so many all, of more the likeliest few
LEAK_ROWS_MAX = 1024
# of the gain over the rule, what may be left without a column that carries it all; what one alone must reach to know
# the answer
LEFT_SHARE_MAX, ALONE_SHARE_MIN = 0.2, 0.95
# values beside a row's own, in the other half of the recording, from which a column alone answers
NEIGHBOURS = 5
# standard errors that a difference needs to be one: for a sentence, and for each of up to 32 columns that are tried
ERRORS_MIN, ERRORS_MIN_EACH = 2.0, 3.0


@dataclass(frozen=True, slots=True)
class Column:
    """One channel of the input. left: share of the gain over the naive rule that is left without it; suspicious:
    whether nearly all the gain went with it, and that is more than chance. alone: share that a rule gets which looks at
    nothing else; knows: whether that is nearly all, and the learner is clearly worse without all such columns.
    """

    number: int
    left: float
    suspicious: bool
    alone: float = 0.0
    knows: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Those that were tried, the one without which least is left first; where none were, why, in a sentence. count: of
    all that there are.
    """

    tried: tuple[Column, ...] = ()
    why_not: str = ""
    count: int = 0


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
    """Channels by how much of the gain over the best rule goes with them, over the newest rows.

    Each is put to its mean in turn, and the rows are replayed anew: a channel that takes nearly all with it is either
    the one that matters, or one that knows the answer. So is one that answers as well alone as the learner does with
    all. Of many channels those are replayed that say most alone. replayed: rows and labels -> predictions.
    """
    x, y = x[-LEAK_ROWS_MAX:], y[-LEAK_ROWS_MAX:]
    channels = np.moveaxis(x, 1, -1) if axis is TimeAxis.LAST else x
    count = channels.shape[-1]
    if count < 2:
        return Columns(why_not="not tried: there is only one.")
    rule = min((losses(each, y, task) for each in naive_rules(y, task).values()), key=mean_loss)

    def gains(answer: AnyArray) -> Float64:
        gained = rule - losses(answer, y, task)
        return gained[~np.isnan(gained)]

    whole = gains(replayed(x, y))
    if not clearly_above(whole, ERRORS_MIN_EACH):
        return Columns(why_not=f"not tried: over the newest {len(x)} rows there is no clear gain over the naive rules.")

    def without(numbers: Sequence[int]) -> Float64:
        rows = np.array(x, np.float32)
        held = np.moveaxis(rows, 1, -1) if axis is TimeAxis.LAST else rows
        for number in numbers:
            column = held[..., number]
            column[...] = np.mean(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0
        return gains(replayed(rows, y))

    alone = [float(gains(answer_alone(channels[..., each], y, task)).mean() / whole.mean()) for each in range(count)]
    likeliest = sorted(range(count), key=lambda each: -alone[each])
    tried = sorted(likeliest[: COLUMNS_MAX if count <= COLUMNS_MAX else WIDE_MAX])
    knowing = [each for each in tried if alone[each] >= ALONE_SHARE_MIN]
    know = len(knowing) > 0 and clearly_above(whole - without(knowing), ERRORS_MIN_EACH)
    found = []
    for number in tried:
        less = without([number])
        left = float(less.mean() / whole.mean())
        suspicious = left <= LEFT_SHARE_MAX and clearly_above(whole - less, ERRORS_MIN_EACH)
        found.append(Column(number, left, suspicious, alone[number], know and number in knowing))
    return Columns(tuple(sorted(found, key=lambda column: (not column.knows, column.left))), count=count)


def answer_alone(channel: AnyArray, y: AnyArray, task: Task) -> AnyArray:
    """What a rule answers to each row that looks at one channel only, (n,) or (n, time), and needs no model: as the
    labelled rows of the other half of the recording do whose values are nearest. Of time the mean counts, or the
    deviation where that answers better.

    The other half, because rows that follow each other have near values and one label, whatever the channel knows.
    """
    values = np.where(np.isfinite(channel), channel, np.nan).astype(np.float64).reshape(len(channel), -1)
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, values, 0.0).sum(axis=1) / count
    answers = [_nearest(mean, y, task)]
    if values.shape[1] > 1:
        spread = np.sqrt(np.where(known, np.square(values - mean[:, None]), 0.0).sum(axis=1) / count)
        answers.append(_nearest(spread, y, task))
    return min(answers, key=lambda answer: mean_loss(losses(answer, y, task)))


def _nearest(values: Float64, y: AnyArray, task: Task) -> AnyArray:
    """float64 (n,); answers as `naive_rules` gives them."""
    answers, half, labelled = np.zeros_like(y), len(y) // 2, is_labelled(y)
    shuffled = np.random.default_rng(0).permutation(len(y))  # among equal values nobody is nearer
    for rows, others in ((slice(0, half), shuffled >= half), (slice(half, None), shuffled < half)):
        known = shuffled[others & labelled[shuffled]]
        known = known[np.argsort(values[known], kind="stable")]
        if not len(known):
            continue
        width = min(NEIGHBOURS, len(known))
        first, past = (np.searchsorted(values[known], values[rows], side) for side in ("left", "right"))
        begin = (first + past - width) // 2
        near = known[begin.clip(0, len(known) - width)[:, None] + np.arange(width)]
        if task is Task.CLASSIFICATION:
            votes = (y[near][:, :, None] == np.arange(int(y.max()) + 1)).sum(axis=1)
            answers[rows] = votes.argmax(axis=1)
            continue
        there = ~np.isnan(y[near])
        mean = np.where(there, y[near], 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        answers[rows] = np.round(mean) if task is Task.MULTI_LABEL else mean
    return answers
