"""What looks wrong about data and model together, though every step works: said in plain lines, or refused.

A conversion proves that device and source agree. Whether the source is asked the right thing, with classes in the
order of its outputs and x in the scale it was trained on, shows only in how often it is right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converter.features import TrainingData
from converter.proof import both_classes
from converter.sources import Source
from headway.arrays import AnyArray, Float32, Int64
from headway.errors import DataError, ModelError, listed
from headway.maths import Head, HeadKind, TimeAxis, time_first

GAIN_MIN = 0.2  # of the windows: what another scale must explain beyond the given one
DEVIATIONS = 3.0  # and beyond chance
WEAK = 0.5  # of the way from chance to always right
SCALED_ROWS_MAX = 256
CLOSE = 0.05  # of the windows
ALIKE_MAX = 8

Answers = Callable[[Float32], Float32]  # windows (k, ...) -> outputs (k, C)
SCALES: dict[str, Callable[[Float32], AnyArray]] = {
    "x / 255": lambda x: x / 255,
    "x / 127.5 - 1": lambda x: x / 127.5 - 1,
    "x * 255": lambda x: x * 255,
    "x / 1000": lambda x: x / 1000,
    "x * 1000": lambda x: x * 1000,
    "x / 9.80665": lambda x: x / 9.80665,
    "x * 9.80665": lambda x: x * 9.80665,
    "x / 32768": lambda x: x / 32768,
    "x * 32768": lambda x: x * 32768,
    "--standardise": lambda x: _standard(x, (0, *range(1, x.ndim - 1))),
    "every window standardised by itself": lambda x: _standard(x, tuple(range(1, x.ndim))),
}


def answers_of(source: Source, head: Head) -> Answers:
    """What the source says of windows, with a column for each class."""
    return lambda windows: both_classes(source.answers(windows)[1], head)


def check_windows(x: AnyArray, axis: TimeAxis | None = TimeAxis.FIRST) -> list[str]:
    """Raises DataError when all windows are the same; lines on channels and windows that hardly differ.

    axis: of time in x (n, ...); None where it is not known.
    """
    flat = x.reshape(len(x), -1)
    if len(x) > 1 and (flat == flat[0]).all():
        value = f", all {flat[0, 0]:g}" if (flat[0] == flat[0, 0]).all() else ""
        raise DataError(
            f"all {len(x)} windows of x are the same{value}; a proof on them proves nothing: check how x was read"
        )
    notes = []
    different = len({hash(row.tobytes()) for row in flat})
    if different <= min(ALIKE_MAX, len(x) // 2):
        notes.append(f"warning: only {different} of the {len(x)} windows are different; a proof on them proves little")
    if axis is None or x.ndim != 3:
        return notes
    ordered = time_first(x, axis)
    channels = ordered.reshape(-1, ordered.shape[-1])
    dead = np.flatnonzero((channels == channels[0]).all(axis=0))
    if len(dead):
        held = ", ".join(f"{index} ({channels[0, index]:g})" for index in dead[:8])
        notes.append(f"warning: nothing ever changes in channel {held} of x; is that sensor connected?")
    return notes


def filled_lines(missing: AnyArray, rule: str) -> list[str]:
    """missing: bool (n, ...), which values of x were; rule: of `converter.options.MISSING`."""
    count = int(missing.sum())
    if not count:
        return []
    rows = int(missing.reshape(len(missing), -1).any(axis=1).sum())
    along = {"last": "the last value before", "linear": "the line between its neighbours"}
    how = along.get(rule, f"the channel's {rule}")
    return [
        f"{count:,} of {missing.size:,} values of x ({100 * count / missing.size:.2g} %) are missing, in {rows:,} of "
        f"{len(missing):,} windows; {how} stands in for them, here and on the device, before anything else"
    ]


def own_gaps_line(raw: Float32, outputs: Float32, answers: Answers) -> list[str]:
    """A model that deals with missing values itself. raw: float32 (k, ...) with NaN; outputs: (k, C), asked filled."""
    own = _tried(answers, raw) if len(raw) else None
    if own is None or not np.isfinite(own).all():
        return []
    scale = max(1.0, float(np.abs(outputs).max()))
    far = np.abs(own.reshape(len(own), -1) - outputs.reshape(len(own), -1)).max(axis=1) > 1e-3 * scale
    if not far.any():
        return []
    return [
        f"warning: the model takes missing values by itself and answers {int(far.sum())} of {len(raw)} such windows "
        "otherwise than with them filled; a device fills them: train the model on filled windows"
    ]


def answer_lines(
    answers: Answers, head: Head, data: TrainingData, rows: Int64, inputs: Float32, outputs: Float32
) -> list[str]:
    """Lines on how the source does on the proof rows. inputs: preprocessed (m, ...); outputs: (m, C) after its link.

    Raises DataError where text labels without `classes` belong to the outputs in another order.
    """
    if data.targets is not None:
        return _target_lines(data.targets[rows], outputs, head.kind, head.classes)
    labels = data.y[rows]
    predicted = outputs.argmax(axis=1)
    lines = _order_lines(predicted, labels, data)
    right = float((predicted == labels).mean())
    counts = np.bincount(labels, minlength=len(data.classes))
    most = float(counts.max() / len(labels))
    weak = right < most + WEAK * (1 - most)
    if weak and not lines and (scale := _better_scale(answers, inputs, labels, right)):
        lines.append(scale)
    if right <= most and len(set(labels.tolist())) > 1:
        told = f"the model is right on {100 * right:.1f} % of the windows"
        if len(set(predicted.tolist())) == 1:
            told = f"the model answers {data.classes[predicted[0]]!r} to every window, right on {100 * right:.1f} %"
        cause = "" if lines else "; likely causes: another order of classes, or x in another scale than in training"
        lines.insert(
            0,
            f"warning: {told}, no better than chance: always guessing {data.classes[int(counts.argmax())]!r} would be "
            f"right on {100 * most:.1f} %{cause}",
        )
    if head.kind is HeadKind.SIGMOID and len(head.classes) > 1:
        sums = outputs.sum(axis=1)
        lines.append(
            f"the model ends in {len(head.classes)} sigmoids and y has one class per window: a device answers with the "
            f"same sigmoids, which do not exclude each other (their sum is {sums.min():.2f} to {sums.max():.2f} here), "
            "until a learned head serves, whose probabilities add up to one"
        )
    return lines


def _order_lines(predicted: Int64, labels: Int64, data: TrainingData) -> list[str]:
    order = _order(predicted, labels, len(data.classes))
    given, best = int((predicted == labels).sum()), int((order[predicted] == labels).sum())
    # fitted on every second window and judged on the others: an order of many classes fits a few windows by chance
    fitted = _order(predicted[::2], labels[::2], len(data.classes))
    won = int(((fitted[predicted] == labels) & (predicted != labels))[1::2].sum())
    lost = int(((fitted[predicted] != labels) & (predicted == labels))[1::2].sum())
    if won < 2 * lost or won - lost < DEVIATIONS * np.sqrt(max(won + lost, 1)):
        if data.named or data.given is None or data.given.dtype.kind != "U":
            return []
        names = listed(data.classes)
        return [f"the names in y were taken as the model's outputs in the order of the alphabet: {names}"]
    names = ",".join(data.classes[index] for index in order)
    told = (
        f"the labels fit the model's outputs far better in another order of classes: {100 * best / len(labels):.1f} % "
        f"of the windows are right as {names}, {100 * given / len(labels):.1f} % as {','.join(data.classes)}"
    )
    if data.named or data.given is None or data.given.dtype.kind != "U":
        return [f"warning: {told}; check it against the order the model was trained in"]
    raise DataError(f"{told}, the order of the alphabet; give --classes with the names as the model was trained")


def _order(predicted: Int64, labels: Int64, count: int) -> Int64:
    """The label that each output fits best, int64 (count,); its own where nothing speaks against it."""
    table = np.eye(count, dtype=np.int64)  # output by label; a start that decides ties
    np.add.at(table, (predicted, labels), 2)
    return best_order(table)


def best_order(table: Int64) -> Int64:
    """A label for each output, each once, largest counts first. table: int (C, C), output by label."""
    count = len(table)
    order, left_outputs, left_labels = np.full(count, -1), set(range(count)), set(range(count))
    for cell in np.argsort(-table, axis=None, kind="stable"):
        output, label = divmod(int(cell), count)
        if output in left_outputs and label in left_labels:
            order[output] = label
            left_outputs.discard(output)
            left_labels.discard(label)
            if not left_outputs:
                break
    return np.asarray(order, np.int64)


def _far_better(given: float, other: float, count: int) -> bool:
    """Counts of windows that are right."""
    return bool(other - given >= max(GAIN_MIN * count, DEVIATIONS * np.sqrt(count)))


def _better_scale(answers: Answers, inputs: Float32, labels: Int64, right: float) -> str:
    """A usual change of scale under which the source is right far more often, in words; '' for none."""
    chosen = np.linspace(0, len(inputs) - 1, min(SCALED_ROWS_MAX, len(inputs))).astype(np.int64)
    some, wanted = inputs[chosen], labels[chosen]
    shares = {}
    for name, change in SCALES.items():
        outputs = _tried(answers, np.ascontiguousarray(change(some), np.float32))
        if outputs is None:
            continue
        shares[name] = float((outputs.argmax(axis=1) == wanted).mean())
    best = next((name for name in shares if shares[name] >= max(shares.values()) - CLOSE), "")  # the plainest of them
    if not best or not _far_better(right * len(some), shares[best] * len(some), len(some)):
        return ""
    return (
        f"warning: x seems to have another scale than in training: with {best} the model is right on "
        f"{100 * shares[best]:.1f} % of the windows instead of {100 * right:.1f} %"
    )


def _target_lines(targets: Float32, outputs: Float32, kind: HeadKind, names: tuple[str, ...]) -> list[str]:
    """Labels that may hold together, and values: against the best constant, and in another order of columns."""
    lines = []
    centred, given = outputs - outputs.mean(axis=0), targets - targets.mean(axis=0)
    norms = np.sqrt(np.square(centred).sum(axis=0))[:, None] * np.sqrt(np.square(given).sum(axis=0))
    correlation = centred.T @ given / np.maximum(norms, 1e-12)
    order = best_order(np.rint(1e6 * correlation).astype(np.int64))
    own, other = float(np.diag(correlation).mean()), float(correlation[np.arange(len(names)), order].mean())
    if other - own > max(GAIN_MIN, DEVIATIONS / np.sqrt(len(targets))):
        fitting = ",".join(names[index] for index in order)
        lines.append(
            f"warning: the columns of y fit the model's outputs in another order: {fitting} (mean correlation "
            f"{other:.2f} instead of {own:.2f})"
        )
    if kind is HeadKind.SIGMOID:
        right = float(((outputs >= 0.5) == (targets >= 0.5)).mean())
        constant = targets >= 0.5
        guess = float(np.maximum(constant.mean(axis=0), 1 - constant.mean(axis=0)).mean())
        if right <= guess and guess < 1:
            lines.append(
                f"warning: {100 * right:.1f} % of the labels are right, no better than chance: always giving each "
                f"label its usual value is right on {100 * guess:.1f} %; check the order of y and the scale of x"
            )
        return lines
    error, spread = np.square(outputs - targets).sum(axis=0), np.square(given).sum(axis=0)
    poor = [name for name, e, s in zip(names, error, spread, strict=True) if e >= s > 0]
    if poor:
        lines.append(
            f"warning: the model is no better than the mean of y at {listed(poor)}; check the order of y and the "
            "scales of x and y"
        )
    return lines


def _tried(answers: Answers, windows: Float32) -> Float32 | None:
    """The outputs (k, C); None from a model that cannot take windows beyond those given, such as indices."""
    try:
        return answers(windows)
    except ModelError:
        return None


def _standard(x: Float32, axes: tuple[int, ...]) -> AnyArray:
    deviation = x.std(axis=axes, keepdims=True)
    return np.asarray((x - x.mean(axis=axes, keepdims=True)) / np.where(deviation > 1e-9, deviation, 1), np.float32)
