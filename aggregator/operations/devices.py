"""One device with everything that is kept of it: state, marks, groups, days."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from aggregator.operations.operator import Operator
from aggregator.registry import DeviceView, Page, Request, as_plain, days_of, device_view, groups_of, list_page
from aggregator.store import RegistryRow
from aggregator.store.rows import DayRow
from headway.fields import JsonValue

# those that are over, and today
DAYS_MAX = 401
EPOCH_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DayView:
    """What a device did on a day (UTC, year-month-day). Accuracies are of that day's labels, None without any."""

    day: str
    labels: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    bytes: int


@dataclass(frozen=True, slots=True)
class DeviceDay:
    """The same with the device."""

    device: str
    day: str
    labels: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    bytes: int


@dataclass(frozen=True, slots=True)
class DayPage:
    """All days of some devices, of each the oldest first. next: for `after`, empty behind the last."""

    days: list[DeviceDay]
    next: str


@dataclass(frozen=True, slots=True)
class DeviceInFull:
    """A device, the groups to which it belongs now, and its last days, the newest first."""

    view: DeviceView
    groups: tuple[str, ...]
    days: tuple[DayView, ...]

    def plain(self) -> dict[str, JsonValue]:
        """For JSON."""
        return as_plain(self.view) | {"groups": [*self.groups], "days": [asdict(day) for day in self.days]}


def device_in_full(operator: Operator, name: str, days_max: int) -> DeviceInFull:
    """Raises UnknownNameError."""
    view = device_view(operator.store, operator.the(name))
    days = days_of(operator.store, view.row, days_max)
    groups = groups_of(operator.store, name, operator.now_s)
    return DeviceInFull(view, tuple(groups), tuple(day_view(day, view.row) for day in days))


def day_page(operator: Operator, after: str, devices_max: int) -> DayPage:
    """Every day that is kept, by device. Raises ConfigError for a cursor that is none."""
    store = operator.store
    page = list_page(store, Request(after=after, count_max=devices_max), operator.now_s, marks=False)
    days = [
        DeviceDay(view.row.device, **asdict(day_view(day, view.row)))
        for view in page.devices
        for day in reversed(days_of(store, view.row, DAYS_MAX))
    ]
    return DayPage(days, page.next)


def device_page(operator: Operator, request: Request) -> Page:
    """Raises ConfigError for a filter, a sort or a cursor that is none."""
    return list_page(operator.store, request, operator.now_s)


def day_view(day: DayRow, row: RegistryRow) -> DayView:
    """row: of the device whose day it is."""
    date = (EPOCH_BEGAN + timedelta(days=day.day)).strftime("%Y-%m-%d")
    if day.labels <= 0 or row.served_accuracy is None:
        return DayView(date, day.labels, None, None, day.bytes)
    return DayView(date, day.labels, day.served_right / day.labels, day.frozen_right / day.labels, day.bytes)
