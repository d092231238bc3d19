"""What every recipe does with a stream: answer a row, then learn its label when it comes."""

from __future__ import annotations

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
from recipes.peer import Peer

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
             gradient: bool = True, new_classes: bool = False, peer: Peer | None = None,
             **coming: AnyArray | None) -> dict[str, AnyArray]:  # fmt: skip
    """What frozen, exact, gradient and the peer answer to each row of `later`. train, later: x and y.

    streams: rows of each device, in order, each begun anew; without it one device has all. peer: that of `fitted_peer`,
    where several streams share it. coming: `due` and `labelled` of `follow`, for one stream.
    """
    streams = [np.arange(len(later[0]))] if streams is None else streams
    count = len(later[0])

    def ours(**settings: Any) -> AnyArray:
        return each(lambda: Ours(bundle, *later, new_classes=new_classes, **settings), streams, count, **coming)

    def others() -> tuple[AnyArray, AnyArray]:
        rows = embedding(bundle, later[0])
        begun = peer or fitted_peer(bundle, train, seed, later[1] if new_classes else None)
        return frozen(bundle, rows), each(lambda: begun.over(rows, later[1]), streams, count, **coming)

    calls: dict[str, Callable[[], Any]] = {"exact": ours}
    calls |= {"gradient": lambda: ours(kind="gradient")} if gradient else {}
    answers = together({**calls, "others": others})
    shipped, sgd = answers.pop("others")
    return {"frozen": shipped, **answers, "scikit-learn SGD": sgd}


def fitted_peer(bundle: Path, train: Data, seed: int, may_come: AnyArray | None = None) -> Peer:
    """Begun on the training rows x and y. may_come: labels, also of classes of which there is no training row."""
    values = opened(bundle).task is Task.REGRESSION
    new = None if may_come is None else np.unique(may_come)
    return Peer(embedding(bundle, train[0]), train[1], seed, values=values, new_classes=new)


def together(calls: Mapping[str, Callable[[], Answer]]) -> dict[str, Answer]:
    """What each of them gives, by name. Each runs in a process of its own, so that all cores work, and none has the
    threads of a runtime that another one opened.

    One after the other where TensorFlow is loaded, whose threads a forked process does not have.
    """
    if "tensorflow" in sys.modules:
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


def frozen(bundle: Path, rows: Float32) -> AnyArray:
    """What the head as shipped says of an embedding, float32 (n, e): classes int64 (n,), or values float32 (n,)."""
    variant = opened(bundle)
    logits = variant.head.logits(rows)
    return np.asarray(logits[:, 0] if variant.task is Task.REGRESSION else logits.argmax(axis=1))


@cache
def opened(bundle: Path) -> Variant:
    """A bundle, read once."""
    return read_variant(bundle)


def embedding(bundle: Path, x: AnyArray) -> Float32:
    """What the frozen backbone makes of all rows, float32 (n, e)."""
    variant = opened(bundle)
    return Pipeline(variant, open_runtime(variant)).features(x).embedding
