"""Keeps two rows per device, in one transaction: its newest messages as they came, and what they say, typed.

Rows changed by a batch are held until `flush`, so that a chatty device costs one write per transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aggregator.effects import Instant, Note, Refused
from aggregator.places import HOUR_S, Places
from aggregator.policy import Limits
from aggregator.rates import Rates
from aggregator.registry.backfilling import backfill
from aggregator.registry.derived import (
    DAY_S,
    new_row,
    on_day,
    typed_row,
    with_bytes,
    with_health,
    with_metrics,
    with_reported,
    with_status,
)
from aggregator.registry.happenings import Happenings
from aggregator.registry.head_figures import HeadFigures
from aggregator.registry.properties import replace_attributes
from aggregator.store import UNKNOWN_DEVICE, DeviceRow, EventRow, Heard, RefusalRow, RegistryRow, Store
from aggregator.store.rows import DAYS, SCORED_EPOCHS, ScoredEpochRow
from headway.errors import RemoteError
from headway.fields import canonical_json
from headway.maths import SUMS, Task
from headway.wire import Event, Health, Kind, Metrics, Reported, Status

Handler = Callable[[str, bytes, Instant], None]
DRIFT = "drift"
DAYS_KEPT = 400
# days beyond them that are looked for when a day ends; each takes away more than it brings
DAYS_LOOKED_AT = 8
SCORED_EPOCHS_MAX = 64


class Registry:
    """Keeps the device rows. Every method must run inside a transaction of the store.

    shape_of: classes and task of the bundle of a feature space, of the default one for a space that is not served.
    """

    def __init__(self, store: Store, limits: Limits, shape_of: Callable[[str], tuple[int, Task]]) -> None:
        self._store = store
        self._limits = limits
        self._shape_of = shape_of
        self._rows: dict[str, DeviceRow] = {}
        self._typed: dict[str, RegistryRow] = {}
        # of devices of which nothing else has changed
        self._heard: dict[str, Heard] = {}
        self._bytes: dict[str, int] = {}
        self._places = Places(store, limits)
        self._happenings = Happenings(store)
        self._head_figures = HeadFigures(store)
        self._events = Rates(limits.events_per_device_hour, HOUR_S)
        backfill(store)

    @property
    def handlers(self) -> dict[Kind, Handler]:
        """What takes in each kind of message that tells of a device."""
        return {
            Kind.STATUS: self.on_status,
            Kind.REPORTED: self.on_reported,
            Kind.METRICS: self.on_metrics,
            Kind.EVENT: self.on_event,
            Kind.HEALTH: self.on_health,
        }

    def admit(self, device: str, now: Instant, contributes: bool = False) -> DeviceRow:
        """The device's row, a fresh one for a new device. Raises Refused when there is no place for it.

        contributes: the message holds statistics or updates that can be read.
        """
        if device not in self._rows:
            row = self._store.device(device)
            if row is None:
                self._places.take(contributes, now, self.flush)
                row = DeviceRow(device, first_seen_s=now.wall_s, last_seen_s=now.wall_s)
                self._store.put_device(row)
                self._typed[device] = new_row(device, now.wall_s)
            self._rows[device] = row
        return self._rows[device]

    def take_forgotten(self) -> list[str]:
        """Devices that gave their place to others since the last call."""
        return self._places.take_forgotten()

    def change(self, device: str, now: Instant, **values: Any) -> None:
        """Set columns of an admitted device's row."""
        self._rows[device] = row = replace(self.admit(device, now), last_seen_s=now.wall_s, **values)
        typed = self._known_typed(device) or typed_row(row)
        told: dict[str, Any] = {"last_seen_s": now.wall_s, "epoch": row.epoch, "counter": row.counter}
        if now.wall_s // DAY_S <= typed.day:
            # here, not in `flush`: a row of so many columns is not made anew twice for nothing
            told["day_bytes"] = typed.day_bytes + self._bytes.pop(device, 0)
        self._typed[device] = replace(typed, **told)

    def took_in(self, device: str, now: Instant, **numbers: Any) -> None:
        """A report or an update of an admitted device was stored. As `change`, for what is done most often: a row of so
        many columns is neither read nor written for four of them. numbers: epoch, counter, sequence."""
        today = None if device in self._typed else self._today_of(device)
        if today is None or now.wall_s // DAY_S > today[0]:
            self.change(device, now, **numbers)
            return
        self._rows[device] = row = replace(self.admit(device, now), last_seen_s=now.wall_s, **numbers)
        self._heard[device] = Heard(now.wall_s, row.epoch, row.counter, today[1] + self._bytes.pop(device, 0))

    def received(self, device: str, count_bytes: int) -> None:
        """A message of a device has so many bytes, topic included; of strangers nothing is kept."""
        self._bytes[device] = self._bytes.get(device, 0) + count_bytes

    def flush(self, now: Instant) -> None:
        """Write the changed rows."""
        for device, count in self._bytes.items():
            typed = self._known_typed(device)
            if typed is not None:
                self._typed[device] = with_bytes(self._today(typed, now), count)
        self._places.count_again()
        self._store.put_devices([*self._rows.values()])
        self._store.registry.hear({name: heard for name, heard in self._heard.items() if name not in self._typed})
        self._store.registry.put([*self._typed.values()])
        self._happenings.write()
        self._head_figures.write()
        self._rows.clear()
        self._typed.clear()
        self._heard.clear()
        self._bytes.clear()

    def on_status(self, device: str, payload: bytes, now: Instant) -> None:
        status = Status.decode(payload)
        # the last will of a dead connection can arrive after the greeting of the process that followed it
        if status.online or status.boot >= self.admit(device, now).boot:
            self.change(device, now, online=status.online, boot=status.boot)
            self._typed[device] = with_status(self._typed[device], status.online, now.wall_s)

    def on_reported(self, device: str, payload: bytes, now: Instant) -> None:
        # what is stored was checked when it came, and devices repeat themselves
        row = self._known(device)
        reported = None if row is not None and payload == row.reported else Reported.decode(payload)
        self.change(device, now, reported=payload)
        if reported is not None:
            self._typed[device] = with_reported(self._typed[device], reported, now.wall_s)

    def on_metrics(self, device: str, payload: bytes, now: Instant) -> None:
        stored = self._known(device)
        typed = self._known_typed(device)
        class_count, task = self._shape_of("" if typed is None else typed.space)
        if stored is not None and payload == stored.metrics and stored.class_count >= class_count:
            self.change(device, now)
            return
        # a device may know more classes than the bundle
        classes_max = self._limits.classes_max if task is Task.CLASSIFICATION else class_count
        metrics = Metrics.decode(payload, class_count, classes_max)
        if not isinstance(metrics.served, SUMS[task]):
            raise RemoteError(f"metrics are not those of a {task} model, which the device's bundle is")
        row = self.admit(device, now)
        if metrics.epoch == row.metrics_epoch and metrics.counter < row.metrics_counter:
            return
        epoch, counter = metrics.epoch, metrics.counter
        sums = {"metrics": payload, "metrics_epoch": epoch, "metrics_counter": counter}
        self.change(device, now, **sums, class_count=metrics.class_count)
        before = self._scored_before(device, row.metrics_epoch, epoch)
        today = self._today(self._typed[device], now)
        self._typed[device] = scored = with_metrics(today, metrics, before)
        if scored.served_accuracy is not None:
            self._head_figures.scored(
                scored, scored.day_labels - today.day_labels, scored.day_served_right - today.day_served_right,
                scored.day_frozen_right - today.day_frozen_right, now.wall_s,
            )  # fmt: skip

    def on_event(self, device: str, payload: bytes, now: Instant) -> None:
        event = Event.decode(payload)
        self.change(device, now)
        if not self._events.take(device, now.monotonic_s):
            limit = self._limits.events_per_device_hour
            raise Refused("rate", f"{device} sends more than {limit} events an hour; {event.name!r} is not kept")
        self._record(device, event.name, event.detail, now)
        self._happenings.event(event)
        if event.name == DRIFT:
            self._derive(device, drift_alarms=self._typed[device].drift_alarms + 1, drift_s=now.wall_s)

    def on_health(self, device: str, payload: bytes, now: Instant) -> None:
        health = Health.decode(payload)
        self.change(device, now)
        self._typed[device] = with_health(self._typed[device], health, now.wall_s)
        replace_attributes(self._store, device, health.attributes)

    def refuse(self, device: str, error: RemoteError, now: Instant) -> Note | None:
        """Count a refusal; record it and give a line for the log when the count reaches a power of two.

        Senders that are not in the fleet share one name, so that invented names cannot fill the store.
        """
        reason = error.reason if isinstance(error, Refused) else "malformed"
        known = self._known(device) is not None
        self._happenings.refused(reason)
        counted_as, problem = device if known else UNKNOWN_DEVICE, str(error)[:400]
        count = self._store.count_refusal(RefusalRow(counted_as, reason, 1, problem, now.wall_s))
        typed = self._known_typed(device) if known else None
        if typed is not None:
            self._typed[device] = replace(
                typed,
                refused=typed.refused + 1,
                refused_reason=reason,
                refused_problem=problem,
                refused_s=now.wall_s,
            )
        if count & (count - 1):
            return None
        self._record(counted_as, f"refused-{reason}", {"problem": problem, "count": count}, now)
        return Note(f"refused from {device or 'an unknown sender'} ({reason}, {count} so far): {problem}", warning=True)

    def newest_epoch(self, device: str) -> int:
        """The epoch of the statistics or updates taken last; 0 for none."""
        row = self._known(device)
        return 0 if row is None else row.epoch

    def _known(self, device: str) -> DeviceRow | None:
        return self._rows.get(device) or self._store.device(device)

    def _known_typed(self, device: str) -> RegistryRow | None:
        typed = self._typed.get(device)
        if typed is None:
            typed, heard = self._store.registry.get(device), self._heard.get(device)
            if typed is not None and heard is not None:
                typed = replace(typed, **heard._asdict())
        return typed

    def _today_of(self, device: str) -> tuple[int, int] | None:
        """Number and bytes of the day that a device's row counts."""
        today, heard = self._store.registry.today(device), self._heard.get(device)
        return today if today is None or heard is None else (today[0], heard.day_bytes)

    def _derive(self, device: str, **values: Any) -> None:
        """Set columns of the typed row of an admitted device."""
        self._typed[device] = replace(self._known_typed(device) or typed_row(self._rows[device]), **values)

    def _today(self, row: RegistryRow, now: Instant) -> RegistryRow:
        """The row with its counts of today; a day that is over is kept, the oldest beyond `DAYS_KEPT` go."""
        row, over = on_day(row, now.wall_s)
        if over is not None and (over.labels or over.bytes):
            days = self._store.rows(DAYS)
            days.put(over)
            for old in days.all(row.device, count_max=DAYS_LOOKED_AT):
                if old.day <= row.day - DAYS_KEPT:
                    days.remove(old.device, old.day)
        return row

    def _scored_before(self, device: str, epoch: int, next_epoch: int) -> tuple[int, int, int]:
        """What was scored of `next_epoch` so far, and had right by both heads. epoch: of the metrics until now.

        A device may come back to an epoch, from the trial of a bundle, and what it scored then counts once.
        """
        row = self._typed[device]
        totals = row.scored, row.served_right, row.frozen_right
        if epoch == next_epoch:
            return totals
        others = self._store.rows(SCORED_EPOCHS)
        found = others.get(device, next_epoch)
        if epoch:
            if others.count(device) >= SCORED_EPOCHS_MAX:
                others.remove(device)
            others.put(ScoredEpochRow(device, epoch, *totals))
        return (0, 0, 0) if found is None else (found.labels, found.served_right, found.frozen_right)

    def _record(self, device: str, name: str, detail: Mapping[str, object], now: Instant) -> None:
        text = canonical_json(detail).decode()
        if len(text.encode()) > self._limits.event_bytes_max:
            # a quarter of the bytes: no character takes more than four
            text = canonical_json({"cut": text[: self._limits.event_bytes_max // 4], "bytes": len(text)}).decode()
        self._store.add_event(EventRow(device, name, text, now.wall_s), self._limits.events_max)
