"""Implements `edge-fleet devices`: a line for each device, or the same as JSON.

Made column by column: of 10,000 devices a list that makes an object for each, or asks a library for each line, takes
three times as long.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aggregator.commands.moments import age
from aggregator.commands.tables import print_table
from aggregator.reach import Look
from aggregator.registry import DeviceTable, Request
from aggregator.store import ONLINE, UNKNOWN_DEVICE, RefusalRow, RegistryRow
from aggregator.store.rows import BY_HAND, SUSPICIOUS
from headway.clocks import Clock
from headway.printable import printable

HEADER = ("DEVICE", "ONLINE", "EPOCH", "COUNTER", "LABELS", "SERVED", "FROZEN", "HEAD", "SEEN", "BUNDLE")
NUMBERS = frozenset({"COUNTER", "LABELS", "SERVED", "FROZEN", "SEEN"})
# what a line is made of
OF_LINE = (
    "device", "link", "epoch", "counter", "labels", "served_accuracy", "served_r2", "frozen_accuracy", "frozen_r2",
    "head", "last_seen_s", "bundle_and_version",
)  # fmt: skip
# what is said of a device besides
OF_REMARKS = ("problem", "refused", "refused_s", "refused_reason", "refused_problem")


def list_devices(fleet: Look, clock: Clock, request: Request, in_json: bool) -> None:
    """``edge-fleet devices``. Raises ConfigError for a filter, a sort or a cursor that is none."""
    # what follows makes a million objects, all of which live until the end: looking through them finds nothing
    gc.disable()
    try:
        _list(fleet, clock.wall_s(), request, in_json)
    finally:
        gc.enable()


def _list(fleet: Look, now_s: float, request: Request, in_json: bool) -> None:
    if in_json:
        pieces, after = fleet.device_json(request)
        print(*pieces, sep="")
    else:
        table = fleet.device_table(request, (*OF_LINE, *OF_REMARKS), False)
        after = table.next
        _print_table(fleet, table, request, now_s)
    if after:
        print(f"there are more: --after {after}", file=sys.stderr)


def as_table(rows: Sequence[RegistryRow], now_s: float) -> str:
    """Aligned columns, one line per device. now_s: wall clock, for the ages."""
    table = DeviceTable(OF_LINE, [tuple(getattr(row, name) for name in OF_LINE) for row in rows])
    return _aligned(_cells(table.columns(), now_s))


def quality(accuracy: float | None, r2: float | None) -> str:
    """The share that was right, or R2 of a regression."""
    if accuracy is None:
        return "-" if r2 is None else f"R2 {r2:.3f}"
    return f"{100 * accuracy:.1f} %"


def _print_table(fleet: Look, table: DeviceTable, request: Request, now_s: float) -> None:
    senders = _senders([row for row in fleet.refusals() if row.device == UNKNOWN_DEVICE], now_s)
    if table.rows:
        _print_lines(table, senders, now_s)
    else:
        print("no device is like that" if request.filter or request.after else "no device has reported yet")
        _tell(senders)


def _print_lines(table: DeviceTable, senders: Sequence[str], now_s: float) -> None:
    columns = table.columns()
    cells = _cells(columns, now_s)
    print_table(HEADER, lambda: [*zip(*cells, strict=True)], _aligned(cells), NUMBERS)
    devices: tuple[Any, ...] = columns["device"]
    problems = [f"{device}: {said}" for device, said in zip(devices, columns["problem"], strict=True) if said]
    if problems:
        print("\n".join(map(printable, problems)))
    lines = [aside_of(device, marks.quarantined) for device, marks in table.marks.items() if marks.quarantined]
    told = zip(devices, *(columns[name] for name in OF_REMARKS[1:]), strict=True)
    lines += [_refused(now_s, *values) for values in told if values[2] is not None]
    _tell([*lines, *senders])


def _tell(lines: Sequence[str]) -> None:
    """Beside the table, which programs may cut up."""
    if lines:
        print("\n".join(map(printable, lines)), file=sys.stderr)


def _senders(refusals: Sequence[RefusalRow], now_s: float) -> list[str]:
    if not refusals:
        return []
    last, count = max(refusals, key=lambda row: row.last_s), sum(row.count for row in refusals)
    return [
        f"senders that are not in the fleet: refused {count} times, last {age(now_s - last.last_s)} "
        f"({last.reason}): {last.problem}"
    ]


def aside_of(device: str, quarantined: str) -> str:
    """What an operator should know of a device whose reports do not count."""
    # a quarantine that an operator began does not end by itself
    ends = "It ends with the device's next report. "
    if quarantined.startswith((BY_HAND, SUSPICIOUS)):
        ends = "" if quarantined.startswith(BY_HAND) else "It ends by itself once it contradicts them no longer. "
    return (
        f"{device}: what it reported is set aside and does not count: {quarantined}. {ends}"
        f"To count it again: edge-fleet readmit {device}"
    )


def _refused(now_s: float, device: str, count: int, last_s: float, reason: str, problem: str) -> str:
    return f"{device}: refused {count} times, last {age(now_s - last_s)} ({reason}): {problem}"


def _cells(columns: Mapping[str, tuple[Any, ...]], now_s: float) -> list[Sequence[str]]:
    """The columns of `HEADER`, as text."""
    served = zip(columns["served_accuracy"], columns["served_r2"], strict=True)
    frozen = zip(columns["frozen_accuracy"], columns["frozen_r2"], strict=True)
    return [
        _printable(columns["device"]),
        _each(columns["link"], lambda link: "yes" if link == ONLINE else "no"),
        [f"{epoch:x}"[-6:] for epoch in columns["epoch"]],
        [*map(str, columns["counter"])],
        [*map(str, columns["labels"])],
        _each([*served], lambda both: quality(*both)),
        _each([*frozen], lambda both: quality(*both)),
        _printable([head or "-" for head in columns["head"]]),
        _each([now_s - seen_s for seen_s in columns["last_seen_s"]], age),
        _printable([bundle or "-" for bundle in columns["bundle_and_version"]]),
    ]


def _each(column: Sequence[Any], text_of: Callable[[Any], str]) -> list[str]:
    """A text for each value, made once for those that are alike."""
    known = {value: text_of(value) for value in set(column)}
    return [known[value] for value in column]


def _printable(column: Sequence[str]) -> Sequence[str]:
    """A device chooses what it calls its bundle."""
    together = "".join(column)
    return column if together.isascii() and together.isprintable() else [*map(printable, column)]


def _aligned(columns: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, under their header."""
    widths = [max(len(title), *map(len, column)) for title, column in zip(HEADER, columns, strict=True)]
    # the last one ends where its text ends; a cell is never empty
    template = "  ".join([f"%-{width}s" for width in widths[:-1]] + ["%s"])
    return "\n".join(map(template.__mod__, [HEADER, *zip(*columns, strict=True)]))
