"""What is taken for what: the confusion matrices of the served and of the frozen head on the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.store import Store
from headway.errors import RemoteError
from headway.maths import ClassificationSums, LabelSums, ValueSums
from headway.wire import Metrics, PublishedHead

# shades of a cell, by the share of its row
SHADES = 5
CLASSES_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Cell:
    """How many windows of a true class were taken for another; share: of that true class."""

    count: int
    share: float

    @property
    def shade(self) -> int:
        """0 for none, up to `SHADES`."""
        return 0 if not self.count else 1 + min(SHADES - 1, int(self.share * SHADES))


@dataclass(frozen=True, slots=True)
class ClassLine:
    """A true class. recall: of the head, None without a label of the class."""

    name: str
    labels: int
    cells: tuple[Cell, ...]
    recall: float | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Of one head. accuracy: over all classes, those that are left out, too."""

    head: str
    accuracy: float
    lines: tuple[ClassLine, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """names: of the columns. matrices: served, frozen. left_out: classes beyond those that are shown."""

    names: tuple[str, ...]
    labels: int
    matrices: tuple[Matrix, Matrix]
    left_out: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of another task than classification: name, served, frozen."""

    rows: tuple[tuple[str, float, float], ...]


def measured(store: Store, device: str, space: str) -> Confusion | Figures | None:
    """What a device's newest metrics say; None before the first labels. In one picture of the store."""
    row = store.device(device)
    if row is None or not row.metrics:
        return None
    metrics = Metrics.decode(row.metrics, row.class_count)
    served, frozen = metrics.served, metrics.frozen
    if not served.samples:
        return None
    if isinstance(served, ClassificationSums) and isinstance(frozen, ClassificationSums):
        names = _class_names(store, space, len(served.confusion))
        shown = tuple(names[:CLASSES_SHOWN])
        matrices = _matrix("served", served, shown), _matrix("frozen", frozen, shown)
        return Confusion(shown, served.samples, matrices, len(names) - len(shown))
    after, before = served.summary(), frozen.summary()
    names = [name for name in after if name in before and isinstance(served, LabelSums | ValueSums)]
    return Figures(tuple((name, float(after[name]), float(before[name])) for name in names))


def _matrix(head: str, sums: ClassificationSums, shown: Sequence[str]) -> Matrix:
    lines = []
    for index, name in enumerate(shown):
        labels = int(sums.support[index])
        counts = [int(count) for count in sums.confusion[index, : len(shown)]]
        cells = tuple(Cell(count, count / labels if labels else 0.0) for count in counts)
        lines.append(ClassLine(name, labels, cells, float(sums.recall[index]) if labels else None))
    return Matrix(head, sums.accuracy, tuple(lines))


def _class_names(store: Store, space: str, count: int) -> list[str]:
    """As the fleet's head calls them; a number for those that only this device may know."""
    head = store.head(space) if space else None
    known: tuple[str, ...] = ()
    if head is not None:
        try:
            known = PublishedHead.decode(head.payload).head.classes
        except RemoteError:
            known = ()  # of another release: numbers say enough
    return [known[index] if index < len(known) else f"class {index}" for index in range(count)]
