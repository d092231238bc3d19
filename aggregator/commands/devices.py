"""Implements `edge-fleet devices`: one line per device, or the same as JSON."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from aggregator.commands.place import Place
from aggregator.commands.tables import print_table
from aggregator.registry import UNKNOWN_DEVICE
from aggregator.store import DeviceRow, RefusalRow, Store
from aggregator.store.rows import QUARANTINED, QuarantineRow
from headway.errors import ConfigError
from headway.fields import readable_json
from headway.maths import AnySums, LabelSums, ValueSums
from headway.ports import Clock
from headway.printable import printable
from headway.wire import Metrics, Reported, checked_name

NO_REPORT = Reported("", "", "", "", "", "", "", 0, "")
HEADER = ("DEVICE", "ONLINE", "EPOCH", "COUNTER", "LABELS", "SERVED", "FROZEN", "HEAD", "SEEN", "BUNDLE")
NUMBERS = frozenset({"COUNTER", "LABELS", "SERVED", "FROZEN", "SEEN"})
REMOVAL_TIMEOUT_S = 10.0
REMOVAL_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """served_accuracy, frozen_accuracy: prequential since the epoch began, 0..1, None before the first label; of a
    multi-label model the share of windows with every label right. served_r2, frozen_r2: of a regression.
    source: name of the head that serves; last_seen_s: the aggregator's wall clock, seconds since 1970.
    refused: messages of the device that were refused; refused_reason, refused_problem, refused_s: the last one.
    quarantined: why what it reported is stored and does not count; empty when it counts.
    """

    device: str
    online: bool
    epoch: int
    counter: int
    labels: int
    scored: int
    served_accuracy: float | None
    frozen_accuracy: float | None
    served_r2: float | None
    frozen_r2: float | None
    source: str
    learner: str
    bundle: str
    bundle_version: str
    problem: str
    last_seen_s: float
    refused: int = 0
    refused_reason: str = ""
    refused_problem: str = ""
    refused_s: float | None = None
    quarantined: str = ""


def list_devices(store: Store, clock: Clock, in_json: bool) -> None:
    """``edge-fleet devices``."""
    with store.transaction():
        refusals, quarantined = store.refusals(), store.rows(QUARANTINED).all()
        summaries = [summarise(row, refusals, quarantined) for row in store.devices()]
    now_s = clock.wall_s()
    if in_json:
        print(readable_json(as_json(summaries)))
    elif summaries:
        rows = [_line(summary, now_s) for summary in summaries]
        print_table(HEADER, rows, as_table(summaries, now_s), NUMBERS)
        for summary in summaries:
            if summary.problem:
                print(printable(f"{summary.device}: {summary.problem}"))
    else:
        print("no device has reported yet")
    if not in_json:
        for line in remarks(summaries, refusals, now_s):
            print(line, file=sys.stderr)  # beside the table, which programs may cut up


def readmit_device(name: str, place: Place) -> None:
    """``edge-fleet readmit``: what was set aside counts again; if there is no head with it, it is set aside again.

    Raises ConfigError when nothing of such a device is set aside.
    """
    device = checked_name(name, "device")
    store = place.store()
    with store.transaction():
        rows = store.rows(QUARANTINED).all(device)
        for row in rows:
            store.rows(QUARANTINED).remove(row.device, row.epoch)
    if not rows:
        raise ConfigError(f"nothing of {device!r} is set aside; `edge-fleet devices` tells of what is")
    print(f"readmitted {device}: what it reported counts again as soon as the aggregator runs")


def remove_device(name: str, place: Place, clock: Clock) -> None:
    """``edge-fleet remove``: ask the running service, which holds the sum; it answers within its housekeeping interval.

    Raises ConfigError when no such device is known.
    """
    device = checked_name(name, "device")
    store = place.store()
    with store.transaction():
        if store.device(device) is None:
            raise ConfigError(f"no device {device!r} in this fleet; `edge-fleet devices` lists them")
        store.request_removal(device, clock.wall_s())
    deadline_s = clock.monotonic_s() + REMOVAL_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        with store.transaction():
            waiting = device in store.removal_requests()
        if not waiting:
            print(f"removed {device}; its statistics are subtracted, earlier averaged heads are not changed")
            return
        time.sleep(REMOVAL_POLL_S)
    print(f"noted: {device} will be removed when the aggregator runs")


def remarks(summaries: Sequence[DeviceSummary], refusals: Sequence[RefusalRow], now_s: float) -> list[str]:
    """What an operator should know, a line for each device that was refused or set aside; printable."""
    lines = [
        f"{summary.device}: what it reported is set aside and does not count: {summary.quarantined}. It ends with the "
        f"device's next report; to count it again: edge-fleet readmit {summary.device}"
        for summary in summaries
        if summary.quarantined
    ]
    lines += [
        f"{summary.device}: refused {summary.refused} times, last {_age(now_s - summary.refused_s)} "
        f"({summary.refused_reason}): {summary.refused_problem}"
        for summary in summaries
        if summary.refused_s is not None
    ]
    strangers = [row for row in refusals if row.device == UNKNOWN_DEVICE]
    if strangers:
        last = max(strangers, key=lambda row: row.last_s)
        count = sum(row.count for row in strangers)
        lines.append(
            f"senders that are not in the fleet: refused {count} times, last {_age(now_s - last.last_s)} "
            f"({last.reason}): {last.problem}"
        )
    return list(map(printable, lines))


def summarise(
    row: DeviceRow, refusals: Sequence[RefusalRow] = (), quarantined: Sequence[QuarantineRow] = ()
) -> DeviceSummary:
    """Decode what a device last said; refusals, quarantined: of all devices."""
    refused = [refusal for refusal in refusals if refusal.device == row.device]
    last = max(refused, key=lambda refusal: refusal.last_s, default=None)
    aside = [place.problem for place in quarantined if place.device == row.device]
    reported = Reported.decode(row.reported) if row.reported else NO_REPORT
    metrics = Metrics.decode(row.metrics, row.class_count) if row.metrics else None
    scored = metrics.served.samples if metrics is not None else 0
    return DeviceSummary(
        device=row.device,
        online=row.online,
        epoch=row.epoch,
        counter=row.counter,
        labels=reported.labels,
        scored=scored,
        served_accuracy=None if metrics is None else _accuracy(metrics.served),
        frozen_accuracy=None if metrics is None else _accuracy(metrics.frozen),
        served_r2=None if metrics is None else _r2(metrics.served),
        frozen_r2=None if metrics is None else _r2(metrics.frozen),
        source=reported.source,
        learner=reported.learner,
        bundle=reported.bundle,
        bundle_version=reported.bundle_version,
        problem=reported.problem,
        last_seen_s=row.last_seen_s,
        refused=sum(refusal.count for refusal in refused),
        refused_reason="" if last is None else last.reason,
        refused_problem="" if last is None else last.problem,
        refused_s=None if last is None else last.last_s,
        quarantined="; ".join(dict.fromkeys(aside)),
    )


def as_json(summaries: Sequence[DeviceSummary]) -> list[dict[str, object]]:
    """Plain values, for JSON; the keys are `DeviceSummary`'s fields."""
    return [asdict(summary) for summary in summaries]


def as_table(summaries: Sequence[DeviceSummary], now_s: float) -> str:
    """Aligned columns, one line per device. now_s: wall clock, for the ages."""
    lines = [HEADER, *(_line(summary, now_s) for summary in summaries)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _line(summary: DeviceSummary, now_s: float) -> tuple[str, ...]:
    cells = (
        summary.device,
        "yes" if summary.online else "no",
        f"{summary.epoch:x}"[-6:],
        str(summary.counter),
        str(summary.labels),
        _quality(summary.served_accuracy, summary.served_r2),
        _quality(summary.frozen_accuracy, summary.frozen_r2),
        summary.source or "-",
        _age(now_s - summary.last_seen_s),
        f"{summary.bundle} {summary.bundle_version}".strip() or "-",
    )
    return tuple(map(printable, cells))  # a device chooses what it calls its bundle


def _accuracy(sums: AnySums) -> float | None:
    if not sums.samples or isinstance(sums, ValueSums):
        return None
    return sums.subset_accuracy if isinstance(sums, LabelSums) else sums.accuracy


def _r2(sums: AnySums) -> float | None:
    """None, too, while the targets have not varied."""
    return sums.r2 if isinstance(sums, ValueSums) and not math.isnan(sums.r2) else None


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
