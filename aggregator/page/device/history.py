"""Accuracy and bytes of a device over its days, for a table and for a chart of the same figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.store import EventRow, RegistryRow
from aggregator.store.rows import DayRow

DAY_S = 86_400
DAYS_SHOWN = 90
# days that are averaged in the chart, by their labels: one day alone has few
SMOOTHED_DAYS = 7
# events that the chart marks
MARKED = {"drift": "drift", "head-changed": "head"}
BYTES_DAYS, BAR_STEP, BAR_WIDTH, BAR_HEIGHT = 30, 12, 9, 56
# of the chart as it is without scripts; below CHART_LOW of accuracy it begins lower
CHART_WIDTH, CHART_HEIGHT, CHART_STEP = 640, 180, 5


@dataclass(frozen=True, slots=True)
class Day:
    """One day. served, frozen: accuracy of its labels, None without any."""

    day: int
    labels: int
    served: float | None
    frozen: float | None
    bytes: int

    @property
    def gain(self) -> float | None:
        return None if self.served is None or self.frozen is None else self.served - self.frozen


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, for the chart. kind: ``drift`` or ``head``."""

    at_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The chart as outlines for an SVG. low: accuracy at its foot, in per cent; marks: kind and outline; first, last:
    days since 1970."""

    width: int
    height: int
    low: int
    served: str
    frozen: str
    marks: tuple[tuple[str, str], ...]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class History:
    """days: newest first, those without labels and bytes left out."""

    days: tuple[Day, ...]
    marks: tuple[Mark, ...]
    now_day: int

    @property
    def scored(self) -> tuple[Day, ...]:
        """Days with an accuracy, the newest first."""
        return tuple(day for day in self.days if day.labels > 0 and day.served is not None)

    @property
    def chart(self) -> str:
        """For the browser, as JSON: moments, smoothed accuracies in per cent, labels, marks."""
        past, shown = self._smoothed
        return json.dumps({
            "at": [day.day * DAY_S for day in past],
            "served": [round(100 * served, 2) for served, _ in shown],
            "frozen": [round(100 * frozen, 2) for _, frozen in shown],
            "labels": [day.labels for day in past],
            "marks": [{"at": mark.at_s, "kind": mark.kind, "text": mark.text} for mark in self.marks],
        })  # fmt: skip

    @property
    def drawing(self) -> Drawing:
        """The same for who has no scripts, and for paper."""
        past, shown = self._smoothed
        lowest = min((min(pair) for pair in shown), default=0.0)
        low = max(0, int(100 * lowest - 4) // CHART_STEP * CHART_STEP)
        first, last = past[0].day, max(past[-1].day, past[0].day + 1)

        def x(day: float) -> float:
            return round(CHART_WIDTH * (day - first) / (last - first), 1)

        def line(of: int) -> str:
            points = (
                f"{x(day.day)} {round(CHART_HEIGHT * (100 - 100 * pair[of]) / (100 - low), 1)}"
                for day, pair in zip(past, shown, strict=True)
            )
            return "M" + "L".join(points)

        marks = (mark for mark in self.marks if first <= mark.at_s / DAY_S <= last)
        placed = tuple((mark.kind, f"M{x(mark.at_s / DAY_S)} 0V{CHART_HEIGHT}") for mark in marks)
        return Drawing(CHART_WIDTH, CHART_HEIGHT, low, line(0), line(1), placed, first, last)

    @property
    def _smoothed(self) -> tuple[list[Day], list[tuple[float, float]]]:
        """Days with labels, the oldest first; served and frozen of each, over a week."""
        past = [*reversed(self.scored)]
        return past, [_over_a_week(past, index) for index in range(len(past))]

    @property
    def most_bytes(self) -> int:
        return max((day.bytes for day in self.days[:BYTES_DAYS]), default=0)

    @property
    def bytes_outline(self) -> str:
        """Bars of the last days' bytes, the newest on the right, as the outline of an SVG path."""
        most, known = max(self.most_bytes, 1), {day.day: day.bytes for day in self.days}
        parts = []
        for index in range(BYTES_DAYS):
            count = known.get(self.now_day - BYTES_DAYS + 1 + index, 0)
            height = max(2, round(BAR_HEIGHT * count / most)) if count else 1
            parts.append(f"M{index * BAR_STEP} {BAR_HEIGHT - height}h{BAR_WIDTH}v{height}h-{BAR_WIDTH}z")
        return "".join(parts)

    @property
    def bytes_width(self) -> int:
        return BYTES_DAYS * BAR_STEP - (BAR_STEP - BAR_WIDTH)


def history_of(row: RegistryRow, days: Sequence[DayRow], events: Sequence[EventRow], now_s: float) -> History:
    """days: newest first, with the present one; events: of this device."""
    scored = row.served_accuracy is not None
    known = [_day(day, scored) for day in days if day.labels or day.bytes]
    since_s = known[-1].day * DAY_S if known else now_s
    marks = [
        Mark(event.received_s, MARKED[event.name], event.name)
        for event in reversed(events)
        if event.name in MARKED and event.received_s >= since_s
    ]
    return History(tuple(known), tuple(marks), int(now_s // DAY_S))


def _day(day: DayRow, scored: bool) -> Day:
    if day.labels <= 0 or not scored:
        return Day(day.day, max(day.labels, 0), None, None, day.bytes)
    served, frozen = (min(1.0, max(0.0, right / day.labels)) for right in (day.served_right, day.frozen_right))
    return Day(day.day, day.labels, served, frozen, day.bytes)


def _over_a_week(past: Sequence[Day], index: int) -> tuple[float, float]:
    """Served and frozen over the last days, by labels."""
    some = [day for day in past[: index + 1] if day.day > past[index].day - SMOOTHED_DAYS]
    labels = sum(day.labels for day in some)
    served = sum((day.served or 0.0) * day.labels for day in some) / labels
    return served, sum((day.frozen or 0.0) * day.labels for day in some) / labels
