"""What is taken for what: the confusion matrices of the served and of the frozen head on the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.operations import ConfusionView

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


def confusion_shown(found: ConfusionView) -> Confusion:
    """As it is drawn."""
    shown = found.classes[:CLASSES_SHOWN]
    matrices = _matrix("served", found.served, shown), _matrix("frozen", found.frozen, shown)
    return Confusion(shown, found.labels, matrices, len(found.classes) - len(shown))


def _matrix(head: str, counts: Sequence[Sequence[int]], shown: Sequence[str]) -> Matrix:
    lines, right = [], sum(row[index] for index, row in enumerate(counts))
    for index, name in enumerate(shown):
        labels = sum(counts[index])
        cells = tuple(Cell(count, count / labels if labels else 0.0) for count in counts[index][: len(shown)])
        lines.append(ClassLine(name, labels, cells, counts[index][index] / labels if labels else None))
    return Matrix(head, right / max(1, sum(map(sum, counts))), tuple(lines))
