"""Implements `edge-fleet device` and what is done with one: shown in full, set aside, readmitted, removed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aggregator.commands.device_list import aside_of, quality
from aggregator.commands.done import say
from aggregator.commands.moments import age, moment
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.registry import DeviceView
from aggregator.store import UNKNOWN
from headway.fields import readable_json
from headway.ports import Clock
from headway.printable import printable

if TYPE_CHECKING:
    from aggregator.operations import DayView
    from aggregator.reach import Fleet

DAY_HEADER = ("DAY", "LABELS", "SERVED", "FROZEN", "BYTES")
HEADS_HEADER = ("HEAD", "SINCE", "LABELS", "SERVED", "FROZEN")
FIGURE_HEADER = ("FIGURE", "SERVED", "FROZEN")
DAY_NUMBERS = frozenset({"LABELS", "SERVED", "FROZEN", "BYTES"})
REMOVAL_TIMEOUT_S = 10.0
REMOVAL_POLL_S = 0.2


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
    if found.view.quarantined:
        print(printable(aside_of(name, found.view.quarantined)), file=sys.stderr)


def show_confusion(name: str, fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet device --confusion``. Raises ConfigError when no such device is known."""
    found = fleet.figures.confusion(name)
    if in_json:
        print(readable_json(found))
        return
    if not found["labels"]:
        print(f"no label of {name} was scored yet")
        return
    if found["figures"]:
        shown = [(each["name"], _figure(each["served"]), _figure(each["frozen"])) for each in found["figures"]]
        print_table(FIGURE_HEADER, shown, aligned([FIGURE_HEADER, *shown]), frozenset(FIGURE_HEADER[1:]))
        return
    print(f"{found['labels']} labels, by true class; columns: what was answered, in the same order")
    for head, counts in (("served", found["served"]), ("frozen", found["frozen"])):
        right, total = sum(row[at] for at, row in enumerate(counts)), sum(map(sum, counts))
        print(f"\n{head}, {quality(right / max(total, 1), None)} right")
        header = ("CLASS", *(str(at + 1) for at in range(len(counts))), "FOUND")
        shares = (row[at] / sum(row) if any(row) else None for at, row in enumerate(counts))
        lines = [
            (f"{at} {called}", *map(str, row), quality(share, None))
            for at, (called, row, share) in enumerate(zip(found["classes"], counts, shares, strict=True), 1)
        ]
        print_table(header, lines, aligned([header, *lines]), frozenset(header[1:]))


def show_heads_of(name: str, fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet device --heads``: a line each time that another head began to serve."""
    found = fleet.figures.heads_of(name)
    if in_json:
        print_json_rows(list(found))  # type: ignore[arg-type]
        return
    lines = [
        (
            each["head"], moment(each["since_s"]), str(each["labels"]), quality(each["served"], None),
            quality(each["frozen"], None),
        )
        for each in found
    ]  # fmt: skip
    print_table(HEADS_HEADER, lines, aligned([HEADS_HEADER, *lines]), frozenset(HEADS_HEADER[2:]))


def quarantine(name: str, reason: str, fleet: Fleet) -> None:
    """``edge-fleet quarantine``: nothing that the device reports counts; it is stored and acknowledged as before."""
    fleet.quarantine(name, reason)
    say(f"set {name} aside: what it reports does not count until edge-fleet readmit {name}", quarantined=name)


def readmit(name: str, fleet: Fleet) -> None:
    """``edge-fleet readmit``: what was set aside counts again; if there is no head with it, it is set aside again."""
    fleet.readmit(name)
    say(f"readmitted {name}: what it reported counts again as soon as the aggregator runs", readmitted=name)


def remove_device(name: str, fleet: Fleet, clock: Clock) -> None:
    """``edge-fleet remove``: ask the running service, which holds the sum; it answers within its housekeeping interval.

    Raises ConfigError when no such device is known.
    """
    removed = removal_done(name, fleet, clock)
    say(words_of_removal(name, removed), device=name, removed=removed)


def removal_done(name: str, fleet: Fleet, clock: Clock) -> bool:
    """Ask for it, and wait whether the service does it at once."""
    fleet.remove(name)
    deadline_s = clock.monotonic_s() + REMOVAL_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        if fleet.is_removed(name):
            return True
        time.sleep(REMOVAL_POLL_S)
    return False


def words_of_removal(name: str, removed: bool) -> str:
    """What was done, or will be."""
    if removed:
        return f"removed {name}; its statistics are subtracted, earlier averaged heads are not changed"
    return f"noted: {name} will be removed when the aggregator runs"


def _about(view: DeviceView, groups: Sequence[str], now_s: float) -> list[tuple[str, str]]:
    """Title and text of each line about one device; without what nobody knows."""
    row = view.row

    def state(name: str, since_s: float | None) -> str:
        return name if since_s is None or name == UNKNOWN else f"{name}, since {age(now_s - since_s)}"

    recent = _pair(row.recent_served_accuracy, None, row.recent_frozen_accuracy, None)
    bundle = f"{row.bundle_and_version}, release {row.release}; {row.delivery}".removesuffix("; ")
    machine = [row.machine, row.runtime, f"edge-agent {row.agent_version}" if row.agent_version else ""]
    measured = [
        _measured("disk free", row.disk_free_bytes),
        _measured("memory free", row.memory_free_bytes),
        "" if row.temperature_c is None else f"{row.temperature_c:.1f} degrees Celsius",
        _measured("a day received", row.bytes_per_day),
    ]
    drift = _count(row.drift_alarms, "alarm", row.drift_s, now_s)
    refused = _count(row.refused, "message", row.refused_s, now_s)
    if row.refused:
        refused = f"{refused} ({row.refused_reason}): {row.refused_problem}"
    counts = f"no, set aside: {view.quarantined}" if view.quarantined else "yes"
    lines = [
        ("device", row.device),
        ("seen", f"{age(now_s - row.last_seen_s)}, first {age(now_s - row.first_seen_s)}"),
        ("link", state(row.link, row.link_since_s)),
        ("health", state(row.health, row.health_since_s)),
        ("learning", state(row.learning, row.learning_since_s)),
        ("problem", row.problem),
        ("bundle", bundle if row.bundle else ""),
        ("space", row.space),
        ("head", row.head),
        ("learner", row.learner),
        ("labels", f"{row.labels}, {row.scored} of this epoch scored" if row.scored else str(row.labels)),
        ("accuracy", _pair(row.served_accuracy, row.served_r2, row.frozen_accuracy, row.frozen_r2)),
        ("recently", recent),
        ("drift", drift),
        ("refused", refused),
        ("counts", counts),
        ("machine", ", ".join(filter(None, machine))),
        ("measured", ", ".join(filter(None, measured))),
        ("tags", _named(view.tags)),
        ("attributes", _named(view.attributes)),
        ("groups", ", ".join(groups)),
        ("note", view.note),
    ]
    return [(title, text) for title, text in lines if text]


def _count(count: int, what: str, last_s: float | None, now_s: float) -> str:
    said = f"{count} {what}" if count == 1 else f"{count} {what}s"
    return said if last_s is None else f"{said}, last {age(now_s - last_s)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


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
    return f"{quality(served, served_r2)} served, {quality(frozen, frozen_r2)} frozen"


def _day_line(day: DayView) -> tuple[str, ...]:
    served, frozen = quality(day.served_accuracy, None), quality(day.frozen_accuracy, None)
    return day.day, str(day.labels), served, frozen, str(day.bytes)
