"""Implements `edge-fleet devices` and `edge-fleet device`: a line per device, one in full, or the same as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.registry import DeviceView, Request, as_plain
from aggregator.store import ONLINE, UNKNOWN, UNKNOWN_DEVICE, RefusalRow, RegistryRow
from aggregator.store.rows import BY_HAND
from headway.fields import readable_json
from headway.ports import Clock
from headway.printable import printable

if TYPE_CHECKING:
    from aggregator.operations import DayView
    from aggregator.reach import Fleet, Look

HEADER = ("DEVICE", "ONLINE", "EPOCH", "COUNTER", "LABELS", "SERVED", "FROZEN", "HEAD", "SEEN", "BUNDLE")
NUMBERS = frozenset({"COUNTER", "LABELS", "SERVED", "FROZEN", "SEEN"})
DAY_HEADER = ("DAY", "LABELS", "SERVED", "FROZEN", "BYTES")
DAY_NUMBERS = frozenset({"LABELS", "SERVED", "FROZEN", "BYTES"})
REMOVAL_TIMEOUT_S = 10.0
REMOVAL_POLL_S = 0.2


def list_devices(fleet: Look, clock: Clock, request: Request, in_json: bool) -> None:
    """``edge-fleet devices``. Raises ConfigError for a filter, a sort or a cursor that is none."""
    now_s = clock.wall_s()
    page = fleet.device_page(request)
    refusals = [] if in_json else [row for row in fleet.refusals() if row.device == UNKNOWN_DEVICE]
    if in_json:
        print_json_rows([as_plain(view) for view in page.devices])
    elif page.devices:
        rows = [_line(view.row, now_s) for view in page.devices]
        print_table(HEADER, rows, aligned([HEADER, *rows]), NUMBERS)
        for view in page.devices:
            if view.row.problem:
                print(printable(f"{view.row.device}: {view.row.problem}"))
    else:
        print("no device is like that" if request.filter or request.after else "no device has reported yet")
    if not in_json:
        for line in remarks(page.devices, refusals, now_s):
            print(line, file=sys.stderr)  # beside the table, which programs may cut up
    if page.next:
        print(f"there are more: --after {page.next}", file=sys.stderr)


def show_device(name: str, fleet: Fleet, clock: Clock, days_max: int, in_json: bool) -> None:
    """``edge-fleet device``. Raises ConfigError when no such device is known."""
    now_s = clock.wall_s()
    found = fleet.device(name, days_max)
    if in_json:
        print(readable_json(found.plain()))
        return
    for title, text in _about(found.view, found.groups, now_s):
        print(printable(f"{title:<10} {text}"))
    print()
    lines = [_day_line(day) for day in found.days]
    print_table(DAY_HEADER, lines, aligned([DAY_HEADER, *lines]), DAY_NUMBERS)
    for line in remarks([found.view], [], now_s):
        print(line, file=sys.stderr)


def quarantine(name: str, reason: str, fleet: Fleet) -> None:
    """``edge-fleet quarantine``: nothing that the device reports counts; it is stored and acknowledged as before."""
    fleet.quarantine(name, reason)
    print(f"set {name} aside: what it reports does not count until edge-fleet readmit {name}")


def readmit(name: str, fleet: Fleet) -> None:
    """``edge-fleet readmit``: what was set aside counts again; if there is no head with it, it is set aside again."""
    fleet.readmit(name)
    print(f"readmitted {name}: what it reported counts again as soon as the aggregator runs")


def remove_device(name: str, fleet: Fleet, clock: Clock) -> None:
    """``edge-fleet remove``: ask the running service, which holds the sum; it answers within its housekeeping interval.

    Raises ConfigError when no such device is known.
    """
    fleet.remove(name)
    deadline_s = clock.monotonic_s() + REMOVAL_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        if fleet.is_removed(name):
            print(f"removed {name}; its statistics are subtracted, earlier averaged heads are not changed")
            return
        time.sleep(REMOVAL_POLL_S)
    print(f"noted: {name} will be removed when the aggregator runs")


def remarks(views: Sequence[DeviceView], refusals: Sequence[RefusalRow], now_s: float) -> list[str]:
    """What an operator should know, a line for each device that was refused or set aside; printable.

    refusals: of senders that are not in the fleet.
    """
    lines = [
        f"{view.row.device}: what it reported is set aside and does not count: {view.quarantined}. "
        f"{_ends(view)}To count it again: edge-fleet readmit {view.row.device}"
        for view in views
        if view.quarantined
    ]
    lines += [
        f"{view.row.device}: refused {view.row.refused} times, last {_age(now_s - view.row.refused_s)} "
        f"({view.row.refused_reason}): {view.row.refused_problem}"
        for view in views
        if view.row.refused_s is not None
    ]
    if refusals:
        last = max(refusals, key=lambda row: row.last_s)
        count = sum(row.count for row in refusals)
        lines.append(
            f"senders that are not in the fleet: refused {count} times, last {_age(now_s - last.last_s)} "
            f"({last.reason}): {last.problem}"
        )
    return list(map(printable, lines))


def _ends(view: DeviceView) -> str:
    """When a quarantine ends by itself; nothing for one that an operator began."""
    return "" if BY_HAND in view.quarantined else "It ends with the device's next report. "


def as_table(rows: Sequence[RegistryRow], now_s: float) -> str:
    """Aligned columns, one line per device. now_s: wall clock, for the ages."""
    return aligned([HEADER, *(_line(row, now_s) for row in rows)])


def _line(row: RegistryRow, now_s: float) -> tuple[str, ...]:
    cells = (
        row.device,
        "yes" if row.link == ONLINE else "no",
        f"{row.epoch:x}"[-6:],
        str(row.counter),
        str(row.labels),
        _quality(row.served_accuracy, row.served_r2),
        _quality(row.frozen_accuracy, row.frozen_r2),
        row.head or "-",
        _age(now_s - row.last_seen_s),
        row.bundle_and_version or "-",
    )
    return tuple(map(printable, cells))  # a device chooses what it calls its bundle


def _about(view: DeviceView, groups: Sequence[str], now_s: float) -> list[tuple[str, str]]:
    """Title and text of each line about one device; without what nobody knows."""
    row = view.row

    def state(name: str, since_s: float | None) -> str:
        return name if since_s is None or name == UNKNOWN else f"{name}, since {_age(now_s - since_s)}"

    recent = _pair(row.recent_served_accuracy, None, row.recent_frozen_accuracy, None)
    bundle = f"{row.bundle_and_version}, release {row.release}; {row.delivery}".removesuffix("; ")
    machine = [row.machine, row.runtime, f"edge-agent {row.agent_version}" if row.agent_version else ""]
    measured = [
        _measured("disk free", row.disk_free_bytes),
        _measured("memory free", row.memory_free_bytes),
        "" if row.temperature_c is None else f"{row.temperature_c:.1f} degrees Celsius",
        _measured("a day received", row.bytes_per_day),
    ]
    drift = "" if row.drift_s is None else f"{row.drift_alarms} alarms, last {_age(now_s - row.drift_s)}"
    lines = [
        ("device", row.device),
        ("seen", f"{_age(now_s - row.last_seen_s)}, first {_age(now_s - row.first_seen_s)}"),
        ("link", state(row.link, row.link_since_s)),
        ("health", state(row.health, row.health_since_s)),
        ("learning", state(row.learning, row.learning_since_s)),
        ("problem", row.problem),
        ("bundle", bundle if row.bundle else ""),
        ("head", f"{row.head} ({row.learner})" if row.head else ""),
        ("labels", str(row.labels)),
        ("accuracy", _pair(row.served_accuracy, row.served_r2, row.frozen_accuracy, row.frozen_r2)),
        ("recently", recent),
        ("drift", drift),
        ("machine", ", ".join(filter(None, machine))),
        ("measured", ", ".join(filter(None, measured))),
        ("tags", _named(view.tags)),
        ("attributes", _named(view.attributes)),
        ("groups", ", ".join(groups)),
        ("note", view.note),
    ]
    return [(title, text) for title, text in lines if text]


def _named(texts: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in texts.items())


def _measured(what: str, count_bytes: float | None) -> str:
    return "" if count_bytes is None else f"{_size(count_bytes)} {what}"


def _size(count_bytes: float) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count_bytes >= length:
            return f"{count_bytes / length:.1f} {unit}"
    return f"{count_bytes:.0f} B"


def _pair(served: float | None, served_r2: float | None, frozen: float | None, frozen_r2: float | None) -> str:
    if served is None and served_r2 is None:
        return ""
    return f"{_quality(served, served_r2)} served, {_quality(frozen, frozen_r2)} frozen"


def _day_line(day: DayView) -> tuple[str, ...]:
    served, frozen = _quality(day.served_accuracy, None), _quality(day.frozen_accuracy, None)
    return day.day, str(day.labels), served, frozen, str(day.bytes)


def _quality(accuracy: float | None, r2: float | None) -> str:
    if accuracy is None:
        return "-" if r2 is None else f"R2 {r2:.3f}"
    return f"{100 * accuracy:.1f} %"


def _age(seconds: float) -> str:
    """How long ago, in the largest unit that gives at least 1; a clock that was set back shows as 0 s."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{int(seconds // length_s)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"
