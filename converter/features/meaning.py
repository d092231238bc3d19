"""What y means, which only the head can tell: the same numbers are classes under a softmax and values under none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from converter.features.data import TrainingData, training_data
from converter.options import AUTO
from converter.sources import HeadWeights
from headway.arrays import AnyArray, describe
from headway.errors import DataError, listed
from headway.maths import HeadKind, Task
from headway.tables import are_whole, names_of

# so many different whole numbers are taken for classes where nothing says what they are
CLASSES_ASKED = 32


def settled(data: TrainingData, weights: HeadWeights, task: str = AUTO) -> tuple[TrainingData, str]:
    """The data with y read as this head takes it, and what was taken for what, in one line.

    task: of headway.maths.Task, or ``auto`` to infer it. Data whose `given` is None is taken as it is.
    Raises DataError when y cannot be what the head gives, or may be either of two things; the line says what to give.
    """
    outputs = len(weights.bias)
    given = data.given
    if given is not None:
        data = _reread(data, given, weights, outputs, task).told_by(data)
    _refuse_others(data, weights, outputs, task)
    return data, _said(data, weights, given)


def settled_alone(data: TrainingData, task: str = AUTO) -> tuple[TrainingData, HeadKind, str]:
    """`settled` where there is no model: also the head that y asks for. Raises DataError.

    In a table numbers are names of classes where they are few and whole, and values where they have fractions. Many
    different whole numbers may be either: then `task` must tell.
    """
    _refuse_many(data, task)
    if data.labels and not data.named:
        data = _of_table(data, task)
    weights = _meaning(data, task)
    data, said = settled(data, weights, task)
    return data, weights.kind, f"column {', '.join(data.labels)}: {said}" if data.labels else said


def _refuse_many(data: TrainingData, task: str) -> None:
    given = data.given
    if task != AUTO or given is None or given.ndim != 1 or data.named or given.dtype.kind not in "iuf":
        return
    count = len(np.unique(given))
    if _whole(given) and count > CLASSES_ASKED:
        what = f"column {data.labels[0]!r}" if data.labels else "y"
        raise DataError(
            f"{what} holds {count} different whole numbers: give --task regression if they are values, "
            "--task classification if each names a class"
        )


def _of_table(data: TrainingData, task: str) -> TrainingData:
    """y as a table without a model means it. Raises DataError."""
    given = data.given
    assert given is not None  # a table has a y
    first = data.labels[0]
    if given.ndim == 1 and task == Task.MULTI_LABEL:
        raise DataError(f"--task multi-label needs several columns of 0 and 1; name them: --label {first},...")
    if given.dtype.kind == "U":
        if task == Task.REGRESSION:
            raise DataError(f"--task regression needs numbers; column {first!r} holds such as {str(given[0])[:40]!r}")
        count = len(np.unique(given))
        if count > CLASSES_ASKED and 2 * count > len(given):
            raise DataError(
                f"column {first!r} holds {count} different names in {len(given)} rows, such as {str(given[0])[:40]!r}: "
                "nothing is learned of names that come once; name the column of classes, --label COLUMN"
            )
        made = training_data(data.x, given)
    elif given.ndim == 2 and _one_hot(given) and task in (AUTO, Task.CLASSIFICATION):
        made = training_data(data.x, given.argmax(axis=1), data.labels)
    elif given.ndim == 2 or task == Task.REGRESSION or not _whole(given):
        if task == Task.CLASSIFICATION:
            raise DataError(f"--task classification needs one class a row; {listed(data.labels)} hold values")
        made = training_data(data.x, given.reshape(len(given), -1).astype(np.float64), data.labels)
    else:
        numbers = np.unique(given.astype(np.int64))
        made = training_data(data.x, names_of(given), list(map(str, numbers.tolist())))
    return replace(made, given=None).told_by(data)


def _meaning(data: TrainingData, task: str) -> HeadWeights:
    """A head of the kind that y asks for, as `settled` looks at one."""
    values = data.targets
    outputs, kind = len(data.classes), HeadKind.SOFTMAX
    if values is None and task == Task.REGRESSION:
        outputs, kind = 1, HeadKind.LINEAR
    elif values is not None and task != Task.CLASSIFICATION:
        outputs = values.shape[1]
        binary = outputs > 1 and bool(np.isin(values, (0, 1)).all())
        one_hot = binary and data.given is not None and bool((values.sum(axis=1) == 1).all())
        if task == Task.MULTI_LABEL or (task == AUTO and binary and not one_hot):
            kind = HeadKind.SIGMOID
        elif task == Task.REGRESSION or not one_hot:
            kind = HeadKind.LINEAR
    return HeadWeights(np.zeros((1, outputs), np.float32), np.zeros(outputs, np.float32), kind, "none")


def _reread(data: TrainingData, given: AnyArray, weights: HeadWeights, outputs: int, task: str) -> TrainingData:
    """The same data with another reading of y, where the head or the user asks for one."""
    one_value = weights.kind is HeadKind.LINEAR and outputs == 1
    if data.targets is None:
        if given.dtype.kind == "U" or data.named or not (one_value and task in (AUTO, Task.REGRESSION)):
            return data
        if task == AUTO and set(np.unique(given).tolist()) <= {0, 1}:
            raise DataError(
                "y holds 0 and 1 and the head is one output without activation: give --task classification if the "
                "model was trained with from_logits=True, --task regression if it gives a value"
            )
        return _as_values(data, given[:, None])
    if given.ndim == 1 or task in (Task.MULTI_LABEL, Task.REGRESSION):
        return data
    classes = data.classes if data.named else None
    if given.shape[1] == 1:
        if not _whole(given) or (one_value and task == AUTO):
            return data
        return training_data(data.x, given[:, 0], classes if data.named and len(data.classes) > 1 else None)
    width = 2 if outputs == 1 else outputs
    exclusive = given.shape[1] == width and _one_hot(given)
    if exclusive and (weights.kind is not HeadKind.SIGMOID or outputs == 1 or task == Task.CLASSIFICATION):
        return replace(data, y=given.argmax(axis=1).astype(np.int64), targets=None)
    return data


def _as_values(data: TrainingData, values: AnyArray) -> TrainingData:
    targets = np.asarray(values, np.float32)
    return replace(data, y=np.full(len(values), -1, np.int64), classes=("0",), targets=targets)


def _refuse_others(data: TrainingData, weights: HeadWeights, outputs: int, task: str) -> None:
    """Raises DataError where the reading does not fit the head."""
    shown = describe(data.given) if data.given is not None else "given"
    if data.targets is None:
        if task not in (AUTO, Task.CLASSIFICATION):
            raise DataError(f"--task {task} needs numbers for every output, (n, {outputs}); y is {shown}")
        _refuse_shifted(data, outputs)
        return
    if task == Task.CLASSIFICATION:
        raise DataError(f"--task classification needs one class per sample, an index or a name; y is {shown}")
    if weights.kind is HeadKind.SOFTMAX:
        raise DataError(
            f"y is {shown} and holds several values or fractions per sample, but the model ends in a softmax over "
            "exclusive classes; give one class index per sample, (n,)"
        )
    if data.targets.shape[1] != outputs:
        raise DataError(
            f"y is {shown}, the model has {outputs} outputs; give (n, {outputs}) values, or one class index per "
            "sample, (n,)"
        )
    wanted = Task.MULTI_LABEL if weights.kind is HeadKind.SIGMOID else Task.REGRESSION
    if task not in (AUTO, wanted):
        raise DataError(f"--task {task} does not fit: layer {weights.layer!r} ends in {weights.kind}, a {wanted} head")
    if wanted is Task.MULTI_LABEL and (data.targets.min() < 0 or data.targets.max() > 1):
        raise DataError(
            f"y is {shown} and holds values from {data.targets.min():g} to {data.targets.max():g}, but the model ends "
            "in a sigmoid; give 0 or 1 for each of its labels"
        )


def _refuse_shifted(data: TrainingData, outputs: int) -> None:
    """Indices that start at one."""
    wanted = 2 if outputs == 1 else outputs
    if not data.named and data.given is not None and data.given.dtype.kind in "iuf" and data.targets is None:
        low, high = int(data.y.min()), int(data.y.max())
        if low == 1 and high == wanted:
            raise DataError(f"y holds 1 to {high}; class indices begin at 0: give y - 1")


def _said(data: TrainingData, weights: HeadWeights, given: AnyArray | None) -> str:
    shape = "" if given is None else f"y {describe(given)}, "
    if data.targets is None:
        how = "one class per window"
        if given is not None and given.ndim == 2:
            how += ", read from one-hot rows" if given.shape[1] > 1 else ", read from a column"
        return f"{shape}{how}"
    if weights.kind is HeadKind.SIGMOID:
        exclusive = data.targets.shape[1] > 1 and _one_hot(data.targets)
        note = "; each row holds one label: --task classification if they exclude each other" if exclusive else ""
        return f"{shape}several labels per window, each 0 or 1{note}"
    return f"{shape}values to predict, a regression"


def _whole(values: AnyArray) -> bool:
    return values.dtype.kind in "iub" or are_whole(values)


def _one_hot(values: AnyArray) -> bool:
    """Every row holds a single 1 and else 0."""
    return bool(np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all())
