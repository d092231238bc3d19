"""What every recipe does with a stream: answer a row, then learn its label when it comes."""

from __future__ import annotations

import copy
import heapq
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from edge_agent import Learner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.arrays import AnyArray, Float32
from headway.bundle import Variant, read_variant
from headway.maths import Task

Data = tuple[AnyArray, AnyArray]
Answer = TypeVar("Answer")


class Follower(Protocol):
    """Anything that answers a row now and may be told its label later."""

    def answer(self, row: int) -> Any:
        """Class, or value, that it expects."""
        ...

    def learn(self, row: int) -> None:
        """The label of a row that was answered before."""
        ...


def follow(
    follower: Follower, rows: AnyArray, due: AnyArray | None = None, labelled: AnyArray | None = None
) -> AnyArray:
    """Answers to `rows`, in order, (n,); no label is learned before its row was answered.

    due: the place in `rows` before which each label comes; without it at once. labelled: which labels come at all.
    """
    waiting: list[tuple[int, int]] = []
    answers = []
    for place, row in enumerate(rows.tolist()):
        while waiting and waiting[0][0] <= place:
            follower.learn(heapq.heappop(waiting)[1])
        answers.append(follower.answer(row))
        if labelled is None or labelled[place]:
            heapq.heappush(waiting, (place + 1 if due is None else max(int(due[place]), place + 1), row))
    return np.array(answers)


def compared(bundle: Path, train: Data, later: Data, seed: int, streams: Sequence[AnyArray] | None = None, *,
             gradient: bool = True, new_classes: bool = False,
             **coming: AnyArray | None) -> dict[str, AnyArray]:  # fmt: skip
    """What frozen, exact, gradient and the peer answer to each row of `later`. train, later: x and y.

    streams: rows of each device, in order, each begun anew; without it one device has all. coming: `due` and `labelled`
    of `follow`, for one stream.
    """
    streams = [np.arange(len(later[0]))] if streams is None else streams
    count = len(later[0])
    calls: dict[str, Callable[[], AnyArray]] = {
        "exact": lambda: each(lambda: Ours(bundle, *later, new_classes=new_classes), streams, count, **coming)
    }
    if gradient:
        calls["gradient"] = lambda: each(
            lambda: Ours(bundle, *later, kind="gradient", new_classes=new_classes), streams, count, **coming
        )
    calls["scikit-learn SGD"] = lambda: each(
        Peer(bundle, *train, seed).over(*later, new_classes).anew, streams, count, **coming
    )
    answers = together(calls)  # before this process opens a runtime, too
    return {"frozen": frozen(bundle, later[0]), **answers}


def together(calls: Mapping[str, Callable[[], Answer]]) -> dict[str, Answer]:
    """What each of them gives, by name. Each runs in a process of its own, so that all cores work.

    One after the other where TensorFlow is loaded, whose threads a forked process does not have, or where there is one.
    """
    if "tensorflow" in sys.modules or len(calls) == 1:
        return {name: call() for name, call in calls.items()}
    context = get_context("fork")
    waiting = {}
    for name, call in calls.items():
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_told, args=(theirs, call))
        process.start()
        theirs.close()
        waiting[name] = ours, process
    found = {}
    for name, (ours, process) in waiting.items():
        told = ours.recv()
        process.join()
        if isinstance(told, Exception):
            raise told
        found[name] = told
    return found


def _told(pipe: Connection, call: Callable[[], Any]) -> None:
    try:
        pipe.send(call())
    except Exception as error:  # noqa: BLE001 - raised again by who waits
        pipe.send(error)


def each(begin: Callable[[], Follower], streams: Sequence[AnyArray], count: int, **coming: AnyArray | None) -> AnyArray:
    """Answers by row (count,) of fresh followers, one a stream."""
    found = np.zeros(count)
    for rows in streams:
        found[rows] = follow(begin(), rows, **coming)
    return found


class Ours:
    """`edge_agent.Learner` over rows x with labels y; its settings are those of `[learner]`, by default the exact one.

    Classes are numbers, so that an own class is one that the network was not trained on.
    """

    def __init__(self, bundle: Path, x: AnyArray, y: AnyArray, **settings: Any) -> None:
        self.learner = Learner(opened(bundle), LearnerSettings(**settings))
        self._x, self._y = x, y

    def answer(self, row: int) -> Any:
        answer = self.learner.observe(self._x[row], str(row))
        return answer.probability[0] if self.learner.task is Task.REGRESSION else int(answer.label)

    def learn(self, row: int) -> None:
        label = self._y[row]
        self.learner.label(str(row), [float(label)] if self.learner.task is Task.REGRESSION else str(label))


def frozen(bundle: Path, x: AnyArray) -> AnyArray:
    """What the network as shipped says of all rows: classes int64 (n,), or values float32 (n,)."""
    variant = opened(bundle)
    logits = variant.head.logits(embedding(bundle, x))
    return np.asarray(logits[:, 0] if variant.task is Task.REGRESSION else logits.argmax(axis=1))


@cache
def opened(bundle: Path) -> Variant:
    """A bundle, read once."""
    return read_variant(bundle)


def embedding(bundle: Path, x: AnyArray) -> Float32:
    """What the frozen backbone makes of all rows, float32 (n, e)."""
    variant = opened(bundle)
    return Pipeline(variant, open_runtime(variant)).features(x).embedding


class Peer:
    """scikit-learn's SGD on the same embedding, over its largest deviation, begun on the training rows.

    Regressions use the Huber loss: with the squared one it diverges on some of the streams.
    """

    def __init__(self, bundle: Path, x: AnyArray, y: AnyArray, seed: int) -> None:
        from sklearn.linear_model import SGDClassifier, SGDRegressor

        self._bundle, self._values = bundle, opened(bundle).task is Task.REGRESSION
        rows = embedding(bundle, x)
        self._offset, self._scale = rows.mean(axis=0), float(rows.std(axis=0).max())
        self._mean, self._spread = (float(y.mean()), float(y.std())) if self._values else (0.0, 1.0)
        self._model: Any = (
            SGDRegressor("huber", random_state=seed) if self._values else SGDClassifier("log_loss", random_state=seed)
        )
        self._training = self._standard(rows), (y - self._mean) / self._spread if self._values else y
        self._model.fit(*self._training)
        self._rows, self._y = rows[:0], y[:0]

    def over(self, x: AnyArray, y: AnyArray, new_classes: bool = False) -> Peer:
        """A copy that has seen the training rows only, to `follow` the rows x.

        new_classes: y may hold classes of which there was no training row. It is told all classes beforehand.
        """
        made = copy.copy(self)
        made._rows, made._y = self._standard(embedding(self._bundle, x)), y
        if new_classes:
            from sklearn.linear_model import SGDClassifier

            made._model = SGDClassifier("log_loss", random_state=0)
            made._model.partial_fit(self._training[0], self._training[1], classes=np.unique(y))
        return made

    def anew(self) -> Peer:
        """One more such copy, as it is before the first row."""
        made = copy.copy(self)
        made._model = copy.deepcopy(self._model)
        return made

    def answer(self, row: int) -> Any:
        found = self._model.predict(self._rows[row : row + 1])[0]
        return found * self._spread + self._mean if self._values else found

    def learn(self, row: int) -> None:
        label = self._y[row : row + 1]
        self._model.partial_fit(
            self._rows[row : row + 1], (label - self._mean) / self._spread if self._values else label
        )

    def _standard(self, rows: Float32) -> Float32:
        return np.asarray((rows - self._offset) / self._scale, np.float32)
