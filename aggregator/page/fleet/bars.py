"""The accuracy bar of a device: a cell for each of the last days, or heads, its colour by served minus frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aggregator.page.words import points
from aggregator.store import ReadableStore, RegistryRow
from aggregator.store.rows import DAYS, HEAD_SPANS, DayRow, HeadSpanRow
from headway.printable import printable

DAYS_SHOWN = 30
DAY_S = 86_400
CELL, STEP, HEIGHT, LOW = 6, 8, 22, 8
# from which difference on, in either direction, a cell takes the next stronger colour
LEVELS = (0.005, 0.03, 0.08)
NOTHING = "nothing"
# of the name of a head, which a device wrote
NAME_MAX = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """A day, or the time from one change of the head to the next. name: what to call it; gain: served minus frozen of
    its labels; None without any."""

    name: str
    labels: int
    gain: float | None

    @property
    def level(self) -> str:
        """The class of its colour."""
        if self.gain is None:
            return NOTHING
        strength = sum(abs(self.gain) >= bound for bound in LEVELS)
        return "even" if not strength else f"{'gain' if self.gain > 0 else 'loss'}-{strength}"


@dataclass(frozen=True, slots=True)
class Bar:
    """Cells, the oldest first. first: the date of the first one where they are days, or empty."""

    cells: tuple[Cell, ...]
    first: str = ""

    @property
    def width(self) -> int:
        return max(DAYS_SHOWN, len(self.cells)) * STEP - (STEP - CELL)

    @property
    def height(self) -> int:
        return HEIGHT

    def paths(self) -> Iterator[tuple[str, str]]:
        """Class and outline of the cells of each colour; a day that was worse, or without labels, is lower."""
        outlines: dict[str, list[str]] = {}
        for index, cell in enumerate(self.cells):
            low = cell.gain is None
            height = LOW if low else HEIGHT
            top = (HEIGHT - height) // 2
            outlines.setdefault(cell.level, []).append(f"M{index * STEP} {top}h{CELL}v{height}h-{CELL}z")
        yield from ((level, "".join(parts)) for level, parts in sorted(outlines.items()))

    @property
    def words(self) -> str:
        """The same for who does not see it."""
        known = [cell for cell in self.cells if cell.gain is not None]
        if not known:
            return f"no labels in the last {len(self.cells)} days" if self.first else "no labels under any head"
        labels = sum(cell.labels for cell in known)
        mean = sum((cell.gain or 0.0) * cell.labels for cell in known) / labels
        worst = min(known, key=lambda cell: cell.gain or 0.0)
        over = "days with labels" if self.first else "heads, the newest last"
        text = f"{points(mean)} points against the frozen head over {len(known)} {over}"
        where = f"{'on' if self.first else 'by'} {worst.name}"
        return text if (worst.gain or 0.0) >= 0 else f"{text}, worst {points(worst.gain)} {where}"

    @property
    def told(self) -> str:
        """Of each day difference and labels, for the browser to show, empty for one without; of heads with the name, a
        line each."""
        if not self.first:
            return "\n".join(f"{points(cell.gain)}/{cell.labels}/{cell.name}" for cell in self.cells)
        return ",".join("" if cell.gain is None else f"{points(cell.gain)}/{cell.labels}" for cell in self.cells)


def recent_days(
    store: ReadableStore, devices: Sequence[str], today: int, count: int = DAYS_SHOWN
) -> dict[str, list[DayRow]]:
    """Of each device the days that are over and younger than that, oldest first. today: days since 1970."""
    found: dict[str, list[DayRow]] = {device: [] for device in devices}
    for row in store.rows(DAYS).among(devices, today - count + 1):
        found[row.device].append(row)
    return found


def bar_of(row: RegistryRow, days: Sequence[DayRow], today: int, count: int = DAYS_SHOWN) -> Bar:
    """days: of this device, those of `recent_days`."""
    known = {day.day: (day.labels, day.served_right, day.frozen_right) for day in days}
    if row.day:
        known[row.day] = row.day_labels, row.day_served_right, row.day_frozen_right
    scored = row.served_accuracy is not None
    cells = []
    for day in range(today - count + 1, today + 1):
        labels, served, frozen = known.get(day, (0, 0, 0))
        gain = (served - frozen) / labels if labels > 0 and scored else None
        cells.append(Cell(date_of(day), max(labels, 0), gain))
    return Bar(tuple(cells), date_of(today - count + 1))


def recent_spans(store: ReadableStore, devices: Sequence[str]) -> dict[str, list[HeadSpanRow]]:
    """What each device scored from one change of its head to the next, the oldest first."""
    found: dict[str, list[HeadSpanRow]] = {device: [] for device in devices}
    for row in store.rows(HEAD_SPANS).among(devices):
        found[row.device].append(row)
    return found


def bar_of_heads(spans: Sequence[HeadSpanRow], count: int = DAYS_SHOWN) -> Bar:
    """spans: of one device."""
    cells = []
    for span in spans[-count:]:
        gain = (span.served_right - span.frozen_right) / span.labels if span.labels > 0 else None
        cells.append(
            Cell(
                f"{printable(span.head)[:NAME_MAX]} from {date_of(int(span.since_s // DAY_S))}",
                max(span.labels, 0),
                gain,
            )
        )
    return Bar(tuple(cells))


def date_of(day: int) -> str:
    """Year, month and day of a day since 1970."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d")
