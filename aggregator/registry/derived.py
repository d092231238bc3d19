"""What each message changes of a device's typed row: functions from a row to the next one, without I/O."""

from __future__ import annotations

import math
from dataclasses import replace

from aggregator.store import DEGRADED, GOOD, OFFLINE, ONLINE, PROBLEM, DeviceRow, RegistryRow
from aggregator.store.rows import DayRow
from headway.errors import RemoteError
from headway.maths import AnySums, LabelSums, ValueSums
from headway.wire import PROBLEM_CHARACTERS_MAX, Health, Metrics, Reported

DAY_S = 86_400
# labels after which one counts half in the recent accuracy
RECENT_HALF_LABELS = 50
# days that the mean of bytes per day leans on
MEAN_DAYS = 7
DISK_DEGRADED = "disk degraded"


def with_status(row: RegistryRow, online: bool, now_s: float) -> RegistryRow:
    """The link has a state, since it changed to it."""
    link = ONLINE if online else OFFLINE
    return row if link == row.link else replace(row, link=link, link_since_s=now_s)


def with_reported(row: RegistryRow, reported: Reported, now_s: float) -> RegistryRow:
    """What the device runs and how it is."""
    health = GOOD if not reported.problem else DEGRADED if DISK_DEGRADED in reported.problem else PROBLEM
    since_s = row.health_since_s if health == row.health else now_s
    return replace(
        row,
        health=health,
        health_since_s=since_s,
        problem=reported.problem,
        bundle=reported.bundle,
        bundle_version=reported.bundle_version,
        bundle_and_version=f"{reported.bundle} {reported.bundle_version}".strip(),
        release=reported.release,
        space=reported.space,
        head=reported.source,
        learner=reported.learner,
        runtime=reported.runtime,
        agent_version=reported.agent_version,
        machine=reported.machine,
        delivery=reported.delivery,
        labels=reported.labels,
    )


def with_metrics(row: RegistryRow, metrics: Metrics, before: tuple[int, int, int]) -> RegistryRow:
    """Accuracy since the epoch began, of the newest labels, and of today.

    before: labels scored of this epoch so far, and those of them that the served and the frozen head had right.
    """
    served, frozen = metrics.served, metrics.frozen
    now = served.samples, _right(served), _right(frozen)
    labels, served_right, frozen_right = (after - earlier for after, earlier in zip(now, before, strict=True))
    gain = _gain(_accuracy(served), _accuracy(frozen))
    row = replace(
        row,
        scored=now[0],
        served_right=now[1],
        frozen_right=now[2],
        served_accuracy=_accuracy(served),
        frozen_accuracy=_accuracy(frozen),
        accuracy_gain=gain,
        served_r2=_r2(served),
        frozen_r2=_r2(frozen),
        day_labels=row.day_labels + labels,
        day_served_right=row.day_served_right + served_right,
        day_frozen_right=row.day_frozen_right + frozen_right,
    )
    if labels <= 0 or isinstance(served, ValueSums):
        return row  # nothing new, or labels were taken back
    kept = row.recent_weight * 0.5 ** (labels / RECENT_HALF_LABELS)
    weight = kept + labels
    recent_served = (kept * (row.recent_served_accuracy or 0.0) + served_right) / weight
    recent_frozen = (kept * (row.recent_frozen_accuracy or 0.0) + frozen_right) / weight
    return replace(
        row,
        recent_weight=weight,
        recent_served_accuracy=_share(recent_served),
        recent_frozen_accuracy=_share(recent_frozen),
        recent_accuracy_gain=_share(recent_served) - _share(recent_frozen),
    )


def with_health(row: RegistryRow, health: Health, now_s: float) -> RegistryRow:
    """How the machine is, and whether labels are learned."""
    since_s = row.learning_since_s if health.learning == row.learning else now_s
    return replace(
        row,
        learning=health.learning,
        learning_since_s=since_s,
        disk_free_bytes=health.disk_free_bytes,
        memory_free_bytes=health.memory_free_bytes,
        temperature_c=health.temperature_c,
    )


def with_bytes(row: RegistryRow, count: int) -> RegistryRow:
    """Bytes that came from the device today."""
    return replace(row, day_bytes=row.day_bytes + count)


def on_day(row: RegistryRow, now_s: float) -> tuple[RegistryRow, DayRow | None]:
    """The row with its counts of today, and the day that is over, if one is. A clock that was set back ends no day."""
    today = int(now_s // DAY_S)
    if today <= row.day:
        return row, None
    empty = {"day": today, "day_labels": 0, "day_served_right": 0, "day_frozen_right": 0, "day_bytes": 0}
    if not row.day:
        return replace(row, **empty), None  # type: ignore[arg-type]
    over = DayRow(row.device, row.day, row.day_labels, row.day_served_right, row.day_frozen_right, row.day_bytes)
    mean = (
        row.day_bytes
        if row.bytes_per_day is None
        else row.bytes_per_day + (row.day_bytes - row.bytes_per_day) / MEAN_DAYS
    )
    mean *= (1.0 - 1.0 / MEAN_DAYS) ** min(today - row.day - 1, 1000)
    return replace(row, bytes_per_day=float(mean), **empty), over  # type: ignore[arg-type]


def new_row(device: str, now_s: float) -> RegistryRow:
    """Of a device that is heard for the first time."""
    return RegistryRow(device, now_s, now_s, day=int(now_s // DAY_S))


def typed_row(row: DeviceRow) -> RegistryRow:
    """The typed row of a device that is known by its encoded messages alone, from a store of an earlier release."""
    typed = RegistryRow(row.device, row.first_seen_s, row.last_seen_s, epoch=row.epoch, counter=row.counter)
    typed, _ = on_day(typed, row.last_seen_s)
    if row.boot or row.online:
        typed = with_status(typed, row.online, row.last_seen_s)
    try:
        if row.reported:
            typed = with_reported(typed, Reported.decode(row.reported), row.last_seen_s)
        if row.metrics:
            metrics = Metrics.decode(row.metrics, row.class_count)
            totals = metrics.served.samples, _right(metrics.served), _right(metrics.frozen)
            typed = with_metrics(typed, metrics, totals)  # all of it was scored on days that nobody counted
    except RemoteError as error:
        # no reason to keep the service from its start: the device's next message takes its place
        typed = replace(typed, problem=f"what is stored of it cannot be read: {error}"[:PROBLEM_CHARACTERS_MAX])
    return typed


def _right(sums: AnySums) -> int:
    """Windows with every label right; 0 of a regression, where nothing is right or wrong."""
    if isinstance(sums, ValueSums):
        return 0
    return sums.exact if isinstance(sums, LabelSums) else int(sums.confusion.trace())


def _accuracy(sums: AnySums) -> float | None:
    if not sums.samples or isinstance(sums, ValueSums):
        return None
    return sums.subset_accuracy if isinstance(sums, LabelSums) else sums.accuracy


def _r2(sums: AnySums) -> float | None:
    """None, too, while the targets have not varied, or where it is beyond all numbers."""
    return sums.r2 if isinstance(sums, ValueSums) and math.isfinite(sums.r2) else None


def _gain(served: float | None, frozen: float | None) -> float | None:
    return None if served is None or frozen is None else served - frozen


def _share(value: float) -> float:
    """Counts that were corrected downwards in between must not lead outside of 0..1."""
    return min(1.0, max(0.0, value))
