"""What the first place shows, read in one picture of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from aggregator.operations import GroupView, Operator, device_page, list_groups
from aggregator.page.fleet.bars import DAY_S, Bar, bar_of, bar_of_heads, recent_days, recent_spans
from aggregator.page.words import shell
from aggregator.registry import DeviceView, Request, resolved
from headway.errors import ConfigError

PAGE_SIZE = 50
HEADS = "heads"
# what lists can be sorted by, the default first, in words
SORTS = (
    ("recent_accuracy_gain", "Worst first"), ("device", "Name"), ("-silent_for", "Silent longest"),
    ("since_drift", "Newest drift"), ("-labels", "Most labels"), ("-bytes_per_day", "Most bytes a day"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody looks for. after: where the page before ended; cells: of bars, empty for days, or `HEADS`."""

    filter: str = ""
    sort: str = SORTS[0][0]
    after: str = ""
    cells: str = ""

    @property
    def query(self) -> str:
        """As it stands in an address, without the place in the list."""
        sort = self.sort if self.sort != SORTS[0][0] else ""
        given = {"filter": self.filter, "sort": sort, "cells": self.cells}
        return urlencode({name: value for name, value in given.items() if value})

    def address(self, after: str = "", path: str = "/") -> str:
        query = "&".join(part for part in (self.query, urlencode({"after": after}) if after else "") if part)
        return f"{path}?{query}" if query else path

    @property
    def command(self) -> str:
        """What lists the same in a shell."""
        words = ["edge-fleet devices", *(["--filter", shell(self.filter)] if self.filter else [])]
        words += ["--sort", self.sort, "--limit", str(PAGE_SIZE)]
        return " ".join([*words, *(["--after", self.after] if self.after else [])])


@dataclass(frozen=True, slots=True)
class Line:
    """A device in the list."""

    view: DeviceView
    bar: Bar


@dataclass(frozen=True, slots=True)
class FleetShown:
    """found: how many meet the filter, None for the whole fleet. next: `Wanted.after` of the next page, if any.

    problem: why the filter cannot be read; then there are no lines.
    """

    found: int | None
    lines: tuple[Line, ...]
    next: str
    groups: tuple[GroupView, ...]
    problem: str = ""


def fleet_shown(operator: Operator, wanted: Wanted) -> FleetShown:
    """Everything at once."""
    groups = tuple(list_groups(operator))
    try:
        return _found(operator, wanted, groups)
    except ConfigError as error:
        return FleetShown(0, (), "", groups, str(error))


def _found(operator: Operator, wanted: Wanted, groups: tuple[GroupView, ...]) -> FleetShown:
    page = device_page(operator, Request(wanted.filter, wanted.sort, wanted.after, PAGE_SIZE))
    lines = _lines(operator, page.devices, wanted.cells)
    found = None
    if wanted.filter:
        found = operator.store.registry.count(resolved(operator.store, wanted.filter), operator.now_s)
    return FleetShown(found, lines, page.next, groups)


def _lines(operator: Operator, views: Sequence[DeviceView], cells: str) -> tuple[Line, ...]:
    names = [view.row.device for view in views]
    if cells == HEADS:
        spans = recent_spans(operator.store, names)
        return tuple(Line(view, bar_of_heads(spans[view.row.device])) for view in views)
    today = int(operator.now_s // DAY_S)
    days = recent_days(operator.store, names, today)
    return tuple(Line(view, bar_of(view.row, days[view.row.device], today)) for view in views)
