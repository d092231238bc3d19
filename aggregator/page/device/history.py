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
class History:
    """days: newest first, those without labels and bytes left out."""

    days: tuple[Day, ...]
    marks: tuple[Mark, ...]
    now_day: int

    @property
    def scored(self) -> bool:
        """Whether there is anything to draw."""
        return any(day.served is not None for day in self.days)

    @property
    def chart(self) -> str:
        """For the browser, as JSON: moments, smoothed accuracies in per cent, labels, marks."""
        past = [day for day in reversed(self.days) if day.labels > 0 and day.served is not None]
        shown = [_smoothed(past, index) for index in range(len(past))]
        return json.dumps({
            "at": [day.day * DAY_S for day in past],
            "served": [round(100 * served, 2) for served, _ in shown],
            "frozen": [round(100 * frozen, 2) for _, frozen in shown],
            "labels": [day.labels for day in past],
            "marks": [{"at": mark.at_s, "kind": mark.kind, "text": mark.text} for mark in self.marks],
        })  # fmt: skip

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
    return Day(day.day, day.labels, day.served_right / day.labels, day.frozen_right / day.labels, day.bytes)


def _smoothed(past: Sequence[Day], index: int) -> tuple[float, float]:
    """Served and frozen over the last days, by labels."""
    some = [day for day in past[: index + 1] if day.day > past[index].day - SMOOTHED_DAYS]
    labels = sum(day.labels for day in some)
    served = sum((day.served or 0.0) * day.labels for day in some) / labels
    return served, sum((day.frozen or 0.0) * day.labels for day in some) / labels
