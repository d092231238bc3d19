"""What the first place shows, read in one picture of the store."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from aggregator.operations import GroupView, Operator, device_page, list_groups
from aggregator.page.fleet.bars import DAY_S, Bar, bar_of, recent_days
from aggregator.page.fleet.numbers import Counts, counts_of
from aggregator.page.words import shell
from aggregator.registry import DeviceView, Request, resolved
from headway.errors import ConfigError

PAGE_SIZE = 50
# what lists can be sorted by, the default first, in words
SORTS = (
    ("recent_accuracy_gain", "Worst first"), ("device", "Name"), ("-silent_for", "Silent longest"),
    ("since_drift", "Newest drift"), ("-labels", "Most labels"), ("-bytes_per_day", "Most bytes a day"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody looks for. after: where the page before ended."""

    filter: str = ""
    sort: str = SORTS[0][0]
    after: str = ""

    @property
    def query(self) -> str:
        """As it stands in an address, without the place in the list."""
        given = {"filter": self.filter, "sort": self.sort if self.sort != SORTS[0][0] else ""}
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
    """found: how many meet the filter. next: `Wanted.after` of the next page; empty behind the last.

    problem: why the filter cannot be read; then there are no lines.
    """

    counts: Counts
    found: int
    lines: tuple[Line, ...]
    next: str
    groups: tuple[GroupView, ...]
    problem: str = ""


def fleet_shown(operator: Operator, wanted: Wanted) -> FleetShown:
    """Everything at once."""
    counts = counts_of(operator.store, operator.now_s)
    groups = tuple(list_groups(operator))
    try:
        return _found(operator, wanted, counts, groups)
    except ConfigError as error:
        return FleetShown(counts, 0, (), "", groups, str(error))


def _found(operator: Operator, wanted: Wanted, counts: Counts, groups: tuple[GroupView, ...]) -> FleetShown:
    page = device_page(operator, Request(wanted.filter, wanted.sort, wanted.after, PAGE_SIZE))
    today = int(operator.now_s // DAY_S)
    lines = tuple(
        Line(view, bar_of(view.row, recent_days(operator.store, view.row.device, today), today))
        for view in page.devices
    )
    found = counts.devices
    if wanted.filter:
        found = operator.store.registry.count(resolved(operator.store, wanted.filter), operator.now_s)
    return FleetShown(counts, found, lines, page.next, groups)
