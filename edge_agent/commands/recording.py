"""Reads a recording, and drives an agent over it as the service drives it over a file: unit by unit.

What is predicted together is predicted by one head. Over a whole recording at once, what the learner makes of windows
without a label would show at the next label only, as it never does on a device.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.effects import Answer
from edge_agent.file_at_hand import UNIT_ROWS
from edge_agent.pipeline import Features, Pipeline
from headway.arrays import AnyArray, describe
from headway.bundle import Variant
from headway.errors import DataError, listed
from headway.maths import Task
from headway.npz import SingleArray
from headway.samples import Samples, labels_of, read_samples, targets_of
from headway.tables import Columns, are_whole, is_table, names_of, read_table


@dataclass(frozen=True, slots=True)
class Recording:
    """Windows with their labels; the names of the columns of x, where a table told them; whether it is hashed texts."""

    samples: Samples
    columns: tuple[str, ...] = ()
    of_texts: bool = False


def read_recording(
    stream: Path, labels: Path | None, columns: Columns | None, variant: Variant, *, new_classes: bool
) -> Recording:
    """Of an .npz, of a table, or of x and y in an .npy each. labels: that y. new_classes: names that the
    bundle does not know are classes, too. Raises DataError.
    """
    if is_table(stream):
        return _of_table(stream, columns or Columns(), variant, new_classes)
    if stream.suffix != ".npy":
        if labels is not None:
            raise DataError(f"--labels {labels} goes with windows in an .npy; {stream} brings its own y")
        return Recording(_in_order(read_samples(stream, variant.classes, task=variant.task, new_classes=new_classes),
                                   len(variant.classes)))  # fmt: skip
    if labels is None:
        raise DataError(f"{stream} holds windows without labels; give those of its rows: --labels FILE.npy")
    x = _array(stream)
    if x.ndim < 2 or x.dtype.kind not in "fiub" or not len(x):
        raise DataError(f"{stream} is {describe(x)}; it must be numbers of shape (n, ...), of one window at least")
    return Recording(_labelled(x, _array(labels), variant, new_classes))


def _of_table(stream: Path, columns: Columns, variant: Variant, new_classes: bool) -> Recording:
    """Rows, or windows of as many rows as the bundle takes. A bundle of a table knows its columns by their names."""
    shape, columns = variant.input_shape, _by_name(columns, variant)
    window = shape[0] if len(shape) > 1 else 0
    stride = columns.stride or _stride(variant)
    values = variant.task is Task.REGRESSION
    table = read_table(stream, replace(columns, window=window, stride=stride, values=values))
    if table.x.shape[1:] != shape:
        raise DataError(f"{stream} gives {describe(table.x)}, the bundle takes (n, {', '.join(map(str, shape))}); name "
                        "the columns of x: --columns A,B, or leave some out: --without A,B")  # fmt: skip
    y = table.y
    if variant.task is Task.CLASSIFICATION and y.ndim == 2:  # a column for each class
        y = _names_of_rows(stream, y, table.labels)
    elif variant.task is Task.CLASSIFICATION and (new_classes or _are_names(y, variant.classes)):
        y = names_of(y)
    return Recording(_labelled(table.x, y, variant, new_classes), table.columns, columns.text != "")


def _by_name(columns: Columns, variant: Variant) -> Columns:
    """What nobody has said of the columns, as the table that the bundle was made of had them."""
    known = {name: variant.report.get(name) for name in ("columns", "label_columns", "text_column")}
    if not (columns.x or columns.text or columns.without):
        if isinstance(known["columns"], list):
            columns = replace(columns, x=tuple(map(str, known["columns"])))
        elif isinstance(known["text_column"], str):
            columns = replace(columns, text=known["text_column"])
    if not columns.labels and isinstance(known["label_columns"], list):
        columns = replace(columns, labels=tuple(map(str, known["label_columns"])))
    elif not columns.labels and variant.task is not Task.CLASSIFICATION and not variant.classes[0].isdecimal():
        columns = replace(columns, labels=variant.classes)
    return columns


def _are_names(y: AnyArray, classes: tuple[str, ...]) -> bool:
    """Whether labels (n,) of a table are names of classes, not their numbers: they are where all classes are called by
    numbers, and where each label is such a name.
    """
    if y.dtype.kind == "f" and not are_whole(y[~np.isnan(y)]):
        return False
    numbers = all(re.fullmatch("-?[0-9]+", name) for name in classes)
    return numbers or {*names_of(y).tolist(), ""} <= {*classes, ""}


def _stride(variant: Variant) -> int:
    """As the bundle's own windows follow each other: on the device, or else in the table it was made of; 0: nobody
    says.
    """
    if variant.stream is not None:
        return variant.stream.hop
    known = variant.report.get("stride")
    return known if isinstance(known, int) and known > 0 else 0


def _names_of_rows(stream: Path, y: AnyArray, labels: tuple[str, ...]) -> AnyArray:
    """Of rows of 0 and a single 1, or of none known."""
    known = ~np.isnan(y).any(axis=1)
    wrong = known & ~(np.isin(y, (0, 1)).all(axis=1) & (y.sum(axis=1) == 1))
    if wrong.any():
        raise DataError(
            f"{stream}: row {int(wrong.argmax()) + 1} has not one 1 among {listed(labels)}, and the bundle's classes "
            "exclude each other"
        )
    return np.where(known, np.array(labels)[np.nan_to_num(y).argmax(axis=1)], "")


def _labelled(x: AnyArray, y: AnyArray, variant: Variant, new_classes: bool) -> Samples:
    classes = variant.classes
    if variant.task is not Task.CLASSIFICATION:
        return Samples(x, targets_of(y, len(x), len(classes), variant.task))
    more: tuple[str, ...] = ()
    if new_classes and y.dtype.kind == "U":
        more = tuple(name for name in dict.fromkeys(y.tolist()) if name and name not in classes)
    return Samples(x, labels_of(y, len(x), (*classes, *more)), names=more)


def _in_order(samples: Samples, own: int) -> Samples:
    """New classes numbered as their labels come. own: classes of the bundle."""
    y = samples.y
    if not samples.names or y is None:
        return samples
    come = [index - own for index in dict.fromkeys(y.tolist()) if index >= own]
    place = np.arange(-1, own + len(samples.names))  # -1 is no label
    place[1 + own + np.array(come)] = own + np.arange(len(come))
    return replace(samples, y=place[1 + y], names=tuple(samples.names[index] for index in come))


def _array(path: Path) -> AnyArray:
    """All of an .npy. Raises DataError."""
    with contextlib.closing(SingleArray.open(path)) as opened:
        return opened.array("x")


def recorded_features(samples: Samples, pipeline: Pipeline) -> Features:
    """Of all windows, one at least, to the bit as the service computes them. Raises DataError."""
    units = [pipeline.features(samples.windows(start, stop)) for start, stop in _units(len(samples))]
    return Features(
        np.concatenate([unit.embedding for unit in units]),
        np.concatenate([unit.codes for unit in units]),
        sum(unit.clipped for unit in units),
        sum(unit.missing for unit in units),
    )


def process(
    agent: Agent,
    features: Features,
    labels: AnyArray | None,
    ids: Sequence[str] | None,
    after: Callable[[int], None] = lambda stop: None,
    names: Sequence[str] = (),
) -> Answer:
    """`Agent.process`, a unit at a time. features: of one window at least. after: told how many rows are done.

    names: of classes beyond those of the bundle, in the order in which labels name them: each is added when its first
    label comes, as the service adds it.
    """
    answers, own = [], len(agent.learner.variant.classes)
    for start, stop in _units(len(features)):
        if names and labels is not None:
            for name in names[: max(int(labels[start:stop].max()) + 1 - own, 0)]:
                agent.add_class(name)
        answers.append(
            agent.process(
                features.rows(start, stop),
                None if labels is None else labels[start:stop],
                None if ids is None else ids[start:stop],
            )
        )
        after(stop)
    return Answer.joined(answers)


def _units(rows: int) -> list[tuple[int, int]]:
    return [(start, min(start + UNIT_ROWS, rows)) for start in range(0, rows, UNIT_ROWS)]
