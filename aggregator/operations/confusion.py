"""What a device takes for what: counts of the served and of the frozen head on the same labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aggregator.operations.operator import Operator
from aggregator.store import Store
from headway.arrays import Int64
from headway.errors import RemoteError
from headway.maths import ClassificationSums
from headway.wire import Metrics, PublishedHead

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class FigureView:
    """A figure of another task than classification, of both heads; None where it is not known."""

    name: str
    served: float | None
    frozen: float | None


@dataclass(frozen=True, slots=True)
class ConfusionView:
    """What a device takes for what.

    labels: that both heads predicted. classes: names of rows and columns. served, frozen: by true class, then by the
    class that was answered, how many. figures: of a model that answers something else; then there are no counts.
    """

    device: str
    labels: int
    classes: tuple[str, ...]
    served: Counts
    frozen: Counts
    figures: tuple[FigureView, ...]


def device_confusion(operator: Operator, name: str) -> ConfusionView:
    """What its newest metrics say, all empty before the first labels and of what cannot be read. Raises
    UnknownNameError."""
    device, store = operator.the(name), operator.store
    row, typed = store.device(device), store.registry.get(device)
    nothing = ConfusionView(device, 0, (), (), (), ())
    if row is None or not row.metrics:
        return nothing
    try:
        metrics = Metrics.decode(row.metrics, row.class_count)
    except RemoteError:
        return nothing  # an earlier release took numbers that this one refuses; the device's next message replaces them
    served, frozen = metrics.served, metrics.frozen
    if not served.samples:
        return nothing
    if isinstance(served, ClassificationSums) and isinstance(frozen, ClassificationSums):
        classes = _class_names(store, "" if typed is None else typed.space, len(served.confusion))
        counts = _counts(served.confusion), _counts(frozen.confusion)
        return ConfusionView(device, served.samples, classes, *counts, ())
    after, before = served.summary(), frozen.summary()
    names = [key for key in after if key in before and key != "samples"]
    figures = (FigureView(key, _known(after[key]), _known(before[key])) for key in names)
    return ConfusionView(device, served.samples, (), (), (), tuple(figures))


def _known(figure: float) -> float | None:
    return float(figure) if math.isfinite(figure) else None


def _counts(confusion: Int64) -> Counts:
    return tuple(tuple(int(count) for count in row) for row in confusion)


def _class_names(store: Store, space: str, count: int) -> tuple[str, ...]:
    """As the fleet's head calls them; a number for those that only this device may know."""
    head = store.head(space) if space else None
    known: tuple[str, ...] = ()
    if head is not None:
        try:
            known = PublishedHead.decode(head.payload).head.classes
        except RemoteError:
            known = ()  # of another release: numbers say enough
    return tuple(known[index] if index < len(known) else f"class {index}" for index in range(count))
